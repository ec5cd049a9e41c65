"The pitchfork and its half rate, structure factors, features, skips, and what the section refuses."
import numpy as np
import pytest
import torch
from symbreak_nb.run import ParameterError
from symbreak_nb.training import (
    _SKIPS,
    PARAMETERS,
    _between_share,
    _half_rate,
    _largest,
    _pitchfork_fit,
    _r_squared,
    _rate_sweep,
    _Residual,
    _small_share,
    _smooth_share,
    _structure_factor,
    _trained,
    plan_units,
)


def test_pitchfork_is_found_and_a_step_is_not():
    rates = np.geomspace(0.1, 4, 20)
    assert _pitchfork_fit(rates, np.sqrt(np.maximum(0, 0.7*(1 - rates**2/2)))) > 0.999
    assert _pitchfork_fit(rates, np.where(rates < 1, 0.8, 0.4)) < 0.9
    step = np.where(rates < 1, 0.8, 0.0)
    assert np.isclose(_pitchfork_fit(rates, step, step=True), 1) and _pitchfork_fit(rates, step) < 0.95


def test_half_rate():
    assert np.isclose(_half_rate([1.0, 10.0], np.array([1.0, 0.0])), 10**0.5)
    assert np.isclose(_half_rate([1.0, 2.0, 4.0, 8.0], np.array([0.2, 1.0, 0.6, 0.4])), 4*2**0.5)
    assert np.isnan(_half_rate([1.0, 2.0], np.array([0.5, 0.6])))


def test_largest_eigenvalue():
    scale = torch.tensor([1.0, 3.0, 0.5, 0.1], dtype=torch.float64)
    assert np.isclose(_largest(lambda w: (scale*w**2).sum()/2, torch.zeros(4, dtype=torch.float64)), 3, rtol=1e-8)


def test_limits_of_the_structure_factor():
    rng = np.random.default_rng(0)
    start, common = rng.normal(size=(8, 5, 5)), rng.normal(size=(5, 5))
    assert np.isclose(_structure_factor(np.stack([start, start + common])), 8)
    alternating = common*(-1.0)**np.arange(8)[:, None, None]
    assert _structure_factor(np.stack([start, start + alternating])) < 1e-25


def test_smooth_and_small_weights():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(60, 30, 30))
    assert _smooth_share(white) < 0.02 and _smooth_share(white.cumsum(0)) > 0.95
    assert abs(_small_share(white) - 0.008) < 0.002    # 2*0.01*density of a normal number at 0
    assert _small_share(np.where(white > 0, 1.0, 0.0)) == pytest.approx(0.5, abs=0.01)


def test_even_quartic():
    alpha = np.linspace(0, 1.5, 31)
    assert np.isclose(_r_squared(2 - 3*alpha**2 + 1.2*alpha**4), 1)
    assert _r_squared(np.abs(alpha - 0.7)) < 0.95


def test_features_of_classes():
    y = torch.arange(5).repeat(40)
    means = torch.eye(5, dtype=torch.float64)[y]
    assert np.isclose(_between_share(means, y), 1) and np.isclose(_between_share(3*means + 7, y), 1)
    assert _between_share(torch.randn(200, 5, dtype=torch.float64), y) < 0.1


@pytest.mark.parametrize("skip", _SKIPS)
def test_residual_networks(skip):
    torch.manual_seed(0)
    net, x = _Residual(skip, 3, 6).double(), torch.randn(4, 64, dtype=torch.float64)
    features = net.features(x)
    assert len(features) == 4 and torch.allclose(net(x), net.last(features[-1]))
    branch = features[1].relu() @ net.weights[1].T
    kept = dict(identity=features[1], half=features[1]/2, gate=features[1]/2, none=0*features[1]).get(skip, features[1])
    if skip == "matrix": kept = features[1] @ net.matrices[1]
    assert torch.allclose(features[2], kept + branch)


def test_trainings_are_the_same_at_the_same_seed_and_differ_by_part():
    one, two, other = (_trained("identity", 2, 6, 50, 5, 0.0, part, 3) for part in (0, 0, 1))
    assert (one["weights"] == two["weights"]).all() and (one["line"] == two["line"]).all()
    assert (one["weights"][0] == other["weights"][0]).all() and (one["weights"][1] != other["weights"][1]).any()
    assert one["share"].shape == (2, 3) and one["line"][20] < one["line"][0]


def test_rates_are_independent_of_each_other():
    "A rate that diverges leaves the others alone."
    alone = _rate_sweep(4, [0.1], 0.0, 0, 50, 60, 1)["order"]
    both = _rate_sweep(4, [0.1, 500.0], 0.0, 0, 50, 60, 1)["order"]
    assert np.allclose(alone[0], both[0]) and np.isfinite(both).all() and (np.abs(both) <= 1).all()


@pytest.mark.parametrize("name, value", [("depths", [1]), ("rates", []), ("rates", [0]), ("noise", 0.6), ("width", 3), ("images", 10_000)])
def test_parameters_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} = "): PARAMETERS.checks()[name](name, value)


def test_the_plan_lists_its_work():
    for profile in PARAMETERS: assert all(unit.flops > 0 for unit in plan_units(PARAMETERS[profile]))
