"Neural collapse: known values, streaming, the monitor, the arms, and bad input in one line."
import itertools
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import collapse as co
from symbreak_nb import decay
from symbreak_nb.run import ParameterError, Run, RunError
from torch import nn

NAMES = ("nc1_pinv", "nc1_quotient", "cdnv", "nc2_equinorm", "nc2_equiangle", "nc2_etf", "nc3", "nc4")


def clouds(seed, n=120, d=9, k=4, apart=3.0):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    return rng.normal(size=(n, d)) + apart*rng.normal(size=(k, d))[y], y, rng.normal(size=(k, d)), rng.normal(size=k)


def plainly(x, y, W, b):
    "Every measure by its definition, with NumPy and loops."
    classes = np.unique(y)
    k, mu = len(classes), np.array([x[y == c].mean(0) for c in classes])
    M = mu - mu.mean(0)
    sw = sum(np.outer(r, r) for r in x - mu[np.searchsorted(classes, y)])/len(x)
    sb = M.T @ M/k
    var = [((x[y == c] - m)**2).sum(1).mean() for c, m in zip(classes, mu, strict=True)]
    pairs = list(itertools.combinations(range(k), 2))
    cosines = [M[i] @ M[j]/np.linalg.norm(M[i])/np.linalg.norm(M[j]) for i, j in pairs]
    gram = M @ M.T
    return dict(
        nc1_pinv=np.trace(sw @ np.linalg.pinv(sb, rcond=1e-12, hermitian=True))/k, nc1_quotient=np.trace(sw)/np.trace(sb),
        cdnv=np.mean([(var[i] + var[j])/2/((mu[i] - mu[j])**2).sum() for i, j in pairs]),
        nc2_equinorm=np.linalg.norm(M, axis=1).std()/np.linalg.norm(M, axis=1).mean(),
        nc2_equiangle=np.mean([abs(c + 1/(k - 1)) for c in cosines]),
        nc2_etf=np.linalg.norm(gram/np.linalg.norm(gram) - (np.eye(k) - 1/k)/math.sqrt(k - 1)),
        nc3=np.linalg.norm(W/np.linalg.norm(W) - M/np.linalg.norm(M)),
        nc4=np.mean(classes[((x[:, None] - mu)**2).sum(2).argmin(1)] != (x @ W.T + b).argmax(1)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n, d, k", [(120, 9, 4), (14, 30, 5), (300, 6, 2)])
def test_every_measure_agrees_with_its_definition(seed, n, d, k):
    x, y, W, b = clouds(seed, n, d, k)
    found = co.measures(x, y, W, b)
    for name, value in plainly(x, y, W, b).items(): assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert (found.n_classes, found.n_samples) == (k, n)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_a_simplex_is_fully_collapsed(k):
    simplex = 2.5*(np.eye(k) - 1/k) @ np.linalg.qr(np.random.default_rng(k).normal(size=(k + 3, k)))[0].T + 7
    x, y = np.repeat(simplex, 5, 0), np.repeat(np.arange(k), 5)
    found = co.measures(x, y, simplex - simplex.mean(0), -(simplex - simplex.mean(0)) @ simplex.mean(0))
    assert max(getattr(found, name) for name in NAMES) < 1e-7 and max(found.nc1_pinv, found.nc1_quotient, found.cdnv) < 1e-25


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 119), max_size=5))
def test_batches_of_any_size_and_order_are_the_whole(seed, cuts):
    x, y, W, b = clouds(seed)
    order = np.random.default_rng(seed + 1).permutation(len(x))
    stream = co.Stream()
    parts = np.split(order, sorted(cuts))
    for part in parts: stream.update(x[part], y[part])
    for part in parts: stream.compare(x[part], W, b)
    whole = co.measures(x, y, W, b)
    for name, value in asdict(stream.result(W, b)).items(): assert value == pytest.approx(getattr(whole, name), rel=1e-10, abs=1e-12)


def test_a_large_mean_costs_no_digits():
    x, y, *_ = clouds(3)
    near, stream = co.measures(x, y), co.Stream()
    for k in range(0, 120, 16): stream.update(x[k:k + 16] + 1e6, y[k:k + 16])
    far = stream.result()
    for name in NAMES[:6]: assert getattr(far, name) == pytest.approx(getattr(near, name), rel=1e-7)


def test_float32_features_are_summed_in_double_precision():
    x, y, *_ = clouds(4, n=4000)
    single = torch.as_tensor(x, dtype=torch.float32)
    assert co.measures(single, y).nc1_quotient == pytest.approx(co.measures(single.double(), y).nc1_quotient, rel=1e-12)


def test_labels_are_names_without_a_classifier_and_rows_with_one():
    x, y, W, b = clouds(5)
    assert co.measures(x, 7*y - 3).cdnv == pytest.approx(co.measures(x, y).cdnv, rel=1e-12)
    wider = np.concatenate([W, np.full((2, 9), -9.)])
    assert co.measures(x, y, wider, np.r_[b, -1e9, -1e9]).nc4 == co.measures(x, y, W, b).nc4  # rows of classes that never occur
    with pytest.raises(ParameterError, match="labels = '0 to 3': allowed is 0 to 2"): co.measures(x, y, W[:3])


def test_classes_may_miss_in_batches_and_come_late():
    x, y, W, b = clouds(6)
    stream = co.Stream()
    for c in (3, 0, 2, 1): stream.update(x[y == c], y[y == c])
    assert stream.result(W).nc3 == pytest.approx(co.measures(x, y, W).nc3, rel=1e-10)
    assert math.isnan(stream.result(W).nc4) and math.isnan(stream.result().nc3)
    assert stream.update(x[:0], y[:0]).result().n_samples == 120


X, Y = np.eye(4), np.arange(4)


@pytest.mark.parametrize("call, words", [
    (lambda: co.measures(X, 0*Y), "labels = 'one class': allowed is two classes or more"),
    (lambda: co.measures(X[:0], Y[:0]), "0 classes"), (lambda: co.Stream().result(), "0 classes"),
    (lambda: co.measures(X*np.nan, Y), "finite numbers"), (lambda: co.measures(X[0], Y), r"features = \(4,\): allowed is \(n, d\)"),
    (lambda: co.measures(X, Y[:3]), r"labels = \(3,\): allowed is \(4,\)"), (lambda: co.measures(X, Y + .5), "integers"),
    (lambda: co.measures(X, Y, X[:, :3]), r"weight = \(4, 3\): allowed is \(classes, 4\)"),
    (lambda: co.measures(X, Y, X, Y[:2]), r"bias = \(2,\): allowed is \(4,\)"),
    (lambda: co.measures(X, Y - 1, X), "labels = '-1 to 2'"),
    (lambda: co.Stream().update(X, Y).update(X[:, :2], Y), "as in the batches before"),
    (lambda: co.CollapseMonitor(nn.ReLU()), "a model with a linear layer"),
    (lambda: co.CollapseMonitor(nn.Linear(2, 2), every=0), "every = 0"),
    (lambda: co.CollapseMonitor(nn.Sequential(nn.Linear(2, 2)), layer="head"), "layer = 'head': allowed is one of '0'")])
def test_bad_input_is_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as caught: call()
    assert "\n" not in str(caught.value)


def test_the_monitor_sees_what_the_classifier_sees():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 4)).eval()
    x, y, *_ = clouds(7)
    x = torch.as_tensor(x, dtype=torch.float32)
    monitor = co.CollapseMonitor(model, every=3)
    for k in range(0, 120, 40):
        model(x[k:k + 40])
        monitor.step(y[k:k + 40])
    expected = co.measures(model[:3](x), y, model[3].weight, model[3].bias)
    (row,) = monitor.history
    assert row["step"] == 3 and row["nc3"] == pytest.approx(expected.nc3) and row["cdnv"] == pytest.approx(expected.cdnv)
    with pytest.raises(RunError, match="call the model"): monitor.step(y)
    monitor.close()
    model(x)
    with pytest.raises(RunError): monitor.step(y)


def test_the_monitor_finds_the_classifier_of_torchvision_and_transformers():
    from symbreak_nb.run import import_torchvision
    models = import_torchvision().models
    for make in (models.resnet18, models.vgg11, models.mobilenet_v3_small):
        assert co.CollapseMonitor(make(num_classes=7)).layer.out_features == 7
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
                                     vocab_size=30, num_labels=3)
    model = transformers.BertForSequenceClassification(config)
    monitor = co.CollapseMonitor(model, every=1)
    model(torch.randint(0, 30, (12, 5)))
    monitor.step(torch.arange(12) % 3)
    assert monitor.history[0]["n_classes"] == 3


def test_arms_of_a_seed_start_alike_and_differ_in_the_pull_alone():
    arms = [[arm, 1.0, 5e-3, 0] for arm in decay.ARMS]
    net, centres, frozen, _ = decay.build_arms("mlp", arms, [5, 8, 8, 3], 0.2, "cpu")
    free = [~m.any(0) for m in frozen]
    for w, keep in zip(net.parameters(), free, strict=True): assert (w[1:] - w[:1]).detach()[:, keep].abs().max() == 0
    pull = {arm: [c[k] for c in centres] for k, arm in enumerate(decay.ARMS)}
    assert not any(c.any() for arm in ("vanilla", "w_fix") for c in pull[arm])
    assert pull["shared"][1].std() < 1e-6 < pull["syre"][1].std()  # one number for all weights between hidden units
    assert [c.shape for c in pull["both"]] == [w.shape[1:] for w in net.parameters()]


@pytest.mark.parametrize("arm, kept", [("vanilla", True), ("shared", True), ("syre", False), ("w_fix", False)])
def test_which_arms_keep_the_permutation_symmetry(arm, kept):
    "Exchanging two units of the first hidden layer at the start exchanges them at the end, if the dynamics keep the symmetry."
    setting = dict(network="mlp", sizes=[64, 6, 6, 10], images=dict(data_set="digits", split="train", n=200), fraction=.3, lr=.1,
                   batch=50, epochs=2, augment=False, device="cpu")
    one = [[arm, 1.0, 5e-2, 0]]
    net, *_ = decay.build_arms("mlp", one, setting["sizes"], 0.3, "cpu")
    start = decay.state_of(net, [torch.zeros_like(w) for w in net.parameters()])
    swap = {k: v.copy() for k, v in start.items()}
    order = [1, 0, 2, 3, 4, 5]
    swap["net.weights.0"], swap["net.weights.1"] = swap["net.weights.0"][..., order], swap["net.weights.1"][:, order]
    swap["net.biases.0"] = swap["net.biases.0"][..., order]
    ends = [co._train_piece(one, start=0, stop=2, state=s, **setting) for s in (start, swap)]
    gap = np.abs(ends[0]["net.weights.0"][..., order] - ends[1]["net.weights.0"]).max()
    assert (gap < 1e-4) == kept and (kept or gap > 1e-2)


def test_a_killed_training_goes_on_where_it_stopped(tmp_path):
    given = dict(profile="smoke", out_dir=tmp_path)
    arms = dict(arms=[["vanilla", 0., 5e-3, 0]], start=0, stop=2)
    first = Run(co.PARAMETERS, given)
    setting = co._setting(first.params, "cpu")
    piece = first.unit(co._train_piece, **setting | arms)
    again = Run(co.PARAMETERS, given)
    state = {k: v for k, v in again.unit(co._train_piece, **setting | arms).items() if "." in k}
    assert again.counts["reused"] == 1 and np.array_equal(state["net.weights.0"], piece["net.weights.0"])
    last = again.unit(co._train_piece, **setting | arms | dict(start=2, stop=4, state=state))
    whole = co._train_piece(**setting | arms | dict(stop=4))
    assert last["net.weights.0"] == pytest.approx(whole["net.weights.0"], abs=1e-5)


def test_the_papers_network_trains_a_step_and_measures():
    setting = co._setting(co.PARAMETERS["paper"] | dict(n_train=100, batch=50, epochs=1, data_set="digits"), "cpu")
    found = co._train_piece([["syre", 1.0, 5e-4, 0]], start=0, stop=1, **setting | dict(sizes=[0, 10]) | dict(
        images=setting["images"] | dict(data_set="photographs", drop=0)))
    assert found["measures"].shape == (1, 8) and np.isfinite(found["measures"]).all()
    assert found["net.model.conv1.weight"].shape == (64, 3, 3, 3)


@pytest.mark.parametrize("name, value, words", [
    ("network", "vgg", "'mlp', 'resnet18'"), ("decays", [], "non-empty list"), ("sigma", -1, "sigma = -1"), ("fraction", 1, "below 1"),
    ("imbalance", 0, "imbalance = 0"), ("epochs", 1.5, "an integer"), ("held_out", 9, "held_out = 9"), ("data_set", "svhn", "data_set")])
def test_bad_parameters_are_refused(tmp_path, name, value, words):
    with pytest.raises(ParameterError, match=words): Run(co.PARAMETERS, dict(profile="smoke", out_dir=tmp_path/"new", **{name: value}))
    assert not (tmp_path/"new").exists()


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion_mnist"])
def test_grey_images_are_refused_for_the_network_of_the_paper(name):
    with pytest.raises(ParameterError, match=f"data_set = '{name}': allowed is 'cifar10' for resnet18") as caught:
        co.check_parameters(co.PARAMETERS["paper"] | dict(data_set=name))
    assert "\n" not in str(caught.value)
    for profile in co.PARAMETERS: co.check_parameters(co.PARAMETERS[profile])


@pytest.mark.parametrize("profile", co.PARAMETERS)
def test_the_plan_counts_steps(profile):
    (unit,) = co.plan_units(co.PARAMETERS[profile])
    assert unit.count > 0 and unit.flops > 0 and unit.memory_bytes > 0
    if profile == "smoke": unit.step()


def test_the_examples_of_the_docstrings_run():
    import doctest
    assert doctest.testmod(co).failed == 0 and doctest.testmod(co).attempted >= 6
