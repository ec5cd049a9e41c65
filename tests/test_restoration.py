"Factors, noise that heals, dose and response, and bad input."
import math

import numpy as np
import pytest
import torch
from symbreak_nb import perceptrons as st
from symbreak_nb import restoration as re_
from symbreak_nb.claims import decided
from symbreak_nb.run import ParameterError, Run, over_seeds


def test_factors_do_not_change_the_output_and_add_a_symmetry():
    sizes = st.layer_shapes(10, 4, 2)
    W, out = st.layer_views(torch.randn(2, sum(a*b for a, b in sizes)), sizes)
    x, v = torch.randn(2, 9, 10), torch.randn(2, 1, 1)
    effective = lambda v, W: st.forward([v*W, out], x, "tanh")[-1]
    torch.testing.assert_close(effective(v, W), effective(-v, -W))
    torch.testing.assert_close(effective(v, W), effective(3*v, W/3))


def test_noise_heals_where_it_should():
    assert np.median(re_.noisy_growth(0.4, 0.5, 20, 500, 0, 1000)) > 0 > np.median(re_.noisy_growth(0.4, 1.3, 20, 500, 0, 1000))


@pytest.mark.parametrize("name, value", [("threshold", 0), ("threshold", math.nan), ("n_seeds", 0), ("width", "64")])
def test_bad_parameters_end_at_once(tmp_path, name, value):
    with pytest.raises(ParameterError, match=f"{name} = "):
        Run(re_.PARAMETERS, dict(profile="smoke", out_dir=tmp_path/"x", **{name: value}))
    assert not (tmp_path/"x").exists()


def test_the_papers_claims_are_there():
    assert set(re_.CLAIMS) >= {"ziyin.sec6.noise_restores", "ziyin.sec6.added_symmetry"}


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_the_plan_covers_the_work(profile):
    units = re_.plan_units(re_.PARAMETERS[profile])
    assert len(units) == 2 and all(u.flops > 0 and u.memory_bytes > 0 and u.count > 0 for u in units)
    if profile == "smoke":
        for u in units: u.step()


def test_a_force_is_judged_only_on_broken_symmetries_of_students_that_learn():
    sure, fits = over_seeds([0.9, 1.0, 0.8, 0.9, 1.0]), over_seeds([0.1, 0.11, 0.12])
    one, few = re_.CLAIMS["ziyin.sec6.noise_restores"], over_seeds([0.05, 0.06, 0.04])
    assert decided(one, sure, "quick", broken=few, learnt=fits)["verdict"] == "holds"
    assert decided(one, sure, "quick", broken=over_seeds([0.6, 0.62, 0.58]), learnt=fits)["verdict"] == "inconclusive"
    assert decided(one, sure, "quick", broken=few, learnt=over_seeds([0.9, 1.0, 1.1]))["verdict"] == "inconclusive"


def test_groups_report_the_loss_over_the_variance():
    found = re_.grouped([0, 1], [1, 3], True, 0.05, 20, width=4, samples=40)
    assert found["loss"].shape == (2, 2) and (found["loss"] > 0).all() and found["norms"].shape == (2, 2, 5)
