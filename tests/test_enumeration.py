"""Losses against enumerations that share no code with them, and two routes against each other."""
import doctest
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import enumeration as en
from symbreak_nb import landscape as ls
from symbreak_nb import moves as mv
from symbreak_nb.run import ParameterError

HIDDEN = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "linear": lambda z: z, "sin": np.sin}


def naive(inputs, targets, widths, alphabet=(-1, 1), activation="tanh", output="linear"):
    "Losses in the order of itertools.product over all weights, layer by layer, row by row."
    sizes, losses = [len(inputs[0]), *widths, 1], []
    for flat in itertools.product(sorted(alphabet), repeat=sum(a*b for a, b in itertools.pairwise(sizes))):
        h, flat = np.asarray(inputs, float), list(flat)
        for layer, (fan_in, out) in enumerate(itertools.pairwise(sizes)):
            w, flat = np.array(flat[:fan_in*out]).reshape(out, fan_in), flat[fan_in*out:]
            h = h@w.T
            h = HIDDEN[activation if layer < len(widths) else output](h)
        losses.append(np.mean((h[:, 0] - targets)**2))
    return np.array(losses)


def plain_levels(losses, tolerance=1e-9):
    ordered = np.sort(losses)
    cuts = np.flatnonzero(np.diff(ordered) > tolerance) + 1
    return np.array([len(part) for part in np.split(ordered, cuts)])


CASES = [dict(widths=[3]), dict(widths=[2, 2]), dict(widths=[1, 2, 2]), dict(widths=[2, 1], alphabet=(-1, 0, 1)),
         dict(widths=[2, 2], activation="relu"), dict(widths=[2], alphabet=(-0.5, 1, 2), activation="sin"),
         dict(widths=[1, 1, 1, 1, 1]), dict(widths=[4], activation="linear"), dict(widths=[1], alphabet=(0, 1, 3, 7))]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("output", ["linear", "tanh"])
def test_every_loss_and_both_routes(case, output):
    for dimensions, seed in ((1, 0), (2, 1)):
        rng = np.random.default_rng(seed)
        x, t = rng.normal(size=(5, dimensions)), rng.normal(size=5)
        expected = naive(x, t, output=output, **case)
        net = en.DiscreteNetwork(x, t, output_activation=output, **case)
        for chunk in (8, 2**20): np.testing.assert_allclose(en.enumerate_losses(net, chunk), expected, atol=1e-11)
        np.testing.assert_allclose(net.losses(np.arange(net.n_configurations)), expected, atol=1e-11)
        full, short = en.levels(expected), en.levels(*en.representatives(net))
        np.testing.assert_array_equal(full.multiplicity, short.multiplicity.astype(int))
        np.testing.assert_array_equal(full.multiplicity, plain_levels(expected))
        np.testing.assert_allclose(full.values, short.values, atol=1e-11)


@pytest.mark.parametrize("letters", [(-1, -1/3, 1/3, 1), (-math.sqrt(2), -0.1, 0.1, math.sqrt(2)), (-0.3, 0.1, 0.2)])
def test_letters_that_no_float_holds_exactly(letters):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(7, 2)), rng.normal(size=7)
    for activation, output in itertools.product(("tanh", "relu"), ("linear", "tanh")):
        net = en.DiscreteNetwork(x, t, [2], letters, activation, output)
        expected = naive(x, t, [2], letters, activation, output)
        np.testing.assert_allclose(en.enumerate_losses(net), expected, atol=1e-13)
        full, short = en.levels(expected), en.levels(*en.representatives(net))
        assert full.clear and short.clear
        np.testing.assert_array_equal(full.multiplicity, short.multiplicity.astype(int))


@pytest.mark.parametrize("letters", [(-1e8, 1e-5, 1.0), (1e-12, 1.0), (1.0, 1 + 1e-13)])
def test_letters_far_apart_are_told_apart(letters):
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(5, 2)), rng.normal(size=5)
    for activation, output in (("tanh", "linear"), ("tanh", "tanh"), ("relu", "tanh")):
        net, expected = en.DiscreteNetwork(x, t, [2], letters, activation, output), naive(x, t, [2], letters, activation, output)
        np.testing.assert_allclose(en.enumerate_losses(net), expected, rtol=1e-14, atol=1e-15*expected.max())


@settings(max_examples=40, deadline=None)
@given(widths=st.lists(st.integers(1, 3), min_size=1, max_size=3), dimensions=st.integers(1, 3), points=st.integers(1, 6),
       letters=st.sampled_from([(-1, 1), (-1, 0, 1), (0, 1), (-2, 1)]), activation=st.sampled_from(["tanh", "relu", "sin"]),
       seed=st.integers(0, 10**6))
def test_routes_agree_on_any_network(widths, dimensions, points, letters, activation, seed):
    rng = np.random.default_rng(seed)
    net = en.DiscreteNetwork(rng.normal(size=(points, dimensions)), rng.normal(size=points), widths, letters, activation)
    if net.n_configurations > 2**14: return
    losses = en.enumerate_losses(net, chunk=int(2**rng.integers(3, 20)))
    codes = rng.integers(0, net.n_configurations, 50)
    np.testing.assert_allclose(losses[codes], net.losses(codes), atol=1e-10)
    full, short = en.levels(losses), en.levels(*en.representatives(net))
    if full.clear: np.testing.assert_array_equal(full.multiplicity, short.multiplicity.astype(int))
    orbits = mv.symmetry_orbits(net, explicit=True)
    assert len(np.unique(orbits.labels)) == orbits.n_orbits
    assert net.n_configurations/orbits.order <= orbits.n_orbits <= net.n_configurations
    largest = [np.ptp(losses[orbits.labels == label]) for label in np.unique(orbits.labels)[:200]]
    assert max(largest) <= 1e-10*max(1, losses.max())   # the loss is constant on every orbit


def test_oddness_is_tested_at_all_sizes():
    x = np.random.default_rng(0).normal(size=(5, 2))*3
    for function, odd in ((lambda z: np.clip(z, -5, 4), False), (lambda z: z**3, True), (np.arctan, True), (np.abs, False)):
        net = en.DiscreteNetwork(x, x[:, 0], [2, 2], activation=function)
        assert en.sign_flips(net) == odd
        plain = net.losses(np.arange(net.n_configurations))
        np.testing.assert_allclose(en.enumerate_losses(net), plain, atol=1e-12*max(1, plain.max()))


def test_wide_layers_are_folded_in_pieces():
    for widths in ([3], [1, 4], [2, 2]):
        net = ls.classifier("both", widths, n_points=6)
        for chunk in (2**5, 2**9, 2**20):
            losses = en.enumerate_losses(net, chunk)
            codes = np.random.default_rng(chunk).integers(0, net.n_configurations, 500)
            np.testing.assert_allclose(losses[codes], net.losses(codes), atol=1e-12)


def test_levels_merge_rounding_and_refuse_nan():
    exact = np.random.default_rng(0).random(50)
    noisy = np.repeat(exact, 1000)*(1 + 3e-16*np.random.default_rng(1).normal(size=50_000))
    found = en.levels(noisy)
    assert len(found.values) == 50 and set(found.multiplicity) == {1000} and found.floats > 50 and found.clear
    assert not en.levels(np.array([0.0, 5e-13, 1.0])).clear       # two levels that could be one
    assert en.levels(np.zeros(10)).gap == math.inf
    for bad in ([], [np.inf, 1.0]):
        with pytest.raises(ParameterError, match="finite numbers"): en.levels(bad)


def test_count_floats_does_not_care_about_blocks():
    values = np.random.default_rng(0).integers(0, 30, 1000)/7
    whole = en.count_floats([values])
    for parts in (3, 17):
        split = en.count_floats(np.array_split(values, parts))
        for a, b in zip(whole, split, strict=True): np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: en.enumerate_losses(ls.classifier("both", [4, 4, 2])), "with 3 inputs this has 2\\^38"),
    (lambda: en.DiscreteNetwork([[1.0]], [1.0, 2.0]), "targets = .*one number an input"),
    (lambda: en.DiscreteNetwork([[1.0]], [1.0], activation="gelu"), "activation = 'gelu': allowed is one of"),
    (lambda: en.DiscreteNetwork([[1.0]], [1.0], alphabet=[1.0]), "two or more different finite numbers"),
    (lambda: en.DiscreteNetwork([[1.0]], [1.0], widths=[]), "non-empty list"),
    (lambda: en.DiscreteNetwork([[1.0]], [1.0], widths=3), "non-empty list"),
    (lambda: en.DiscreteNetwork([[1.0]], [1.0], alphabet=[[1.0, 2.0]]), "two or more different finite numbers"),
    (lambda: en.levels([1.0, 2.0], [1]), "one for each of 2 losses"),
    (lambda: en.levels([1.0, 2.0], tolerance=-1.0), "tolerance = -1.0"),
    (lambda: en.enumerate_losses(en.DiscreteNetwork([[1.0]], [1.0], [6, 3], (-1, 0, 1))), "16 weights of 3 values; with 1 inputs"),
    (lambda: en.DiscreteNetwork([[1.0, 2.0], [3.0]], [1.0, 2.0]), "inputs = .*real numbers"),
    (lambda: en.DiscreteNetwork([[1.0]], ["a"]), "targets = .*real numbers"),
    (lambda: en.DiscreteNetwork([1.0, 2.0], [1.0, 2.0]), "inputs = .*points, dimensions"),
    (lambda: en.DiscreteNetwork([[1.0]], [1.0], widths=[0]), "at least 1"),
    (lambda: en.DiscreteNetwork([[1.0]], [1.0], alphabet=[]), "two or more different finite numbers"),
    (lambda: en.DiscreteNetwork([[1.0]], [1.0], activation=lambda z: 0.0), "pointwise function"),
    (lambda: en.levels("abc"), "losses = .*real numbers"),
])
def test_bad_input_is_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as error: call()
    assert "\n" not in str(error.value)




def test_examples_of_the_docstrings(): assert doctest.testmod(en).failed == 0 < doctest.testmod(en).attempted
