"""A step of an oscillator network, in Fourier space and with a compiled projection, against the plain NCHW step.

    python benchmarks/kuramoto_step.py [SIZE] [STEPS] [compile]

Both run the same network on the same batch of 16 images in the same process, alternately, on one thread; the medians of
CPU seconds are compared, forward alone and with gradients. With `compile`, torch.compile of the plain step as well
(wants a C++ compiler).
"""
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F

from symbreak_nb.oscillators import KuramotoNet
from symbreak_nb.transmogrification import shapes


def plain(net: KuramotoNet, images: torch.Tensor) -> torch.Tensor:
    "The step as one writes it down: circular padding, conv2d, projection, normalisation."
    x, kernel, reach = net.lift(images), net.coupling(), net.kernel.shape[-1]//2
    for _ in range(net.steps):
        y = F.conv2d(F.pad(x, (reach,)*4, mode="circular"), kernel)
        x = F.normalize(x + net.step_size*(y - (x*y).sum(1, keepdim=True)*x), dim=1)
    return net.readout(x)


def work(net: KuramotoNet, run, images: torch.Tensor, targets: torch.Tensor, gradient: bool):
    "One pass, and its gradients if asked for."
    if not gradient:
        with torch.no_grad(): return run(images)
    net.zero_grad()
    F.mse_loss(run(images), targets).backward()
    return net.kernel.grad


def compare(size: int, steps: int, gradient: bool, compiled: bool, repeats: int = 9) -> dict[str, float]:
    "Median CPU seconds of each route, taken in turn."
    make = lambda **how: KuramotoNet(steps=steps, gain=2.0, seed=0, **how)
    images, targets = shapes(16, size)
    nets = dict(plain=make(), fourier=make(route="fourier"))
    if compiled: nets["compiled"] = make(route="plain", compiled=True)
    runs = {name: (lambda i, n=net: plain(n, i)) if name == "plain" else net for name, net in nets.items()}
    results = {name: work(nets[name], run, images, targets, gradient) for name, run in runs.items()}
    for found in results.values(): assert (found - results["plain"]).abs().max() <= 1e-3*results["plain"].abs().max()
    seconds = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            clock = time.process_time()
            work(nets[name], run, images, targets, gradient)
            seconds[name].append(time.process_time() - clock)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def main(size: int = 32, steps: int = 12, compiled: bool = False) -> None:
    torch.set_num_threads(1)
    for gradient, name in ((False, "forward"), (True, "training")):
        found = compare(size, steps, gradient, compiled)
        for route, seconds in found.items():
            print(f"kuramoto_step_{name}_{route} {1e3*seconds/steps:.2f} ms/step   (16 images of {size} x {size})")
        for route in [r for r in found if r != "plain"]:
            print(f"kuramoto_step_{name}_{route}_speedup {found['plain']/found[route]:.2f} ratio")


if __name__ == "__main__": main(*map(int, sys.argv[1:3]), compiled="compile" in sys.argv[1:])
