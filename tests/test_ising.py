"""The numbers of the Ising section against a naive sum, what a sample sees, imports, and the plan."""
from collections import Counter
from fractions import Fraction

import pytest
from symbreak_nb import ising

from test_lattice import STATES, naive


def exact_by_hand(table, L, J, h, T):
    "Every metric from a naive table with 50 digits."
    mpmath = pytest.importorskip("mpmath")
    j, f = Fraction(str(J)), Fraction(str(h))
    zero, field = Counter(), Counter()
    Z = U = A = 0
    with mpmath.workdps(50):
        for (e, m), n in table.items():
            zero[j*e] += n
            field[j*e - f*m] += n
            E = j*e - f*m
            E = mpmath.mpf(E.numerator)/E.denominator
            w = n*mpmath.exp(-E/mpmath.mpf(T))
            Z, U, A = Z + w, U + w*E, A + w*abs(m)
        return dict(n_energies_h0=len(zero), n_energies_h=len(field), ground_energy_h0=float(min(zero)),
                    ground_energy_h=float(min(field)), ground_degeneracy_h0=zero[min(zero)], max_energy_h0=float(max(zero)),
                    max_multiplicity_h=max(field.values()), lnZ=float(mpmath.log(Z)),
                    energy_per_spin=float(U/Z/L**2), abs_magnetisation_per_spin=float(A/Z/L**2))


@pytest.mark.parametrize("J,h,T", [(1.0, 0.45, 2.0), (-1.3, 0.7, 0.31), (0.0, 0.5, 1.0), (0, 0, 1), (0.7, -0.35, 17.0), (1, 0.5, 1e-3),
                                   (1.0, 0.45, 1e9), (0.1, 0.3, 0.9), (-1, 0.0, 1e-2), (1e-7, 1e-9, 3.0), (1.0, 4.0, 2.269)])
@pytest.mark.parametrize("L", [2, 3, 4])
def test_summary_equals_a_naive_sum(L, J, h, T):
    ours, theirs = ising.exact_summary(STATES[L], J, h, T), exact_by_hand(naive()[L], L, J, h, T)
    for name, value in theirs.items(): assert float(ours[name]) == pytest.approx(value, rel=1e-12, abs=1e-300), name


def test_chance_of_a_sample():
    chance = ising.chance_of_levels([1, 2**24, 2**25], 2**25, 1000)
    assert chance[0] == pytest.approx(1000/2**25, rel=1e-4) and chance[1] == chance[2] == 1


def test_importing_ising_is_cheap():
    import subprocess
    import sys
    code = "import sys, symbreak_nb.ising; print([m for m in ('numba', 'scipy', 'joblib', 'matplotlib', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_plan_lists_work_that_can_be_tried():
    for profile in ising.PARAMETERS:
        units = ising.plan_units(ising.PARAMETERS[profile])
        assert all(u.count > 0 and u.flops > 0 and u.memory_bytes > 0 for u in units)
        if profile == "smoke":
            for u in units: u.step()
    assert ising.plan_units(ising.PARAMETERS["smoke"] | dict(L=8))[0].step is None
    assert units[3].count == -(-11*16*24000//100)   # wolff at the first size of paper's checks, a hundred samples of a chain each


def test_every_row_says_what_would_turn_it_and_algebra_is_an_identity():
    claims = ising.CLAIMS
    assert all(c.otherwise for c in claims.values())
    assert {c.kind for n, c in claims.items() if ".identity." in n} == {"identity"}


def test_a_sample_that_does_not_show_the_field_says_nothing_of_its_absence():
    from symbreak_nb.claims import decided
    from symbreak_nb.statistics import Estimate
    flat, tilted = Estimate(0.0, (-0.1, 0.1), 300, error=0.05), Estimate(-0.3, (-0.4, -0.2), 300, error=0.05)
    claim = ising.CLAIMS["zhang.ising.flip_symmetry"]
    assert decided(claim, flat, "smoke", tilted=tilted)["verdict"] == "holds"
    assert decided(claim, flat, "smoke", tilted=flat)["verdict"] == "inconclusive"
    assert decided(claim, tilted, "smoke", tilted=tilted)["verdict"] == "fails"
