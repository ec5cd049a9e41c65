"Exact dynamics, stacked gradient descent against plain modules, chunks that resume, the coincidence test, and bad input."
import math

import numpy as np
import pytest
import torch
from scipy import integrate
from symbreak_nb import dynamics as dy
from symbreak_nb.run import ParameterError, Run

TINY = dict(activation="tanh", layers=3, width=5, samples=30, tests=7, scale=0.3, dtype="float64", lr=0.05, every=5)


@pytest.mark.parametrize("seed", range(4))
def test_two_neurons_solve_their_own_equation(seed):
    rng = np.random.default_rng(seed)
    W0, rates = 0.3*rng.standard_normal((2, 2)), rng.uniform(0.2, 1.5, 2)
    flow = lambda t, w: ((np.diag(rates) - w.reshape(2, 2) @ w.reshape(2, 2).T) @ w.reshape(2, 2)).ravel()
    times = np.linspace(0, 8, 9)
    found = integrate.solve_ivp(flow, (0, 8), W0.ravel(), t_eval=times, rtol=1e-10, atol=1e-12).y.T.reshape(-1, 2, 2)
    np.testing.assert_allclose(dy.two_neurons(W0, rates, times), found @ found.swapaxes(1, 2), atol=1e-7)


@pytest.mark.parametrize("decay", [0.0, 0.2, 0.4, 0.7])
def test_the_broken_distance_solves_its_equation(decay):
    flow = lambda t, x: 2*(0.4 - decay - x)*x
    times = np.linspace(0, 20, 11)
    found = integrate.solve_ivp(flow, (0, 20), [0.01], t_eval=times, rtol=1e-10, atol=1e-14).y[0]
    np.testing.assert_allclose(dy.broken_distance(0.01, 0.4, times, decay), found, rtol=1e-6)


def test_beside_the_saddle_the_loss_is_a_function_of_the_distance():
    d0, times = 1e-3, np.linspace(0, 30, 50)
    W0 = np.array([[1, 1], [d0, -d0]])/2**0.5        # s = e1, d = d0 e2: the saddle of lambda_1 = 1
    M = dy.two_neurons(W0, (1.0, 0.4), times)
    far = dy.broken_distance(d0**2, 0.4, times)
    np.testing.assert_allclose(M[:, 1, 1], far, rtol=1e-9)
    np.testing.assert_allclose(((M - np.diag([1, 0.4]))**2).sum((1, 2))/4, (0.4 - far)**2/4, atol=1e-12)


@pytest.mark.parametrize("layers, scale", [(2, 1e-3), (3, 1e-2), (5, 0.1)])
def test_the_wait_of_a_chain(layers, scale):
    reached = lambda t, w: w[0] - 0.5**(1/layers)
    reached.terminal = True
    flow = lambda t, w: w**(layers - 1)*(1 - w**layers)
    found = integrate.solve_ivp(flow, (0, 1e6), [scale], events=reached, rtol=1e-10, atol=1e-12).t_events[0][0]
    assert math.isclose(dy.chain_time(scale, layers), found, rel_tol=1e-6)


@pytest.mark.parametrize("activation", list(dy.ACTIVATIONS))
@pytest.mark.parametrize("layers", [1, 2, 5])
def test_gradient_is_that_of_autograd(activation, layers):
    sizes = dy.layer_sizes(4, layers)
    flat = (0.4*torch.randn(3, sum(a*b for a, b in sizes), dtype=torch.float64)).requires_grad_()
    x, y = torch.randn(3, 6, 10, dtype=torch.float64), torch.randn(3, 6, 1, dtype=torch.float64)
    views = dy.layer_views(flat, sizes)
    loss, grads = dy.loss_and_gradient(views, x, y, activation)
    plain = ((dy.outputs(views, x, activation) - y)**2).mean((1, 2))
    torch.testing.assert_close(loss, plain)
    automatic, = torch.autograd.grad(plain.sum(), flat)
    torch.testing.assert_close(torch.cat([g.flatten(1) for g in grads], 1), automatic)


@pytest.mark.parametrize("more", [{}, dict(decay=0.1), dict(batch=4), dict(jitter=0.2), dict(label_noise=1.0)])
def test_a_second_run_is_equal_and_a_decayed_or_noisy_one_is_not(more):
    once, again, plain = (dy.train(dy.directly, [1, 2], 20, 10, **TINY, **how) for how in (more, more, {}))
    assert (once["weights"] == again["weights"]).all()
    assert (once["weights"] == plain["weights"]).all() == (not more)


def test_decay_is_that_of_the_penalty():
    how = {k: v for k, v in TINY.items() if k not in ("lr", "every")}
    one = dy.train(dy.directly, [1], 1, 1, **TINY, decay=0.1)["weights"]
    data = dy.task((1,), **how)
    w = data.start.clone().requires_grad_()
    loss = ((dy.outputs(dy.layer_views(w, dy.layer_sizes(5, 3)), data.x, "tanh") - data.y)**2).mean() + 0.1*(w**2).sum()
    loss.backward()
    np.testing.assert_allclose(one, (w - 0.05*w.grad).detach(), atol=1e-12)


def test_a_stopped_training_goes_on_at_the_next_chunk(tmp_path):
    run = Run("dynamics", profile="smoke", device="cpu", out_dir=tmp_path/"a")
    whole = dy.train(run.unit, [1, 2], 40, 10, **TINY)
    assert run.counts["computed"] == 4
    files = sorted((tmp_path/"a"/"units").iterdir(), key=lambda f: f.stat().st_mtime_ns)
    for file in files[2:]: file.unlink()
    run = Run("dynamics", profile="smoke", device="cpu", out_dir=tmp_path/"a")
    resumed = dy.train(run.unit, [1, 2], 40, 10, **TINY)
    assert run.counts["reused"] == 2 and run.counts["computed"] == 2
    assert all((whole[k] == resumed[k]).all() for k in whole)


def test_a_replica_is_the_run_that_it_would_be_alone():
    together, alone = (dy.train(dy.directly, s, 50, 50, **TINY | dict(activation="sin")) for s in ([7, 8, 9], [8]))
    np.testing.assert_allclose(together["weights"][1], alone["weights"][0], atol=1e-12)
    np.testing.assert_allclose(together["loss"][:, 1], alone["loss"][:, 0], rtol=1e-10)
    np.testing.assert_allclose(together["distance"][:, 1], alone["distance"][:, 0], atol=1e-10)


def test_equal_neurons_stay_equal():
    flat = dy.embed(np.r_[0.3*np.ones(10), 1.1, 2.0], 4)
    found = dy.train(dy.directly, [3], 30, 30, start=flat[None], **TINY | dict(width=4))
    P = dy.symmetric_projector(4, 3)
    np.testing.assert_allclose(P @ found["weights"][0], found["weights"][0], atol=1e-12)
    assert found["distance"][-1, 0, 0].max() < 1e-20 < found["distance"][-1, 0, 3].max()


def test_a_diverged_run_is_told_from_the_others():
    with np.errstate(all="ignore"): found = dy.train(dy.directly, [1, 2], 60, 60, **TINY | dict(lr=1e3, activation="quadratic"))
    assert not dy.finite_runs(found).any()
    assert dy.finite_runs(dy.train(dy.directly, [1, 2], 20, 20, **TINY)).all()


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


def test_the_most_unstable_direction_sets_the_wait():
    found = dy.kicked(5, 4, [1e-3, 1e-4, 1e-5], samples=60)
    assert found["curvature"] < 0 and found["gradient"] < 1e-5
    assert np.isclose(-dy.slopes(np.log(found["kicks"]), found["waits"][:, None])[0]*found["rate"], 1, atol=0.06)
    assert abs(found["loss"][-1, -1]/found["loss"][0, -1] - 1) < 1e-6


def test_factors_do_not_change_the_output_and_add_a_symmetry():
    sizes = dy.layer_sizes(4, 2)
    W, out = dy.layer_views(torch.randn(2, sum(a*b for a, b in sizes)), sizes)
    x, v = torch.randn(2, 9, 10), torch.randn(2, 1, 1)
    effective = lambda v, W: dy.outputs([v*W, out], x, "tanh")
    torch.testing.assert_close(effective(v, W), effective(-v, -W))
    torch.testing.assert_close(effective(v, W), effective(3*v, W/3))


def test_noise_heals_where_it_should():
    assert np.median(dy.noisy_growth(0.4, 0.5, 20, 500, 0, 1000)) > 0 > np.median(dy.noisy_growth(0.4, 1.3, 20, 500, 0, 1000))


@pytest.mark.parametrize("name, value", [("threshold", 0), ("threshold", math.nan), ("share", 1), ("margin", -0.1), ("n_seeds", 0),
                                         ("n_seeds", 2.5), ("steps", 3), ("width", 1), ("width", "64")])
def test_bad_parameters_end_at_once(tmp_path, name, value):
    with pytest.raises(ParameterError, match=f"{name} = "):
        Run("dynamics", profile="smoke", out_dir=tmp_path/"x", profiles=dy.PROFILES, allowed=dy.allowed(),
            params=dict(threshold=0.1, share=0.8, margin=0.01) | {name: value})
    assert not (tmp_path/"x").exists()


def test_bad_arguments():
    for call, words in ((lambda: dy.task((0,), "relu"), "activation"), (lambda: dy.task((0,), layers=0), "layers"),
                        (lambda: dy.fast_windows(np.ones(4), share=0), "share"),
                        (lambda: dy.broken_distance(-1, 1, [0]), "start")):
        with pytest.raises(ParameterError, match=words): call()


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_the_plan_covers_the_work(profile):
    units = dy.plan_units(dy.PROFILES[profile])
    assert len(units) == 7 and all(u["flops"] > 0 and u["memory_bytes"] > 0 and u["count"] > 0 for u in units)
    if profile == "smoke": assert all(u["step"]() > 0 for u in units)


def test_the_paper_profile_is_the_papers():
    p = dy.PROFILES["paper"]
    assert (p["width"], p["samples"], p["tests"], p["steps"], dy.LAYERS["tanh"], dy.LAYERS["sin"]) == (64, 300, 500, 50_000, 5, 5)
    assert dy.INPUTS == 10 and dy.GAIN == 10
    assert set(dy.CLAIMS) >= {"ziyin.fig2.coincidence", "ziyin.fig7.quadratic", "ziyin.fig8.sin", "ziyin.sec6.noise_restores",
                              "ziyin.sec6.added_symmetry"}
