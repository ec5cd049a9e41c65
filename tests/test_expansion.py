"Fairness of the arms, the training, and the statistics that decide the section's claims."
import math

import numpy as np
import pytest
import torch
from symbreak_nb import expansion as ex
from symbreak_nb.claims import decided
from symbreak_nb.run import ParameterError
from symbreak_nb.statistics import Estimate, fieller, paired, smallest

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = dict(dataset="digits", n_train=64, n_test=60, epochs=2, batch_size=32, width=4)


def test_arms_start_from_the_same_weights_and_images(monkeypatch):
    seen = {}
    step = ex._Trainer.step

    def spy(self, sgd, x, y):
        weights = sum(float(w.detach().double().sum()) for w in self.net.parameters())
        seen.setdefault(self.look["arm"], []).append((weights, y))
        return step(self, sgd, x, y)
    monkeypatch.setattr(ex._Trainer, "step", spy)
    for arm in ex.ARMS: ex.train_one(arm=arm, **TINY | dict(epochs=1))
    for arm, steps in seen.items():
        assert steps[0][0] == seen["raw"][0][0], arm
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(steps, seen["raw"], strict=False)), arm
    assert len(seen["longer"]) == 4*len(seen["raw"])


@pytest.mark.parametrize("arm", list(ex.ARMS))
def test_training_repeats_exactly(arm):
    one, two = ex.train_one(arm=arm, seed=3, **TINY), ex.train_one(arm=arm, seed=3, **TINY)
    assert np.array_equal(one["test_accuracy"], two["test_accuracy"]) and np.array_equal(one["train_loss"], two["train_loss"])
    assert one["n_test"] == 60 and np.allclose(one["test_accuracy"]*60, np.round(one["test_accuracy"]*60))


def test_training_learns():
    found = ex.train_one("digits", "raw", n_train=500, n_test=355, epochs=8, batch_size=32, width=8)
    assert found["test_accuracy"][-1] > 0.7 and found["train_loss"][-1] < found["train_loss"][0]


def test_another_source_is_refused():
    with pytest.raises(ex.data.DataError, match="expected elsewhere"): ex.train_one(source="elsewhere", **TINY)


@pytest.mark.parametrize("n, size, lengths", [(65, 32, [32, 33]), (64, 32, [32, 32]), (1, 32, [1]), (33, 32, [33]), (66, 32, [32, 32, 2])])
def test_no_image_is_lost_and_no_batch_has_one(n, size, lengths):
    parts = ex._batches(n, size, torch.Generator().manual_seed(0))
    assert [len(p) for p in parts] == lengths and torch.equal(torch.cat(parts).sort().values, torch.arange(n))


def test_accuracy_counts_the_last_batch():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2, bias=False))
    with torch.no_grad(): net[1].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]))
    trainer = ex._Trainer(net, "raw", 2, 0.5, "none", (0, 1), "cpu")
    y = torch.arange(7) % 2
    x = torch.zeros(7, 3, 1, 1, dtype=torch.uint8)
    x[torch.arange(7), y] = 200
    assert trainer.accuracy(x, y, batch_size=3) == 1
    assert trainer.accuracy(x, 1 - y, batch_size=3) == 0
    y[6] = 1 - y[6]
    assert trainer.accuracy(x, y, batch_size=3) == pytest.approx(6/7)


def test_augmentation_moves_pixels_as_it_says():
    x = torch.zeros(400, 1, 9, 9, dtype=torch.uint8)
    x[:, :, 4, 4] = 1
    y = ex._augmented(x, torch.Generator().manual_seed(0), shift=2)
    assert (y.sum((1, 2, 3)) == 1).all()
    assert set(y.nonzero()[:, 2].tolist()) == set(y.nonzero()[:, 3].tolist()) == {2, 3, 4, 5, 6}


@pytest.mark.parametrize("model", ex.MODELS)
def test_networks_take_expanded_images(model):
    with torch.device("meta"): net, x = ex.build_network(model, 7, width=8), torch.empty(2, 3, 64, 64)
    assert net(x).shape == (2, 7)


def test_torchvision_networks_are_untouched():
    from torchvision import models
    torch.manual_seed(5)
    ours, theirs = ex.build_network("resnet18", 10, seed=5), models.resnet18(num_classes=10)
    assert str(ours) == str(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))


def test_fieller_covers_the_true_ratio():
    rng, hits, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        b = 1 + 0.3*rng.normal(size=5)
        low, high = fieller(0.4*b + 0.1*rng.normal(size=5), b).interval
        hits += low <= 0.4 <= high
    assert 0.92 < hits/trials < 0.98
    assert fieller([1.0], [2.0]).interval == (-math.inf, math.inf)


def test_smallest_gain_is_judged_by_its_worst_member():
    rng = np.random.default_rng(1)
    good, bad = 1 + 0.1*rng.normal(size=5), -1 + 0.1*rng.normal(size=5)
    assert smallest([good, good + 1]).interval[0] > 0
    assert smallest([good, bad]).interval[1] < 0


def test_p_of_the_smallest_gain_agrees_with_its_interval():
    rng = np.random.default_rng(2)
    for shift in (0.0, 0.4, 2.0):
        found = smallest([shift + rng.normal(size=6), 0.2 + rng.normal(size=9), rng.normal(size=5)])
        for end in found.interval: assert found.p_value(end) == pytest.approx(0.05, abs=2e-3)
        assert found.n == 5 and (found.p_value(0) < 0.05) == (not found.interval[0] <= 0 <= found.interval[1])


def test_claims_of_the_paper_are_undecided_without_its_networks_and_sets():
    large = Estimate(0.2, (0.1, 0.3), 9, error=0.04)
    for name in ("fig1.converges_faster", "fig2.all_improve", "fig2.harder_gains_more", "ablation.any_fill"):
        claim = ex.CLAIMS[f"zhang.{name}"]
        row = decided(claim, large, "quick", of_the_paper=0, trained=1.0)
        assert row["verdict"] == "inconclusive" and row["reason"].startswith("premise not met")
        assert decided(claim, large, "paper", of_the_paper=20, trained=0.99)["verdict"] == "holds"
        assert "fit their training images" in decided(claim, large, "paper", of_the_paper=20, trained=0.5)["reason"]


@pytest.mark.parametrize("name, premises", [("sec51.excessive_expansion", dict(trained=0.9)), ("sec52.worse_gains_more", dict(trained=0.9)),
                                            ("expansion.control.small_improve", dict(fitted_sets=1)),
                                            ("fig1.resnet18_cifar10", dict(augmentation=1)),
                                            ("expansion.control.share_of_gain", dict(trained=1.0, gain=Estimate(0.01, (-0.01, 0.03), 9)))])
def test_a_broken_premise_leaves_a_claim_undecided(name, premises):
    row = decided(ex.CLAIMS[f"zhang.{name}"], Estimate(0.99, (0.98, 1.0), 50000, error=0.004), "quick", **premises)
    assert row["verdict"] == "inconclusive" and row["reason"].startswith("premise not met")


def test_augmentation_is_an_arm_of_the_comparison_alone():
    p = ex._choose_data(ex.PARAMETERS["quick"] | dict(augment=[False, True], datasets=["digits", "mnist"]))
    work = ex._trainings(p)
    assert [sum(job["augment"] for job in work[part]) for part in ("control", "ablation", "normalise")] == [0, 0, 0]
    assert 2*sum(job["augment"] for job in work["comparison"]) == len(work["comparison"])
    assert ex.PARAMETERS["paper"]["augment"] == [False, True] and ex.PARAMETERS["quick"]["augment"] == [False]
    with pytest.raises(ParameterError, match="augment"): ex.PARAMETERS.checks()["augment"]("augment", [True, True])


def test_the_best_factor_is_not_chosen_by_the_seed_that_judges_it():
    rng, found = np.random.default_rng(3), []
    for _ in range(400):
        noise = dict(zip((1, 2, 3, 4, 8), rng.normal(size=(5, 5)), strict=True))
        found.append(ex._beyond_best(noise, 8).mean())
    assert abs(np.mean(found)) < 4*np.std(found)/20          # equal factors: no loss beyond the best
    assert paired(ex._beyond_best({1: np.zeros(5), 2: np.arange(5.) + 9, 8: np.arange(5.) + 1}, 8), 0).value == -8


def test_training_reports_how_it_fits():
    found = ex.train_one("digits", "raw", n_train=200, n_test=60, epochs=6, batch_size=32, width=8)
    assert found["train_accuracy"]*200 == pytest.approx(round(found["train_accuracy"]*200)) and found["train_accuracy"] > 0.5


def test_plan_lists_every_kind_of_training_once():
    some = dict(datasets=["imagenet_100", "cifar10"], models=["resnet18", "densenet121"])
    units = ex.plan_units(ex.PARAMETERS["paper"] | some)
    assert len({u.name for u in units}) == len(units) > 15
    assert all(u.flops > 0 and u.count > 0 and u.memory_bytes > 0 for u in units)
    assert any("imagenet_100 densenet121 expanded" in u.name and "448 px" in u.name for u in units)


def test_operations_are_counted_exactly_and_by_image():
    two, six = (ex._step_cost("mobilenet_v3_small", 10, (n, 3, 64, 64)) for n in (2, 6))
    assert 3*two["flops"] == six["flops"] and 3*two["activation_bytes"] == six["activation_bytes"]
    assert ex._step_cost("resnet18", 1000, (1, 3, 224, 224))["flops"] == pytest.approx(3*2*1.814e9, rel=0.03)


def test_limits_of_the_parameters():
    limits = ex.PARAMETERS.checks()
    for name, value in [("factor", 1), ("fill", 2), ("datasets", ["cifar"]), ("datasets", ["mnist", "mnist"]),
                        ("epochs", 0), ("n_seeds", 0), ("n_train", 3),
                        ("normalise", "yes"), ("models", []), ("learning_rate", 0), ("batch_size", 1)]:
        with pytest.raises(ParameterError, match=name): limits[name](name, value)
    for values in ex.PARAMETERS.values():
        for name, check in limits.items(): check(name, values[name])
