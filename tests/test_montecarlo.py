"""Chains against exact values, whatever the threads; autocorrelation times of known processes; refusals."""
import numpy as np
import pytest
from symbreak_nb import lattice as la
from symbreak_nb import montecarlo as mc
from symbreak_nb.run import ParameterError

STATES = {L: la.density_of_states(L) for L in (2, 3, 4, 5)}


CASES = [("wolff", 2, 1.0, 0.0), ("wolff", 3, -1.0, 0.0), ("wolff", 5, 1.0, 0.0), ("wolff", 4, -1.0, 0.0),
         ("random", 5, 1.0, 0.3), ("sequential", 5, 1.0, 0.0), ("sequential", 4, -1.0, 0.45), ("random", 2, 1.0, 0.2)]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("algorithm,L,J,h", CASES)
def test_chains_agree_with_exact_values(algorithm, L, J, h, seed):
    T, options = 2.4, dict(samples=4000, chains=8, burn_in=300, seed=seed)
    if algorithm == "wolff": found = mc.wolff(L, T, J=J, stride=2, **options)
    else: found = mc.metropolis(L, T, J=J, h=h, order=algorithm, stride=2, **options)
    exact = STATES[L].thermodynamics(T, J, h)
    for sample, value in ((J*found.energy - h*found.magnetisation, exact.energy), (abs(found.magnetisation), exact.abs_magnetisation)):
        mean, error = mc.blocked_error(sample)
        assert abs(mean - value) < 5*error
    assert np.array_equal(found.energy[:, -1], la.bond_energy(found.spins))


def test_chains_are_reproducible_whatever_the_threads():
    one, two = (mc.wolff(6, 2.0, samples=30, chains=5, burn_in=5, seed=3, jobs=jobs) for jobs in (1, 2))
    assert np.array_equal(one.energy, two.energy) and np.array_equal(one.spins, two.spins)
    other = mc.wolff(6, 2.0, samples=30, chains=5, burn_in=5, seed=4)
    assert not np.array_equal(one.energy, other.energy) and len({row.tobytes() for row in one.energy}) > 1


@pytest.mark.parametrize("a", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_a_known_process(a):
    from scipy.signal import lfilter
    x = lfilter([1], [1, -a], np.random.default_rng(5).normal(size=(16, 20_000)), axis=1)
    assert mc.autocorrelation_time(x) == pytest.approx((1 + a)/(2*(1 - a)), rel=0.15)
    assert mc.autocorrelation_time(np.ones((2, 50))) == 0.5


@pytest.mark.parametrize("call,text", [
    (lambda: mc.wolff(5, 2.0, h=0.1), "h = 0.1"),
    (lambda: mc.wolff(5, 2.0, J=0.0), "J = 0.0"),
    (lambda: mc.wolff(5, 0.0), "temperature"),
    (lambda: mc.wolff(1, 2.0), "size = 1"),
    (lambda: mc.metropolis(5, 2.0, order="checkerboard"), "checkerboard"),
    (lambda: mc.metropolis(5, 2.0, samples=0), "samples = 0"),
    (lambda: mc.wolff(3, 2.0, start="down"), "start = 'down'"),
])
def test_refusals_are_one_line(call, text):
    with pytest.raises(ParameterError) as caught: call()
    assert text in str(caught.value) and "\n" not in str(caught.value)
