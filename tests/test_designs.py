"Ties over rotations: exact invariance, equal sizes, honest sets, repeatable units, bad input, premises."
import doctest
import math

import pytest
import torch
from symbreak_nb import designs as de
from symbreak_nb.claims import decided
from symbreak_nb.run import ParameterError, Run
from symbreak_nb.statistics import Estimate

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = dict(dataset="digits", shown=False, seeds=[2, 3], n_train=60, width=8, epochs=2)


def test_the_examples_run():
    found = doctest.testmod(de)
    assert found.attempted >= 2 and not found.failed


@pytest.mark.parametrize("side, width", [(8, 4), (8, 32), (28, 16)])
def test_tied_networks_do_not_see_rotations_whatever_their_weights(side, width):
    x = torch.rand(6, side, side, generator=torch.Generator().manual_seed(side)).double()
    torch.manual_seed(width)
    tied, plain = (de._Network(side*side, 10, width, kind).double() for kind in (True, False))
    plain.load_state_dict(tied.state_dict())
    for turns in ([1]*6, [0, 1, 2, 3, 2, 1]):
        turned = de._turned(x, turns)
        assert torch.allclose(tied(x), tied(turned), atol=1e-12) and not torch.allclose(plain(x), plain(turned), atol=1e-6)
    assert sum(w.numel() for w in tied.parameters()) == de._parameters(side*side, 10, width)


@pytest.mark.parametrize("inputs", [64, 784])
@pytest.mark.parametrize("scale", [1, 2, 4, 8, 16])
def test_a_scaled_network_has_the_parameters_that_it_says(inputs, scale):
    small, large = (de._parameters(inputs, 10, de._scaled_width(inputs, 10, 32, s)) for s in (1, scale))
    assert large/small == pytest.approx(scale, rel=0.02) and small == de._parameters(inputs, 10, 32)


def test_a_seed_has_the_same_images_whatever_is_done_to_them():
    sets = {key: de._training_set("digits", 50, 7, *key) for key in [(False, False), (True, False), (True, True)]}
    pixels = [x[:50].flatten(1).sort().values for x, _ in sets.values()]
    assert torch.equal(pixels[0], pixels[1]) and torch.equal(pixels[0], pixels[2])
    assert all(torch.equal(y[:50], sets[False, False][1]) for _, y in sets.values()) and len(sets[True, True][1]) == 200
    assert not torch.equal(sets[True, False][0], de._training_set("digits", 50, 8, True, False)[0])


def test_the_rotated_test_has_all_four_rotations():
    (x, y), (every, labels) = de._test_set("digits", False), de._test_set("digits", True)
    assert len(every) == 4*len(x) and torch.equal(labels, y.repeat(4))
    assert torch.equal(every[len(x):2*len(x)], torch.rot90(x, 1, (1, 2)))


def test_units_repeat_and_seeds_are_independent_of_each_other():
    both = de.train_design(rotated=True, tied=True, scale=1, **TINY)
    alone = de.train_design(rotated=True, tied=True, scale=1, **TINY | dict(seeds=[3]))
    assert both["test_accuracy"][1] == alone["test_accuracy"][0] and both["test_accuracy"].shape == (2,)


def test_small_networks_learn():
    found = de.train_design("digits", False, False, 1, False, [0], n_train=300, width=16, epochs=15)
    assert found["test_accuracy"][0] > 0.85 and found["train_accuracy"][0] > 0.95


HELPS, UNCLEAR = Estimate(0.1, (0.05, 0.2), 9), Estimate(0.1, (-0.1, 0.2), 9)


@pytest.mark.parametrize("broken", [dict(trained=0.9, scaling=HELPS), dict(trained=1.0, scaling=UNCLEAR),
                                    dict(trained=math.nan, scaling=HELPS)])
def test_a_broken_premise_leaves_the_claim_undecided(broken):
    claim, better = de.CLAIMS["zhang.sec1.equivariance_beats_scale"], Estimate(0.1, (0.05, 0.2), 12, error=0.02)
    row = decided(claim, better, "quick", **broken)
    assert row["verdict"] == "inconclusive" and row["reason"].startswith("premise not met")
    assert decided(claim, better, "quick", trained=1.0, scaling=HELPS)["verdict"] == "holds"


@pytest.mark.parametrize("name, value", [("n_seeds", 0), ("n_train", 3), ("width", 1), ("epochs", 0), ("dataset", "cifar10")])
def test_bad_parameters_end_before_any_work(name, value, tmp_path):
    with pytest.raises(ParameterError, match=name): Run(de.PARAMETERS, dict(profile="smoke", out_dir=tmp_path/"out", **{name: value}))
    assert not (tmp_path/"out").exists()


def test_a_run_that_was_killed_goes_on(tmp_path):
    values = dict(profile="smoke", out_dir=tmp_path, n_seeds=2)
    grid = [TINY | design for design in list(de._designs(de.PARAMETERS["smoke"]).values())[:3]]
    Run(de.PARAMETERS, values).units(de.train_design, grid[:2], "first")
    again = Run(de.PARAMETERS, values)
    again.units(de.train_design, grid, "again")
    assert (again.counts["reused"], again.counts["computed"]) == (2, 1)


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_the_plan_lists_every_design_once(profile):
    units = de.plan_units(de.PARAMETERS[profile])
    assert len({u.name for u in units}) == len(units) == len(de._designs(de.PARAMETERS[profile]))
    assert all(u.count > 0 and u.flops > 0 and u.memory_bytes > 0 for u in units)
    units[-1].step()
