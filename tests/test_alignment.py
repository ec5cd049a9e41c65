"The theorem on random tasks, stacked training against plain torch, full gradients from moments, nulls, divergence, refusals."
import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import alignment as al
from symbreak_nb.run import ParameterError, Run

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = dict(side=7, n_train=200, n_probe=40, centred=True, download=False)


@pytest.fixture(scope="module")
def found():
    return al.prepared(**IMAGES)


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
    weights = al.equilibrium(V, sigma_x, sigma_e, widths, rng)
    np.testing.assert_allclose(product(weights), V, atol=1e-7*np.abs(V).max())
    assert al.imbalance(weights, sigma_x, sigma_e) < 1e-8
    cold = al.noise_energy(weights, sigma_x, sigma_e)
    for _ in range(3):
        other = al.along_orbit(weights, [rng.normal(size=(w, w))/w for w in widths], .3)
        np.testing.assert_allclose(product(other), V, atol=1e-6*np.abs(V).max())
        assert al.noise_energy(other, sigma_x, sigma_e) > cold*(1 - 1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.lists(st.integers(3, 8), min_size=1, max_size=5), min_size=2, max_size=4))
def test_theorem_4_for_any_depths_and_widths(seed, shapes):
    exact = al.theorem_gap(shapes, np.random.default_rng(seed), inputs=5, outputs=3)
    assert exact["gap"] < 1e-8 and exact["constant"] < 1e-5


def test_the_constant_of_the_paper_is_the_special_case_and_only_that():
    for depth, layer in ((3, 1), (6, 2), (6, 5)):
        assert al.layer_scale(layer, depth, 5., 2., 2.) == pytest.approx(al.printed_scale(layer, depth, 5., 2))
        assert al.layer_scale(layer, depth, 5., 4., 2.) != pytest.approx(al.printed_scale(layer, depth, 5., 2), rel=.05)


def test_minimising_the_noise_energy_over_the_orbit_finds_the_universal_kernel():
    "Gradient descent on the energy, with autograd and from a random point, knows nothing of the closed form."
    rng, V, sigma_x, sigma_e = task(3, 4, 2)
    start = al.along_orbit(al.equilibrium(V, sigma_x, sigma_e, [5, 6], rng), [rng.normal(size=(w, w))/4 for w in (5, 6)], 1.)
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
    layers = al.hidden([w.detach().numpy() for w in moved()], x)
    values, vectors = np.linalg.eigh(al.universal_kernel(V, sigma_x, sigma_e))
    root = x @ (vectors*np.clip(values, 0, None)**.5)
    assert al.alignment_table([*layers, root]).min() > 1 - 1e-5


@pytest.mark.parametrize("kind", ["orthogonal", "gaussian"])
def test_the_universal_kernel_belongs_to_the_images_not_to_their_transform(kind):
    _, V, sigma_x, sigma_e = task(5, 5, 3)
    M = al.transformation(kind, 5, al._stream(2, kind)).numpy()
    moved = al.universal_kernel(V @ np.linalg.inv(M), M @ sigma_x @ M.T, sigma_e)
    np.testing.assert_allclose(M.T @ moved @ M, al.universal_kernel(V, sigma_x, sigma_e), atol=1e-6)


@pytest.mark.parametrize("optimizer, kind", [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_noisy_training_is_plain_training(optimizer, kind):
    "The task, the weights, the transforms and the samples are drawn again here, and trained by nn.Linear and plain torch."
    steps, batch, width, depths, noise, lr, seeds = 3, 2, 3, [2, 3], .4, .05, [7, 8]
    ours = al.noisy_training(seeds, noise, steps, lr, batch, width, depths, optimizer=optimizer)
    nets, maps = [], [al._bounded_transforms(seeds, f"transform {k}") for k in range(2)]
    for s in seeds:
        for k, depth in enumerate(depths):
            weights = al.gaussian_weights([4, *[width]*(depth - 1), 2], .7, al._stream(s, "weights", k))
            net = torch.nn.Sequential(*[torch.nn.Linear(*w.shape[::-1], bias=False, dtype=torch.float64) for w in weights])
            for layer, w in zip(net, weights, strict=True): layer.weight.data = w.clone()
            nets.append((net, kind(net.parameters(), lr=lr)))
    V, generator = torch.tensor(ours["V"]), al._stream(seeds[0], "samples", noise)
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


@pytest.mark.parametrize("activation, optimizer", [("linear", "adam"), ("tanh", "adam"), ("linear", "sgd")])
def test_a_stack_is_its_networks_trained_alone(found, activation, optimizer):
    "In double precision, with torch's own layers, autograd and optimiser, on the same batches; halves and labels included."
    members = [al.member(5), al.member(5, "gaussian", "parity"), al.member(5, images="first half")]
    make = lambda: al.Stack(members, [(4, k) for k in range(3)], 4, found, optimizer, .01, "cpu")
    together = make()
    with torch.no_grad():
        for _ in range(6): together.step(20, activation)
    for k in range(3):
        stack = make()
        net = torch.nn.Sequential()
        for w in stack.weights:
            layer = torch.nn.Linear(*w.shape[:0:-1], bias=False)
            layer.weight.data = w.data[k].clone()
            net.extend([layer, torch.nn.Tanh() if activation == "tanh" else torch.nn.Identity()])
        net, kind = net[:-1], torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
        own = kind(net.parameters(), lr=.01)
        for _ in range(6):
            rows = stack.rows(20)[k]
            own.zero_grad()
            (net(stack.x[rows]) - stack.y[rows]).pow(2).sum(1).mean().backward()
            own.step()
        for w, layer in zip(together.weights, net[::2], strict=True): torch.testing.assert_close(w[k], layer.weight, atol=2e-5, rtol=1e-3)


def test_batches_stay_within_a_member_and_reach_all_of_it(found):
    members = [al.member(4), al.member(4, images="first half"), al.member(4, images="second half")]
    stack = al.Stack(members, [(0, k) for k in range(3)], 3, found, "sgd", .1, "cpu")
    rows = torch.cat([stack.rows(50) for _ in range(60)], 1)
    for k, (count, offset) in enumerate(zip([200, 100, 100], [0, 200, 300], strict=True)):
        assert rows[k].min() == offset and rows[k].max() == offset + count - 1
    inverse = [np.linalg.inv(M) for M in stack.transforms]
    halves = [stack.x[a:b].numpy() @ inverse[k].T for k, a, b in ((1, 200, 300), (2, 300, 400))]
    both = np.concatenate(halves)
    np.testing.assert_allclose(np.sort(both.sum(1)), np.sort(found["x"].sum(1)), atol=1e-3)


def test_condensed_rows_have_the_gradient_of_all_images(found):
    y = al.targets(found["labels"], "digits", True, None)
    weights = [torch.randn(1, o, i, dtype=torch.float64, generator=al._stream(0, o)) for i, o in ((49, 6), (6, 7), (7, 10))]
    full = al.gradients(weights, torch.tensor(found["x"])[None], torch.tensor(y)[None])[1]
    few = al.gradients(weights, *[torch.tensor(a)[None] for a in al.condensed(found["x"], y)])[1]
    for a, b in zip(full, few, strict=True): torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-7)


def test_the_rows_of_a_company_are_where_block_looks():
    members = dict(a=al.member(6), narrow=al.member(4), b=al.member(6))
    result = al.train_company(1, members, "linear", "adam", .01, 4, 20, 4, IMAGES)
    again = al.train_company(1, members, "linear", "adam", .01, 4, 20, 4, IMAGES)
    np.testing.assert_array_equal(result["table"], again["table"])
    np.testing.assert_allclose(np.diagonal(al.block(result, list(members), "narrow", "narrow", 4), axis1=1, axis2=2), 1, atol=1e-5)
    start = [al.block(result, list(members), "a", other, 4)[0] for other in ("untrained", "a")]
    np.testing.assert_allclose(*start, atol=1e-6)
    found = al.prepared(**IMAGES)
    layers = [al.Stack([members[k]], [(1, k)], 4, found, "adam", .01, "cpu").hidden("linear")[0] for k in ("narrow", "b")]
    with torch.no_grad(): table = al.alignment_table([*layers[0], *layers[1]])
    np.testing.assert_allclose(al.block(result, list(members), "narrow", "b", 4)[0], table[:3, 3:], atol=1e-5)
    worst = al.worst_pair(result, list(members), "a", "b", 4)
    assert (worst <= al.block(result, list(members), "a", "b", 4).min((1, 2))).all()
    assert (worst <= al.worst_pair(result, list(members), "a", "b", 4, start=2)).all()
    with pytest.raises(ParameterError, match="one of a, narrow, b, untrained, input"):
        al.block(result, list(members), "a", "c", 4)


def test_a_run_that_diverges_is_recorded_and_lowers_n():
    members = dict(a=al.member(6), b=al.member(6))
    result = al.train_company(0, members, "linear", "sgd", 50., 30, 20, 4, IMAGES)
    assert not np.isfinite(result["loss"][-1]).any() and np.isfinite(result["loss"][0]).all()
    assert np.isnan(al.worst_pair(result, list(members), "a", "b", 4)[-1]) and np.isnan(result["kernels"]).all()
    wild = al.noisy_training([0], .5, 40, 5., 2, 3, [3])
    assert np.isnan(al.kernel_cosines(wild["kernels"])[-1]).any()


@pytest.mark.parametrize("n, widths", [(30, [6]), (30, [40, 12]), (12, [60, 60, 60])])
def test_the_null_of_untrained_networks(n, widths):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 20))*np.linspace(2, .1, 20)
    found = [[al.alignment(a, b) for a, b in zip(*(al.random_features(x, widths, rng) for _ in range(2)), strict=True)]
             for _ in range(200)]
    np.testing.assert_allclose(np.mean(found, 0), np.diag(al.untrained_alignment(x @ x.T, widths)), rtol=.12)


def test_drift_of_balance_halves_with_the_learning_rate():
    for seed in (1, 50):
        drift = [al.descent(range(seed, seed + 6), lr, 2., 6, 3, .7)["drift"].mean() for lr in (.02, .01)]
        assert 1.8 < drift[0]/drift[1] < 2.25


def test_a_small_start_is_balanced_and_gives_each_layer_its_own_power():
    found = al.descent([0, 1], .05, 100., 6, 4, .1)
    keep = found["loss"] < 1e-4
    assert keep.any()
    for V, kernels in zip(found["V"][keep], found["kernels"][keep], strict=True):
        closed = np.array([al.balanced_kernel(V, i, 4) for i in (1, 2, 3)])
        assert np.diagonal(al.kernel_cosines(np.concatenate([kernels, closed])), 3).min() > .99


@pytest.mark.parametrize("call, words", [
    (lambda: al.pixels("train", 10, 5), "side = 5: allowed is a divisor of 28"),
    (lambda: al.transformation("affine", 3, al._stream(0)), "transform = 'affine'"),
    (lambda: al.targets(np.arange(3), "colour", True, None), "task = 'colour'"),
    (lambda: al.equilibrium(np.eye(3), np.eye(3), np.eye(3), [4, 2], np.random.default_rng(0)), "at least 3 units"),
])
def test_bad_input_is_refused_in_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as caught: call()
    assert "\n" not in str(caught.value)


BAD = [("width", 1), ("steps", 0), ("n_seeds", 2.5), ("lr", 0), ("lr", "fast"), ("noise", -1), ("centred", 3)]


@pytest.mark.parametrize("name, value", BAD)
def test_bad_parameters_stop_before_any_work(tmp_path, name, value):
    with pytest.raises(ParameterError, match=f"^{name} = "):
        Run("alignment", profile="smoke", out_dir=tmp_path/"new", profiles=al.PROFILES, params={name: value}, allowed=al.allowed())
    assert not (tmp_path/"new").exists()


def test_the_plan_of_paper_is_the_papers():
    paper = al.PROFILES["paper"]
    assert (paper["width"], paper["narrow"], paper["depth"], paper["side"], paper["n_train"]) == (128, 64, 6, 28, 60_000)
    units = al.plan_units(paper)
    assert [u["count"] for u in units[1:]] == [paper["n_seeds"]*paper["steps"]]*4 and all(u["flops"] > 0 for u in units)
    assert all(u["step"]() > 0 for u in al.plan_units(al.PROFILES["smoke"]))
