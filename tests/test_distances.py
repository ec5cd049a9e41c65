"Distances, projections and the monitor on arrays of any leading axes."
import copy
import doctest

import numpy as np
import pytest
import torch
from symbreak_nb import distances
from symbreak_nb.distances import SymmetryMonitor, degree_of_symmetry, delta, neuron_order, project
from symbreak_nb.run import ParameterError
from torch import nn


def test_the_examples_in_the_docstrings_are_right():
    result = doctest.testmod(distances)
    assert result.attempted > 12 and not result.failed


def test_distances_over_leading_axes_agree_with_a_plain_loop():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(2, 3, 6, 5))
    for kwargs in (dict(), dict(pairs="all"), dict(sign_flip=True), dict(squared=True, to="state"), dict(symmetry="double rotation")):
        left, right = (b, a) if "symmetry" in kwargs else (a, b)
        together = delta(left, right, **kwargs)
        for i, j in np.ndindex(2, 3): np.testing.assert_allclose(together[i, j], delta(left[i, j], right[i, j], **kwargs), atol=1e-12)
    assert neuron_order(a).shape == (2, 3, 5) and degree_of_symmetry(delta(a, b), 2.0).dos.shape == (2, 3)


def test_distance_is_that_to_the_projection():
    w = np.random.default_rng(1).normal(size=(2, 7))
    near, _ = project(w)
    assert delta(w, to="state", squared=True)[0] == pytest.approx(float(((torch.tensor(w) - near)**2).sum()))
    U, W = np.random.default_rng(2).normal(size=(5, 3)), np.random.default_rng(3).normal(size=(3, 4))
    values, vectors = np.linalg.eigh(U.T @ U + W @ W.T)
    a, b = project(U, W, symmetry="double rotation", direction=vectors[:, 0])
    assert values[0] == pytest.approx(((U - a.numpy())**2).sum() + ((W - b.numpy())**2).sum())


def test_the_monitor_only_reads():
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    before, monitor = copy.deepcopy(net.state_dict()), SymmetryMonitor(net, every=2)
    for _ in range(5): monitor.step()
    assert monitor.steps == [0, 2, 4] and all(torch.equal(t, before[k]) for k, t in net.state_dict().items())
    with pytest.raises(ParameterError, match="every"): SymmetryMonitor(net, every=0)


W = np.arange(12.).reshape(4, 3)


@pytest.mark.parametrize("given, name", [
    (dict(symmetry="sign flip", pairs="all"), "pairs"), (dict(symmetry="rescaling", b=W.T, to="state"), "to"),
    (dict(symmetry="rotation", sign_flip=True), "sign_flip"), (dict(symmetry="double rotation", b=W.T, order=[0, 1]), "order"),
    (dict(symmetry="double rotation", b=W.T, bias=W[0]), "bias"), (dict(symmetry="rotation", b=W), "b"),
    (dict(method="eq13"), "method"), (dict(pairs="all", order=[0, 1, 2, 3]), "order"), (dict(symmetry="rescaling"), "b"),
    (dict(symmetry="double rotation"), "b"), (dict(method="eq14"), "method"), (dict(pairs="most"), "pairs")])
def test_an_option_that_means_nothing_is_refused_in_one_line(given, name):
    with pytest.raises(ParameterError, match=f"^{name} = .*: allowed is ") as caught: delta(W, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given, name", [
    (dict(symmetry="rotation", members=[0]), "members"), (dict(direction=[1, 0, 0]), "direction"),
    (dict(symmetry="rescaling"), "symmetry")])
def test_a_projection_refuses_what_it_does_not_read(given, name):
    with pytest.raises(ParameterError, match=f"^{name} = .*: allowed is "): project(W, **given)
