"Closed forms of rank under decay, arms that train, layers on images, refusals."
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import capacity as c
from symbreak_nb import data
from symbreak_nb import tasks as ta
from symbreak_nb.claims import verdict
from symbreak_nb.run import Estimate, ParameterError, Run

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
    assert c._upper_branch(np.array([1.001*last]), depth) == 0 < c._upper_branch(np.array([0.999*last]), depth)
    at = c._upper_branch(np.array([0.8*edge]), depth)
    assert np.isclose((1 - at)*at**(1 - 2/depth), 0.8*edge, atol=1e-6)
    with pytest.raises(ParameterError, match="at least 2"): c.critical_decay(1)


@pytest.mark.parametrize("decay", [1e-1, 1e-4])
def test_adam_divides_the_decay_by_itself_and_adamw_does_not(decay):
    coupled, decoupled = (c._lone_weight(k, decay, 1e-2, 80) for k in ("adam", "adamw"))
    assert np.allclose(coupled, c._lone_weight("adam", 1.0, 1e-2, 80), atol=1e-3) and np.isclose(coupled[1], 0.99, atol=1e-5)
    assert np.allclose(decoupled, (1 - 1e-2*decay)**np.arange(81), atol=1e-12)


def test_fresh_copies_have_no_data_and_all_arms_train():
    for arm in c._ARMS:
        found = c._train_width(arm, 6, 3, 10, 4, 0.1, 1e-2, 3, [0, 1])
        assert found["w1"].shape == (2, 3) and found["w2"].shape == (2, 6) and not found["diverged"].any()
        assert np.isfinite(found["test"]).all() and np.isfinite(found["train"]).all()


def test_a_run_that_diverges_is_recorded_as_such():
    build = lambda: c._copy_task(6, 3, 10, False)
    nets = ta.train_own_data(build, [0, 1], 10, 10, 60, 3, lr=1e4, optimizer="sgd")
    assert nets.diverged.all()
    weights = torch.stack([m.net[2].weight.detach() for m in map(nets.module, (0, 1))])
    assert np.isnan(c.numerical_rank(c.singular_values(weights))).all()


def test_growth_and_the_weakest_part():
    w = np.array([8, 16, 64])
    assert np.allclose(c._growth(w, np.stack([3*w**0.7, np.full(3, 5)], 1)), [0.7, 0])
    parts = [Estimate(1, (0.5, 1.5)), Estimate(2, (-3, 7)), Estimate(math.nan, (math.nan,)*2)]
    assert c._weakest(parts[:2]).value == 2 and c._weakest(parts[:2], -1).value == 2 and math.isnan(c._weakest(parts).value)


def test_halfway_is_a_training_of_half_the_steps():
    whole, half = (c._train_width("decay", 6, 3, 10, 4, 0.1, 1e-2, steps, [0, 1]) for steps in (8, 4))
    assert np.allclose(whole["half_w2"], c._train_width("decay", 6, 3, 10, 4, 0.1, 1e-2, 7, [0, 1])["half_w2"])
    assert not np.allclose(whole["half_test"], whole["test"]) and not np.allclose(whole["half_test"], half["half_test"])


@pytest.mark.parametrize("ranks, value", [([4, 6, 8, 2], 1), ([8, 6, 4, 2], -0.25), ([2, 4, 6, 8], -1)])
def test_a_peak_is_taken_from_the_other_seeds(ranks, value):
    assert math.isclose(c._rise_and_fall(np.array([ranks]*5)).value, value)
    noise = np.random.default_rng(0).normal(size=(400, 5))
    assert abs(c._rise_and_fall(10 + noise).value) < 0.03   # a peak of its own seed would lie above both ends


def test_a_seed_shows_what_its_weakest_correlation_shows():
    u = dict(after_rank=np.array([[5, 4, 3, 2], [5, 4, 3, 2]]), after_broken=np.array([[9, 8, 7, 6], [6, 7, 8, 9]]))
    assert np.allclose(c._hierarchy(u, "after"), [1, -1]) and np.allclose(c._hierarchy(u, "after", last=False), [1, -1])


def test_auto_takes_the_papers_images_where_they_are(monkeypatch):
    for there in ("", "somewhere"):
        monkeypatch.setattr(data, "available", lambda name, there=there: there)
        assert c._images_of("auto") == ("cifar10" if there else "mnist") and c._images_of("digits") == "digits"


def test_hierarchy_and_layers_on_shipped_images():
    u = c._train_layers("digits", 60, 40, False, 12, 3, 30, 2, 1e-3, 1e-3, 1e-2, [0, 1])
    for when in ("before", "after"):
        assert u[f"{when}_rank"].shape == (2, 3) and (u[f"{when}_rank"] <= 12).all() and (u[f"{when}_broken"] <= 11).all()
    assert not np.array_equal(u["before_effective"], u["after_effective"]) and "scikit-learn" in u["source"]
    with pytest.raises(data.DataError): c._train_layers("svhn_", 60, 40, False, 12, 3, 30, 2, 1e-3, 1e-3, 1e-2, [0])


@pytest.mark.parametrize("levels", [[], [1], [2, 1], [1, 1]])
def test_levels_have_to_rise(levels):
    with pytest.raises(ParameterError, match="each above the one before"): c._increasing("widths", levels)


@pytest.mark.parametrize("name, value", [("widths", [0]), ("widths", 64), ("n_seeds", 0), ("width_steps", 1.5),
                                         ("dataset", "svhm"), ("rank_threshold", 1.0)])
def test_bad_parameters_end_in_one_line(tmp_path, name, value):
    with pytest.raises(ParameterError, match=name) as caught:
        Run(c.PARAMETERS, dict(profile="smoke", out_dir=tmp_path, **{name: value}))
    assert "\n" not in str(caught.value)


def test_claims_and_the_papers_numbers():
    for one in c.CLAIMS.values(): assert verdict(one.rule, math.nan, (math.nan, math.nan)) == "inconclusive"
    p, q = c.PARAMETERS["paper"], c.PARAMETERS["quick"]
    assert (p["dimension"], p["samples"], p["batch"], p["width_decay"]) == (300, 1000, 128, 1e-3)
    assert (p["image_width"], p["n_seeds"]) == (512, 5)
    assert math.isclose(q["width_decay"]*q["dimension"], p["width_decay"]*p["dimension"])


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_plan_counts_the_work(profile):
    units = c.plan_units(c.PARAMETERS[profile])
    for unit in units: assert unit.count > 0 and unit.flops > 0 and unit.memory_bytes > 0
    if profile == "smoke":
        for unit in units: unit.step()
