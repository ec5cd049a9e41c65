"""The random-number classifier: the paper's networks, biases and constants, refusals, and the notebook with other parameters."""
import json
import math
import subprocess
import sys

import numpy as np
import papermill
import pytest
from symbreak_nb import enumeration as en
from symbreak_nb import landscape as ls
from symbreak_nb import moves as mv
from symbreak_nb.run import ParameterError

from test_enumeration import naive, plain_levels


@pytest.mark.parametrize(("arm", "counts"), [("raw", (49, 253_952, 27_648, 135)), ("expanded", (385, 1_736_704, 18_432, 852)),
                                             ("bias", (385, 1_736_704, 9_216, 852)), ("both", (3329, 12_713_984, 4_608, 5968))])
def test_the_papers_networks(arm, counts):
    net = ls.classifier(arm)
    found = en.levels(*en.representatives(net))
    assert (len(found.values), found.multiplicity.max(), found.multiplicity[0], mv.symmetry_orbits(net).n_orbits) == counts
    assert sum(found.multiplicity) == 2**net.n_weights and found.clear
    assert mv.symmetry_orbits(net).order == math.factorial(3)**2*math.factorial(2)*2**8


def test_a_bias_is_a_constant_of_one_and_zero_adds_nothing():
    for seed in range(3):
        reading = dict(widths=[3, 2], n_points=11, sampling="uniform", seed=seed)
        one, bias, zero, raw = (en.enumerate_losses(ls.classifier(arm, constant=c, **reading))
                                for arm, c in (("expanded", 1.0), ("bias", 0.5), ("expanded", 0.0), ("raw", 0.5)))
        np.testing.assert_allclose(one, bias, rtol=1e-13, atol=1e-15)
        a, b = en.levels(zero), en.levels(raw)
        np.testing.assert_array_equal(a.multiplicity, 8*b.multiplicity)


@pytest.mark.parametrize("constant", [1e-6, 7.0, 10.0, 1e6])
def test_saturated_networks_are_counted_or_said_to_be_unclear(constant):
    for output in ("linear", "tanh"):
        u = ls.count_levels("expanded", constant=constant, output_activation=output)
        assert u["multiplicity"].sum() == 2**23 and (u["clear"] or u["gap"] < 1e-10)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: ls.classifier("wide"), "one of 'raw', 'expanded', 'bias', 'both'"),
    (lambda: ls.classifier("raw", sampling="sobol"), "one of 'grid', 'uniform'"),
    (lambda: ls.classifier("raw", n_points=-1), "n_points = -1"),
    (lambda: ls.classifier("raw", constant=np.nan), "constant = nan"),
    (lambda: ls.plan_units(ls.PARAMETERS["smoke"] | dict(widths=[4, 4, 2])), "with 3 inputs this has 2\\^38"),
])
def test_bad_input_is_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as error: call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("profile", ["smoke", "paper"])
def test_the_plan_lists_work_that_can_be_tried(profile):
    units = ls.plan_units(ls.PARAMETERS[profile] | dict(widths="[2, 1]", sampling="uniform"))
    assert all(u.count > 0 and u.flops > 0 and u.memory_bytes > 0 and callable(u.step) for u in units)
    assert len(units) == 4*2*2
    for u in units[:8]: u.step()
    default = {u.name: u.count for u in ls.plan_units(ls.PARAMETERS["quick"])}
    assert (default["raw [3, 3, 2]: descents"], default["expanded [3, 3, 2]: descents"]) == (2 + 20, 2 + 20 + 28)


def test_peak_memory_at_26_bits():
    code = ("import resource; from symbreak_nb import enumeration as en, landscape as ls\n"
            "net = ls.classifier('both', n_points=20)\n"
            "losses = en.enumerate_losses(net); en.levels(losses); ls.walk_landscape('both', n_points=20)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    peak = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert peak < 4*2**20, f"{peak/2**20:.2f} GiB"   # kilobytes


def run_notebook(tmp_path, **parameters):
    papermill.execute_notebook("nbs/11_landscape.ipynb", str(tmp_path/"x.ipynb"), progress_bar=False,
                               parameters=dict(profile="smoke", out_dir=str(tmp_path/"r"), **parameters))
    return json.loads((tmp_path/"r"/"metrics.json").read_text())


def test_notebook_with_other_parameters(tmp_path):
    own = dict(widths="[2, 2]", n_points=7, sampling="uniform", constant=0.3, output_activation="tanh", seed=5)
    metrics = run_notebook(tmp_path, **own)["metrics"]
    x = np.random.default_rng(5).random(7)
    for arm, columns in dict(raw=[], expanded=[0.3], bias=[1.0], both=[0.3, 1.0]).items():
        losses = naive(np.stack([x, *(np.full(7, c) for c in columns)], 1), x > 0.5, [2, 2], output="tanh")
        plateaus = plain_levels(losses)
        assert metrics[f"{arm}.n_levels"] == len(plateaus) and metrics[f"{arm}.largest_plateau"] == plateaus.max()
        assert metrics[f"{arm}.n_at_min"] == plateaus[0] and abs(metrics[f"{arm}.min_loss"] - losses.min()) < 1e-13
    assert metrics["group_order"] == 64


def test_notebook_refuses_before_work(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="this has 2\\^38"): run_notebook(tmp_path, widths=[4, 4, 2])
    assert not (tmp_path/"r"/"units").exists()
