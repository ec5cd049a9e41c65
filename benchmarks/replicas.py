"""Time of an epoch of a replica among many against the plain loop; both in one run, arms alternating."""
import sys
import time

import torch
from torch import nn

from symbreak_nb.replicas import Replicas
from symbreak_nb.steps import Training, _plain_epochs

MEMORY = dict(cpu=2*2**30, cuda=16*2**30)
ROUNDS, IMAGES, HOW = 4, 100, dict(batch_size=64, lr=1e-3, weight_decay=1e-3)


def simple_cnn(channels: int, side: int, widths: tuple[int, int, int]):
    "Builder of the network of zhang2024 (Sec. 6.7): two convolutions with rectifier and pooling, two linear layers."
    first, second, hidden = widths
    return lambda: nn.Sequential(
        nn.Conv2d(channels, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(second*(side//4)**2, hidden), nn.ReLU(), nn.Linear(hidden, 10))


SIZES = {"8x8": (simple_cnn(1, 8, (8, 16, 32)), (1, 8, 8), 128, 20),        # builder, image, replicas, epochs
         "28x28": (simple_cnn(1, 28, (8, 16, 32)), (1, 28, 28), 32, 10),
         "28x28_wide": (simple_cnn(1, 28, (16, 32, 64)), (1, 28, 28), 16, 10),
         "3x32x32": (simple_cnn(3, 32, (32, 64, 128)), (3, 32, 32), 8, 10)}
CUDA = {"3x32x32": (simple_cnn(3, 32, (32, 64, 128)), (3, 32, 32), 200, 60)}  # asked for: 20 times the plain loop


def seconds(work) -> float:
    clock = time.perf_counter()
    work()
    if torch.cuda.is_available(): torch.cuda.synchronize()
    return time.perf_counter() - clock


def measure(build, image: tuple, replicas: int, epochs: int, device: str, step: str) -> tuple[float, float, Replicas]:
    "Least time of a replica-epoch, alone and together; setting up is part of the second."
    x, y = torch.rand(IMAGES, *image, device=device), torch.randint(10, (IMAGES,), device=device)
    net = build().to(device)
    many = Replicas(build, range(replicas), device=device, memory_bytes=MEMORY[device], step=step)
    training, alone, together = Training(epochs=epochs, **HOW), [], []
    for warm in range(ROUNDS + 1):
        times = (seconds(lambda: _plain_epochs(net, x, y, training))/epochs,
                 seconds(lambda: many.fit(x, y, epochs=epochs, **HOW))/epochs/replicas)
        if warm: alone.append(times[0]); together.append(times[1])
    return min(alone), min(together), many


def report(sizes: dict, device: str, step: str, suffix: str = "") -> None:
    for size, settings in sizes.items():
        alone, together, many = measure(*settings, device, step)
        assert many.route == "stacked", many.route
        name = f"replicas_{size}{suffix}"
        print(f"# {name}: {settings[2]} replicas on {device}, route {many.route}, step {many.step}")
        print(f"{name}_plain {1e3*alone:.3f} ms/replica-epoch")
        print(f"{name}_stacked {1e3*together:.3f} ms/replica-epoch")
        print(f"{name}_speedup {alone/together:.2f} ratio", flush=True)


def main(step: str = "auto") -> None:
    "On the CPU, and on a GPU where there is one; `step` as in Replicas, for the CPU eager or compile."
    report(SIZES, "cpu", "auto" if step == "graph" else step)
    if not torch.cuda.is_available(): return print("# no CUDA device: the GPU ratio was not measured")
    for way in dict.fromkeys((step, "eager")): report(CUDA, "cuda", way, "_cuda" if way == step else "_cuda_eager")


if __name__ == "__main__": main(*sys.argv[1:])
