"Table 1, the theorems, and what the section refuses."
import numpy as np
import pytest
import torch
from symbreak_nb.distances import degree_of_symmetry, delta
from symbreak_nb.run import ParameterError
from symbreak_nb.symmetries import (
    PARAMETERS,
    _lazy_solution,
    _neuron_separation,
    _prove_row,
    _reduced_training,
    _rest_order,
    _scaled_networks,
    _small_net,
    _survivors,
    _train_product,
    plan_units,
)


@pytest.mark.parametrize("seed", range(3))
def test_table_1(seed):
    for name in ("translation", "scaling", "rescaling", "rotation", "permutation", "double rotation", "sign flip"):
        assert _prove_row(name, seed)["error"] < 1e-10


def test_balance_is_not_a_null_direction():
    end = _train_product([2.0, 1.0, 0.2], 0.5, 3000, seed=1)
    assert np.allclose(end["values"], [1.5, 0.5, 0.0], atol=1e-6)
    assert degree_of_symmetry(delta(end["U"], end["W"], symmetry="double rotation", method="eq13"), 0.05).dos == 3
    assert degree_of_symmetry(delta(end["U"], end["W"], symmetry="double rotation"), 0.05).dos == 1


def test_theorems():
    paths = _reduced_training(200, seed=5)
    assert paths["gap"] < 1e-12 and paths["broken"] < 1e-12 and paths["rank"] == 20 and paths["parameters"] == 30
    assert paths["explored"] == 20
    lazy = _lazy_solution(5, samples=3, lambdas=(0.1, 0.01), steps=3000)
    assert lazy["gap"] < 1e-8 and lazy["scaled"][1] < lazy["scaled"][0]/5
    apart = _neuron_separation(np.array([0.01, 0.2, 0.49, 0.5, 2.0]))
    assert (np.diff(apart) <= 0).all() and apart[2] > 0 and (apart[3:] == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_scaled_networks_follow_plain_gradient_descent(seed):
    "Against autograd on the scaled network itself."
    rng = torch.Generator().manual_seed(seed)
    start, x, y = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((30,), (4, 3), (4,)))
    theta = torch.zeros(30, dtype=torch.float64, requires_grad=True)
    for _ in range(5):
        loss = (((_small_net(start + 0.1*theta, x) - _small_net(start, x))/0.1 - y)**2).sum()
        theta = (theta - 0.01*torch.autograd.grad(loss, theta)[0]).detach().requires_grad_()
    found = _scaled_networks(start.numpy(), x.numpy(), y.numpy(), (1.0, 0.1), 0.01, 5)
    assert np.allclose(found[1], theta.detach(), atol=1e-12) and not np.allclose(found[0], found[1], atol=1e-3)


def test_a_model_near_a_symmetric_state_is_even():
    orders = [_rest_order(3), _rest_order(3, symmetric=False), _rest_order(3, factor=1.0)]
    assert np.allclose(orders, [4, 1, 2], atol=0.4)


def test_survivors_fall_with_the_decay():
    found = _survivors(8, [1e-4, 3.0], 4, 800, 0)["survivors"]
    assert found[0] == 8 and found[1] == 1


def test_the_plan_lists_its_work():
    for profile in PARAMETERS: assert all(unit.flops > 0 for unit in plan_units(PARAMETERS[profile]))


@pytest.mark.parametrize("name, value", [("sigma", 1e-300), ("sigma", 0), ("sigma", 11), ("threshold", 0.), ("threshold", 1e-300),
                                         ("threshold", 1e308), ("gamma", 1e-300), ("gamma", 0.), ("gamma", 101)])
def test_parameters_that_would_fail_after_work_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} = .*: allowed is a finite number from"): PARAMETERS.checks()[name](name, value)
