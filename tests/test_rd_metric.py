"Replica distance: exact properties of the distances, equality with POT, invariance under symmetries, faults."
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

SHAPE = (1, 8, 8)
METHODS = ("matching", "neurons", "sliced")


def mlp(activation=nn.ReLU, widths=(5, 7, 6, 3), bias=True) -> nn.Sequential:
    layers = []
    for a, b in zip(widths[:-1], widths[1:], strict=True): layers += [nn.Linear(a, b, bias=bias), activation()]
    return nn.Sequential(*layers[:-1])


def nested() -> nn.Sequential:
    features = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.Flatten())
    return nn.Sequential(features, nn.Sequential(nn.Linear(4*9, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)))


def conv1d() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(1, 5, 3, bias=False), nn.Tanh(), nn.AvgPool1d(2), nn.Conv1d(5, 4, 3), nn.GELU(),
                         nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(4, 2))


BUILDERS = {name: lambda name=name: rd.build_net(name, SHAPE, 4, (3, 5, 8)) for name in rd.NETS}
BUILDERS |= dict(relu=mlp, tanh=lambda: mlp(nn.Tanh), gelu=lambda: mlp(nn.GELU), no_bias=lambda: mlp(bias=False),
                 nested=nested, conv1d=conv1d, one_layer=lambda: nn.Sequential(nn.Linear(4, 3)))
INPUTS = dict.fromkeys(rd.NETS, SHAPE) | dict(nested=(2, 14, 14), conv1d=(1, 20), one_layer=(4,))


def inputs(name: str) -> torch.Tensor:
    return torch.randn(6, *INPUTS.get(name, (5,)), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def made(name: str, seed: int) -> nn.Module:
    "A network whose weights and running statistics are all random."
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BUILDERS[name]().double().eval()
        with torch.no_grad():
            for part in model.modules():
                if not isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)): continue
                for v in (part.weight, part.running_var): v.uniform_(0.5, 2)
                for v in (part.bias, part.running_mean): v.normal_()
    return model


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


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_transformed_network_is_the_same_function_at_distance_zero(name, seed):
    model = made(name, seed)
    copies = [rd.transform_hidden(model, s, rescale) for s in (seed, seed + 10) for rescale in (False, True)]
    x = inputs(name)
    for other in copies: torch.testing.assert_close(other(x), model(x), rtol=1e-9, atol=1e-9)
    for method in METHODS: assert rd.replica_distance([model, *copies], method).max() < 1e-6


@pytest.mark.parametrize("name", BUILDERS)
def test_distances_are_between_orbits_and_bound_each_other(name):
    models = [made(name, s) for s in range(6)]
    moved = [rd.transform_hidden(m, 100 + s, rescale=True) for s, m in enumerate(models)]
    found = {m: rd.replica_distance(models, m) for m in (*METHODS, "weights")}
    for method in METHODS:
        d = found[method]
        assert (d == d.T).all() and not np.diag(d).any() and d[np.triu_indices(6, 1)].min() > 0.01 and d.max() <= 2
        np.testing.assert_allclose(rd.replica_distance(moved, method), d, atol=1e-6)
        np.testing.assert_allclose(rd.replica_distance(models[::-1], method), d[::-1, ::-1], atol=1e-6)
    assert (found["neurons"] <= found["matching"] + 1e-9).all() and (found["matching"] <= found["weights"] + 1e-9).all()
    assert (found["sliced"] <= 1.3*found["neurons"] + 1e-9).all()
    for method in ("neurons", "sliced", "weights"):
        d = found[method]
        assert (d[:, None] <= d[:, :, None] + d[None] + 1e-9).all()


def test_matching_finds_the_best_permutation_of_a_small_network():
    from itertools import permutations
    a, b = (mlp(nn.GELU, (3, 5, 2)).double() for _ in range(2))
    stack = rd.stack_models([a, b])
    row = stack.vector()[0]
    w, v = stack.weights[0][1], stack.weights[1][1]
    best = min(float((row - torch.cat([w[list(o)].flatten(), v[:, list(o)].flatten(), stack.biases[0][1][list(o)],
                                       stack.biases[1][1]])).norm()) for o in permutations(range(5)))
    found = rd.replica_distance([a, b])[0, 1]
    assert best - 1e-12 <= found <= best + 1e-12 or found <= 1.1*best


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clouds_are_exact_optimal_transport(seed):
    stack = rd.stack_models([made("relu", seed), made("relu", seed + 50)])
    uniform = lambda n: np.full(n, 1/n)
    total = float(((rd._ends(stack)[0] - rd._ends(stack)[1])**2).sum())
    for ordered, loose, _ in rd._clouds(stack):
        a, b = torch.cat([ordered, loose], 2).numpy()
        total += len(a)*ot.emd2(uniform(len(a)), uniform(len(a)), ot.dist(a, b))
    assert abs(rd.replica_distance([made("relu", seed), made("relu", seed + 50)], "neurons")[0, 1]**2 - total) < 1e-10


def test_balanced_weights_have_the_smallest_norm_of_the_orbit():
    model = made("relu", 3)
    size = lambda stack: float(stack.vector().norm(dim=1)[0])
    raw = lambda m: rd.Stack(*([torch.stack([x, x]) for x in part] for part in zip(*[
        rd._folded(s, s.layer.weight.shape[1]) for s in rd.read_chain(m)], strict=True)), ["scale", "scale"])
    norms = [size(raw(rd.transform_hidden(model, s, rescale=True))) for s in range(10)]
    least = [size(rd._balanced(raw(rd.transform_hidden(model, s, rescale=True)))) for s in range(3)]
    assert max(least) - min(least) < 1e-9 and max(least) < min(norms)


def test_a_dead_unit_does_not_count():
    model = mlp()
    with torch.no_grad(): model[2].weight[:, 0] = 0
    other = copy.deepcopy(model)
    with torch.no_grad(): other[0].weight[0] += 1
    for method in METHODS: assert rd.replica_distance([model, other], method).max() < 1e-6


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


@pytest.mark.parametrize("model, words", [
    (nn.LSTM(2, 2), "LSTM"), (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2)), "LayerNorm"),
    (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "activation between"), (nn.Sequential(nn.Flatten()), "none was found"),
    (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), "grouped"), (nn.Transformer(8, 2, 1, 1, 8), "Transformer"),
    (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3)), "directly after a layer"),
    (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(4, 2)), "do not belong")])
def test_what_is_no_chain_is_named(model, words):
    with pytest.raises(ParameterError, match=words): rd.read_chain(model)


def test_maximum_pooling_takes_the_sign_away():
    pooled = lambda pool: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), pool, nn.Flatten(), nn.Linear(8, 2))
    assert [rd.read_chain(pooled(p))[0].symmetry for p in (nn.AvgPool2d(2), nn.MaxPool2d(2))] == ["sign", "permutation"]


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


def test_two_activations_in_a_row_have_the_symmetry_that_both_have():
    chain = lambda *acts: nn.Sequential(nn.Linear(3, 4), *acts, nn.Linear(4, 2))
    rows = [(nn.ReLU, nn.Tanh), (nn.Tanh, nn.ReLU), (nn.ReLU, nn.LeakyReLU), (nn.Tanh, nn.Softsign), (nn.ReLU, nn.GELU)]
    found = [rd.read_chain(chain(*(act() for act in acts)))[0].symmetry for acts in rows]
    assert found == ["permutation", "permutation", "scale", "sign", "permutation"]
    one, x = chain(nn.Tanh(), nn.ReLU()), torch.randn(20, 3)
    assert torch.allclose(one(x), rd.transform_hidden(one, 1, rescale=True)(x), atol=1e-6)


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.orthogonal])
def test_weights_that_are_computed_and_layers_used_twice_are_named(norm):
    twice = nn.Linear(4, 4)
    with pytest.raises(ParameterError, match="computed from others"): rd.read_chain(nn.Sequential(norm(twice), nn.ReLU(), nn.Linear(4, 2)))
    again = nn.Linear(4, 4)
    with pytest.raises(ParameterError, match="used twice"): rd.read_chain(nn.Sequential(again, nn.ReLU(), again))


@pytest.mark.parametrize("settings", [dict(device="nowhere"), dict(method="umap", n_components=0), dict(method="umap", n_components=1.5)])
def test_bad_settings_end_in_one_line(settings):
    with pytest.raises(ParameterError) as error: rd.replica_distance([mlp() for _ in range(6)], **settings)
    assert "\n" not in str(error.value)
