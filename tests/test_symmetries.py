"Table 1, the theorems, and the control of symmetries."
import copy

import numpy as np
import pytest
import torch
from symbreak_nb.distances import degree_of_symmetry, double_rotation_delta
from symbreak_nb.run import ParameterError
from symbreak_nb.survey import symmetry_report
from symbreak_nb.symmetries import (
    PROFILES,
    allowed,
    decay_penalty,
    factorise,
    lazy_solution,
    plan_units,
    prove,
    reduced_training,
    scale_by_parameter,
    separation,
    syre,
    w_fix,
)
from torch import nn

from models import L, X


@pytest.mark.parametrize("seed", range(3))
def test_table_1(seed):
    for name in ("translation", "scaling", "rescaling", "rotation", "permutation", "double rotation", "sign flip"):
        assert prove(name, seed)["error"] < 1e-10


def test_balance_is_not_a_null_direction():
    end = factorise([2.0, 1.0, 0.2], 0.5, 3000, seed=1)
    assert np.allclose(end["values"], [1.5, 0.5, 0.0], atol=1e-6)
    assert degree_of_symmetry(double_rotation_delta(end["U"], end["W"], "eq13"), 0.05).dos == 3
    assert degree_of_symmetry(double_rotation_delta(end["U"], end["W"], "null"), 0.05).dos == 1


def test_theorems():
    paths = reduced_training(200, seed=5)
    assert paths["gap"] < 1e-12 and paths["broken"] < 1e-12 and paths["rank"] == 15 and paths["parameters"] == 30
    assert lazy_solution(5)["gap"] < 1e-8
    apart = separation(np.array([0.01, 0.2, 0.49, 0.5, 2.0]))
    assert (np.diff(apart) <= 0).all() and apart[2] > 0 and (apart[3:] == 0).all()


def test_control_of_symmetries():
    net = lambda: nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    x = torch.randn(4, 3)
    for change in (syre, w_fix): assert not len(symmetry_report(change(net()), x))
    assert sum(row.symmetry == "rescaling" for row in symmetry_report(scale_by_parameter(net()), x)) > 2
    model = syre(net(), advanced=True)
    decay_penalty(model, 0.1).backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in model.parameters())
    with pytest.raises(ParameterError, match="sigma"): syre(net(), -1.0)
    with pytest.raises(ParameterError, match="fraction"): w_fix(net(), 1.0)


def test_the_plan_lists_its_work():
    for profile in PROFILES: assert all(unit["flops"] > 0 for unit in plan_units(PROFILES[profile]))


def test_w_fix_leaves_no_neuron_alone():
    for seed in range(3):
        torch.manual_seed(seed)
        net, x = nn.Sequential(L(3, 6), nn.ReLU(), L(6, 2)), 9*X(99, 3)  # every neuron is active somewhere
        w_fix(net, 1e-3, seed=seed)
        for i in (0, 2):
            fixed = net[i].parametrizations.weight[0]
            assert fixed.mask.any(0).all() and fixed.mask.any(1).all() and not fixed.value[~fixed.mask].any()
        assert not len(symmetry_report(net, x))
        for i in range(6):
            scaled, swapped = copy.deepcopy(net), copy.deepcopy(net)
            order = [i, (i + 1) % 6]
            with torch.no_grad():
                a, b = scaled[0].parametrizations.weight.original, scaled[2].parametrizations.weight.original
                a[i], scaled[0].bias[i], b[:, i] = 2*a[i], 2*scaled[0].bias[i], b[:, i]/2
                a, b = swapped[0].parametrizations.weight.original, swapped[2].parametrizations.weight.original
                for t in (a, swapped[0].bias, b.T): t[order] = t[order[::-1]].clone()
            for other in (scaled, swapped): assert not torch.allclose(net(x), other(x), atol=1e-5)


@pytest.mark.parametrize("change", [syre, w_fix, scale_by_parameter])
def test_tied_weights_are_refused_before_anything_changes(change):
    net = nn.Sequential(L(4, 4), nn.ReLU(), L(4, 4))
    net[2].weight = net[0].weight
    names = list(net.state_dict())
    with pytest.raises(ParameterError, match="shared"): change(net)
    assert list(net.state_dict()) == names


@pytest.mark.parametrize("name, value", [("sigma", 1e-300), ("sigma", 0), ("sigma", 11), ("threshold", 0.), ("threshold", 1e-300),
                                         ("threshold", 1e308), ("gamma", 1e-300), ("gamma", 0.), ("gamma", 101)])
def test_parameters_that_would_fail_after_work_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} = .*: allowed is a finite number from"): allowed()[name](name, value)
