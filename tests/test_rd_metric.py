"Replica distance: agreement of its methods, null ensembles, storage of networks, the plan, and faults."
import copy
import doctest

import numpy as np
import pytest
import torch
from symbreak_nb import orbits, wasserstein
from symbreak_nb import rd_metric as rd
from symbreak_nb.run import ParameterError
from torch import nn

from chains import SHAPE, made, mlp, nested

METHODS = ("matching", "neurons", "sliced")


@pytest.mark.parametrize("name", ["simple", "batchnorm", "tanh"])
def test_distance_grows_with_noise(name):
    model = made(name, 5)
    copies = [m.double() for m in orbits._noisy_copies(model.float(), (0.01, 0.1, 0.3, 1.0), seed=4)]
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


def test_nulls_are_what_they_say():
    model = rd.build_net("simple", SHAPE, 4, (3, 5, 8))
    weights = np.stack([orbits._weights_vector(rd.build_net("simple", SHAPE, 4, (3, 5, 8))) for _ in range(6)])
    nulls = rd.null_ensembles(weights, weights, model, 0)
    assert all(v.shape == weights.shape for v in nulls.values())
    x, one = torch.randn(9, *SHAPE), orbits._restore(copy.deepcopy(model), weights[0])
    for w in nulls["permuted"]: torch.testing.assert_close(orbits._restore(copy.deepcopy(model), w)(x), one(x))
    nets = [orbits._restore(copy.deepcopy(model), w) for w in nulls["permuted"]]
    assert rd.replica_distance(nets).max() < 1e-6
    assert np.ptp([orbits._weights_vector(n) for n in nets], 0).max() > 0.1


def test_running_statistics_survive_storage():
    model = made("batchnorm", 2).float()
    other = orbits._restore(rd.build_net("batchnorm", SHAPE, 4, (3, 5, 8)), orbits._weights_vector(model), rd._buffers(model).numpy())
    x = torch.randn(5, *SHAPE)
    torch.testing.assert_close(other(x), model(x))


@pytest.mark.parametrize("profile", rd.PARAMETERS)
def test_the_plan_counts_and_steps(profile):
    units = rd.plan_units(rd.PARAMETERS[profile], "cpu")
    assert all(unit.count > 0 and unit.flops > 0 and unit.memory_bytes > 0 for unit in units)
    if profile == "smoke": units[0].step()


def test_the_examples_run():
    for module in (rd, wasserstein):
        found = doctest.testmod(module)
        assert found.attempted and not found.failed


@pytest.mark.parametrize("settings", [dict(device="nowhere"), dict(method="umap", n_components=0), dict(method="umap", n_components=1.5)])
def test_bad_settings_end_in_one_line(settings):
    with pytest.raises(ParameterError) as error: rd.replica_distance([mlp() for _ in range(6)], **settings)
    assert "\n" not in str(error.value)


def test_the_scatter_of_ensembles_covers_a_ratio_of_one():
    draws = np.exp(np.random.default_rng(0).normal(size=(2000, 6))*0.05)   # six ensembles of one kind
    found = [rd._over_ensembles(v[0], v[1:]) for v in draws]
    assert 0.92 < np.mean([e.interval[0] < 1 < e.interval[1] for e in found]) < 0.98
    assert found[0].p_value(found[0].interval[1]) == pytest.approx(0.05)


def test_few_networks_decide_only_a_clear_order():
    order = np.arange(5.)
    assert rd._guidance(order, order).interval[0] > 0 > rd._guidance(order, -order).interval[1]
    low, high = rd._guidance(order, np.array([0, 2, 1, 4, 3.])).interval   # 0.8
    assert low < 0 < high
    low, high = rd._guidance(np.arange(50.), np.arange(50.) % 7).interval
    assert low < 0.2 < high


@pytest.mark.parametrize("name", [n for n in rd.CLAIMS if n.startswith("zhang.fig8") or "measures" in n or "guide" in n])
def test_networks_that_are_not_trained_decide_nothing(name):
    from symbreak_nb.claims import decided
    claim = rd.CLAIMS[name]
    met = {p.name: 1e9 if ">" in p.rule else 0.0 for p in claim.premises}
    good = 4 if "order" in name and "repeats" not in name else 0.1 if "measures" in name else 0.9
    estimate = rd._drawn(good, np.full(50, good), 300)
    assert decided(claim, estimate, "smoke", **met)["verdict"] == "holds"
    first = claim.premises[0]
    row = decided(claim, estimate, "smoke", **met | {first.name: float("nan")})
    assert row["verdict"] == "inconclusive" and first.statement in row["reason"]
