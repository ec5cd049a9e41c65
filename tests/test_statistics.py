"""Tests and plans that more than one section uses: two classifiers on the same texts, and the seeds that a difference needs."""
import math

import numpy as np
import pytest
from scipy import stats
from symbreak_nb.checks import ParameterError
from symbreak_nb.statistics import mcnemar, seeds_needed


def test_mcnemar_against_a_table_and_its_symmetry():
    a = np.r_[np.ones(20, bool), np.zeros(5, bool), np.ones(50, bool), np.zeros(25, bool)]
    b = np.r_[np.zeros(20, bool), np.ones(5, bool), np.ones(50, bool), np.zeros(25, bool)]
    found, back = mcnemar(a, b), mcnemar(b, a)
    exact = 2*sum(math.comb(25, k) for k in range(6))/2**25
    assert found.value == pytest.approx(0.15) == -back.value and found.p == pytest.approx(exact, rel=1e-9) == back.p
    assert found.interval[0] > 0 and found.n == 100
    with pytest.raises(ParameterError): mcnemar(a, b[:3])


def test_mcnemar_is_calibrated():
    "2,000 pairs without a difference: at the 5 % level the exact test rejects at most 5 % (bound: 5 standard deviations)."
    rng = np.random.default_rng(0)
    wrong = np.mean([mcnemar(*(rng.random((2, 200)) < 0.8)).p < 0.05 for _ in range(2000)])
    assert wrong < 0.05 + 5*math.sqrt(0.05*0.95/2000)


def test_seeds_needed_against_known_values():
    assert seeds_needed(1, 1) == 10 and seeds_needed(0.5, 1) == 34   # paired t test, power 0.8, two-sided 5 %
    assert seeds_needed(1, 0) == 2 and seeds_needed(-1, 1) == 10
    with pytest.raises(ParameterError): seeds_needed(0, 1)
    with pytest.raises(ParameterError): seeds_needed(1, -1)


@pytest.mark.parametrize("factor, spread", [(1.5, .5), (2., 1.), (.5, .6)])
def test_the_planned_seeds_find_the_factor_as_often_as_asked(factor, spread):
    n, rng = seeds_needed(math.log(factor), spread), np.random.default_rng(0)
    shares = []
    for seeds in (n, max(2, n//2)):
        draws = rng.normal(abs(math.log(factor)), spread, (4000, seeds))
        t = draws.mean(1)/(draws.std(1, ddof=1)/math.sqrt(seeds))
        shares.append(np.mean(t > stats.t.ppf(.975, seeds - 1)))
    assert .77 < shares[0] < .9 and shares[1] < .75
