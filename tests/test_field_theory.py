"Hessians with closed forms, Goldstone's count, remnant symmetries, gradients along a line, and what the section refuses."
import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from symbreak_nb.field_theory import (
    PARAMETERS,
    _autocorrelation,
    _balanced_net,
    _batch_gradients,
    _commutators,
    _deep_linear,
    _goldstone_count,
    _identities,
    _normalised,
    _orbit_with_decay,
    _phases,
    _report_dimension,
    _skip_symmetries,
    _spectra,
    check_parameters,
    input_gradients,
    orbit_dimension,
    plan_units,
)
from symbreak_nb.hessians import _digits, _loss_of, _zero_modes, hessian, hessian_operator
from symbreak_nb.run import ParameterError, Run, RunError
from torch import nn


def closed_form(widths): return sum(a*b for a, b in zip(widths, widths[1:], strict=False)) - min(widths)*(
    widths[0] + widths[-1] - min(widths))


@pytest.mark.parametrize("widths", [[6, 4, 5], [3, 5, 2], [4, 2, 6, 3], [2, 3], [1, 1, 1], [5, 1, 5], [7, 3, 3, 3, 4], [2, 9, 2]])
def test_zero_modes_of_deep_linear_networks(widths):
    for seed in range(3):
        found = _deep_linear(widths, 0.02, seed)
        assert _zero_modes(found["bare"]) == closed_form(widths)
        assert np.abs(found["bare"] - found["closed"]).max() < 1e-12*found["closed"].max()
        assert np.abs(found["decayed"][:closed_form(widths)] - 0.04).max(initial=0) < 1e-12
        turns, scalings = _orbit_with_decay(widths)
        assert found["slope"] < 1e-12 and _zero_modes(found["minimum"], 1e-9) == turns
        assert (np.abs(found["minimum"]/0.02 - 4) < 1e-6).sum() >= scalings


def test_a_trained_minimum_has_the_same_zero_modes():
    "Not only a constructed one: trained from small weights, on data that are not white."
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 4, bias=False)).double()
    x = torch.randn(30, 4, dtype=torch.float64)
    y = x @ torch.randn(4, 3, dtype=torch.float64) @ torch.randn(3, 4, dtype=torch.float64)
    loss, w = _loss_of(net, x, y)
    w = (0.3*w).requires_grad_()
    optimiser = torch.optim.LBFGS([w], max_iter=500, tolerance_grad=1e-14, tolerance_change=0, line_search_fn="strong_wolfe")
    def closure():
        optimiser.zero_grad()
        (value := loss(w)).backward()
        return value
    optimiser.step(closure)
    w = w.detach()
    assert loss(w) < 1e-20
    assert _zero_modes(np.linalg.eigvalsh(hessian(loss, w)), 1e-8) == closed_form([4, 3, 4]) == 9


def test_products_and_dense_hessian_agree():
    net, goal, _ = _balanced_net([4, 3, 4], 0.0, 1)
    x = torch.randn(9, 4, dtype=torch.float64)
    loss, w = _loss_of(net, x, x @ goal.T + 0.3, 0.01)
    dense = hessian(loss, w, chunk=5)
    operator = hessian_operator(loss, w)
    assert np.allclose(operator @ np.eye(len(w)), dense, atol=1e-12)
    assert np.allclose(dense, torch.func.hessian(loss)(w), atol=1e-12)
    ends = eigsh(operator, 2, which="BE", v0=np.ones(len(w)))[0]
    assert np.allclose(ends, np.linalg.eigvalsh(dense)[[0, -1]], atol=1e-10)


@pytest.mark.parametrize("name, excess", [("wide linear", 0), ("ReLU", 0), ("tanh", 0), ("tanh, a neuron twice", 3)])
def test_goldstone_counts(name, excess):
    found = _goldstone_count(name, 5, [3, 2, 3], 0.01, 1)
    assert found["zeros"] - found["orbit"] == excess
    assert np.abs(found["decayed"] - found["spectrum"] - 0.02).max() < 1e-12
    assert found["group"] >= found["orbit"]


def test_a_unit_that_is_always_on_adds_an_accidental_mode():
    "Its bias moves against that of the next layer."
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    x = torch.rand(50, 2, dtype=torch.float64) - 0.5
    for shift, zeros in ((0.0, 3), (9.0, 4)):
        net[0].weight.data = torch.tensor([[1.0, 2], [2, -1], [-1, 1]], dtype=torch.float64)
        net[0].bias.data = torch.tensor([0.1, 0.1, shift], dtype=torch.float64)
        assert _zero_modes(np.linalg.eigvalsh(hessian(*_loss_of(net, x, net(x).detach())))) == zeros
        assert orbit_dimension(net) == 3


def test_the_report_and_the_orbit_agree_on_relu():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 2)).double()
    assert _report_dimension(net, torch.randn(9, 3, dtype=torch.float64)) == orbit_dimension(net) == 7
    assert orbit_dimension(nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 2))) == 0


def test_remnant_symmetries():
    found = _commutators(9, 4, 0)["found"].max(2)
    assert (found[0, [0, 1, 2, 6]] < 1e-14).all() and (found[0, [3, 4, 5]] > 1e-3).all()
    assert (found[2] < 1e-14).all() and found[3, 4] < 1e-14 and found[3, 1] > 1e-2


def test_identities():
    found = _identities(8, 5, 3)
    for name in ("conjugated", "addition", "gating permuted", "affine"): assert found[name].max() < 1e-12
    for name in ("adjacent", "gating", "skip"): assert found[name].min() > 1e-3
    assert _skip_symmetries(False, 1) == _skip_symmetries(True, 1)


def test_gradients_along_a_line_are_derivatives():
    "Without batch norm: finite differences. With it: autograd with detached statistics."
    h = torch.randn(2, 3, 50, dtype=torch.float64, requires_grad=True)
    flat = h.detach()
    out = (h - flat.mean(-1, keepdim=True))/(flat.std(-1, keepdim=True, correction=0) + 1e-5)
    (expected,) = torch.autograd.grad(out.sum(), h)
    assert torch.allclose(_normalised(flat, torch.ones_like(flat))[1], expected)
    one, other = (input_gradients(arm, 3, 10, 256, 2, seed=4)["gradients"] for arm in ("plain", "resnet"))
    assert one.shape == other.shape == (3, 2, 256) and not np.allclose(one, other)
    assert len(np.unique(one[0, 0].round(4))) <= 12   # a ReLU layer of ten units: at most eleven slopes


def test_autocorrelation_of_known_noise():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(200, 256))
    assert abs(_autocorrelation(white)[:, 1].mean()) < 0.02 and np.allclose(_autocorrelation(white)[:, 0], 1)
    smooth = white[:, 1:] + white[:, :-1]
    assert abs(_autocorrelation(smooth, 3)[:, 1].mean() - 0.5) < 0.03
    assert _autocorrelation(white.cumsum(-1))[:, 1].mean() > 0.9


def test_batch_gradients_sum_to_the_whole_gradient():
    x, y = _digits(100, 0)
    model = nn.Sequential(nn.Linear(64, 4), nn.Tanh(), nn.Linear(4, 10)).double()
    loss, w = _loss_of(model, x, y)
    batches = torch.arange(100).reshape(4, 25)
    found = _batch_gradients(lambda v, x, y: _loss_of(model, x, y)[0](v), w, x[batches], y[batches],
                             [256, 4, 40, 10], [0, 0, 1, 1])
    gradient = torch.func.grad(loss)(w)
    assert np.isclose(found[0, 0], float(gradient[:260].norm()/w[:260].norm()))
    assert found.shape == (2, 2) and (found > 0).all()


def test_trainings_are_the_same_at_the_same_seed():
    one, two = (_phases("noisy", 100, 2, 0.1, [0, 2], 3) for _ in range(2))
    assert (one["found"] == two["found"]).all() and one["found"].shape == (2, 2, 4)
    end = _spectra(60, 4, [0, 20], "relu", True, 1)
    assert end["spectra"].shape == (2, 310) and end["loss"][1] < end["loss"][0]


@pytest.mark.parametrize("widths, words", [([4], "two entries or more"), ([40, 40, 40], "at most 2000 weights")])
def test_networks_without_a_layer_or_too_large_are_refused(widths, words):
    with pytest.raises(ParameterError, match=words): check_parameters(dict(widths=widths))


@pytest.mark.parametrize("name, value", [("widths", []), ("widths", [3, 0, 2]), ("widths", [3, 2.5]), ("decay", 0), ("hidden", 1),
                                         ("depth", 1), ("residual_scale", 0)])
def test_parameters_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} = "): PARAMETERS.checks()[name](name, value)


def test_unknown_arm():
    with pytest.raises(ParameterError, match="arm = 'deep'"): input_gradients("deep", 2)


def test_the_plan_lists_its_work():
    for profile in PARAMETERS: assert all(unit.flops > 0 for unit in plan_units(PARAMETERS[profile]))


def test_a_second_run_reuses_the_units_of_the_first(tmp_path):
    found = []
    for _ in range(2):
        run = Run(PARAMETERS, dict(profile="smoke", out_dir=tmp_path, seed=1))
        found.append(run.unit(_deep_linear, widths=[3, 2, 3], decay=0.01, seed=1))
        run.finish()
    assert run.counts["reused"] == 1 and (found[0]["bare"] == found[1]["bare"]).all()


def test_a_run_with_a_wrong_parameter_ends_before_any_work(tmp_path):
    with pytest.raises(RunError, match="widths = "): Run(PARAMETERS, dict(profile="smoke", out_dir=tmp_path, widths=[0, 3]))
    assert not list(tmp_path.glob("units/*"))
