"Distances between orbits: exact properties, equality with POT, invariance under symmetries, faults."
import copy

import numpy as np
import ot
import pytest
import torch
from symbreak_nb import orbits
from symbreak_nb.run import ParameterError
from torch import nn

from chains import BUILDERS, inputs, made, mlp

METHODS = ("matching", "neurons", "sliced")


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_transformed_network_is_the_same_function_at_distance_zero(name, seed):
    model = made(name, seed)
    copies = [orbits.transform_hidden(model, s, rescale) for s in (seed, seed + 10) for rescale in (False, True)]
    x = inputs(name)
    for other in copies: torch.testing.assert_close(other(x), model(x), rtol=1e-9, atol=1e-9)
    for method in METHODS: assert orbits.orbit_distance([model, *copies], method).max() < 1e-6


@pytest.mark.parametrize("name", BUILDERS)
def test_distances_are_between_orbits_and_bound_each_other(name):
    models = [made(name, s) for s in range(6)]
    moved = [orbits.transform_hidden(m, 100 + s, rescale=True) for s, m in enumerate(models)]
    found = {m: orbits.orbit_distance(models, m) for m in (*METHODS, "weights")}
    for method in METHODS:
        d = found[method]
        assert (d == d.T).all() and not np.diag(d).any() and d[np.triu_indices(6, 1)].min() > 0.01 and d.max() <= 2
        np.testing.assert_allclose(orbits.orbit_distance(moved, method), d, atol=1e-6)
        np.testing.assert_allclose(orbits.orbit_distance(models[::-1], method), d[::-1, ::-1], atol=1e-6)
    assert (found["neurons"] <= found["matching"] + 1e-9).all() and (found["matching"] <= found["weights"] + 1e-9).all()
    assert (found["sliced"] <= 1.3*found["neurons"] + 1e-9).all()
    for method in ("neurons", "sliced", "weights"):
        d = found[method]
        assert (d[:, None] <= d[:, :, None] + d[None] + 1e-9).all()


def test_matching_finds_the_best_permutation_of_a_small_network():
    from itertools import permutations
    a, b = (mlp(nn.GELU, (3, 5, 2)).double() for _ in range(2))
    stack = orbits._representatives([a, b])
    row = stack.vector()[0]
    w, v = stack.weights[0][1], stack.weights[1][1]
    best = min(float((row - torch.cat([w[list(o)].flatten(), v[:, list(o)].flatten(), stack.biases[0][1][list(o)],
                                       stack.biases[1][1]])).norm()) for o in permutations(range(5)))
    found = orbits.orbit_distance([a, b])[0, 1]
    assert best - 1e-12 <= found <= best + 1e-12 or found <= 1.1*best


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clouds_are_exact_optimal_transport(seed):
    stack = orbits._representatives([made("relu", seed), made("relu", seed + 50)])
    uniform = lambda n: np.full(n, 1/n)
    total = float(((orbits._ends(stack)[0] - orbits._ends(stack)[1])**2).sum())
    for ordered, loose, _ in orbits._clouds(stack):
        a, b = torch.cat([ordered, loose], 2).numpy()
        total += len(a)*ot.emd2(uniform(len(a)), uniform(len(a)), ot.dist(a, b))
    assert abs(orbits.orbit_distance([made("relu", seed), made("relu", seed + 50)], "neurons")[0, 1]**2 - total) < 1e-10


def test_balanced_weights_have_the_smallest_norm_of_the_orbit():
    model = made("relu", 3)
    size = lambda stack: float(stack.vector().norm(dim=1)[0])
    raw = lambda m: orbits._Networks(*([torch.stack([x, x]) for x in part] for part in zip(*[
        orbits._folded(s, s.layer.weight.shape[1]) for s in orbits._read_chain(m)], strict=True)), ["scale", "scale"])
    norms = [size(raw(orbits.transform_hidden(model, s, rescale=True))) for s in range(10)]
    least = [size(orbits._balanced(raw(orbits.transform_hidden(model, s, rescale=True)))) for s in range(3)]
    assert max(least) - min(least) < 1e-9 and max(least) < min(norms)


def test_a_dead_unit_does_not_count():
    model = mlp()
    with torch.no_grad(): model[2].weight[:, 0] = 0
    other = copy.deepcopy(model)
    with torch.no_grad(): other[0].weight[0] += 1
    for method in METHODS: assert orbits.orbit_distance([model, other], method).max() < 1e-6


@pytest.mark.parametrize("model, words", [
    (nn.LSTM(2, 2), "LSTM"), (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2)), "LayerNorm"),
    (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "activation between"), (nn.Sequential(nn.Flatten()), "none was found"),
    (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), "grouped"), (nn.Transformer(8, 2, 1, 1, 8), "Transformer"),
    (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3)), "directly after a layer"),
    (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(4, 2)), "do not belong")])
def test_what_is_no_chain_is_named(model, words):
    with pytest.raises(ParameterError, match=words): orbits._read_chain(model)


def test_a_network_that_is_no_chain_is_sent_to_align():
    with pytest.raises(ParameterError, match="symbreak_nb.canonical.align"): orbits._read_chain(nn.TransformerEncoderLayer(4, 2))


def test_maximum_pooling_takes_the_sign_away():
    pooled = lambda pool: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), pool, nn.Flatten(), nn.Linear(8, 2))
    assert [orbits._read_chain(pooled(p))[0].symmetry for p in (nn.AvgPool2d(2), nn.MaxPool2d(2))] == ["sign", "permutation"]


def test_two_activations_in_a_row_have_the_symmetry_that_both_have():
    chain = lambda *acts: nn.Sequential(nn.Linear(3, 4), *acts, nn.Linear(4, 2))
    rows = [(nn.ReLU, nn.Tanh), (nn.Tanh, nn.ReLU), (nn.ReLU, nn.LeakyReLU), (nn.Tanh, nn.Softsign), (nn.ReLU, nn.GELU)]
    found = [orbits._read_chain(chain(*(act() for act in acts)))[0].symmetry for acts in rows]
    assert found == ["permutation", "permutation", "scale", "sign", "permutation"]
    one, x = chain(nn.Tanh(), nn.ReLU()), torch.randn(20, 3)
    assert torch.allclose(one(x), orbits.transform_hidden(one, 1, rescale=True)(x), atol=1e-6)


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.orthogonal])
def test_weights_that_are_computed_and_layers_used_twice_are_named(norm):
    twice = nn.Linear(4, 4)
    with pytest.raises(ParameterError, match="computed from others"):
        orbits._read_chain(nn.Sequential(norm(twice), nn.ReLU(), nn.Linear(4, 2)))
    again = nn.Linear(4, 4)
    with pytest.raises(ParameterError, match="used twice"): orbits._read_chain(nn.Sequential(again, nn.ReLU(), again))
