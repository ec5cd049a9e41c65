"The steps of the replica distance: all pairs against POT, UMAP and its refusals, densities, and an honest bootstrap."
import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from symbreak_nb import wasserstein
from symbreak_nb.run import ParameterError


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shape", [(2, 1), (5, 3), (20, 100), (31, 57)])
def test_all_pairs_agree_with_pot(shape, seed):
    points = np.random.default_rng(seed).standard_normal(shape)*10.**np.random.default_rng(seed).integers(-3, 3)
    looped = np.array([[ot.wasserstein_1d(a, b) for b in points] for a in points])
    assert np.abs(wasserstein.pairwise_wasserstein(points) - looped).max() <= 1e-12*max(1, np.abs(points).max())


@given(arrays(np.float64, st.tuples(st.integers(2, 8), st.integers(1, 9)), elements=st.floats(-1e3, 1e3)))
@settings(max_examples=60, deadline=None)
def test_wasserstein_is_a_metric_on_distributions(points):
    d = wasserstein.pairwise_wasserstein(points)
    assert (d == d.T).all() and not np.diag(d).any() and (d >= 0).all()
    assert (d[:, None] <= d[:, :, None] + d[None] + 1e-9).all()
    assert np.allclose(wasserstein.pairwise_wasserstein(points[:, ::-1]), d, atol=1e-9)
    assert np.allclose(wasserstein.pairwise_wasserstein(points + 3), d, atol=1e-9)
    assert np.allclose(wasserstein.pairwise_wasserstein(-2*points), 2*d, atol=1e-9)


def test_wasserstein_known_values():
    assert wasserstein.pairwise_wasserstein([[0, 0, 0], [1, 2, 3]]).tolist() == [[0, 2], [2, 0]]
    assert not wasserstein.pairwise_wasserstein([[1, 2, 3], [3, 1, 2]]).any()


@pytest.mark.parametrize("bad", [np.zeros((1, 5)), np.zeros(5), np.zeros((3, 0)), np.full((3, 3), np.nan), [[1, np.inf], [1, 2]], "x"])
def test_bad_points_end_in_one_line(bad):
    with pytest.raises(ParameterError) as error: wasserstein.pairwise_wasserstein(bad)
    assert "\n" not in str(error.value) and "allowed is" in str(error.value)


def test_umap_is_repeatable_and_gets_exact_neighbours():
    from sklearn.neighbors import NearestNeighbors
    points = np.random.default_rng(0).standard_normal((40, 90))
    assert (wasserstein.umap_embed(points, 6, 1) == wasserstein.umap_embed(points, 6, 1)).all()
    assert (wasserstein.umap_embed(points, 6, 1) != wasserstein.umap_embed(points, 6, 2)).any()
    index, distance = wasserstein._neighbours(points, 15)
    found, order = NearestNeighbors(n_neighbors=15, algorithm="brute").fit(points).kneighbors(points)
    assert (index == order).all() and np.allclose(distance[:, 1:], found[:, 1:], rtol=1e-5) and not distance[:, 0].any()


@pytest.mark.parametrize("points, components, words", [
    (np.ones((9, 4)), 2, "constant"), (np.eye(5), 5, "fewer than the 5"), (np.eye(5), 100, "fewer than the 5"),
    (np.eye(3), 2, "at least 4"), (np.eye(1), 1, "at least 2"), (np.full((9, 4), np.nan), 2, "nan")])
def test_umap_refuses_what_it_cannot_embed(points, components, words):
    with pytest.raises(ParameterError, match=words): wasserstein.umap_embed(points, components)


@pytest.mark.parametrize("n_components", [1, 4, 8, 9])
def test_umap_takes_few_replicas_up_to_one_component_less(n_components):
    found = wasserstein.umap_embed(np.random.default_rng(1).standard_normal((10, 30)), n_components)
    assert found.shape == (10, n_components) and np.isfinite(found).all()


def test_density_keeps_mean_and_area():
    v = np.random.default_rng(0).gamma(3, 2, 5000)
    d = wasserstein.smoothed_density(v)
    assert abs(d.mean - v.mean()) < 0.05 and abs(np.trapezoid(d.y, d.x) - 1) < 1e-6 and d.x[0] < v.min() < v.max() < d.x[-1]
    assert abs(wasserstein.smoothed_density(np.full(10, 2.)).mean - 2) < 1e-3


def test_the_bootstrap_covers_the_true_mean_of_dependent_pairs():
    rng, inside = np.random.default_rng(0), 0
    for k in range(100):
        v = rng.standard_normal(40)
        low, high = np.percentile(wasserstein.bootstrap_pairs(np.abs(v[:, None] - v)[None], 300, k), (2.5, 97.5))
        inside += low <= 2/np.sqrt(np.pi) <= high
    assert 85 <= inside <= 100
