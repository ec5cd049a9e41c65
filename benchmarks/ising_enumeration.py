"""Exact counting of 5 x 5 spins against a plain loop over configurations, both timed here.

    python benchmarks/ising_enumeration.py [configurations of the loop]

The loop visits the first 2^15 configurations only and is scaled to 2^25; its counts are checked on a 4 x 4 lattice.
"""
import sys
import time
from collections import Counter

from symbreak_nb.lattice import density_of_states


def plain_loop(size: int, configurations: int) -> Counter:
    "Count (E0, M) one configuration and one spin at a time, as a first program would."
    found = Counter()
    for code in range(configurations):
        spins = [[1 if code >> size*i + j & 1 else -1 for j in range(size)] for i in range(size)]
        E0 = M = 0
        for i in range(size):
            for j in range(size):
                E0 -= spins[i][j]*(spins[i][(j + 1) % size] + spins[(i + 1) % size][j])
                M += spins[i][j]
        found[E0, M] += 1
    return found


def timed(function, *arguments) -> tuple[float, object]:
    "Seconds and result of one call."
    clock = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - clock, result


def as_counter(states) -> Counter:
    "The occupied cells of a density of states, as the loop counts them."
    return Counter({(int(e), int(m)): int(n) for e, m, n in zip(*states.cells(), strict=True)})


def main(configurations: int = 2**15) -> None:
    if plain_loop(4, 2**16) != as_counter(density_of_states(4)): raise SystemExit("4 x 4: the two counts differ")
    loop = timed(plain_loop, 5, configurations)[0]*2**25/configurations
    ours, states = min((timed(density_of_states, 5) for _ in range(5)), key=lambda pair: pair[0])
    if sum(states.counts.ravel().tolist()) != 2**25: raise SystemExit("5 x 5: configurations are missing")
    print(f"ising_enumeration {loop/ours:.0f} x   (all 2^25 configurations of 5 x 5: {ours:.3f} s; "
          f"baseline plain loop {loop:.0f} s, scaled from {configurations} configurations)")
    large = timed(density_of_states, 8)[0]
    print(f"ising_transfer_8x8 {60/large:.1f} x   (8 x 8 by transfer matrix: {large:.1f} s; bound 60 s)")


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
