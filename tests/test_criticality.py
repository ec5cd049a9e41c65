"""Finite-size scaling: invariances, recovery of known answers over seeds, and refusals."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import criticality as cr

GRID, SIDES = np.linspace(0.5, 1.5, 31), [16, 24, 32, 48]


def curves(seed: int, error: float = 0.01, exponent: float = 0.7) -> np.ndarray:
    return cr.synthetic_curves(GRID, SIDES, critical=1.0, exponent=exponent, error=error, seed=seed)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-10, 10).filter(lambda v: abs(v) > 1e-3), min_size=2, max_size=30), st.floats(0.1, 10))
def test_cumulant_has_no_dimension_and_a_bound(m, scale):
    m = np.array(m)
    U = cr.sample_cumulant(m)
    assert U <= 2/3 + 1e-12
    assert np.isclose(cr.sample_cumulant(scale*m), U) and np.isclose(cr.sample_cumulant(-m), U)


@pytest.mark.parametrize("spins", [1, 2, 3, 8])
def test_curie_weiss_is_the_sum_over_configurations(spins):
    s = np.array(np.meshgrid(*[[-1, 1]]*spins)).reshape(spins, -1).sum(0)/spins
    for T in (0.3, 1.0, 4.0):
        w = np.exp(spins*s**2/(2*T))
        U = cr.binder_cumulant((w*s**2).sum()/w.sum(), (w*s**4).sum()/w.sum())
        assert np.isclose(cr.curie_weiss_binder_cumulant(spins, T), U, atol=1e-12)


def naive_quality(x, y, L, error, critical, exponent):
    "Houdayer and Hartmann, one point at a time."
    x = [[n**exponent*(v - critical) for v in x] for n in L]
    terms = []
    for i in range(len(L)):
        for j in range(len(x[i])):
            rows = []
            for k in range(len(L)):
                if k == i: continue
                for q in range(len(x[k]) - 1):
                    if x[k][q] <= x[i][j] < x[k][q + 1] or (q == len(x[k]) - 2 and x[i][j] == x[k][-1]):
                        rows += [(x[k][r], y[k][r], 1/error**2) for r in (q, q + 1)]
            if not rows: continue
            X, Y, W = map(np.array, zip(*rows, strict=True))
            K, Kx, Ky, Kxx, Kxy = W.sum(), (W*X).sum(), (W*Y).sum(), (W*X*X).sum(), (W*X*Y).sum()
            D, at = K*Kxx - Kx**2, x[i][j]
            line = (Kxx*Ky - Kx*Kxy)/D + at*(K*Kxy - Kx*Ky)/D
            variance = (Kxx - 2*at*Kx + at**2*K)/D
            terms.append((y[i][j] - line)**2/(error**2 + variance))
    return np.mean(terms)


@pytest.mark.parametrize("critical,exponent", [(1.0, 0.7), (1.02, 0.8), (0.97, 0.5)])
def test_quality_equals_the_loop(critical, exponent):
    y = curves(3)
    assert np.isclose(cr.collapse_quality(GRID, y, SIDES, 0.01, critical, exponent),
                      naive_quality(GRID, y, SIDES, 0.01, critical, exponent), rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.floats(-5, 5), st.floats(0.1, 100), st.permutations(range(4)))
def test_quality_does_not_depend_on_origin_units_or_order(shift, unit, order):
    y, sides = curves(0), np.array(SIDES)
    S = cr.collapse_quality(GRID, y, sides, 0.01, 1.013, 0.72)
    order = list(order)
    again = cr.collapse_quality(GRID + shift, unit*y[order], sides[order], 0.01*unit, 1.013 + shift, 0.72)
    assert np.isclose(S, again, rtol=1e-5)


@pytest.mark.parametrize("seed,exponent", [(0, 0.3), (1, 0.7), (2, 1.0), (3, 1.6)])
def test_fit_finds_the_parameters(seed, exponent):
    x = 1 + (GRID - 1)*24**(0.7 - exponent)   # as wide as the transition
    y = cr.synthetic_curves(x, SIDES, critical=1.0, exponent=exponent, error=0.005, seed=seed)
    fit = cr.data_collapse(x, y, SIDES, 0.005, critical=1 + np.ptp(x)/20, exponent=1.2*exponent)
    assert abs(fit.critical - 1) < 0.01 and abs(fit.exponent/exponent - 1) < 0.06
    assert np.isclose(fit.nu*fit.exponent, 1)


def test_bootstrap_interval_covers_the_truth():
    z = []
    for k in range(6):
        replicas = np.array([curves(100*k + s, 0.03) for s in range(12)])
        best, draws = cr.bootstrap_collapse(GRID, replicas, SIDES, 1.02, 0.8, resamples=15, seed=k)
        z.append((np.array([best.critical, best.exponent]) - [1, 0.7])/draws.std(0))
    assert np.abs(z).max() < 4 and 0.3 < np.sqrt(np.mean(np.square(z))) < 1.9


def test_bootstrap_is_reproducible_and_independent_of_order_of_calls():
    x = np.random.default_rng(0).normal(size=(9, 3))
    assert np.array_equal(cr.bootstrap(lambda d: d.mean(0), x, 7, 4), cr.bootstrap(lambda d: d.mean(0), x, 7, 4))
    assert cr.bootstrap(np.mean, x, 7, 4).shape == (7, 1)


def test_crossings():
    x = np.linspace(0, 2, 21)
    y = np.array([-n*(x - 1.234) for n in (1, 2, 5)])
    assert np.allclose(cr.crossings(x, y), 1.234, atol=1e-12)
    assert np.isnan(cr.crossing(x, x, x + 1))


@pytest.mark.parametrize("change,text", [
    (dict(L=[16, 24]), "2 sizes"), (dict(L=[16, 16, 16, 16]), "two different sizes"), (dict(x=GRID[::-1]), "increasing"),
    (dict(error=0.0), "errors above 0"), (dict(y=np.full((4, 31), np.nan)), "finite"), (dict(critical=50.0), "critical = 50.0"),
    (dict(critical=np.nan), "critical"), (dict(exponent=np.inf), "exponent"), (dict(scaling=np.nan), "scaling"),
    (dict(window=0), "window"), (dict(starts=0), "starts"), (dict(window=1e-9), "do not overlap"),
    (dict(L=[0, 16, 24, 32]), "above 0"), (dict(error=np.full((4, 31), np.nan)), "errors above 0"),
    (dict(error=np.ones((2, 31))), "errors above 0"), (dict(x=GRID[:-1]), "increasing"),
    (dict(x=GRID[:2], y=np.ones((4, 2))), "three points")])
def test_refusals_are_one_line(change, text):
    arguments = dict(x=GRID, y=curves(0), L=SIDES, error=0.01, critical=1.0) | change
    with pytest.raises(ValueError, match=text) as caught: cr.data_collapse(**arguments)
    assert "\n" not in str(caught.value)


def test_pulling_curves_apart_is_no_collapse():
    assert cr.collapse_quality(GRID, curves(0), SIDES, 0.01, 10.0, 5.0) == np.inf


@pytest.mark.parametrize("part", [slice(0, 10), slice(21, 31)])
def test_a_critical_value_outside_the_data_is_no_collapse(part):
    x, y = GRID[part], curves(0)[:, part]
    for guess in (x[0], x.mean(), x[-1]):
        with pytest.raises(ValueError, match="no collapse: the best .*(lies outside the data|S is)"):
            cr.data_collapse(x, y, SIDES, 0.01, critical=guess)
    with pytest.raises(ValueError, match="critical = 1.0"): cr.data_collapse(x, y, SIDES, 0.01, critical=1.0)


def test_curves_that_agree_nowhere_are_no_collapse():
    apart = curves(0) + np.array([0, 5, -3, 1])[:, None]
    with pytest.raises(ValueError, match="no collapse: the best S is"): cr.data_collapse(GRID, apart, SIDES, 0.01, 1.0)
    assert cr.data_collapse(GRID, apart, SIDES, 0.01, 1.0, worst=np.inf).quality > 100


def test_what_is_no_collapse_is_refused_or_left_to_be_judged():
    "Curves of pure noise, as a few samples at a rare seed may look."
    rng = np.random.default_rng(0)
    curves = rng.normal(size=(len(SIDES), len(GRID)))
    try: strict = cr.data_collapse(GRID, curves, SIDES, 1e-3, float(GRID[5]))
    except ValueError as error: strict = str(error)
    loose = cr.data_collapse(GRID, curves, SIDES, 1e-3, float(GRID[5]), strict=False)
    assert isinstance(strict, str) and strict.startswith("no collapse")
    assert loose.quality > 100 or not GRID[0] <= loose.critical <= GRID[-1]
