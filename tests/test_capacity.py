"Closed forms of rank under decay, networks that carry their data, counts and correlations, refusals."
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import capacity as c
from symbreak_nb import data
from symbreak_nb.replicas import train_one
from symbreak_nb.run import ParameterError, Run, parse_rule
from torch import nn

pytestmark = pytest.mark.usefixtures("one_thread")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1e-3, 10), min_size=1, max_size=8), st.floats(0.1, 100), st.integers(0, 5))
def test_ranks_ignore_scale_and_zeros(values, factor, zeros):
    s = np.array(sorted(values, reverse=True))
    padded = np.concatenate([factor*s, np.zeros(zeros)])
    assert c.numerical_rank(padded, 1e-6) == len(s)
    assert math.isclose(c.effective_rank(padded), c.effective_rank(s), rel_tol=1e-9)
    assert 1 - 1e-9 <= c.effective_rank(s) <= len(s) + 1e-9


def test_ranks_of_known_matrices_and_of_networks_that_diverged():
    rng = np.random.default_rng(0)
    w = np.stack([np.eye(4), np.outer(rng.normal(size=4), rng.normal(size=4)), np.zeros((4, 4)), np.full((4, 4), np.inf)])
    s = c.singular_values(w)
    assert np.array_equal(c.numerical_rank(s), [4, 1, 0, np.nan], equal_nan=True)
    assert np.allclose(c.effective_rank(s)[:3], [4, 1, 0], atol=1e-6) and math.isnan(c.effective_rank(s)[3])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("width", [2, 5, 9])
def test_two_linear_layers_end_at_the_soft_threshold(seed, width):
    sigma, decays = [2.5, 1.6, 0.9, 0.4], [0.15, 0.6, 1.2]
    found = c.train_factors(sigma=sigma, width=width, depth=2, decays=decays, steps=900, lr=0.2, gain=0.6, seed=seed)
    exact = np.array([c.shrunk(np.array(sigma), decay, width) for decay in decays])
    assert np.abs(found["product"] - exact).max() < 1e-6


@pytest.mark.parametrize("depth", [3, 4, 6])
def test_critical_decays_against_brute_force(depth):
    s = np.linspace(1e-4, 1, 200001)
    cost = lambda decay: 0.5*(s - 1)**2 + depth/2*decay*s**(2/depth)
    edge = c.critical_decay(depth)
    assert cost(0.999*edge).min() < 0.5 < cost(1.001*edge)[1000:].min()
    last = c.critical_decay(depth, metastable=True)
    assert edge < last and np.isclose(((1 - s)*s**(1 - 2/depth)).max(), last, rtol=1e-6)
    assert c.upper_branch(np.array([1.001*last]), depth) == 0 < c.upper_branch(np.array([0.999*last]), depth)
    at = c.upper_branch(np.array([0.8*edge]), depth)
    assert np.isclose((1 - at)*at**(1 - 2/depth), 0.8*edge, atol=1e-6)
    with pytest.raises(ParameterError, match="at least 2"): c.critical_decay(1)


@pytest.mark.parametrize("decay", [1e-1, 1e-4])
def test_adam_divides_the_decay_by_itself_and_adamw_does_not(decay):
    coupled, decoupled = (c.lone_weight(k, decay, 1e-2, 80) for k in ("adam", "adamw"))
    assert np.allclose(coupled, c.lone_weight("adam", 1.0, 1e-2, 80), atol=1e-3) and np.isclose(coupled[1], 0.99, atol=1e-5)
    assert np.allclose(decoupled, (1 - 1e-2*decay)**np.arange(81), atol=1e-12)


def student() -> nn.Module: return c.student_task(6, 3, 20, 0.5, 1.0, 1.0, 0.5, 4, True)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_networks_with_their_data_train_as_they_would_alone(optimizer):
    how = dict(lr=1e-2, weight_decay=0.1, optimizer=optimizer)
    nets = c.train(student, [7, 8], 20, 20, 6, **how)
    alone, losses = train_one(student, 8, torch.arange(20), torch.zeros(20, 1), epochs=6, batch_size=20, loss="mse", **how)
    ours = nets.module(1)
    assert torch.allclose(ours.net[0].weight, alone.net[0].weight, atol=1e-5) and np.allclose(nets.losses[1], losses, rtol=1e-4)
    assert torch.equal(ours.inputs, alone.inputs) and not torch.equal(ours.inputs, nets.module(0).inputs)


def test_a_network_of_whole_batches_refuses_parts():
    with pytest.raises(ParameterError, match="all rows"): c.train(student, [0], 20, 5, 4, lr=1e-2)


def test_a_sweep_changes_the_task_and_nothing_else():
    def made(**how):
        torch.manual_seed(3)
        return c.student_task(**dict(width=6, depth=3, samples=20, gain=0.5, label_scale=2.0, alpha=1.0, sigma=0.0,
                                     teacher=6, fresh=False) | how)
    plain, weak, noisy, fresh = made(), made(alpha=2.0), made(sigma=0.5), made(sigma=0.5, fresh=True)
    for other in (weak, noisy, fresh): assert torch.equal(other.net[0].weight, plain.net[0].weight)
    assert torch.allclose(weak.inputs, plain.inputs/2) and torch.equal(noisy.inputs, plain.inputs)
    rows, noise = torch.arange(20), (noisy.targets - plain.targets)/plain.targets.std()
    assert 0.2 < noise.std() < 0.8 and torch.equal(fresh.targets, plain.targets)
    drawn = [fresh(rows) - plain(rows) for _ in range(2)]
    assert not torch.equal(*drawn) and 0.2 < (drawn[0]/plain.targets.std()).std() < 0.8


def test_fresh_copies_have_no_data_and_all_arms_train():
    for arm in c.ARMS:
        found = c.train_width(arm, 6, 3, 10, 4, 0.1, 1e-2, 3, [0, 1])
        assert found["w1"].shape == (2, 3) and found["w2"].shape == (2, 6) and not found["diverged"].any()
        assert np.isfinite(found["test"]).all() and np.isfinite(found["train"]).all()


def test_a_run_that_diverges_is_recorded_as_such():
    build = lambda: c.copy_task(6, 3, 10, False)
    nets = c.train(build, [0, 1], 10, 10, 60, 3, lr=1e4, optimizer="sgd")
    assert nets.diverged.all()
    weights = torch.stack([m.net[2].weight.detach() for m in map(nets.module, (0, 1))])
    assert np.isnan(c.numerical_rank(c.singular_values(weights))).all()
    bad = np.full((1, 4, 3), np.nan)
    assert np.isnan(c.symmetric_pairs(bad, np.zeros((1, 2, 4)))).all() and c.living_classes(bad[0]) == -1
    assert c.over_seeds([np.nan, np.nan])["n"] == 0


def test_counts_know_the_sign_flip():
    a, b = np.eye(4)[:2]
    units = np.array([[a, -a, b, 0*a]])
    assert c.symmetric_pairs(units, np.zeros((1, 1, 4))) <= c.symmetric_pairs(units, np.zeros((1, 1, 4)), sign_flip=True)
    assert c.living_classes(units[0]) == 2 and c.living_classes(units[0], threshold=2.0) == 0
    d = c.distances(units)[0]
    assert d[0, 1] == 0 and np.allclose(d, d.T) and np.allclose(d[3, :3], 1)


def test_correlations_and_their_null():
    rng = np.random.default_rng(1)
    rows = np.arange(5)[:, None] + np.zeros(8)
    assert c.correlate(range(5), rows, rng, 200)["interval"] == (1, 1) and c.correlate(range(5), -rows, rng, 200)["p"] == 1
    p = [c.correlate(range(4), rng.normal(size=(4, 6)), rng, 200)["p"] for _ in range(60)]
    assert 0.3 < np.mean(p) < 0.7 and np.mean(np.array(p) < 0.1) < 0.25
    flat = c.correlate(range(4), np.ones((4, 6)), rng)
    assert math.isnan(flat["value"]) and flat["n"] == 0
    half = np.concatenate([rows[:, :1], np.ones((5, 1)), np.full((5, 1), np.nan)], 1)
    assert np.isclose(c.correlate(range(5), half, rng, 50)["value"], 0.5) and c.correlate(range(5), half, rng, 50)["n"] == 2


def test_growth_and_the_weakest_part():
    w = np.array([8, 16, 64])
    assert np.allclose(c.growth(w, np.stack([3*w**0.7, np.full(3, 5)], 1)), [0.7, 0])
    parts = [dict(value=1, interval=(0.5, 1.5)), dict(value=2, interval=(-3, 7)), dict(value=math.nan, interval=(math.nan,)*2)]
    assert c.weakest(parts[:2])["value"] == 2 and c.weakest(parts[:2], -1)["value"] == 2 and math.isnan(c.weakest(parts)["value"])


def test_attention_does_not_see_the_order_of_pairs_nor_the_hidden_label():
    torch.manual_seed(0)
    task = c.context_task(7, 3, 5, 4, 1.0, 1.0, 0.2, 2)
    z = task.inputs
    order = torch.cat([torch.randperm(6), torch.tensor([6])])
    assert torch.allclose(task.net(z), task.net(z[:, order]), atol=1e-5) and (z[:, -1, -1] == 0).all()
    layer = task.net.layers[0]
    before, flip = task.net(z), torch.tensor([1., -1, 1, -1, 1])[:, None]
    with torch.no_grad():
        mixed = torch.randperm(5)
        for m in (layer.query, layer.key): m.weight[:] = (flip*m.weight)[mixed]
    assert torch.allclose(before, task.net(z), atol=1e-5)


def test_six_neurons_take_more_for_a_richer_teacher():
    how = dict(inputs=4, samples=80, gain=0.5, lr=2e-2, decay=1e-2, steps=500)
    few, many = ([c.living_classes(u) for u in c.train_six([0, 1, 2], neurons=k, **how)["units"]] for k in (1, 4))
    assert sum(few) < sum(many) and max(many) <= 6


def test_hierarchy_and_layers_on_shipped_images():
    u = c.train_layers("digits", 60, 40, False, 12, 3, 30, 2, 1e-3, 1e-3, 1e-2, [0, 1])
    for when in ("before", "after"):
        assert u[f"{when}_rank"].shape == (2, 3) and (u[f"{when}_rank"] <= 12).all() and (u[f"{when}_broken"] <= 11).all()
    assert not np.array_equal(u["before_effective"], u["after_effective"]) and "scikit-learn" in u["source"]
    with pytest.raises(data.DataError): c.train_layers("svhn_", 60, 40, False, 12, 3, 30, 2, 1e-3, 1e-3, 1e-2, [0])


@pytest.mark.parametrize("levels", [[], [1], [2, 1], [1, 1]])
def test_levels_have_to_rise(levels):
    with pytest.raises(ParameterError, match="each above the one before"): c.increasing("widths", levels)


@pytest.mark.parametrize("name, value", [("widths", [0]), ("widths", 64), ("n_seeds", 0), ("mlp_steps", 1.5), ("noise_levels", [-1, 0]),
                                         ("scale_levels", [0]), ("dataset", "svhm"), ("rank_threshold", 1.0)])
def test_bad_parameters_end_in_one_line(tmp_path, name, value):
    with pytest.raises(ParameterError, match=name) as caught:
        Run("capacity", "smoke", out_dir=tmp_path, profiles=c.PROFILES, params={name: value}, allowed=c.allowed())
    assert "\n" not in str(caught.value)


def test_claims_and_the_papers_numbers():
    for claim in c.CLAIMS.values(): assert parse_rule(claim.rule)
    p = c.PROFILES["paper"]
    assert (p["dimension"], p["samples"], p["batch"], p["width_decay"]) == (300, 1000, 128, 1e-3)
    assert (p["mlp_width"], p["mlp_depth"], p["mlp_samples"], p["label_scale"], p["mlp_decay"]) == (64, 5, 300, 10.0, 1e-2)
    assert (p["tokens"], p["inputs"], p["attention_decay"], p["image_width"], p["n_seeds"]) == (50, 20, 1e-2, 512, 5)
    q = c.PROFILES["quick"]
    assert math.isclose(q["width_decay"]*q["dimension"], p["width_decay"]*p["dimension"])
    assert math.isclose(q["attention_lr"]*q["attention_decay"]*q["attention_steps"],
                        p["attention_lr"]*p["attention_decay"]*p["attention_steps"])


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_plan_counts_the_work(profile):
    units = c.plan_units(c.PROFILES[profile])
    for unit in units: assert unit["count"] > 0 and unit["flops"] > 0 and unit["memory_bytes"] > 0
    if profile == "smoke": assert all(unit["step"]() > 0 for unit in units)
