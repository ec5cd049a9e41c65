"""A training step of physics-informed networks: Taylor mode, all seeds side by side, against DeepXDE, seed after seed.

    python benchmarks/pinns.py [THREADS] [SEEDS] [PROBLEM ...]

Both engines make steps of Adam on the same problem, at the benchmark's own number of points, in the same process,
alternately. The medians of seconds a seed and step are compared: CPU seconds on one thread, wall seconds on several.
"""
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from symbreak_nb import jets
from symbreak_nb.pde_problems import deepxde_data
from symbreak_nb.pdes import PROBLEMS
from symbreak_nb.pinn_training import (
    Setting,
    _adam,
    _begin,
    _deepxde_model,
    _deepxde_network,
    _gradients,
    _precision,
    _prepared,
    _shape,
)

NAMES = ("burgers_1d", "poisson_classic_2d", "wave_1d", "ns_lid_2d", "kuramoto_sivashinsky")


def deepxde_step(name: str, s: Setting) -> Callable[[], None]:
    "A step of DeepXDE on one network."
    problem = PROBLEMS[name]
    layers = jets.views(torch.tensor(_begin(problem, "raw", [0], s)["theta"]), _shape(problem, "raw", s))
    with _precision(torch.float32) as dde:
        data = deepxde_data(problem, problem.points(0, s.counts)["residual"])
        net = _deepxde_network(dde, [(w[0], b[0]) for w, b in layers], "raw", problem)
        model = _deepxde_model(dde, net, data, s.lr)
    return lambda: model.train_step(data.train_x, data.train_y, data.train_aux_vars)


def jets_step(name: str, s: Setting, seeds: int) -> Callable[[], None]:
    "A step of all networks."
    problem = PROBLEMS[name]
    state = _begin(problem, "raw", range(seeds), s)
    theta, m, v = (torch.tensor(state[k]) for k in ("theta", "m", "v"))
    layers, prepared, t = jets.views(theta, _shape(problem, "raw", s)), _prepared(problem, range(seeds), s), [0]

    def step() -> None:
        t[0] += 1
        _adam(theta, m, v, _gradients(problem, "raw", layers, prepared, s)[1], t[0], torch.tensor(s.lr))
    return step


def compare(name: str, threads: int, seeds: int, repeats: int = 3) -> tuple[float, float]:
    "Median seconds a seed and step of both, taken in turn."
    s, clock = Setting(), time.process_time if threads == 1 else time.perf_counter
    steps = {"deepxde": (deepxde_step(name, s), 1), "jets": (jets_step(name, s, seeds), seeds)}
    seconds = {engine: [] for engine in steps}
    for repeat in range(repeats + 1):
        for engine, (step, networks) in steps.items():
            before = clock()
            step()
            if repeat: seconds[engine].append((clock() - before)/networks)
    return tuple(float(np.median(seconds[engine])) for engine in steps)


def main(threads: int = 1, seeds: int = 2, *names: str) -> None:
    torch.set_num_threads(int(threads))
    for name in names or NAMES:
        slow, fast = compare(name, int(threads), int(seeds))
        print(f"# {name}: DeepXDE {1e3*slow:.0f} ms, jets {1e3*fast:.0f} ms a seed and step, {threads} threads")
        print(f"pinns_{name} {slow/fast:.2f} ratio", flush=True)


if __name__ == "__main__": main(*sys.argv[1:])
