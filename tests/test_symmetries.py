"Table 1, the theorems, and what the section refuses."
import numpy as np
import pytest
from symbreak_nb.distances import degree_of_symmetry, delta
from symbreak_nb.run import ParameterError
from symbreak_nb.symmetries import (
    PARAMETERS,
    _lazy_solution,
    _neuron_separation,
    _prove_row,
    _reduced_training,
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
    assert paths["gap"] < 1e-12 and paths["broken"] < 1e-12 and paths["rank"] == 15 and paths["parameters"] == 30
    assert _lazy_solution(5)["gap"] < 1e-8
    apart = _neuron_separation(np.array([0.01, 0.2, 0.49, 0.5, 2.0]))
    assert (np.diff(apart) <= 0).all() and apart[2] > 0 and (apart[3:] == 0).all()


def test_the_plan_lists_its_work():
    for profile in PARAMETERS: assert all(unit.flops > 0 for unit in plan_units(PARAMETERS[profile]))


@pytest.mark.parametrize("name, value", [("sigma", 1e-300), ("sigma", 0), ("sigma", 11), ("threshold", 0.), ("threshold", 1e-300),
                                         ("threshold", 1e308), ("gamma", 1e-300), ("gamma", 0.), ("gamma", 101)])
def test_parameters_that_would_fail_after_work_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} = .*: allowed is a finite number from"): PARAMETERS.checks()[name](name, value)
