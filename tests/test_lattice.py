"""Exact counts of the Ising model by independent routes, symmetries, exact averages and walls, and refusals."""
import doctest
import functools
import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import lattice as la
from symbreak_nb.run import ParameterError

STATES = {L: la.density_of_states(L) for L in (2, 3, 4, 5)}


def loop_energy(spins, J, h):
    "Sum bond by bond."
    L, total = len(spins), 0.0
    for i, j in itertools.product(range(L), range(L)):
        total -= J*spins[i][j]*(spins[(i + 1) % L][j] + spins[i][(j + 1) % L]) + h*spins[i][j]
    return total


@functools.cache
def naive():
    "Counts over (E0, M) from itertools, for L = 2, 3 and 4."
    tables = {}
    for L in (2, 3, 4):
        table = Counter()
        right = [(i, (i//L)*L + (i + 1) % L) for i in range(L*L)] + [(i, (i + L) % (L*L)) for i in range(L*L)]
        for s in itertools.product((-1, 1), repeat=L*L): table[-sum(s[a]*s[b] for a, b in right), sum(s)] += 1
        tables[L] = table
    return tables


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(0, 2**31), st.floats(-3, 3), st.floats(-3, 3))
def test_energy_equals_the_loop_and_keeps_its_symmetries(L, seed, J, h):
    s = np.random.default_rng(seed).choice(np.array([-1, 1]), (2, 3, L, L))
    E = la.energy(s, J, h)
    assert E.shape == (2, 3) and np.isclose(E[1, 2], loop_energy(s[1, 2].tolist(), J, h), atol=1e-9)
    for image in (np.roll(s, 1, -1), np.roll(s, 2, -2), s.swapaxes(-1, -2), s[..., ::-1]):
        assert np.array_equal(la.energy(image, J, h), E)
    assert np.array_equal(la.energy(-s, J, -h), E)
    assert np.array_equal(la.bond_energy(s), 2*la.wall_length(s) - 2*L*L)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([2, 4, 6, 8]), st.integers(0, 2**31))
def test_flipping_one_sublattice_reverses_the_coupling(L, seed):
    s = np.random.default_rng(seed).choice(np.array([-1, 1]), (4, L, L))
    checkerboard = (-1)**np.add.outer(np.arange(L), np.arange(L))
    assert np.array_equal(la.energy(s*checkerboard, 1.3), la.energy(s, -1.3))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64])
def test_energy_of_any_number_type(dtype):
    assert la.energy(np.ones((200, 200), dtype)) == -80_000


@pytest.mark.parametrize("L", [2, 3, 4])
def test_counts_equal_itertools(L):
    E0, M, g = STATES[L].cells()
    assert Counter({(int(e), int(m)): int(n) for e, m, n in zip(E0, M, g, strict=True)}) == naive()[L]


@pytest.mark.parametrize("L", [2, 3, 4, 5])
def test_enumeration_equals_the_transfer_matrix(L):
    assert np.array_equal(STATES[L].counts, la.density_of_states(L, "transfer").counts)


@pytest.mark.parametrize("L", [2, 3, 4, 5, 6, 7])
def test_counts_are_complete_and_symmetric(L):
    states = STATES[L] if L < 6 else la.density_of_states(L)
    g, N = states.counts, L*L
    assert sum(g.ravel().tolist()) == 2**N and all(type(n) is int for n in g.ravel())
    assert [sum(column) for column in g.T.tolist()] == [math.comb(N, k) for k in range(N + 1)]
    assert np.array_equal(g, g[:, ::-1])
    if L % 2 == 0: assert g.sum(1).tolist() == g.sum(1)[::-1].tolist()
    moment = sum(int(e)**2*n for e, n in zip(states.energy, g.sum(1), strict=True))
    assert moment == 2**N*2*N*(2 if L == 2 else 1)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 50), st.floats(-2, 2), st.floats(-2, 2))
def test_averages_obey_thermodynamics(T, J, h):
    t = STATES[4].thermodynamics(T, J, h)
    flipped = STATES[4].thermodynamics(T, J, -h)
    assert np.isclose(t.lnZ, flipped.lnZ, rtol=1e-13) and np.isclose(t.magnetisation, -flipped.magnetisation, atol=1e-9)
    assert t.energy <= 0 and t.heat_capacity >= 0 and t.susceptibility >= 0 and abs(t.magnetisation) <= t.abs_magnetisation <= 16
    assert np.isclose(t.lnZ, STATES[4].thermodynamics(T, -J, 0.0).lnZ) or h != 0
    entropy = t.lnZ + t.energy/T
    assert -1e-9 <= entropy <= 16*math.log(2) + 1e-9


def test_temperature_may_be_an_array():
    T = np.array([[0.5, 1.0], [2.0, 3.0]])
    t = STATES[3].thermodynamics(T, 1.0, 0.2)
    assert t.lnZ.shape == (2, 2) and t.lnZ[1, 0] == STATES[3].thermodynamics(2.0, 1.0, 0.2).lnZ


def test_levels_tie_as_typed_and_not_as_rounded():
    E, g = STATES[4].levels(0.1, 0.3)
    E2, g2 = STATES[4].levels(1, 3)
    assert g.tolist() == g2.tolist() and np.allclose(10*E, E2, atol=1e-12) and (np.diff(E) > 0).all()
    assert len(STATES[5].levels(1.0, 0.0)[0]) == 20 and len(STATES[5].levels(1.0, 0.45)[0]) == 208
    assert STATES[2].levels(0, 0)[1].tolist() == [16]


def test_known_ground_states():
    assert STATES[5].levels(1.0)[0][0] == -50 and STATES[5].levels(1.0)[1][0] == 2
    assert STATES[4].levels(-1.0)[0][0] == -32 and STATES[5].levels(-1.0)[0][0] == -30   # odd: frustrated
    assert STATES[5].levels(1.0, 0.45)[1][0] == 1


@pytest.mark.parametrize("L", [2, 3, 4, 5])
@pytest.mark.parametrize("T", [0.3, 1.0, la.CRITICAL_TEMPERATURE, 5.0, 100.0])
def test_kaufman_equals_the_density_of_states(L, T):
    exact = float(STATES[L].thermodynamics(T).energy)/L**2
    assert la.kaufman_energy(L, T) == pytest.approx(exact, rel=1e-10)
    assert la.kaufman_energy(L, 1.7*T, J=1.7) == pytest.approx(1.7*exact, rel=1e-10)


def test_onsager_is_the_limit_away_from_the_transition():
    for T in (1.0, 1.8, 3.0, 10.0): assert la.kaufman_energy(128, T) == pytest.approx(la.onsager_energy(T), abs=1e-9)
    assert abs(la.kaufman_energy(32, la.CRITICAL_TEMPERATURE) - la.onsager_energy(la.CRITICAL_TEMPERATURE)) > 0.01


def test_eight_by_eight_agrees_with_kaufman():
    states = la.density_of_states(8)
    assert sum(states.counts.ravel().tolist()) == 2**64 and states.counts.sum(0)[32] == math.comb(64, 32)
    for T in (0.5, 2.0, 2.3, 8.0):
        assert la.kaufman_energy(8, T) == pytest.approx(float(states.thermodynamics(T).energy)/64, rel=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**31))
def test_walls_are_closed(height, width, seed):
    s = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), (3, height, width))
    right, below = la.domain_walls(s)
    assert (right.sum(-1) % 2 == 0).all() and (below.sum(-2) % 2 == 0).all()
    assert len(la.wall_segments(s[0])) == la.wall_length(s)[0]
    right, below = right.astype(int), below.astype(int)
    at_corner = right + np.roll(right, -1, -2) + below + np.roll(below, -1, -1)
    assert (at_corner % 2 == 0).all()


@pytest.mark.parametrize("call,text", [
    (lambda: la.density_of_states(1), "size = 1"),
    (lambda: la.density_of_states(9), "size = 9"),
    (lambda: la.density_of_states(True), "size = True"),
    (lambda: la.density_of_states(4.0), "size = 4.0"),
    (lambda: la.density_of_states(6, "enumeration"), "integer from 2 to 5"),
    (lambda: la.density_of_states(4, "guess"), "'guess'"),
    (lambda: STATES[2].thermodynamics(0.0), "T = 0.0"),
    (lambda: STATES[2].thermodynamics(-1.0), "T = -1.0"),
    (lambda: STATES[2].thermodynamics(float("nan")), "T = nan"),
    (lambda: STATES[2].thermodynamics(1e-320), "T = "),
    (lambda: STATES[2].levels(float("inf")), "J = inf"),
    (lambda: STATES[2].levels(1.0, float("nan")), "h = nan"),
])
def test_refusals_are_one_line(call, text):
    with pytest.raises(ParameterError) as caught: call()
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_examples_of_the_docstrings(): assert doctest.testmod(la).failed == 0 < doctest.testmod(la).attempted
