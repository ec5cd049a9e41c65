"Tasks that change one thing, counts and correlations, attention, six neurons, refusals."
import math

import numpy as np
import pytest
import torch
from symbreak_nb import adaptation as ad
from symbreak_nb.claims import decided, verdict
from symbreak_nb.run import ParameterError, Run, over_seeds

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_sweep_changes_the_task_and_nothing_else():
    def made(**how):
        torch.manual_seed(3)
        return ad._student_task(**dict(width=6, depth=3, samples=20, gain=0.5, label_scale=2.0, alpha=1.0, sigma=0.0,
                                     teacher=6, fresh=False) | how)
    plain, weak, noisy, fresh = made(), made(alpha=2.0), made(sigma=0.5), made(sigma=0.5, fresh=True)
    for other in (weak, noisy, fresh): assert torch.equal(other.net[0].weight, plain.net[0].weight)
    assert torch.allclose(weak.inputs, plain.inputs/2) and torch.equal(noisy.inputs, plain.inputs)
    rows, noise = torch.arange(20), (noisy.targets - plain.targets)/plain.targets.std()
    assert 0.2 < noise.std() < 0.8 and torch.equal(fresh.targets, plain.targets)
    drawn = [fresh(rows) - plain(rows) for _ in range(2)]
    assert not torch.equal(*drawn) and 0.2 < (drawn[0]/plain.targets.std()).std() < 0.8


def test_counts_of_a_network_that_diverged():
    bad = np.full((1, 4, 3), np.nan)
    assert np.isnan(ad.symmetric_pairs(bad, np.zeros((1, 2, 4)))).all() and ad.living_classes(bad[0]) == -1
    assert over_seeds([np.nan, np.nan]).n == 0


def test_counts_know_the_sign_flip():
    a, b = np.eye(4)[:2]
    units = np.array([[a, -a, b, 0*a]])
    assert ad.symmetric_pairs(units, np.zeros((1, 1, 4))) <= ad.symmetric_pairs(units, np.zeros((1, 1, 4)), sign_flip=True)
    assert ad.living_classes(units[0]) == 2 and ad.living_classes(units[0], threshold=2.0) == 0
    d = ad._mirror_distances(units)[0]
    assert d[0, 1] == 0 and np.allclose(d, d.T) and np.allclose(d[3, :3], 1)


def test_correlations_and_their_null():
    rng = np.random.default_rng(1)
    rows = np.arange(5)[:, None] + np.zeros(8)
    assert ad.mean_rank_correlation(range(5), rows, rng, 200).interval == (1, 1)
    assert ad.mean_rank_correlation(range(5), -rows, rng, 200).p == 1
    p = [ad.mean_rank_correlation(range(4), rng.normal(size=(4, 6)), rng, 200).p for _ in range(60)]
    assert 0.3 < np.mean(p) < 0.7 and np.mean(np.array(p) < 0.1) < 0.25
    flat = ad.mean_rank_correlation(range(4), np.ones((4, 6)), rng)
    assert math.isnan(flat.value) and flat.n == 0
    half = np.concatenate([rows[:, :1], np.ones((5, 1)), np.full((5, 1), np.nan)], 1)
    found = [ad.mean_rank_correlation(range(5), half, rng, 50) for _ in range(2)]
    assert np.isclose(found[0].value, 0.5) and found[1].n == 2


def test_attention_does_not_see_the_order_of_pairs_nor_the_hidden_label():
    torch.manual_seed(0)
    task = ad._context_task(7, 3, 5, 4, 1.0, 1.0, 0.2, 2)
    z = task.inputs
    order = torch.cat([torch.randperm(6), torch.tensor([6])])
    assert torch.allclose(task.net(z), task.net(z[:, order]), atol=1e-5) and (z[:, -1, -1] == 0).all()
    layer = task.net.layers[0]
    before, flip = task.net(z), torch.tensor([1., -1, 1, -1, 1])[:, None]
    with torch.no_grad():
        mixed = torch.randperm(5)
        for m in (layer.query, layer.key): m.weight[:] = (flip*m.weight)[mixed]
    assert torch.allclose(before, task.net(z), atol=1e-5)


def test_six_neurons_take_more_for_a_richer_teacher():
    how = dict(inputs=4, samples=80, gain=0.5, lr=2e-2, decay=1e-2, steps=500)
    few, many = ([ad.living_classes(u) for u in ad._train_six([0, 1, 2], neurons=k, **how)["units"]] for k in (1, 4))
    assert sum(few) < sum(many) and max(many) <= 6


def test_students_of_a_stack_are_the_students_alone_and_fresh_noise_is_drawn_anew():
    how = dict(width=4, depth=3, samples=20, gain=0.5, label_scale=2.0, decay=1e-2, lr=1e-2, steps=20, teacher=4)
    state = torch.random.get_rng_state()
    both, alone = ad._train_students([3, 4], **how), ad._train_students([4], **how)
    assert torch.equal(state, torch.random.get_rng_state())
    for k in ("first", "second"): np.testing.assert_allclose(both[k][:, 1], alone[k][:, 0], atol=1e-6)
    np.testing.assert_allclose(both["loss"][1], alone["loss"][0], rtol=1e-5)
    assert both["first"].shape == (2, 2, 4, 10) and both["second"].shape == (2, 2, 4, 4)
    assert not np.allclose(both["first"][0], both["first"][1])               # nine tenths, and the end
    fixed, fresh = (ad._train_students([3], **how, sigma=1.0, fresh=f)["first"] for f in (False, True))
    assert not np.allclose(fixed, fresh)


def test_minima_merge_neurons_and_their_number_follows_the_teacher():
    rich, poor, free = (ad._minimum(1, 10, decay, teacher=k, noise=0.0, most=most)
                        for decay, k, most in ((1e-2, 3, 3000), (1e-2, 1, 3000), (0.0, 3, 200)))
    assert max(rich["gradient"], poor["gradient"]) < 1e-5 and rich["loss"] < 0.1
    assert ad.living_classes(poor["units"], 0.01) < ad.living_classes(rich["units"], 0.01) < 10
    far, identical = ad._unequal(rich["units"])
    assert far > 0.1 and identical > 0.1 and ad._unequal(free["units"])[1] == 0
    assert math.isnan(ad._unequal(np.zeros((3, 2)))[0])


def test_what_breaks_a_premise_leaves_a_claim_undecided():
    sure = over_seeds([0.8, 0.9, 1.0, 0.9, 0.85])
    met = dict(fig10=dict(solved=0.05, settled=0.01, long=1.0), fig16=dict(solved=0.05, learnt=0.1))
    for name, premise, bad in (("fig10.noise", "settled", 0.5), ("fig10.noise", "long", 0.01), ("fig10.scale", "solved", 0.9),
                               ("fig16.adaptive", "learnt", 0.5), ("fig16.adaptive", "solved", 0.3)):
        one, good = ad.CLAIMS[f"ziyin.{name}"], met[name.split(".")[0]]
        assert decided(one, sure, "quick", **good)["verdict"] == "holds"
        row = decided(one, sure, "quick", **good | {premise: bad})
        assert row["verdict"] == "inconclusive" and row["reason"].startswith("premise not met")
    dead = decided(ad.CLAIMS["ziyin.fig10.transformer"], sure, "quick", solved=0.5, pairs=0.0)
    assert dead["verdict"] == "inconclusive" and "some channels" in dead["reason"]


@pytest.mark.parametrize("name, value", [("n_seeds", 0), ("mlp_steps", 1.5), ("noise_levels", [-1, 0]), ("scale_levels", [0])])
def test_bad_parameters_end_in_one_line(tmp_path, name, value):
    with pytest.raises(ParameterError, match=name) as caught:
        Run(ad.PARAMETERS, dict(profile="smoke", out_dir=tmp_path, **{name: value}))
    assert "\n" not in str(caught.value)


def test_claims_and_the_papers_numbers():
    for one in ad.CLAIMS.values(): assert verdict(one.rule, math.nan, (math.nan, math.nan)) == "inconclusive"
    p, q = ad.PARAMETERS["paper"], ad.PARAMETERS["quick"]
    assert (p["mlp_width"], p["mlp_depth"], p["mlp_samples"], p["label_scale"], p["mlp_decay"]) == (64, 5, 300, 10.0, 1e-2)
    for k in ("mlp_width", "mlp_depth", "mlp_samples", "label_scale", "mlp_decay"): assert q[k] == p[k]
    assert p["mlp_steps"] == 50_000 and (p["tokens"], p["inputs"], p["attention_decay"], p["n_seeds"]) == (50, 20, 1e-2, 5)
    assert math.isclose(q["attention_lr"]*q["attention_decay"]*q["attention_steps"],
                        p["attention_lr"]*p["attention_decay"]*p["attention_steps"])


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_plan_counts_the_work(profile):
    units = ad.plan_units(ad.PARAMETERS[profile])
    for unit in units: assert unit.count > 0 and unit.flops > 0 and unit.memory_bytes > 0
    if profile == "smoke":
        for unit in units: unit.step()
