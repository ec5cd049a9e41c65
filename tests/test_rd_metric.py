"Replica distance: all pairs against POT, UMAP, densities and bootstraps, null ensembles, faults."
import copy

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from symbreak_nb import rd_metric as rd
from symbreak_nb.run import ParameterError
from torch import nn

from chains import SHAPE, made, mlp, nested

METHODS = ("matching", "neurons", "sliced")


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shape", [(2, 1), (5, 3), (20, 100), (31, 57)])
def test_all_pairs_agree_with_pot(shape, seed):
    points = np.random.default_rng(seed).standard_normal(shape)*10.**np.random.default_rng(seed).integers(-3, 3)
    looped = np.array([[ot.wasserstein_1d(a, b) for b in points] for a in points])
    assert np.abs(rd.pairwise_wasserstein(points) - looped).max() <= 1e-12*max(1, np.abs(points).max())


@given(arrays(np.float64, st.tuples(st.integers(2, 8), st.integers(1, 9)), elements=st.floats(-1e3, 1e3)))
@settings(max_examples=60, deadline=None)
def test_wasserstein_is_a_metric_on_distributions(points):
    d = rd.pairwise_wasserstein(points)
    assert (d == d.T).all() and not np.diag(d).any() and (d >= 0).all()
    assert (d[:, None] <= d[:, :, None] + d[None] + 1e-9).all()
    assert np.allclose(rd.pairwise_wasserstein(points[:, ::-1]), d, atol=1e-9)
    assert np.allclose(rd.pairwise_wasserstein(points + 3), d, atol=1e-9)
    assert np.allclose(rd.pairwise_wasserstein(-2*points), 2*d, atol=1e-9)


def test_wasserstein_known_values():
    assert rd.pairwise_wasserstein([[0, 0, 0], [1, 2, 3]]).tolist() == [[0, 2], [2, 0]]
    assert not rd.pairwise_wasserstein([[1, 2, 3], [3, 1, 2]]).any()


@pytest.mark.parametrize("bad", [np.zeros((1, 5)), np.zeros(5), np.zeros((3, 0)), np.full((3, 3), np.nan), [[1, np.inf], [1, 2]], "x"])
def test_bad_points_end_in_one_line(bad):
    with pytest.raises(ParameterError) as error: rd.pairwise_wasserstein(bad)
    assert "\n" not in str(error.value) and "allowed is" in str(error.value)


@pytest.mark.parametrize("name", ["simple", "batchnorm", "tanh"])
def test_distance_grows_with_noise(name):
    model = made(name, 5)
    copies = [m.double() for m in rd.noisy_copies(model.float(), (0.01, 0.1, 0.3, 1.0), seed=4)]
    for method in METHODS:
        d = rd.replica_distance([model.double(), *copies], method)[0, 1:]
        assert (np.diff(d) > 0).all() and d[0] < 0.05


@pytest.mark.parametrize("method", rd.METHODS)
@pytest.mark.parametrize("models, words", [
    (lambda: [mlp()], "1 models"), (lambda: "nets", "str"), (lambda: [mlp(), nested()], ""),
    (lambda: [mlp(), _filled(np.nan)], "model 1 with nan"), (lambda: [_filled(1.), mlp()], "model 0 with constant weights")])
def test_bad_models_end_in_one_line(method, models, words):
    with pytest.raises(ParameterError) as error: rd.replica_distance(models(), method)
    assert "\n" not in str(error.value) and words in str(error.value)


def _filled(value: float) -> nn.Module:
    model = mlp()
    with torch.no_grad():
        for w in model.parameters(): w.fill_(value)
    return model


def test_umap_is_repeatable_and_gets_exact_neighbours():
    from sklearn.neighbors import NearestNeighbors
    points = np.random.default_rng(0).standard_normal((40, 90))
    assert (rd.umap_embed(points, 6, 1) == rd.umap_embed(points, 6, 1)).all()
    assert (rd.umap_embed(points, 6, 1) != rd.umap_embed(points, 6, 2)).any()
    index, distance = rd._neighbours(points, 15)
    found, order = NearestNeighbors(n_neighbors=15, algorithm="brute").fit(points).kneighbors(points)
    assert (index == order).all() and np.allclose(distance[:, 1:], found[:, 1:], rtol=1e-5) and not distance[:, 0].any()


@pytest.mark.parametrize("points, components, words", [
    (np.ones((9, 4)), 2, "constant"), (np.eye(5), 5, "fewer than the 5"), (np.eye(5), 100, "fewer than the 5"),
    (np.eye(3), 2, "at least 4"), (np.eye(1), 1, "at least 2"), (np.full((9, 4), np.nan), 2, "nan")])
def test_umap_refuses_what_it_cannot_embed(points, components, words):
    with pytest.raises(ParameterError, match=words): rd.umap_embed(points, components)


@pytest.mark.parametrize("n_components", [1, 4, 8, 9])
def test_umap_takes_few_replicas_up_to_one_component_less(n_components):
    found = rd.umap_embed(np.random.default_rng(1).standard_normal((10, 30)), n_components)
    assert found.shape == (10, n_components) and np.isfinite(found).all()


def test_density_keeps_mean_and_area():
    v = np.random.default_rng(0).gamma(3, 2, 5000)
    d = rd.smoothed_density(v)
    assert abs(d.mean - v.mean()) < 0.05 and abs(np.trapezoid(d.y, d.x) - 1) < 1e-6 and d.x[0] < v.min() < v.max() < d.x[-1]
    assert abs(rd.smoothed_density(np.full(10, 2.)).mean - 2) < 1e-3


def test_the_bootstrap_covers_the_true_mean_of_dependent_pairs():
    rng, inside = np.random.default_rng(0), 0
    for k in range(100):
        v = rng.standard_normal(40)
        low, high = rd.percentiles(rd.bootstrap_mean(np.abs(v[:, None] - v)[None], 300, k))
        inside += low <= 2/np.sqrt(np.pi) <= high
    assert 85 <= inside <= 100


def test_nulls_are_what_they_say():
    model = rd.build_net("simple", SHAPE, 4, (3, 5, 8))
    weights = np.stack([rd.weights_vector(rd.build_net("simple", SHAPE, 4, (3, 5, 8))) for _ in range(6)])
    nulls = rd.null_ensembles(weights, weights, model, 0)
    assert all(v.shape == weights.shape for v in nulls.values())
    x, one = torch.randn(9, *SHAPE), rd.restore(copy.deepcopy(model), weights[0])
    for w in nulls["permuted"]: torch.testing.assert_close(rd.restore(copy.deepcopy(model), w)(x), one(x))
    nets = [rd.restore(copy.deepcopy(model), w) for w in nulls["permuted"]]
    assert rd.replica_distance(nets).max() < 1e-6
    assert np.ptp([rd.weights_vector(n) for n in nets], 0).max() > 0.1


def test_running_statistics_survive_storage():
    model = made("batchnorm", 2).float()
    other = rd.restore(rd.build_net("batchnorm", SHAPE, 4, (3, 5, 8)), rd.weights_vector(model), rd._buffers(model).numpy())
    x = torch.randn(5, *SHAPE)
    torch.testing.assert_close(other(x), model(x))


@pytest.mark.parametrize("profile", rd.PROFILES)
def test_the_plan_counts_and_steps(profile):
    units = rd.plan_units(rd.PROFILES[profile], "cpu")
    assert all({"name", "count", "flops", "memory_bytes", "step"} <= set(u) and u["count"] > 0 and u["flops"] > 0 for u in units)
    if profile == "smoke": assert units[0]["step"]() > 0


@pytest.mark.parametrize("settings", [dict(device="nowhere"), dict(method="umap", n_components=0), dict(method="umap", n_components=1.5)])
def test_bad_settings_end_in_one_line(settings):
    with pytest.raises(ParameterError) as error: rd.replica_distance([mlp() for _ in range(6)], **settings)
    assert "\n" not in str(error.value)
