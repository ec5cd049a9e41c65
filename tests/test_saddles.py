"Two neurons against an integrator, waits, the Hessian against autograd, kicks, and bad input."
import math

import numpy as np
import pytest
import torch
from scipy import integrate
from symbreak_nb import perceptrons as st
from symbreak_nb import saddles as sa
from symbreak_nb.claims import decided
from symbreak_nb.run import ParameterError, Run, over_seeds


@pytest.mark.parametrize("seed", range(4))
def test_two_neurons_solve_their_own_equation(seed):
    rng = np.random.default_rng(seed)
    W0, rates = 0.3*rng.standard_normal((2, 2)), rng.uniform(0.2, 1.5, 2)
    flow = lambda t, w: ((np.diag(rates) - w.reshape(2, 2) @ w.reshape(2, 2).T) @ w.reshape(2, 2)).ravel()
    times = np.linspace(0, 8, 9)
    found = integrate.solve_ivp(flow, (0, 8), W0.ravel(), t_eval=times, rtol=1e-10, atol=1e-12).y.T.reshape(-1, 2, 2)
    np.testing.assert_allclose(sa.two_neurons(W0, rates, times), found @ found.swapaxes(1, 2), atol=1e-7)


@pytest.mark.parametrize("decay", [0.0, 0.2, 0.4, 0.7])
def test_the_broken_distance_solves_its_equation(decay):
    flow = lambda t, x: 2*(0.4 - decay - x)*x
    times = np.linspace(0, 20, 11)
    found = integrate.solve_ivp(flow, (0, 20), [0.01], t_eval=times, rtol=1e-10, atol=1e-14).y[0]
    np.testing.assert_allclose(sa.broken_distance(0.01, 0.4, times, decay), found, rtol=1e-6)


def test_beside_the_saddle_the_loss_is_a_function_of_the_distance():
    d0, times = 1e-3, np.linspace(0, 30, 50)
    W0 = np.array([[1, 1], [d0, -d0]])/2**0.5        # s = e1, d = d0 e2: the saddle of lambda_1 = 1
    M = sa.two_neurons(W0, (1.0, 0.4), times)
    far = sa.broken_distance(d0**2, 0.4, times)
    np.testing.assert_allclose(M[:, 1, 1], far, rtol=1e-9)
    np.testing.assert_allclose(((M - np.diag([1, 0.4]))**2).sum((1, 2))/4, (0.4 - far)**2/4, atol=1e-12)


@pytest.mark.parametrize("layers, scale", [(2, 1e-3), (3, 1e-2), (5, 0.1)])
def test_the_wait_of_a_chain(layers, scale):
    reached = lambda t, w: w[0] - 0.5**(1/layers)
    reached.terminal = True
    flow = lambda t, w: w**(layers - 1)*(1 - w**layers)
    found = integrate.solve_ivp(flow, (0, 1e6), [scale], events=reached, rtol=1e-10, atol=1e-12).t_events[0][0]
    assert math.isclose(sa._chain_time(scale, layers), found, rel_tol=1e-6)


@pytest.mark.parametrize("width", [1, 3])
def test_a_chain_is_the_network_of_equal_neurons_and_the_hessian_is_that_of_autograd(width):
    rng = np.random.default_rng(0)
    v, x = rng.standard_normal(13), rng.standard_normal((6, 10))
    flat, shapes = sa._embed(v, width), st.layer_shapes(10, width, 4)
    xs, ys = torch.tensor(x), torch.tensor(rng.standard_normal((6, 1)))
    outputs = lambda w: st.forward(st.layer_views(w[None], shapes), xs[None], "tanh")[-1][0]
    np.testing.assert_allclose(outputs(torch.tensor(flat))[:, 0], sa._chain_outputs(v, x), atol=1e-12)
    H = sa.numerical_hessian(flat, shapes, xs, ys)
    theirs = torch.autograd.functional.hessian(lambda w: ((outputs(w) - ys)**2).mean(), torch.tensor(flat)).numpy()
    np.testing.assert_allclose(H, theirs, atol=1e-6*np.abs(H).max())
    P = sa.symmetric_projector(width, 4)
    np.testing.assert_allclose(P @ P, P, atol=1e-12)
    np.testing.assert_allclose(P @ flat, flat, atol=1e-12)


def test_the_most_unstable_direction_sets_the_wait():
    found = sa.kicked(5, 4, [1e-3, 1e-4, 1e-5], samples=60)
    assert found["curvature"] < 0 and found["gradient"] < 1e-5
    assert np.isclose(-sa._slopes(np.log(found["kicks"]), found["waits"][:, None])[0]*found["rate"], 1, atol=0.06)
    assert abs(found["loss"][-1, -1]/found["loss"][0, -1] - 1) < 1e-6


@pytest.mark.parametrize("name, value", [("n_seeds", 0), ("width", 1), ("kick_width", 1), ("kicks", 1), ("kicks", 2.5)])
def test_bad_input_ends_at_once(tmp_path, name, value):
    with pytest.raises(ParameterError, match="start"): sa.broken_distance(-1, 1, [0])
    with pytest.raises(ParameterError, match=f"{name} = "): Run(sa.PARAMETERS, dict(profile="smoke", out_dir=tmp_path/"x", **{name: value}))
    assert not (tmp_path/"x").exists()


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_the_plan_covers_the_work(profile):
    units = sa.plan_units(sa.PARAMETERS[profile])
    assert len(units) == 2 and all(u.flops > 0 and u.memory_bytes > 0 and u.count > 0 for u in units)
    if profile == "smoke":
        for u in units: u.step()


def test_a_plateau_that_ends_by_itself_decides_nothing():
    one, near = sa.CLAIMS["ziyin.fig2.control.kick"], over_seeds([1.0, 1.01, 0.99, 1.0, 1.005])
    assert decided(one, near, "quick", stationary=1e-6, lasts=1e-8)["verdict"] == "holds"
    assert decided(one, near, "quick", stationary=1e-6, lasts=0.1)["verdict"] == "inconclusive"
    assert decided(one, near, "quick", stationary=0.1, lasts=1e-8)["verdict"] == "inconclusive"
