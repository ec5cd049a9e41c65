"""Wolff clusters against Metropolis sweeps, per independent sample of |M| at L = 64 and the critical temperature.

    python benchmarks/ising_wolff.py [L]

The price of an independent sample is the time of a sample times twice the integrated autocorrelation time of |M|. Both
run compiled on one thread, after a first call that compiles them.
"""
import sys
import time

import numpy as np

from symbreak_nb.lattice import CRITICAL_TEMPERATURE, kaufman_energy
from symbreak_nb.montecarlo import autocorrelation_time, metropolis, wolff


def price(sampler, size: int, samples: int, **options) -> tuple[float, float, float]:
    "Seconds an independent sample, autocorrelation time, and mean energy per spin."
    sampler(size, CRITICAL_TEMPERATURE, samples=10, chains=1, burn_in=0, jobs=1, **options)
    clock = time.perf_counter()
    found = sampler(size, CRITICAL_TEMPERATURE, samples=samples, chains=4, burn_in=0, jobs=1, seed=1, **options)
    seconds = (time.perf_counter() - clock)/found.energy.size
    settled = slice(samples//10, None)
    tau = autocorrelation_time(np.abs(found.magnetisation[:, settled]))
    return seconds*2*tau, tau, found.energy[:, settled].mean()/size**2


def main(size: int = 64) -> None:
    cluster, cluster_tau, E = price(wolff, size, samples=8000)
    single, single_tau, F = price(metropolis, size, samples=60_000, order="sequential")
    print(f"ising_wolff {single/cluster:.0f} x   (L = {size}, T_c, an independent |M|: Wolff {cluster*1e3:.2f} ms, tau "
          f"{cluster_tau:.1f} clusters; baseline Metropolis {single*1e3:.1f} ms, {single_tau:.0f} sweeps)")
    print(f"energy per spin: exact {kaufman_energy(size, CRITICAL_TEMPERATURE):.4f}, Wolff {E:.4f}, Metropolis {F:.4f}")


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
