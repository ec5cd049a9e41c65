"Channels, null spaces and group elements: exact properties, without the proofs."
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from symbreak_nb.actions import _closure, _permuted
from symbreak_nb.channels import families, gather
from symbreak_nb.groups import _PRIME, _null_space, candidates, permutations, rotations, scales
from symbreak_nb.labels import Facts
from symbreak_nb.trace import Trace, trace
from torch import nn
from torch.func import functional_call

L = nn.Linear
MODELS = {
    "tanh": (lambda: nn.Sequential(L(3, 6), nn.Tanh(), L(6, 2)), (4, 3), {"S_6", "Z2^6"}),
    "relu": (lambda: nn.Sequential(L(3, 6), nn.ReLU(), L(6, 2)), (4, 3), {"S_6", "R+^6"}),
    "linear": (lambda: nn.Sequential(L(3, 4), L(4, 2)), (4, 3), {"S_4", "R+^4", "Z2^4", "GL(4)"}),
    "square": (lambda: nn.Sequential(L(3, 4, bias=False), nn.ReLU(), L(4, 4), nn.Sigmoid(), L(4, 2)), (4, 3), {"S_4", "R+^4"}),
    "convolutions": (lambda: nn.Sequential(nn.Conv1d(2, 6, 3), nn.Tanh(), nn.Conv1d(6, 4, 2, groups=2)), (2, 2, 7), {"S_3^2", "Z2^6"}),
    "bilinear": (lambda: nn.Sequential(L(3, 4), nn.GLU(), L(2, 2)), (4, 3), {"S_2", "R+^2", "Z2^2"}),
}


@pytest.fixture(params=MODELS)
def walked(request):
    "A model in float64, an input, its structure and the groups that are expected among its candidates."
    make, shape, groups = MODELS[request.param]
    torch.manual_seed(0)
    net, x = make().double(), torch.randn(*shape, dtype=torch.float64)
    return net, x, gather(trace(net, (x,))), groups


def test_the_expected_groups_are_candidates_and_each_leaves_the_outputs_alone(walked):
    net, x, structure, groups = walked
    found, state = candidates(structure), {name: t.detach() for name, t in net.state_dict().items()}
    assert groups <= {c.group for c in found}
    assert sorted(c.group for c in found) == sorted(c.group for f in (permutations, scales, rotations) for c in f(structure))
    for seed, c in product(range(3), found):
        change = c.apply(state, torch.Generator().manual_seed(seed))
        assert set(change) <= set(c.tensors) and all(change[n].shape == state[n].shape for n in change)
        torch.testing.assert_close(functional_call(net, state | change, (x,)), net(x), rtol=1e-11, atol=1e-11)


def test_a_permutation_and_its_inverse_give_the_same_bits_back(walked):
    net, _, structure, _ = walked
    state = {name: t.detach() for name, t in net.state_dict().items()}
    for family in families(structure):
        for context in (c for c in family if len(c) > 2):
            a, b, c = context[:3]
            turn = _closure(structure, {a: b, b: c, c: a})
            there = state | _permuted(structure, state, turn)
            back = there | _permuted(structure, there, {y: x for x, y in turn.items()})
            assert all(torch.equal(back[n], state[n]) for n in state)
            assert sorted(turn) == sorted(turn.values())


@pytest.mark.parametrize("seed", range(20))
def test_a_null_space_solves_its_rows_and_has_the_right_dimension(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 7, 2)
    matrix = rng.integers(-2, 3, (m, n))
    rows = [{j: int(x) for j, x in enumerate(row) if x} for row in matrix]
    basis = _null_space(rows, n, _PRIME)
    assert len(basis) == n - np.linalg.matrix_rank(matrix)
    for vector in basis:
        exact = {j: Fraction(x).limit_denominator(48) for j, x in vector.items()}
        assert all(sum(c*exact.get(j, 0) for j, c in row.items()) == 0 for row in rows)
    of_signs = _null_space(rows, n, 2)
    solutions = sum(not (matrix @ np.array(v) % 2).any() for v in product((0, 1), repeat=n))
    assert 2**len(of_signs) == solutions


def test_ties_of_blocks_spread_through_many_levels():
    facts, levels = Facts(), 20
    facts.new(2*levels + 1)  # one member of two blocks; each pair of blocks are members of the next pair
    facts.members.append(np.array([[0, 0], [1, 2]]))
    for k in range(1, levels): facts.members.append(np.array([[2*k - 1, 2*k], [2*k + 1, 2*k + 2]]))
    root = gather(Trace(facts, {}, set(), None)).root
    assert all(root[2*k - 1] == root[2*k] for k in range(1, levels + 1))


def test_a_label_that_is_none_freezes_nothing():
    facts = Facts()
    facts.new(3)
    facts.frozen.append(np.array([-1, 0]))
    assert gather(Trace(facts, {}, set(), None)).frozen.tolist() == [True, False, False]
