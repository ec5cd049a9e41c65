"""Adam on mass networks: many seeds stacked with hand-made tangents, against modules and autograd seed by seed."""
import time

import numpy as np
import torch

from symbreak_nb import qcd
from symbreak_nb.environment import usable_cores
from symbreak_nb.units import executor

SEEDS, STEPS = 16, 20


def seconds(work, repeats: int = 3) -> np.ndarray:
    "Shortest of several timings: on the clock, and of all cores together, which a busy machine disturbs less."
    found = []
    for _ in range(repeats):
        clock, cores = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - clock, time.process_time() - cores))
    return np.min(found, 0)


def plain(seeds, steps: int, aim: qcd._Target) -> np.ndarray:
    "The loop: one seed after the other."
    return np.array([qcd._plain_trace(qcd._plain_networks(w), aim, None, steps) for w in qcd._initial_weights(seeds)])


def stacked(values: dict) -> np.ndarray:
    "Losses of all seeds, a group of them a thread."
    group = lambda seeds: qcd.fit(seeds, 1, 0.0, values, STEPS, 1)["trace"][:, :STEPS]
    with executor("threads", usable_cores()) as pool:
        return np.concatenate(list(pool.map(group, qcd._groups(range(SEEDS)))))


def main() -> None:
    T = np.linspace(*qcd.VALID_RANGE, 50)
    state = qcd.hotqcd(T)
    aim, values = qcd._target(T, *state), dict(T=T.tolist(), p=state.p.tolist(), e=state.e.tolist())
    few = range(2)
    assert np.allclose(stacked(values)[:2], plain(few, STEPS, aim), rtol=1e-7)
    loops = []
    for threads in sorted({1, torch.get_num_threads()}):  # the loop may have the threads that suit it best
        torch.set_num_threads(threads)
        loops.append(1e3*seconds(lambda: plain(few, STEPS, aim))/len(few)/STEPS)
        print(f"qcd_plain_loop_{threads}_threads {loops[-1][0]:.2f} ms/seed/step")
    ensemble = 1e3*seconds(lambda: stacked(values), repeats=7)/SEEDS/(STEPS + 2)  # L-BFGS evaluates start and step
    clock, cores = np.min(loops, 0)/ensemble
    print(f"qcd_ensemble {ensemble[0]:.2f} ms/seed/step")
    print(f"qcd_ensemble_speedup {clock:.1f} ratio")
    print(f"qcd_ensemble_speedup_of_core_time {cores:.1f} ratio")


if __name__ == "__main__": main()
