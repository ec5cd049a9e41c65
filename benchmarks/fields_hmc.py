"Leapfrog of many lattice fields in one batch of torch: against single chains, torch.roll, and a loop of numba."
import time

import numpy as np
import torch

from symbreak_nb.hybrid_montecarlo import _force, _leapfrog

SIZE, CHAINS, STEPS = 8, 128, 10


def seconds(work, repeats: int = 7) -> float:
    "Shortest of several timings, of all cores together, which a busy machine disturbs less."
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def rolled(phi: torch.Tensor, momentum: torch.Tensor, step: float) -> None:
    "The same steps with a force from torch.roll."
    def force(f):
        near = sum(f.roll(s, a) for a in range(2, f.ndim) for s in (1, -1))
        return f*((f*f).sum(1, keepdim=True) + 2*(f.ndim - 2) - 1) - near
    assert torch.allclose(force(phi), _force(phi, -1.0, 1.0))
    for _ in range(STEPS):
        momentum = momentum - step*force(phi)
        phi = phi + step*momentum


def compiled():
    "The same steps as a loop over sites with a table of neighbours."
    import numba
    @numba.njit(fastmath=True)
    def run(phi, momentum, near, step, steps):
        chains, n, sites = phi.shape
        scale = np.empty(sites)
        for b in range(chains):
            for _ in range(steps):
                scale[:] = near.shape[1] - 1.0
                for i in range(n): scale += phi[b, i]**2
                for i in range(n):
                    for x in range(sites):
                        g = phi[b, i, x]*scale[x]
                        for k in range(near.shape[1]): g -= phi[b, i, near[x, k]]
                        momentum[b, i, x] -= step*g
                phi[b] += step*momentum[b]
    return run


def main() -> None:
    torch.set_num_threads(1)
    phi, momentum = torch.randn((2, CHAINS, 2, SIZE, SIZE, SIZE), dtype=torch.float64)
    index = np.arange(SIZE**3).reshape(SIZE, SIZE, SIZE)
    near = np.stack([np.roll(index, s, a).ravel() for a in range(3) for s in (1, -1)], 1)
    loop, flat = compiled(), (phi.flatten(2).numpy().copy(), momentum.flatten(2).numpy().copy())
    loop(*flat, near, 0.0, 1)
    batch = seconds(lambda: _leapfrog(phi, momentum, 0.05, STEPS, -1.0, 1.0))
    one = lambda k: _leapfrog(phi[k:k + 1], momentum[k:k + 1], 0.05, STEPS, -1.0, 1.0)
    single = seconds(lambda: [one(k) for k in range(CHAINS)], 3)
    print(f"fields_hmc_step {1e9*batch/STEPS/phi.numel():.1f} ns/number")
    print(f"fields_hmc_batch_over_single_chains {single/batch:.1f} times")
    print(f"fields_hmc_batch_over_roll {seconds(lambda: rolled(phi, momentum, 0.05))/batch:.1f} times")
    print(f"fields_hmc_batch_over_numba {seconds(lambda: loop(*flat, near, 0.05, STEPS))/batch:.2f} times")


if __name__ == "__main__": main()
