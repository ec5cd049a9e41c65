"""All pairs of 200 replicas at once against a loop over POT's one-dimensional Wasserstein distance."""
import itertools
import time

import numpy as np
import ot

from symbreak_nb.wasserstein import pairwise_wasserstein


def seconds(work, repeats: int) -> float:
    "Shortest of several timings."
    found = []
    for _ in range(repeats):
        clock = time.perf_counter()
        work()
        found.append(time.perf_counter() - clock)
    return min(found)


def loop_over_pot(points: np.ndarray) -> np.ndarray:
    found = np.zeros((len(points), len(points)))
    for i, j in itertools.combinations(range(len(points)), 2):
        found[i, j] = found[j, i] = ot.wasserstein_1d(points[i], points[j])
    return found


def main(replicas: int = 200, dimensions: int = 100) -> None:
    points = np.random.default_rng(0).standard_normal((replicas, dimensions))
    assert np.abs(loop_over_pot(points[:20]) - pairwise_wasserstein(points[:20])).max() < 1e-12
    pairwise, looped = seconds(lambda: pairwise_wasserstein(points), 20), seconds(lambda: loop_over_pot(points), 2)
    print(f"rd_pairwise_pot_loop {1e3*looped:.1f} ms")
    print(f"rd_pairwise_all_at_once {1e3*pairwise:.3f} ms")
    print(f"rd_pairwise_speedup {looped/pairwise:.0f} ratio")


if __name__ == "__main__": main()
