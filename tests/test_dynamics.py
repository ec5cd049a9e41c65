"Stacked gradient descent against plain modules, pieces that resume, the coincidence test, and bad input."
import math

import numpy as np
import pytest
import torch
from symbreak_nb import dynamics as dy
from symbreak_nb import perceptrons as st
from symbreak_nb import saddles as sa
from symbreak_nb.claims import decided
from symbreak_nb.run import ParameterError, Run, over_seeds

TINY = dict(activation="tanh", layers=3, width=5, samples=30, tests=7, scale=0.3, dtype="float64", lr=0.05, every=5)


def directly(function, **arguments): return function(**arguments)


@pytest.mark.parametrize("more", [{}, dict(decay=0.1), dict(batch=4), dict(jitter=0.2), dict(label_noise=1.0)])
def test_a_second_run_is_equal_and_a_decayed_or_noisy_one_is_not(more):
    once, again, plain = (dy.train_in_pieces(directly, [1, 2], 20, 10, **TINY, **how) for how in (more, more, {}))
    assert (once["weights"] == again["weights"]).all()
    assert (once["weights"] == plain["weights"]).all() == (not more)


def test_decay_is_that_of_the_penalty():
    how = {k: v for k, v in TINY.items() if k not in ("lr", "every")}
    one = dy.train_in_pieces(directly, [1], 1, 1, **TINY, decay=0.1)["weights"]
    data = dy.teacher_student((1,), **how)
    w = data.start.clone().requires_grad_()
    loss = ((st.forward(st.layer_views(w, st.layer_shapes(10, 5, 3)), data.x, "tanh")[-1] - data.y)**2).mean() + 0.1*(w**2).sum()
    loss.backward()
    np.testing.assert_allclose(one, (w - 0.05*w.grad).detach(), atol=1e-12)


def test_a_stopped_training_goes_on_at_the_next_piece(tmp_path):
    run = Run(dy.PARAMETERS, dict(profile="smoke", device="cpu", out_dir=tmp_path/"a"))
    whole = dy.train_in_pieces(run.unit, [1, 2], 40, 10, **TINY)
    assert run.counts["computed"] == 4
    files = sorted((tmp_path/"a"/"units").iterdir(), key=lambda f: f.stat().st_mtime_ns)
    for file in files[2:]: file.unlink()
    run = Run(dy.PARAMETERS, dict(profile="smoke", device="cpu", out_dir=tmp_path/"a"))
    resumed = dy.train_in_pieces(run.unit, [1, 2], 40, 10, **TINY)
    assert run.counts["reused"] == 2 and run.counts["computed"] == 2
    assert all((whole[k] == resumed[k]).all() for k in whole)


def test_a_replica_is_the_run_that_it_would_be_alone():
    together, alone = (dy.train_in_pieces(directly, s, 50, 50, **TINY | dict(activation="sin")) for s in ([7, 8, 9], [8]))
    np.testing.assert_allclose(together["weights"][1], alone["weights"][0], atol=1e-12)
    np.testing.assert_allclose(together["loss"][:, 1], alone["loss"][:, 0], rtol=1e-10)
    np.testing.assert_allclose(together["distance"][:, 1], alone["distance"][:, 0], atol=1e-10)


def test_a_replica_is_what_modules_of_torch_make_of_it():
    own = dy.teacher_student((4,), **{k: v for k, v in TINY.items() if k not in ("lr", "every")})
    shapes = st.layer_shapes(10, 5, 3)
    net = torch.nn.Sequential(*(m for s in shapes for m in (torch.nn.Linear(*s, bias=False), torch.nn.Tanh())))[:-1].double()
    with torch.no_grad():
        for layer, w in zip(net[::2], st.layer_views(own.start, shapes), strict=True): layer.weight.copy_(w[0].T)
    for _ in range(40):
        net.zero_grad()
        torch.nn.functional.mse_loss(net(own.x[0]), own.y[0]).backward()
        with torch.no_grad():
            for layer in net[::2]: layer.weight -= 0.05*layer.weight.grad
    theirs = torch.cat([layer.weight.T.flatten() for layer in net[::2]]).detach()
    np.testing.assert_allclose(dy.train_in_pieces(directly, [4], 40, 40, **TINY)["weights"][0], theirs, atol=1e-10)


def test_a_swap_is_a_mirror():
    w = torch.randn(1, 10, 3)
    w[..., 1] = w[..., 0]
    q = torch.tensor([1., -1, 0])/2**0.5
    assert (w[0] @ q).square().sum() < 1e-10


def test_equal_neurons_stay_equal():
    flat = sa._embed(np.r_[0.3*np.ones(10), 1.1, 2.0], 4)
    found = dy.train_in_pieces(directly, [3], 30, 30, start=flat[None], **TINY | dict(width=4))
    P = sa.symmetric_projector(4, 3)
    np.testing.assert_allclose(P @ found["weights"][0], found["weights"][0], atol=1e-12)
    assert found["distance"][-1, 0, 0].max() < 1e-20 < found["distance"][-1, 0, 3].max()


def test_a_diverged_run_is_told_from_the_others():
    with np.errstate(all="ignore"): found = dy.train_in_pieces(directly, [1, 2], 60, 60, **TINY | dict(lr=1e3, activation="quadratic"))
    assert not dy._finite_runs(found).any()
    assert dy._finite_runs(dy.train_in_pieces(directly, [1, 2], 20, 20, **TINY)).all()


@pytest.fixture(scope="module")
def plateaus():
    "Loss curves with one cliff each, at times that differ."
    rng = np.random.default_rng(0)
    at = rng.permutation(np.linspace(20, 170, 10).astype(int))
    t = np.arange(200)
    return at, np.array([1/(1 + np.exp((t - a)/1.0)) + 0.01 for a in at])


def test_fast_windows_hold_their_share_and_no_more(plateaus):
    at, loss = plateaus
    for a, row in zip(at, loss, strict=True):
        fast = dy.fast_windows(row, margin=0)
        fall = -np.diff(row, prepend=row[0])
        assert fall[fast].sum() >= 0.8*fall.sum() > fall[fast].sum() - fall[fast].min()
        assert abs(np.flatnonzero(fast).mean() - a) < 2 and not fast[0]
        assert (dy.fast_windows(row, margin=0.02) >= fast).all()
    scaled = [dy.fast_windows(k*loss[0]) for k in (1, 7.0)]
    assert (scaled[0] == scaled[1]).all()


def test_the_exchange_of_runs_tells_own_cliffs_from_a_common_course(plateaus):
    at, loss = plateaus
    windows = np.array([dy.fast_windows(row) for row in loss])
    own = dy.exchange_test(windows, [np.array([a, a + 1]) for a in at], 999, 0)
    assert own["p"] < 0.005 and own["value"] > own["null"].max() - 1e-9
    common = [np.array([int(np.median(at)), 90])]*len(at)   # the same times in every run: all pairings are alike
    assert dy.exchange_test(windows, common, 999, 0)["p"] == 1
    assert math.isnan(dy.exchange_test(windows, [np.array([], int)]*len(at), 99, 0)["p"])


def test_p_values_under_the_null_are_not_too_small():
    rng = np.random.default_rng(1)
    small = {False: 0, True: 0}
    for k in range(150):
        windows = np.zeros((6, 60), bool)
        for row, a in zip(windows, rng.integers(5, 50, 6), strict=True): row[a:a + 4] = True
        points = [np.unique(rng.integers(1, 50) + rng.integers(0, 5, size=4)) for _ in range(6)]   # clustered, not tied
        for shift in small: small[shift] += dy.exchange_test(windows, points, 199, k, shift)["p"] <= 0.1
    assert max(small.values()) < 30, small


@pytest.mark.parametrize("name, value", [("threshold", 0), ("threshold", math.nan), ("share", 1), ("margin", -0.1), ("n_seeds", 0),
                                         ("n_seeds", 2.5), ("steps", 3), ("width", 1), ("width", "64")])
def test_bad_parameters_end_at_once(tmp_path, name, value):
    with pytest.raises(ParameterError, match=f"{name} = "):
        Run(dy.PARAMETERS, dict(profile="smoke", out_dir=tmp_path/"x") | {name: value})
    assert not (tmp_path/"x").exists()


def test_bad_arguments():
    for call, words in ((lambda: dy.teacher_student((0,), "relu"), "activation"), (lambda: dy.teacher_student((0,), layers=0), "layers"),
                        (lambda: dy.fast_windows(np.ones(4), share=0), "share")):
        with pytest.raises(ParameterError, match=words): call()


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_the_plan_covers_the_work(profile):
    units = dy.plan_units(dy.PARAMETERS[profile])
    assert len(units) == 3 and all(u.flops > 0 and u.memory_bytes > 0 and u.count > 0 for u in units)
    if profile == "smoke":
        for u in units: u.step()


def test_the_paper_profile_is_the_papers():
    p = dy.PARAMETERS["paper"]
    assert (p["width"], p["samples"], p["tests"], p["steps"], dy._LAYERS["tanh"], dy._LAYERS["sin"]) == (64, 300, 500, 50_000, 5, 5)
    assert [dy._setting(p, "tanh")[k] for k in ("layers", "width", "samples", "tests")] == [5, 64, 300, 500]
    assert dy._INPUTS == 10 and dy._GAIN == 10
    assert set(dy.CLAIMS) >= {"ziyin.fig2.coincidence", "ziyin.fig7.quadratic", "ziyin.fig8.sin"}


def test_a_claim_asks_for_most_breakings_in_rare_windows_of_students_that_learn():
    met = dict(symmetric=0.04, learnt=0.1, rare=over_seeds([0.05, 0.06, 0.07]))
    few, most = over_seeds([0.3, 0.32, 0.28, 0.31, 0.3]), over_seeds([0.7, 0.72, 0.68, 0.71, 0.7])
    one = dy.CLAIMS["ziyin.fig2.coincidence"]
    assert [decided(one, v, "quick", **met)["verdict"] for v in (few, most)] == ["fails", "holds"]
    for broken in (dict(symmetric=1.0), dict(learnt=0.9), dict(rare=over_seeds([0.6, 0.62, 0.61]))):
        assert decided(one, most, "quick", **met | broken)["verdict"] == "inconclusive"


def test_the_exchange_of_runs_gives_an_interval_and_a_p():
    rng = np.random.default_rng(0)
    windows = rng.random((8, 100)) < 0.1
    own = dy._beyond_exchange(dy.exchange_test(windows, [np.flatnonzero(w)[1:4] for w in windows], 999, 0), 8)
    blind = dy._beyond_exchange(dy.exchange_test(windows, [1 + rng.integers(99, size=5) for _ in windows], 999, 0), 8)
    assert own.interval[0] > 0 and own.p_value(0) < 0.01 and blind.p_value(0) > 0.01
