"Stacked networks against a plain loop, fits that are repeatable and refuse bad input, and what they are compared by."
import dataclasses
import doctest
import json
import math

import numpy as np
import pytest
import torch
from symbreak_nb import qcd
from symbreak_nb.claims import decided
from symbreak_nb.quasiparticles import QuasiParticleModel
from symbreak_nb.run import ParameterError, Run
from symbreak_nb.statistics import Estimate, correlation

pytestmark = pytest.mark.usefixtures("one_thread")

T50 = np.linspace(*qcd.VALID_RANGE, 50)
AIM = qcd._target(T50, *qcd.hotqcd(T50))
VALUES = dict(T=T50.tolist(), p=AIM.p.tolist(), e=AIM.e.tolist())


def test_the_examples_run():
    found = doctest.testmod(qcd)
    assert found.attempted >= 3 and not found.failed


@pytest.mark.parametrize("bad", [.1299, .41, 0, -1, math.nan, "0.2", True])
def test_a_bad_probe_ends_before_any_work(bad, tmp_path):
    params = dict(T_probe=bad, T_c=.155, n_temperatures=50, n_seeds=None, adam_steps=None, lbfgs_steps=None)
    with pytest.raises(ParameterError, match="T_probe"):
        Run(qcd.PARAMETERS, dict(profile="smoke", out_dir=tmp_path/"out", **params))
    assert not (tmp_path/"out").exists()


@pytest.mark.parametrize("inputs, constant", [(1, None), (2, .155), (2, 0.), (2, 1.)])
@pytest.mark.parametrize("seed", [0, 7])
def test_stacked_gradient_equals_the_plain_loop(inputs, constant, seed):
    weights = qcd._initial_weights([seed, seed + 1, seed + 2], inputs)
    aim = qcd._target(T50, *qcd.hotqcd(T50), 0.1 + T50, 1 + T50)
    losses, gradients = qcd._loss_and_gradient(weights, torch.full((3,), constant or 0., dtype=torch.float64), aim)
    for k in range(3):
        nets = qcd._plain_networks(weights[k], inputs)
        loss = qcd._plain_loss(nets, aim, constant)
        loss.backward()
        assert math.isclose(losses[k], loss.item(), rel_tol=1e-11)
        for net, row in zip(nets, gradients[k], strict=True):
            layers = qcd._views(row[None], 32, 7)
            parts = [layers[0][0][:, :inputs], layers[1][0], *(t[0] for t in layers[2:-2]), layers[-2], layers[-1]]
            own = [net.first.weight, net.first.bias, *net.blocks.parameters(), net.last.weight, net.last.bias]
            for a, b in zip(parts, own, strict=True): assert torch.allclose(a, b.grad, rtol=1e-8, atol=1e-8*b.grad.abs().max())
    if constant == 0: assert not gradients[..., 1:64:2].any()


@pytest.mark.parametrize("width, blocks, points", [(4, 1, 6), (16, 3, 11)])
def test_gradient_of_other_sizes_by_differences(width, blocks, points):
    T = np.linspace(*qcd.VALID_RANGE, points)
    aim, c = qcd._target(T, *qcd.hotqcd(T)), torch.tensor([.3], dtype=torch.float64)
    weights = qcd._initial_weights([4], 2, width, blocks)
    turn = torch.randn(weights.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    value = lambda h: qcd._loss_and_gradient(weights + h*turn, c, aim, width, blocks)[0].item()
    slope = (qcd._loss_and_gradient(weights, c, aim, width, blocks)[1]*turn).sum().item()
    assert math.isclose((value(1e-5) - value(-1e-5))/2e-5, slope, rel_tol=1e-6)


@pytest.mark.parametrize("fault", [math.nan, math.inf, 1e300])
def test_a_broken_seed_disturbs_no_other(fault, monkeypatch):
    whole = qcd.fit([0, 1, 2], 1, 0., VALUES, 3, 6)
    draw = qcd._initial_weights
    def broken(seeds, *rest):
        weights = draw(seeds, *rest)
        weights[[k for k, s in enumerate(seeds) if s == 1]] = fault
        return weights
    monkeypatch.setattr(qcd, "_initial_weights", broken)
    found = qcd.fit([0, 1, 2], 1, 0., VALUES, 3, 6)
    assert not np.isfinite(found["loss"][1]) or found["loss"][1] > 1
    assert np.allclose(found["loss"][[0, 2]], whole["loss"][[0, 2]], rtol=1e-6)
    json.dumps(dataclasses.asdict(qcd._log_ratio(found["loss"], whole["loss"])))


def test_a_learning_rate_far_too_large_is_recorded_not_raised():
    found = qcd.fit([0, 1], 1, 0., VALUES, 4, 4, learning_rate=1e4)
    assert found["trace"].shape == (2, 8) and found["weights"].shape[:2] == (2, 3)


BAD_FITS = [dict(seeds=[]), dict(seeds=3), dict(seeds=[.5]), dict(inputs=3), dict(constant=math.nan), dict(adam_steps=0),
            dict(lbfgs_steps=0), dict(learning_rate=0), dict(width=2.5), dict(blocks=0), dict(values=None), dict(values={}),
            dict(values=VALUES | dict(mass=[1])), dict(values=VALUES | dict(p=VALUES["p"][1:])),
            dict(values=VALUES | dict(T=[-1]*50)), dict(values=VALUES | dict(e=[math.nan]*50)),
            dict(values=VALUES | dict(p_error=[0]*50)), dict(values=dict(T=[], p=[], e=[]))]


@pytest.mark.parametrize("change", BAD_FITS)
def test_a_fit_refuses_bad_input_in_one_line(change):
    fine = dict(seeds=[0], inputs=1, constant=0., values=VALUES, adam_steps=1, lbfgs_steps=1)
    with pytest.raises(ParameterError, match="allowed is") as caught: qcd.fit(**fine | change)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_a_fit_of_own_data_is_kept_loaded_and_predicts(tmp_path):
    T = np.linspace(.15, .3, 6)
    own = dict(T=T, p=1 + T, e=3 + 8*T, p_error=.1 + T)
    found = qcd.fit(range(2), 2, .155, own, 3, 5)
    np.savez(tmp_path/"fit.npz", **found)
    weights = np.load(tmp_path/"fit.npz")["weights"]
    p, e = (v.numpy() for v in QuasiParticleModel(qcd.fitted_masses(weights, .155))(T))
    loss = (((p - own["p"])/own["p_error"])**2 + (e - own["e"])**2).mean(1)/2
    assert np.allclose(loss, found["loss"], rtol=1e-10)
    for bad in (weights[0], weights[..., 1:]):
        with pytest.raises(ParameterError, match="^weights = "): qcd.fitted_masses(bad, .155)


@pytest.mark.parametrize("seeds", [[0], [3, 4, 5]])
def test_a_fit_is_the_same_whatever_the_threads(seeds):
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(qcd.fit(seeds, 2, .155, VALUES, 5, 5))
        assert torch.get_num_threads() == threads
    for key in found[0]: assert np.array_equal(found[0][key], found[1][key])


@pytest.mark.parametrize("seed", [0, 11])
def test_first_steps_of_adam_equal_torch(seed):
    plain = qcd._plain_trace(qcd._plain_networks(qcd._initial_weights([seed], 2)[0], 2), AIM, .155, 6)
    assert np.allclose(qcd.fit([seed], 2, .155, VALUES, 6, 1)["trace"][0, :6], plain, rtol=1e-7)


def test_log_ratio_and_correlation_leave_diverged_seeds_out():
    a, b = np.array([1, 2, 4, math.nan, 8.]), np.array([2, 4, 8, 1, math.nan])
    assert qcd._log_ratio(a, b).n == 3 and math.isclose(qcd._log_ratio(a, b).value, -math.log(2))
    assert math.isnan(correlation(a, b).value) and qcd._log_ratio(a*math.nan, b).n == 0
    r = correlation(np.arange(6.), np.array([0, 1, 3, 2, 4, 5.]))
    assert r.interval[0] < r.value < r.interval[1]


def test_a_log_ratio_takes_the_seeds_that_both_arms_have():
    few, many = np.array([1., 2]), np.array([2., 4, 100])
    assert qcd._log_ratio(few, many).n == qcd._log_ratio(many, few).n == 2
    assert math.isclose(qcd._log_ratio(few, many).value, -math.log(2))


def test_lattice_points_lie_between_the_rows_of_the_table():
    rows = np.array([.13, .2, .4])
    table = dict(T=rows, p_T4=10*rows, e_T4=rows**0, p_T4_err=rows, e_T4_err=2*rows)
    found = qcd._lattice_points(table, np.array([.13, .15, .3]))
    assert np.allclose(found["p"], [1.3, 1.5, 3]) and found["e"] == [1, 1, 1] and np.allclose(found["e_error"], [.26, .3, .6])
    assert found["T"] == [.13, .15, .3]
    qcd.fit([0], 1, 0., found, 1, 1)                       # and a fit takes them, with their errors


def test_chi2_of_a_state_is_the_loss_of_a_fit_with_these_errors():
    points = dict(T=T50.tolist(), p=AIM.p.numpy(), e=AIM.e.numpy(), p_error=.1 + T50, e_error=1 + T50)
    found = qcd.fit([0, 1], 1, 0., points, 3, 3)
    state = QuasiParticleModel(qcd.fitted_masses(found["weights"], 0.))(T50)
    assert np.allclose(qcd._chi2(state, points), found["loss"], rtol=1e-9)


@pytest.mark.parametrize("name", ["expanded_better", "mostly_low_t"])
def test_the_claims_need_lattice_points_and_fits(name):
    claim, lower = qcd.CLAIMS[f"zhang.qcd.{name}"], Estimate(-1., (-1.5, -.5), 18, error=.2)
    assert decided(claim, lower, "quick", lattice_points=50, fitted=1e-4)["verdict"] == "holds"
    for broken in (dict(lattice_points=0, fitted=1e-4), dict(lattice_points=50, fitted=.1), dict(lattice_points=50, fitted=math.nan)):
        row = decided(claim, lower, "quick", **broken)
        assert row["verdict"] == "inconclusive" and row["reason"].startswith("premise not met")


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_the_plan_lists_work_that_can_be_tried(profile):
    units = qcd.plan_units(qcd.PARAMETERS[profile] | dict(n_temperatures=10))
    assert all(u.count > 0 and u.flops > 0 and u.memory_bytes > 0 for u in units)
    units[0].step()
