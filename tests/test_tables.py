"Shifts of tables; pairs that slopes tell apart; candidates that are tried in sets."
import copy

import pytest
import torch
from symbreak_nb import shifts, survey, trials
from symbreak_nb.canonical import canonicalise
from symbreak_nb.channels import gather
from symbreak_nb.groups import Candidate, candidates
from symbreak_nb.proofs import TOLERANCE, _unproved, prepare
from symbreak_nb.survey import symmetry_report
from symbreak_nb.trace import trace
from torch import nn

from models import L, P, from_forward

E = nn.Embedding


def rows(model, *x, **more):
    torch.manual_seed(1)
    report = symmetry_report(model, x, **more)
    return sorted((r.group, tuple(sorted(r.parameters))) for r in report if r.symmetry == "translation"), report


def words(s, i, kind): return s.h(torch.tanh(s.word(i) + s.place(torch.arange(i.shape[1])) + s.kind(kind)))


def test_what_one_table_takes_from_a_sum_another_gives():
    model, i = from_forward(words, word=E(9, 4), place=E(6, 4), kind=E(2, 4), h=L(4, 3)), torch.arange(6).reshape(1, 6)
    found, report = rows(model, i, torch.tensor([[0, 1, 0, 1, 1, 0]]), certify=True)
    assert [group for group, _ in found if group == "R^4"] == ["R^4"]*2
    assert {n for group, names in found if group == "R^4" for n in names} == {"word.weight", "place.weight", "kind.weight"}
    assert report.certificate.complete and report.certificate.explained == 8


@pytest.mark.parametrize("forward", [lambda s, i: s.h(torch.tanh(s.a(i)*s.b(i))), lambda s, i: s.h(torch.tanh(s.a(i)*2 + s.b(i).sin()))])
def test_a_table_that_is_multiplied_or_bent_takes_nothing_up(forward):
    assert rows(from_forward(forward, a=E(5, 4), b=E(5, 4), h=L(4, 3)), torch.randint(5, (3, 6)))[0] == []


def test_a_shift_that_only_this_example_allows_is_no_row():
    "In the example each word has a place of its own, so each pair of rows looks like one."
    model = from_forward(lambda s, i: s.h(torch.tanh(s.word(i) + s.place(torch.arange(len(i))))), word=E(5, 4), place=E(5, 4), h=L(4, 3))
    found, _ = rows(model, torch.arange(5))
    assert found == [("R^4", ("place.weight", "word.weight"))]


def test_the_row_of_padding_counts_and_a_scaled_table_moves_by_half():
    model = from_forward(lambda s, i: s.h(torch.tanh(s.word(i) + s.place(torch.arange(i.shape[1])))), word=E(7, 4, padding_idx=0),
                         place=E(5, 4), h=L(4, 3))
    found, report = rows(model, torch.tensor([[0, 1, 2, 3, 0], [4, 5, 6, 1, 2]]))
    assert found == [("R^4", ("place.weight", "word.weight"))] and report.certificate.complete and not report.unexamined
    twice = lambda s, i: s.h(torch.tanh(s.word(i)*2 + s.place(torch.arange(i.shape[1]))))
    model = from_forward(twice, word=E(7, 4), place=E(5, 4), h=L(4, 3))
    assert rows(model, torch.randint(7, (3, 5)), certify=False)[0] == [("R^4", ("place.weight", "word.weight"))]


def test_a_matrix_takes_the_shift_of_its_rows_to_its_bias():
    attend = lambda s, x: s.o((s.q(s.t) @ s.k(x).mT).softmax(-1) @ s.v(x))
    found, _ = rows(from_forward(attend, t=P(3, 4), q=L(4, 4), k=L(5, 4), v=L(5, 4), o=L(4, 2)), torch.randn(6, 5), certify=False)
    assert ("R^4", ("q.bias", "t")) in found
    cell = from_forward(lambda s, i: s.h(s.g(s.word(i))[0]), word=E(5, 3), g=nn.GRU(3, 4, batch_first=True), h=L(4, 2))
    assert ("R^3", ("g.bias_ih_l0", "word.weight")) in rows(cell, torch.randint(5, (4, 6)), certify=False)[0]


def test_positions_along_any_axis_and_twice_as_fast():
    model = from_forward(lambda s, x: s.h(torch.tanh(s.c(x) + 2*s.place)), c=nn.Conv1d(2, 4, 3), place=P(4, 6), h=L(6, 3))
    found, _ = rows(model, torch.randn(3, 2, 8))
    assert found == [("R^4", ("c.bias", "place"))]
    model = from_forward(lambda s, x: s.h(torch.tanh(s.c(x) + s.place)), c=nn.Conv1d(2, 4, 3), place=P(4, 6), h=L(6, 3))
    assert rows(model, torch.randn(3, 2, 8))[0] == [("R^4", ("c.bias", "place"))]


def test_the_canonical_model_has_no_mean_to_give():
    model = from_forward(lambda s, i: s.h(torch.tanh(s.word(i) + s.place(torch.arange(len(i))))), word=E(5, 4), place=E(5, 4), h=L(4, 3))
    i = torch.tensor([0, 3, 1, 2, 4])
    family, = (r for r in symmetry_report(model, i) if r.symmetry == "translation")
    one, two = (canonicalise(copy.deepcopy(m), i) for m in (model, family.apply(copy.deepcopy(model), 5)))
    assert not torch.allclose(model.place.weight, family.apply(copy.deepcopy(model), 5).place.weight, atol=0.1)
    for (n, a), b in zip(one.named_parameters(), two.parameters(), strict=True): assert torch.allclose(a, b, atol=1e-5), n


def test_a_slope_that_is_zero_by_chance_hides_no_free_bias(monkeypatch):
    slopes = shifts._each_slope
    def chance(desk, state, inputs, seed, use, *more):
        def changed(name, g): use(name, g*(torch.arange(4) > 0) if name == "k.bias" else g)
        return slopes(desk, state, inputs, seed, changed, *more)
    monkeypatch.setattr(shifts, "_each_slope", chance)
    attend = lambda s, x: s.h((s.q(x) @ s.k(x).mT).softmax(-1) @ s.v(x))
    found, report = rows(from_forward(attend, q=L(3, 4), k=L(3, 4), v=L(3, 4), h=L(4, 2)), torch.randn(5, 3))
    assert ("R^4", ("k.bias",)) in found and not report.unexamined


def test_a_mask_that_is_drawn_anew_may_hide_all():
    "Then slopes are no numbers, and those at the mask of the example are taken."
    def forward(s, x, mask): return s.h((s.q(x) @ s.k(x).mT).masked_fill(mask, -torch.inf).softmax(-1) @ (s.v(x) + s.w(x)))
    model = from_forward(forward, q=L(3, 4), k=L(3, 4), v=L(3, 4), w=L(3, 4), h=L(4, 2))
    found, report = rows(model, torch.randn(2, 3), torch.tensor([[False, True], [False, False]]), certify=False)
    assert {("R^4", ("h.bias", "v.bias")), ("R^4", ("h.bias", "w.bias"))} <= set(found)
    assert not any("left out" in note for note in report.notes)


MODELS = {
    "mean of three": (lambda s, x: (s.a(x).tanh() + s.b(x).tanh() + s.c(x).tanh())/3, dict(a=L(4, 3), b=L(4, 3), c=L(4, 3))),
    "maximum": (lambda s, x: torch.stack([s.a(x), s.b(x), s.c(x)]).max(0).values, dict(a=L(4, 3), b=L(4, 3), c=L(4, 3))),
    "one is detached": (lambda s, x: s.a(x).tanh() + s.b(x).tanh().detach(), dict(a=L(4, 3), b=L(4, 3))),
    "experts": (lambda s, x: (s.g(x).softmax(-1)[..., None]*torch.stack([s.a(x), s.b(x), s.c(x)], -2)).sum(-2),
                dict(a=L(4, 5), b=L(4, 5), c=L(4, 5), g=L(4, 3))),
    "chain": (lambda s, x: s.b(s.a(x).tanh()).tanh(), dict(a=L(4, 4), b=L(4, 4))),
    "product": (lambda s, x: s.a(x)*s.b(x), dict(a=L(4, 3), b=L(4, 3)))}


@pytest.mark.parametrize("name", MODELS)
def test_slopes_refuse_no_exchange_that_holds(name, monkeypatch):
    forward, parts = MODELS[name]
    def found():
        torch.manual_seed(3)
        report = symmetry_report(from_forward(forward, **parts), torch.randn(5, 4))
        return sorted((r.symmetry, r.group, tuple(sorted(r.parameters))) for r in report)
    want = found()
    monkeypatch.setattr(survey, "MANY", 0)
    assert found() == want and (name == "chain" or any(kind == "permutation" for kind, *_ in want))


def test_candidates_in_sets_are_judged_as_each_by_itself(monkeypatch):
    net, x = nn.Sequential(L(3, 5), nn.Tanh(), L(5, 4), nn.Tanh(), L(4, 2)).double(), torch.randn(6, 3, dtype=torch.float64)
    bench, walk = prepare(net, (x,), {}), trace(net, (x,))
    assert _unproved(bench, bench.states[1], bench.run(bench.states[1], bench.inputs[0])) == ""
    flip = lambda *names: Candidate("sign flip", "Z2", 1, lambda state, rng: {n: -state[n] for n in names}, list(names), None, names[0])
    halves = [flip("0.weight", "0.bias"), flip("2.weight")]   # each is false, both together hold
    broken = Candidate("scaling", "R+", 1, lambda state, rng: 1/0, ["0.weight"], None, "0.weight")
    still = Candidate("scaling", "R+", 1, lambda state, rng: dict(state.items()), ["0.weight"], None, "0.weight")
    true = candidates(gather(walk))
    monkeypatch.setattr(trials, "ALONE", 0)
    sets, seen = trials._all_at_once, []
    monkeypatch.setattr(trials, "_all_at_once", lambda *a: seen.append(sets(*a)) or seen[-1])
    proofs = trials.try_all(bench, walk, [*true, *halves, broken, still, *true])
    good, (a, b, failed, idle), again = proofs[:len(true)], proofs[len(true):len(true) + 4], proofs[len(true) + 4:]
    assert seen and len(true) >= 4 and all(p.error <= TOLERANCE < p.control for p in good + again)
    assert a.error > TOLERANCE and b.error > TOLERANCE and isinstance(failed, ZeroDivisionError) and idle is None


class Transposed(nn.Module):
    "A layer whose matrix is inputs by outputs."

    def __init__(self, a, b):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(a, b)/a**0.5), nn.Parameter(torch.randn(b))

    def forward(self, x): return x @ self.weight + self.bias


def test_a_large_certificate_of_layers_that_are_transposed():
    torch.manual_seed(0)
    model = from_forward(lambda s, x: s.c(torch.tanh(s.b(torch.tanh(s.a(x))))), a=Transposed(20, 60), b=Transposed(60, 50), c=L(50, 7))
    certificate = symmetry_report(model, torch.randn(30, 20), certify=True).certificate
    assert certificate.null_dimension == certificate.explained == 0 and "a sample of" in certificate.missing


def test_rows_that_no_input_looks_up_are_no_directions():
    "A table of two rows with one in use: its probes differ where nothing looks."
    torch.manual_seed(0)
    model = from_forward(lambda s, x: s.h(torch.tanh(s.l(x) + s.kind(torch.zeros(len(x), dtype=torch.long)))), l=L(30, 60), kind=E(2, 60),
                         h=L(60, 5))
    certificate = symmetry_report(model, torch.randn(40, 30), certify=True).certificate
    assert certificate.null_dimension == certificate.explained >= 1 and "no output depends" in certificate.missing
