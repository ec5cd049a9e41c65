"Stacked training against plain torch, full gradients from moments, nulls, divergence, refusals."
import numpy as np
import pytest
import torch
from symbreak_nb import alignment as al
from symbreak_nb import equilibrium as eq
from symbreak_nb.perceptrons import loss_and_gradient, random_stream
from symbreak_nb.run import ParameterError, Run

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = dict(side=7, n_train=200, n_probe=40, centred=True, download=False)


@pytest.fixture(scope="module")
def found():
    return al._prepared(**IMAGES)


@pytest.mark.parametrize("activation, optimizer", [("linear", "adam"), ("tanh", "adam"), ("linear", "sgd")])
def test_a_stack_is_its_networks_trained_alone(found, activation, optimizer):
    "In double precision, with torch's own layers, autograd and optimiser, on the same batches; halves and labels included."
    members = [al._member(5), al._member(5, "gaussian", "parity"), al._member(5, images="first half")]
    make = lambda: al._NetworkStack(members, [(4, k) for k in range(3)], 4, found, optimizer, .01, "cpu")
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
    members = [al._member(4), al._member(4, images="first half"), al._member(4, images="second half")]
    stack = al._NetworkStack(members, [(0, k) for k in range(3)], 3, found, "sgd", .1, "cpu")
    rows = torch.cat([stack.rows(50) for _ in range(60)], 1)
    for k, (count, offset) in enumerate(zip([200, 100, 100], [0, 200, 300], strict=True)):
        assert rows[k].min() == offset and rows[k].max() == offset + count - 1
    inverse = [np.linalg.inv(M) for M in stack.transforms]
    halves = [stack.x[a:b].numpy() @ inverse[k].T for k, a, b in ((1, 200, 300), (2, 300, 400))]
    both = np.concatenate(halves)
    np.testing.assert_allclose(np.sort(both.sum(1)), np.sort(found["x"].sum(1)), atol=1e-3)


def test_condensed_rows_have_the_gradient_of_all_images(found):
    y = al._targets(found["labels"], "digits", True, None)
    weights = [torch.randn(1, i, o, dtype=torch.float64, generator=random_stream(0, o)) for i, o in ((49, 6), (6, 7), (7, 10))]
    full = loss_and_gradient(weights, torch.tensor(found["x"])[None], torch.tensor(y)[None])[1]
    few = loss_and_gradient(weights, *[torch.tensor(a)[None] for a in al.condensed(found["x"], y)])[1]
    for a, b in zip(full, few, strict=True): torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-7)


def test_the_rows_of_a_company_are_where_block_looks():
    members = dict(a=al._member(6), narrow=al._member(4), b=al._member(6))
    result = al.train_company(1, members, "linear", "adam", .01, 4, 20, 4, IMAGES)
    again = al.train_company(1, members, "linear", "adam", .01, 4, 20, 4, IMAGES)
    np.testing.assert_array_equal(result["table"], again["table"])
    np.testing.assert_allclose(np.diagonal(al.block(result, list(members), "narrow", "narrow", 4), axis1=1, axis2=2), 1, atol=1e-5)
    start = [al.block(result, list(members), "a", other, 4)[0] for other in ("untrained", "a")]
    np.testing.assert_allclose(*start, atol=1e-6)
    found = al._prepared(**IMAGES)
    layers = [al._NetworkStack([members[k]], [(1, k)], 4, found, "adam", .01, "cpu").hidden("linear")[0] for k in ("narrow", "b")]
    with torch.no_grad(): table = eq.alignment_table([*layers[0], *layers[1]])
    np.testing.assert_allclose(al.block(result, list(members), "narrow", "b", 4)[0], table[:3, 3:], atol=1e-5)
    worst = al._worst_pair(result, list(members), "a", "b", 4)
    assert (worst <= al.block(result, list(members), "a", "b", 4).min((1, 2))).all()
    assert (worst <= al._worst_pair(result, list(members), "a", "b", 4, start=2)).all()
    with pytest.raises(ParameterError, match="one of a, narrow, b, untrained, input"):
        al.block(result, list(members), "a", "c", 4)


@pytest.mark.parametrize("optimizer", ["sgd", "full"])
def test_excess_is_the_distance_from_the_global_minimum(found, optimizer):
    "0 at the best linear map, 1 for silent networks, also on condensed rows; a map of its own in between."
    stack = al._NetworkStack([al._member(12), al._member(12, "gaussian", "parity")], [(0, 0), (0, 1)], 3, found, optimizer, .1, "cpu")
    with torch.no_grad():
        for w in stack.weights: w.zero_()
        np.testing.assert_allclose(al._excess(stack, "linear"), 1, atol=1e-5)
        for k, (start, count) in enumerate(zip(stack.offsets, stack.counts, strict=True)):
            x, y = (part[start:start + count].double().numpy() for part in (stack.x, stack.y))
            best = np.linalg.lstsq(x, y, rcond=1e-5)[0].T
            for w, value in zip(stack.weights, (np.pad(best, ((0, 2), (0, 0))), np.eye(12), (1 - .5*k)*np.eye(12)[:10]), strict=True):
                w[k] = torch.as_tensor(value)
    np.testing.assert_allclose(al._excess(stack, "linear"), [0, .25], atol=2e-2)


def test_a_run_that_diverges_is_recorded_and_lowers_n():
    members = dict(a=al._member(6), b=al._member(6))
    result = al.train_company(0, members, "linear", "sgd", 50., 30, 20, 4, IMAGES)
    assert not np.isfinite(result["loss"][-1]).any() and np.isfinite(result["loss"][0]).all()
    assert np.isnan(al._worst_pair(result, list(members), "a", "b", 4)[-1]) and np.isnan(result["kernels"]).all()


@pytest.mark.parametrize("n, widths", [(30, [6]), (30, [40, 12]), (12, [60, 60, 60])])
def test_the_null_of_untrained_networks(n, widths):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 20))*np.linspace(2, .1, 20)
    found = [[eq.alignment(a, b) for a, b in zip(*(al._random_features(x, widths, rng) for _ in range(2)), strict=True)]
             for _ in range(200)]
    np.testing.assert_allclose(np.mean(found, 0), np.diag(al.untrained_alignment(x @ x.T, widths)), rtol=.12)


@pytest.mark.parametrize("call, words", [
    (lambda: al._pixels("train", 10, 5), "side = 5: allowed is a divisor of 28"),
    (lambda: al._targets(np.arange(3), "colour", True, None), "task = 'colour'"),
    (lambda: al._targets(np.arange(3), "odd", True, None), "task = 'odd'"),
    (lambda: al._own_data(al._member(8, images="some"), dict(labels=np.arange(3)), False, random_stream(0)), "images = 'some'"),
])
def test_bad_input_is_refused_in_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as caught: call()
    assert "\n" not in str(caught.value)


BAD = [("width", 1), ("steps", 0), ("n_seeds", 2.5), ("lr", 0), ("lr", "fast"), ("centred", 3)]


@pytest.mark.parametrize("name, value", BAD)
def test_bad_parameters_stop_before_any_work(tmp_path, name, value):
    with pytest.raises(ParameterError, match=f"^{name} = "):
        Run(al.PARAMETERS, dict(profile="smoke", out_dir=tmp_path/"new", **{name: value}))
    assert not (tmp_path/"new").exists()


def test_the_plan_of_paper_is_the_papers():
    paper = al.PARAMETERS["paper"]
    assert (paper["width"], paper["narrow"], paper["depth"], paper["side"], paper["n_train"]) == (128, 64, 6, 28, 60_000)
    units = al.plan_units(paper)
    shares = [1, .5, .5, .25, .5, .5, .5]
    assert [u.count for u in units] == [paper["n_seeds"]*paper["steps"]*s for s in shares] and all(u.flops > 0 for u in units)
    units = al.plan_units(al.PARAMETERS["smoke"])
    assert [u.count for u in units] == [24*s for s in shares]
    for unit in units: unit.step()
