"""The symmetry group, descents and barriers by brute force."""
import itertools

import numpy as np
import pytest
from symbreak_nb import enumeration as en
from symbreak_nb import landscape as ls
from symbreak_nb import moves as mv


def test_group_elements_are_symmetries_and_partial_exchanges_are_not():
    net = ls.classifier("expanded", [3, 2], n_points=9)
    losses = en.enumerate_losses(net)
    table = losses.reshape((2,)*net.n_weights)
    generators = list(mv.generators(net))
    assert len(generators) == 2 + 3 + 1 + 2
    for g in generators: np.testing.assert_allclose(mv.transform(net, losses, g), table, atol=1e-13)
    assert np.abs(mv.transform(net, losses, (0, 0, "exchange"), leave=(1,)) - table).max() > 0.1
    codes = np.arange(net.n_configurations)
    for g in generators:
        moved = mv.transform(net, codes, g)
        assert np.array_equal(np.sort(moved.ravel()), codes)                                          # a permutation
        assert np.array_equal(mv.transform(net, np.ascontiguousarray(moved).ravel(), g).ravel(), codes)   # its own inverse


@pytest.mark.parametrize("letters", [(-1, 1), (-1, 0, 1)])
def test_descents_and_minima_by_brute_force(letters):
    rng = np.random.default_rng(len(letters))
    x = rng.normal(size=(6, 2))
    net = en.DiscreteNetwork(x, x[:, 0], [2], letters)
    losses, n, base = en.enumerate_losses(net), net.n_configurations, len(letters)
    digits = np.array(list(itertools.product(range(base), repeat=net.n_weights)))
    near = [np.flatnonzero((digits != d).sum(1) == 1) for d in digits]
    reach, minimum = np.zeros(n), np.zeros(n, bool)
    for c in np.argsort(losses):
        better = near[c][losses[near[c]] < losses[c] - 1e-10]
        minimum[c] = not len(better)
        reach[c] = reach[better].mean() if len(better) else float(losses[c] < losses.min() + 1e-10)
    for reduce in (False, True):
        graph = mv.flip_graph(net, reduce)
        found = en.levels(losses[graph.codes])
        walk = mv.random_descent(found.index(losses[graph.codes]), found.values, graph.neighbours)
        np.testing.assert_allclose(walk["reach"], reach[graph.codes], atol=1e-12)
        np.testing.assert_array_equal(walk["minimum"], minimum[graph.codes])
        assert walk["minimum"].sum()*graph.copies == minimum.sum() == mv.local_minima(losses, 1e-10, base)["weak"]
    assert len(graph.codes) == (n//4 if base == 2 else n)


def test_barriers_by_brute_force():
    rng = np.random.default_rng(3)
    net = en.DiscreteNetwork(rng.normal(size=(4, 1)), rng.normal(size=4), [2, 1])
    losses, graph = en.enumerate_losses(net), mv.flip_graph(net, reduce=False)
    level = en.levels(losses).index(losses)
    height = np.maximum.outer(level, level)
    cost = np.full(height.shape, 10**6)
    for node, near in enumerate(graph.neighbours): cost[node, near] = height[node, near]
    np.fill_diagonal(cost, level)
    for k in range(len(level)): cost = np.minimum(cost, np.maximum(cost[:, k:k + 1], cost[k:k + 1]))   # Floyd, with max for plus
    for start in (0, 7, 30): np.testing.assert_array_equal(mv.barriers(level, graph.neighbours, start), cost[start])


def test_orbits_of_signed_permutations_by_brute_force():
    x = np.random.default_rng(0).normal(size=(5, 2))
    net = en.DiscreteNetwork(x, x[:, 0], [2, 2], [-1, 1])
    table, seen = np.arange(net.n_configurations), set()
    moves = [mv.transform(net, table, g).ravel() for g in mv.generators(net)]
    sizes = []
    for code in table:
        if code in seen: continue
        orbit, edge = {code}, [code]
        while edge:
            edge = [int(m[c]) for c in edge for m in moves if int(m[c]) not in orbit and not orbit.add(int(m[c]))]
        seen |= orbit
        sizes.append(len(orbit))
    found = mv.symmetry_orbits(net)
    assert len(sizes) == found.n_orbits and all(found.order % size == 0 for size in sizes)
