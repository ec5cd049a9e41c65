"The theorem on random tasks, small networks against plain torch, balance, divergence, refusals."
import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import equilibrium as eq
from symbreak_nb.claims import decided
from symbreak_nb.perceptrons import layer_shapes, random_stream
from symbreak_nb.run import ParameterError, Run

pytestmark = pytest.mark.usefixtures("one_thread")


def task(seed, inputs, outputs):
    rng = np.random.default_rng(seed)
    x, e = rng.normal(size=(3*inputs, inputs)), rng.normal(size=(outputs + 1, outputs))
    return rng, rng.normal(size=(outputs, inputs)), x.T @ x, e.T @ e


def product(weights): return functools.reduce(np.matmul, reversed(weights))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 4), st.lists(st.integers(4, 9), min_size=1, max_size=6))
def test_the_equilibrium_solves_the_task_is_balanced_against_noise_and_coldest(seed, inputs, outputs, widths):
    rng, V, sigma_x, sigma_e = task(seed, inputs, outputs)
    widths = [w + max(inputs, outputs) for w in widths]
    weights = eq.equilibrium(V, sigma_x, sigma_e, widths, rng)
    np.testing.assert_allclose(product(weights), V, atol=1e-7*np.abs(V).max())
    assert eq._imbalance(weights, sigma_x, sigma_e) < 1e-8
    cold = eq.noise_energy(weights, sigma_x, sigma_e)
    for _ in range(3):
        other = eq.along_orbit(weights, [rng.normal(size=(w, w))/w for w in widths], .3)
        np.testing.assert_allclose(product(other), V, atol=1e-6*np.abs(V).max())
        assert eq.noise_energy(other, sigma_x, sigma_e) > cold*(1 - 1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.lists(st.integers(3, 8), min_size=1, max_size=5), min_size=2, max_size=4))
def test_theorem_4_for_any_depths_and_widths(seed, shapes):
    exact = eq._theorem_gap(shapes, np.random.default_rng(seed), inputs=5, outputs=3)
    assert exact["gap"] < 1e-8 and exact["constant"] < 1e-5


def test_the_constant_of_the_paper_is_the_special_case_and_only_that():
    for depth, layer in ((3, 1), (6, 2), (6, 5)):
        assert eq._layer_scale(layer, depth, 5., 2., 2.) == pytest.approx(eq._printed_scale(layer, depth, 5., 2))
        assert eq._layer_scale(layer, depth, 5., 4., 2.) != pytest.approx(eq._printed_scale(layer, depth, 5., 2), rel=.05)


def test_minimising_the_noise_energy_over_the_orbit_finds_the_universal_kernel():
    "Gradient descent on the energy, with autograd and from a random point, knows nothing of the closed form."
    rng, V, sigma_x, sigma_e = task(3, 4, 2)
    start = eq.along_orbit(eq.equilibrium(V, sigma_x, sigma_e, [5, 6], rng), [rng.normal(size=(w, w))/4 for w in (5, 6)], 1.)
    generators = [torch.zeros(w, w, dtype=torch.float64, requires_grad=True) for w in (5, 6)]
    W, sx, se = [torch.tensor(w) for w in start], torch.tensor(sigma_x), torch.tensor(sigma_e)
    optimizer = torch.optim.LBFGS(generators, max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def moved():
        a, b = (torch.linalg.matrix_exp(g) for g in generators)
        return [a @ W[0], b @ W[1] @ torch.linalg.inv(a), W[2] @ torch.linalg.inv(b)]

    def energy():
        optimizer.zero_grad()
        w = moved()
        H = [sx, w[0] @ sx @ w[0].T]
        H.append(w[1] @ H[1] @ w[1].T)
        B = [w[2].T @ se @ w[2], se]
        B.insert(0, w[1].T @ B[0] @ w[1])
        value = sum(h.trace()*b.trace() for h, b in zip(H, B, strict=True))
        value.backward()
        return value

    for _ in range(5): optimizer.step(energy)
    x = rng.normal(size=(30, 4))
    layers = eq._hidden_layers([w.detach().numpy() for w in moved()], x)
    values, vectors = np.linalg.eigh(eq.universal_kernel(V, sigma_x, sigma_e))
    root = x @ (vectors*np.clip(values, 0, None)**.5)
    assert eq.alignment_table([*layers, root]).min() > 1 - 1e-5


@pytest.mark.parametrize("kind", ["orthogonal", "gaussian"])
def test_the_universal_kernel_belongs_to_the_images_not_to_their_transform(kind):
    _, V, sigma_x, sigma_e = task(5, 5, 3)
    M = eq._transformation(kind, 5, random_stream(2, kind)).numpy()
    moved = eq.universal_kernel(V @ np.linalg.inv(M), M @ sigma_x @ M.T, sigma_e)
    np.testing.assert_allclose(M.T @ moved @ M, eq.universal_kernel(V, sigma_x, sigma_e), atol=1e-6)


@pytest.mark.parametrize("optimizer, kind", [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_noisy_training_is_plain_training(optimizer, kind):
    "The task, the weights, the transforms and the samples are drawn again here, and trained by nn.Linear and plain torch."
    steps, batch, width, depths, noise, lr, seeds = 3, 2, 3, [2, 3], .4, .05, [7, 8]
    ours = eq.noisy_training(seeds, noise, steps, lr, batch, width, depths, optimizer=optimizer)
    nets, maps = [], [eq._bounded_transforms(seeds, f"transform {k}") for k in range(2)]
    for s in seeds:
        for k, depth in enumerate(depths):
            weights = eq._gaussian_weights(layer_shapes(4, width, depth, 2), .7, random_stream(s, "weights", k))
            net = torch.nn.Sequential(*[torch.nn.Linear(*w.shape[::-1], bias=False, dtype=torch.float64) for w in weights])
            for layer, w in zip(net, weights, strict=True): layer.weight.data = w.clone()
            nets.append((net, kind(net.parameters(), lr=lr)))
    V, generator = torch.tensor(ours["V"]), random_stream(seeds[0], "samples", noise)
    for _ in range(steps):
        for k in range(2):
            x = torch.randn(2, batch, 4, generator=generator, dtype=torch.float64)
            y = torch.bmm(x, V.mT) + noise*torch.randn(2, batch, 2, generator=generator, dtype=torch.float64)
            for r in range(2):
                net, optimizer = nets[2*r + k]
                optimizer.zero_grad()
                (net(x[r] @ maps[k][r].T) - y[r]).pow(2).sum(1).mean().backward()
                optimizer.step()
    with torch.no_grad():
        for r in range(2):
            P = nets[2*r + 1][0][0].weight @ maps[1][r]
            np.testing.assert_allclose(ours["kernels"][-1, r, 1], P.T @ P, atol=1e-10)


def test_noisy_training_that_diverges_is_recorded():
    wild = eq.noisy_training([0], .5, 40, 5., 2, 3, [3])
    assert np.isnan(eq._kernel_cosines(wild["kernels"])[-1]).any()


def test_drift_of_balance_halves_with_the_learning_rate():
    for seed in (1, 50):
        drift = [eq.descent(range(seed, seed + 6), lr, 2., 6, 3, .7)["drift"].mean() for lr in (.02, .01)]
        assert 1.8 < drift[0]/drift[1] < 2.25


def test_a_small_start_is_balanced_and_gives_each_layer_its_own_power():
    found = eq.descent([0, 1], .05, 100., 6, 4, .1)
    keep = found["loss"] < 1e-4
    assert keep.any()
    for V, kernels in zip(found["V"][keep], found["kernels"][keep], strict=True):
        closed = np.array([eq.balanced_kernel(V, i, 4) for i in (1, 2, 3)])
        assert np.diagonal(eq._kernel_cosines(np.concatenate([kernels, closed])), 3).min() > .99


@pytest.mark.parametrize("call, words", [
    (lambda: eq._transformation("affine", 3, random_stream(0)), "transform = 'affine'"),
    (lambda: eq.equilibrium(np.eye(3), np.eye(3), np.eye(3), [4, 2], np.random.default_rng(0)), "at least 3 units"),
])
def test_bad_input_is_refused_in_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as caught: call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name, value", [("steps", 0), ("n_seeds", 2.5), ("noise", -1)])
def test_bad_parameters_stop_before_any_work(tmp_path, name, value):
    with pytest.raises(ParameterError, match=f"^{name} = "):
        Run(eq.PARAMETERS, dict(profile="smoke", out_dir=tmp_path/"new", **{name: value}))
    assert not (tmp_path/"new").exists()


def test_records_reach_from_the_first_step_to_the_last():
    assert eq._record_steps(100)[[0, 1, -1]].tolist() == [0, 4, 100]


def test_the_plan():
    unit, = eq.plan_units(eq.PARAMETERS["smoke"])
    unit.step()
    assert unit.count == 900 and unit.flops > 0 and unit.repeats == 200


def test_the_theorem_is_judged_at_the_minimum_and_at_the_equilibrium_only():
    one, found = eq.CLAIMS["ziyin.thm2.alignment"], eq._theorem_gap([[5], [4, 6]], np.random.default_rng(0))
    assert max(found["minimum"], found["balanced"]) < 1e-6
    row = lambda **how: decided(one, found["gap"], "quick", **{k: found[k] for k in ("minimum", "balanced")} | how)["verdict"]
    assert [row(), row(minimum=0.1), row(balanced=0.1)] == ["holds", "inconclusive", "inconclusive"]
    assert eq.CLAIMS["ziyin.alignment.identity.noise_energy"].kind == "identity"
