"""A record of the symmetry monitor against the training steps between two records, timed in turns."""
import time

import torch
from torch import nn

from symbreak_nb.distances import SymmetryMonitor


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 10))


def convolutions(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 2*width, 3),
                         nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2*width, 10))


def overhead(net: nn.Module, x: torch.Tensor, rounds: int = 40) -> tuple[float, float]:
    "Seconds of a training step, and the share that a record every hundredth step adds: medians, taken in turns."
    optimiser, monitor, found = torch.optim.SGD(net.parameters(), 1e-3), SymmetryMonitor(net, every=1), ([], [])
    y = torch.zeros(len(x), dtype=torch.long)
    def train() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    for round_ in range(rounds + 3):
        for work, seconds in zip((train, monitor.step), found, strict=True):
            clock = time.process_time()
            work()
            if round_ > 2: seconds.append(time.process_time() - clock)
    step, record = (sorted(seconds)[rounds//2] for seconds in found)
    return step, record/step/SymmetryMonitor(net).every


def main() -> None:
    torch.manual_seed(0)
    rows, images = torch.randn(64, 64), torch.randn(32, 3, 16, 16)
    for name, net, x in (("mlp_256", network(256), rows), ("mlp_1024", network(1024), rows),
                         ("convnet_32", convolutions(32), images)):
        step, share = overhead(net, x)
        print(f"symmetries_step_{name} {1e3*step:.2f} ms")
        print(f"symmetries_monitor_overhead_{name} {share:.4f} ratio")


if __name__ == "__main__": main()
