"A borrowed model comes back as it was, outputs are judged by how far they move, and a proof needs a control."
import math

import numpy as np
import pytest
import torch
from symbreak_nb import states
from symbreak_nb.groups import Candidate
from symbreak_nb.proofs import EVIDENCE, TOLERANCE, _apart, _each_slope, _slopes, _snapshot, _unproved, borrowed, prepare
from symbreak_nb.run import RunError
from symbreak_nb.trace import trace
from symbreak_nb.trials import try_all, try_out
from torch import nn

L, X = nn.Linear, lambda *shape: torch.randn(*shape, dtype=torch.float64)


def measured(net, x):
    bench = prepare(net, (x,), {})
    assert not _unproved(bench, bench.states[1], bench.run(bench.states[1], bench.inputs[0]))
    return bench, trace(net, (x,))


def test_elements_that_are_nan_or_infinite_are_compared_too():
    assert _apart(torch.tensor([0., torch.nan]), torch.ones(2)).tolist() == [1, np.inf]
    assert _apart(torch.tensor([torch.inf, -torch.inf]), torch.tensor([torch.inf, torch.inf])).tolist() == [0, np.inf]
    assert _apart(torch.ones(2), torch.ones(3)).tolist() == [np.inf]*3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_borrowed_model_comes_back_after_an_error(error):
    net = nn.Sequential(L(3, 4), nn.Dropout(0.5), L(4, 2)).half()
    before = [(p.data_ptr(), p.dtype, p.tolist()) for p in net.parameters()]
    with pytest.raises(error), borrowed(net):
        assert net[0].weight.dtype == torch.float64 and net[1].p == 0
        net[0].weight.data.zero_()
        raise error
    assert [(p.data_ptr(), p.dtype, p.tolist()) for p in net.parameters()] == before and net[1].p == 0.5


def test_a_snapshot_leaves_alone_what_it_is_told_to():
    net = nn.Linear(2, 2)
    restore, before = _snapshot(net, [net.weight]), net.bias.detach().clone()
    with torch.no_grad():
        net.weight.zero_()
        net.bias.zero_()
    restore()
    assert not net.weight.any() and torch.equal(net.bias, before)


@pytest.mark.parametrize("model, x, match", [
    (L(2, 2).double(), X(1, 3), "does not run"),
    (type("Nothing", (nn.Linear,), {"forward": lambda s, x: None})(2, 2).double(), X(1, 2), "returns no tensor"),
    (L(2, 2).double(), torch.full((1, 2), torch.nan).double(), "nan or infinite")])
def test_a_model_that_cannot_be_tried_ends_in_one_line(model, x, match):
    with pytest.raises(RunError, match=match): prepare(model, (x,), {})


def test_a_proof_has_a_small_error_and_a_large_control_and_a_false_group_has_not():
    torch.manual_seed(0)
    bench, walk = measured(nn.Sequential(L(3, 4), nn.ReLU(), L(4, 2)).double(), X(5, 3))
    group = lambda change: Candidate("rescaling", "R+", 1, lambda state, rng: change(state), [], None, "0.weight")
    scaled = lambda s: {"0.weight": 2*s["0.weight"], "0.bias": 2*s["0.bias"], "2.weight": s["2.weight"]/2}
    proof = try_out(bench, walk, group(scaled))
    assert proof.error <= TOLERANCE and proof.control > EVIDENCE and not proof.limit
    forgotten = try_out(bench, walk, group(lambda s: {n: t for n, t in scaled(s).items() if n != "0.bias"}))
    assert forgotten.error > 1e-3 and math.isnan(forgotten.control)
    assert try_out(bench, walk, group(lambda s: {"0.weight": s["0.weight"]})) is None


def test_the_control_of_a_group_that_moves_nothing_of_effect_is_zero():
    class Unused(nn.Sequential):
        def forward(self, x): return self[0](x)
    bench, walk = measured(Unused(L(3, 2), L(4, 2)).double(), X(5, 3))
    moved = Candidate("permutation", "S_2", 1, lambda s, rng: {"1.weight": s["1.weight"].flip(0)}, [], None, "1.weight")
    proof = try_out(bench, walk, moved)
    assert proof.error == 0 and proof.control <= EVIDENCE


def test_other_whole_numbers_are_not_those_of_the_example_in_another_order():
    class Bag(nn.Embedding):
        def forward(self, i): return super().forward(i).sum(1)
    for seed in range(20):
        bench = prepare(Bag(4, 2).double(), (torch.tensor([[0, 1, 2]]),), {}, seed=seed)
        assert bench.inputs[-1][0][0].unique().numel() < 3


def test_a_slope_is_used_as_soon_as_it_is_known_and_is_that_of_all_uses_of_a_weight():
    torch.manual_seed(0)
    tied = nn.Sequential(L(3, 3), nn.Tanh(), L(3, 3)).double()
    tied[2].weight = tied[0].weight
    bench, _ = measured(tied, X(5, 3))
    found, p = {}, bench.points[0]
    _each_slope(bench.desk, p.state, p.inputs, 3, lambda name, g: found.setdefault(name, g.clone()))
    whole = _slopes(bench.desk, p.state, p.inputs, 3)
    assert found.keys() == whole.keys() == {"0.weight", "0.bias", "2.bias"}
    weights = [tied[0].weight, tied[0].bias, tied[2].bias]
    out = tied(p.inputs[0][0])
    z = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    want = dict(zip(("0.weight", "0.bias", "2.bias"), torch.autograd.grad((out*z).sum(), weights), strict=True))
    for n, g in found.items():
        assert torch.allclose(g, want[n], rtol=1e-9, atol=1e-12) and torch.equal(g, whole[n]), n


@pytest.mark.parametrize("kept", [2**26, 0])
def test_a_candidate_that_fails_at_any_point_stands_alone(kept, monkeypatch):
    monkeypatch.setattr(states, "_KEPT", kept)
    torch.manual_seed(0)
    bench, walk = measured(nn.Sequential(L(3, 4), nn.ReLU(), L(4, 2)).double(), X(5, 3))
    scaled = lambda s: {"0.weight": 2*s["0.weight"], "0.bias": 2*s["0.bias"], "2.weight": s["2.weight"]/2}
    for calls in range(4):   # of the element before it fails: at a point, or for the control
        left = iter([scaled]*calls)
        fails = Candidate("rescaling", "R+", 1, lambda s, rng, left=left: next(left)(s), ["0.weight"], None, "0.weight")
        good = Candidate("rescaling", "R+", 1, lambda s, rng: scaled(s), ["0.weight", "0.bias", "2.weight"], None, "0.weight")
        broken, proof = try_all(bench, walk, [fails, good])
        assert isinstance(broken, Exception) == (calls < 3) and proof.error <= TOLERANCE < proof.control


def test_rounding_is_measured_again_before_a_small_error_refuses_a_group():
    torch.manual_seed(0)
    bench, walk = measured(nn.Sequential(L(3, 4), nn.ReLU(), L(4, 2)).double(), X(5, 3))
    off = lambda size: Candidate("rescaling", "R+", 1, lambda s, rng: {
        "0.weight": 1.7*s["0.weight"], "0.bias": 1.7*s["0.bias"] + size, "2.weight": s["2.weight"]/1.7}, ["0.weight"], None, "0.weight")
    true, near, false = off(0.0), off(1e-9), off(1e-5)
    assert try_out(bench, walk, true).error <= TOLERANCE and not any(p.finer for p in bench.points)
    assert TOLERANCE < try_out(bench, walk, near).error < 1e3*TOLERANCE and any(p.finer for p in bench.points)
    assert try_out(bench, walk, false).error > 1e3*TOLERANCE
    p = bench.points[1]
    p.scale, p.finer = [torch.full_like(t, 1e-7) for t in p.scale], False   # as if these had hardly moved, by chance
    assert try_out(bench, walk, true).error <= TOLERANCE and p.finer
