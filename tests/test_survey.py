"Symmetries of models that the notebook does not show: every expected family is found, proved, and nothing false is added."
import ast
import copy
import functools
from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from symbreak_nb import operations, states, survey, trials
from symbreak_nb.run import ParameterError, RunError
from torch import nn
from torch.nn import functional as F

from models import L, P, X, everything, first_line, from_forward, kinds, late, two, untouched

symmetry_report = functools.partial(survey.symmetry_report, certify=False)  # what the trace finds


def heads(t, count): return t.view(*t.shape[:2], count, -1).transpose(1, 2)


def merged(t): return t.transpose(1, 2).reshape(t.shape[0], t.shape[2], -1)


def swiglu(s, x):
    u, v = s.a(x).chunk(2, -1)
    return s.b(F.silu(u)*v)


def mobile(s, x): return s.o(F.adaptive_avg_pool2d(s.c(F.relu6(s.n(s.d(F.relu6(s.a(x)))))), 1).flatten(1))


def dense(s, x):
    u = F.relu(s.a(x))
    return s.c(F.relu(s.n(torch.cat([u, F.relu(s.b(u))], 1)))).amax((2, 3))


def repeated(s, x):
    x = torch.tanh(s.i(x))
    for _ in range(3): x = torch.tanh(s.w(x))
    return s.o(x)


def grouped_queries(s, x):
    q, (k, v) = heads(s.q(x), 4), (heads(t(x), 2).repeat_interleave(2, 1) for t in (s.k, s.v))
    return s.o(merged(torch.softmax(q @ k.mT/2, -1) @ v))


def rotary(s, x):
    q, k, v = (heads(t(x), 2) for t in (s.q, s.k, s.v))
    a = torch.outer(torch.arange(x.shape[1]), torch.tensor([1., .1, 1., .1])).to(x)
    turn = lambda t: t*a.cos() + torch.cat([-t[..., 2:], t[..., :2]], -1)*a.sin()
    return s.o(merged(F.scaled_dot_product_attention(turn(q), turn(k), v)))


def normed_queries(s, x):
    q, k, v = (heads(t(x), 2) for t in (s.q, s.k, s.v))
    return s.o(merged(torch.softmax(s.nq(q) @ s.nk(k).mT, -1) @ v))


def gpt(s, i):
    x = s.e(i) + s.p
    q, k, v = (heads(t, 3) for t in s.c(s.l1(x)).split(12, -1))
    x = x + s.o(merged(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
    return s.h(s.lf(x + s.g(F.gelu(s.f(s.l2(x))))))


def einsum_attention(s, x):
    q, k, v = (torch.einsum("bnc,chd->bnhd", x, w) for w in (s.q, s.k, s.v))
    a = torch.einsum("bnhd,bmhd->bhnm", q, k).softmax(-1)
    return torch.einsum("bnhd,hdo->bno", torch.einsum("bhnm,bmhd->bnhd", a, v), s.o)


def mixer(s, x):
    x = s.i(x)
    x = x + s.t2(F.gelu(s.t1(s.n(x).mT))).mT
    return s.o((x + s.c2(F.gelu(s.c1(s.n(x))))).mean(1))


def squeeze(s, x):
    x = F.relu(s.a(x))
    w = torch.sigmoid(s.g(F.relu(s.f(x.mean((2, 3))))))
    return s.o((x*w[:, :, None, None]).mean((2, 3)))


def contrastive(s, x):
    z = F.normalize(s.b(torch.relu(s.a(x))), dim=-1)
    return z @ z.T


CASES = {  # name -> (model, input, families expected, families that must not be there)
    "swiglu": (lambda: from_forward(swiglu, a=L(4, 12), b=L(6, 3)), lambda: X(5, 4),
               {("permutation", "S_6"), ("rescaling", "R+^6"), ("sign flip", "Z2^6")}, {"double rotation"}),
    "depthwise": (lambda: from_forward(mobile, a=nn.Conv2d(3, 8, 1), d=nn.Conv2d(8, 8, 3, padding=1, groups=8),
                                       n=nn.BatchNorm2d(8), c=nn.Conv2d(8, 4, 1), o=L(4, 2)).eval(), lambda: X(2, 3, 5, 5),
                  {("permutation", "S_8"), ("permutation", "S_4"), ("double rotation", "GL(4)")}, {"rotation"}),
    "depth multiplier": (lambda: from_forward(lambda s, x: s.c(F.relu(s.d(torch.tanh(s.a(x))))).mean(-1), a=nn.Conv1d(3, 4, 1),
                                              d=nn.Conv1d(4, 8, 3, groups=4), c=nn.Conv1d(8, 2, 1)), lambda: X(2, 3, 6),
                         {("permutation", "S_4"), ("permutation", "S_2^4"), ("sign flip", "Z2^4"), ("rescaling", "R+^8")}, set()),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.GELU(), nn.Conv2d(8, 12, 3, groups=4), nn.GELU(), nn.Conv2d(12, 2, 1)),
                lambda: X(2, 3, 5, 5), {("permutation", "S_2^4"), ("permutation", "S_3^4"), ("permutation", "S_4")}, {"rescaling"}),
    "shuffle": (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.ChannelShuffle(2), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(),
                                      nn.Conv2d(8, 2, 1)), lambda: X(2, 3, 5, 5),
                {("permutation", "S_4^2"), ("permutation", "S_2"), ("rescaling", "R+^8")}, {"double rotation"}),
    "dense": (lambda: from_forward(dense, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 5, 3, padding=1), n=nn.BatchNorm2d(9),
                                   c=nn.Conv2d(9, 2, 1)), lambda: X(2, 3, 5, 5),
              {("permutation", "S_4"), ("permutation", "S_5"), ("rescaling", "R+^4"), ("scaling", "R+^5 at eps = 0")}, set()),
    "shared weights": (lambda: from_forward(repeated, i=L(3, 6), w=L(6, 6), o=L(6, 2)), lambda: X(5, 3),
                       {("permutation", "S_6"), ("sign flip", "Z2^6")}, {"rescaling"}),
    "gqa": (lambda: from_forward(grouped_queries, q=L(6, 16), k=L(6, 8), v=L(6, 8), o=L(16, 3)), lambda: X(2, 5, 6),
            {("permutation", "S_2^2"), ("permutation", "S_2"), ("permutation", "S_4^2"), ("double rotation", "GL(4)^2")}, set()),
    "rotary": (lambda: from_forward(rotary, q=L(6, 8), k=L(6, 8), v=L(6, 8), o=L(8, 3)), lambda: X(2, 5, 6),
               {("permutation", "S_2"), ("double rotation", "GL(4)^2"), ("rescaling", "R+^4")}, set()),
    "normed queries": (lambda: from_forward(normed_queries, q=L(6, 8), k=L(6, 8), v=L(6, 8), o=L(8, 3), nq=nn.RMSNorm(4),
                                            nk=nn.RMSNorm(4)), lambda: X(2, 5, 6),
                       {("permutation", "S_4"), ("permutation", "S_2"), ("rescaling", "R+^4"), ("double rotation", "GL(4)^2")}, set()),
    "gpt": (lambda: from_forward(gpt, e=nn.Embedding(11, 12), p=P(6, 12), l1=nn.LayerNorm(12), c=L(12, 36), o=L(12, 12),
                                 l2=nn.LayerNorm(12), f=L(12, 20), g=L(20, 12), lf=nn.LayerNorm(12), h=L(12, 11)),
            lambda: torch.randint(11, (2, 6)),
            {("permutation", "S_12"), ("permutation", "S_3"), ("permutation", "S_20"), ("double rotation", "GL(4)^3"),
             ("translation", "R^12"), ("translation", "R^13"), ("translation", "R^21")}, set()),
    "einsum attention": (lambda: from_forward(einsum_attention, q=P(6, 2, 4), k=P(6, 2, 4), v=P(6, 2, 4), o=P(2, 4, 3)),
                         lambda: X(2, 5, 6), {("permutation", "S_2"), ("permutation", "S_4^2"), ("double rotation", "GL(4)^2")}, set()),
    "mixer": (lambda: from_forward(mixer, i=L(3, 6), t1=L(5, 7), t2=L(7, 5), c1=L(6, 8), c2=L(8, 6), n=nn.LayerNorm(6), o=L(6, 2)),
              lambda: X(2, 5, 3), {("permutation", "S_6"), ("permutation", "S_7"), ("permutation", "S_8")}, {"double rotation"}),
    "squeeze and excite": (lambda: from_forward(squeeze, a=nn.Conv2d(3, 6, 1), f=L(6, 4), g=L(4, 6), o=L(6, 2)), lambda: X(2, 3, 4, 4),
                           {("permutation", "S_6"), ("permutation", "S_4"), ("rescaling", "R+^6"), ("rescaling", "R+^4")}, set()),
    "group norm": (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 2, 1)), lambda: X(2, 3, 4, 4),
                   {("permutation", "S_4^2"), ("permutation", "S_2"), ("translation", "R^2"), ("scaling", "R+^2 at eps = 0")}, set()),
    "batch norm": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), L(16, 2)).train(),
                   lambda: X(4, 3, 4, 4), {("permutation", "S_4"), ("rescaling", "R+^4"), ("scaling", "R+^4 at eps = 0"),
                                           ("translation", "R^4"), ("sign flip", "Z2^4")}, {"double rotation"}),
    "contrastive": (lambda: from_forward(contrastive, a=L(3, 6), b=L(6, 4)), lambda: X(5, 3),
                    {("rotation", "O(4)"), ("permutation", "S_6"), ("rescaling", "R+^6"), ("scaling", "R+")}, {"double rotation"}),
    "residual sine": (lambda: from_forward(lambda s, x: s.o(s.i(x) + s.b(torch.sin(s.a(s.i(x))))), i=L(3, 6), a=L(6, 9), b=L(9, 6),
                                           o=L(6, 2)), lambda: X(5, 3),
                      {("double rotation", "GL(6)"), ("permutation", "S_9"), ("sign flip", "Z2^9")}, set()),
    "ensemble": (lambda: from_forward(lambda s, x: torch.stack([m(x).tanh() for m in s.m]).mean(0),
                                      m=nn.ModuleList(L(4, 2) for _ in range(3))), lambda: X(6, 4),
                 {("permutation", "S_3")}, {"sign flip"}),
    "stacked ensemble": (lambda: from_forward(lambda s, x: (torch.tanh(x @ s.w) @ s.u).mean(0), w=P(3, 4, 5), u=P(3, 5, 2)),
                         lambda: X(6, 4),
                         {("permutation", "S_5^3"), ("permutation", "S_3"), ("sign flip", "Z2^15")}, set()),
    "v W": (lambda: from_forward(lambda s, x: F.linear(x, s.v*s.w), v=P(), w=P(2, 3)), lambda: X(4, 3),
            {("rescaling", "R+"), ("sign flip", "Z2")}, {"permutation"}),
    "bilinear": (lambda: from_forward(lambda s, x: s.o(torch.relu(s.w(x, x))), w=nn.Bilinear(3, 3, 5), o=L(5, 2)), lambda: X(6, 3),
                 {("permutation", "S_5"), ("rescaling", "R+^5")}, {"sign flip"}),
    "classifier": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), L(36, 5), nn.Sigmoid(), L(5, 2),
                                         nn.LogSoftmax(-1)), lambda: X(2, 1, 8, 8),
                   {("permutation", "S_4"), ("rescaling", "R+^4"), ("permutation", "S_5"), ("translation", "R^6")}, {"sign flip"}),
    "zero branch": (lambda: from_forward(lambda s, x: s.o(s.i(x) + s.z*s.b(F.gelu(s.a(s.i(x))))), i=L(3, 6), a=L(6, 9), b=L(9, 6),
                                         z=nn.Parameter(torch.zeros(6)), o=L(6, 2)), lambda: X(4, 3),
                    {("permutation", "S_6"), ("permutation", "S_9"), ("rescaling", "R+^6")}, {"double rotation", "rotation", "scaling"}),
    "decoder": (lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True).eval(), lambda: (X(2, 5, 8), X(2, 4, 8)),
                {("double rotation", "GL(4)^2"), ("permutation", "S_2"), ("permutation", "S_16"), ("translation", "R^8")}, set()),
}


@pytest.mark.parametrize("name", CASES)
def test_a_model_has_these_families_and_all_are_proved(name):
    torch.manual_seed(3)
    make, sample, expected, absent = CASES[name]
    model, x = make(), sample()
    before = copy.deepcopy(model.state_dict())
    report = symmetry_report(model, x)
    found = {(row.symmetry, row.group) for row in report}
    assert expected <= found, (expected - found, str(report))
    assert not absent & {kind for kind, _ in found}, str(report)
    assert all(row.error <= 1e-10 for row in report) and all(not row.control <= 1e-9 for row in report if "eps" not in row.group)
    assert all(torch.equal(t, before[k]) for k, t in model.state_dict().items())
    assert list(report.to_frame().columns) == ["layer", "symmetry", "group", "dimension", "delta", "dos", "dosb", "error"]


@pytest.mark.parametrize("example, model, error", [
    (None, nn.Linear(2, 2), "example_input = None"),
    (torch.zeros(1, 3), nn.Linear(2, 2), "does not run"),
    (torch.zeros(1, 2), nn.ReLU(), "parameters"),
    (torch.zeros(1, 2), "a string", "torch.nn.Module"),
    (torch.zeros(1, 2), nn.LazyLinear(3), "initialised"),
    (torch.full((1, 2), torch.nan), nn.Linear(2, 2), "nan or infinite"),
])
def test_bad_input_ends_in_one_line(example, model, error):
    with pytest.raises((ParameterError, RunError), match=error) as caught: symmetry_report(model, example)
    assert "\n" not in str(caught.value)


def test_nan_weights_and_weights_of_unknown_quantised_modules_are_named():
    net = nn.Linear(2, 2)
    net.weight.data[0, 0] = torch.nan
    with pytest.raises(ParameterError, match="finite weights"): symmetry_report(net, torch.zeros(1, 2))
    quantised = type("QLinear", (nn.Linear,), {"__module__": "torch.ao.nn.quantized.modules"})(2, 2)
    with pytest.raises(ParameterError, match="floating point"): symmetry_report(quantised, torch.zeros(1, 2))


def test_nan_after_a_transformation_is_no_symmetry():
    net = from_forward(lambda s, x: (s.p*s.q*x, torch.sqrt(s.p - s.q)), p=nn.Parameter(torch.tensor(5.)), q=nn.Parameter(torch.tensor(1.)))
    assert not len(symmetry_report(net, X(4, 3)))


def test_what_holds_for_the_example_only_is_left_out():
    torch.manual_seed(0)
    net = nn.Sequential(L(3, 4), nn.Sigmoid(), L(4, 2))
    net[0].weight.data.mul_(1e6)
    branch = from_forward(lambda s, x: torch.where(x.sum() > 1e3, s.a(x), s.b(x)), a=L(3, 2), b=L(3, 2))
    for model in (net, branch):
        report = symmetry_report(model, X(4, 3))
        assert not any(row.symmetry == "translation" for row in report), str(report)
    assert any("this example only" in note for note in report.notes)
    one_token = symmetry_report(nn.MultiheadAttention(8, 2, batch_first=True).eval(), (X(2, 1, 8),)*3)
    shifts = [row.parameters for row in one_token if row.symmetry == "translation"]   # that holds for several tokens, too
    assert shifts == [("in_proj_bias", "out_proj.bias")], str(one_token)
    cell = symmetry_report(nn.RNNCell(3, 4), X(2, 3))
    assert any("no output depends" in note and "weight_hh" in note for note in cell.notes)


def test_dropout_of_attention_is_off_in_the_copy():
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True).train()
    net = from_forward(lambda s, x: s.m(x, x, x, need_weights=True)[0], m=layer)
    assert ("double rotation", "GL(4)^2") in kinds(net, X(2, 3, 8)) and layer.dropout == 0.5 and net.training


def test_unusual_inputs(monkeypatch, capfd):
    torch.manual_seed(0)
    assert ("permutation", "S_4") in kinds(nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 1)), X(2, 7))
    with pytest.raises(ParameterError, match="not empty"): symmetry_report(L(2, 2), torch.zeros(0, 2))
    with pytest.raises(ParameterError, match="seed"): symmetry_report(L(2, 2), X(1, 2), seed="a")
    branch = from_forward(lambda s, x: s.a(x) if float(x.sum()) > 0 else s.a(-x), a=L(2, 2))
    assert not len(symmetry_report(branch, X(1, 2)))
    assert capfd.readouterr().err == ""


def broken(*_): raise IndexError("unusual")


def test_a_form_that_a_rule_does_not_follow_is_a_note_and_a_bug_in_a_rule_is_an_error(monkeypatch):
    def unfollowed(*_): raise operations._Unfollowed("unusual")
    net, x = nn.Sequential(L(3, 4), nn.ReLU(), L(4, 2), nn.Softmax(-1)), X(4, 3)
    monkeypatch.setitem(operations._RULES, "softmax", unfollowed)
    report = symmetry_report(net, x)
    assert any("softmax" in note for note in report.notes) and any(row.group == "S_4" for row in report)
    monkeypatch.setitem(operations._RULES, "softmax", broken)
    with pytest.raises(RunError, match="Sequential cannot be followed: IndexError: unusual") as caught: symmetry_report(net, x)
    assert isinstance(caught.value.__cause__, IndexError)  # the bug and its place are kept


def test_a_candidate_that_cannot_be_tried_is_left_out_with_a_note(monkeypatch):
    monkeypatch.setattr(trials._Trial, "at", broken)
    report = symmetry_report(nn.Sequential(L(3, 4), nn.ReLU(), L(4, 2)), X(4, 3))
    assert not len(report) and any("left out: IndexError" in note for note in report.notes)


def product(s, x, mask): return s.o(torch.tanh(s.p(x))*torch.sigmoid(s.q(x))).masked_fill(mask, s.least)


@pytest.mark.parametrize("least", [torch.finfo(torch.float32).min, torch.finfo(torch.float64).min, -1e30, -torch.inf, torch.nan])
def test_a_constant_in_one_output_hides_nothing_in_another(least):
    torch.manual_seed(0)
    net = from_forward(product, p=L(4, 6), q=L(4, 6), o=L(6, 3))
    net.least = least
    report = untouched(net, (X(5, 4), torch.tensor([[False, False, True]]*5)))
    assert [(r.layer, r.group) for r in report] == [("p", "S_6"), ("p", "Z2^6")], str(report)


def test_outputs_that_never_move_are_no_evidence():
    for forward in (lambda s, x: late(s, s.a(x)) + 1e30, lambda s, x: 0*late(s, s.a(x))):
        report = untouched(two(forward), X(5, 4))
        assert not len(report) and "44 of 44 parameters were not examined: no output moves" in first_line(report), str(report)
    shifted = two(lambda s, x: late(s, s.a(x)) + torch.tensor([1e6, 0.]))
    assert kinds(shifted, X(5, 4)) == {("permutation", "S_6"), ("sign flip", "Z2^6")}


class Both:
    def __init__(self, y, i): self.y, self.i = y, i


@dataclass
class Record:
    y: torch.Tensor
    i: object = None


@pytest.mark.parametrize("pack", [lambda y: {"y": y, "n": None}, lambda y: OrderedDict(y=y), lambda y: (y, [y > 0]), Record,
                                  lambda y: Both(y, y.argmax(-1)), lambda y: [Record(y, {"z": y})]])
def test_outputs_in_containers(pack):
    net = two(lambda s, x: pack(s.b(torch.tanh(s.a(x)))))
    assert {(r.symmetry, r.group) for r in untouched(net, X(5, 4))} == {("permutation", "S_6"), ("sign flip", "Z2^6")}


def test_integers_are_compared_exactly():
    def which(s, x):
        h = torch.tanh(s.a(x))
        return s.b(h), h.argmax(-1), h > 0
    report = untouched(two(which), X(5, 4))
    assert not len(report) and "unknown operation aten.argmax" in first_line(report)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_formats(dtype):
    report = untouched(two(lambda s, x: s.b(torch.tanh(s.a(x)))).to(dtype), X(5, 4).to(dtype))
    assert [r.group for r in report] == ["S_6", "Z2^6"] and all(r.error < 1e-12 for r in report)


def test_state_that_changes_no_output_is_put_back():
    def counted(s, x):
        s.count += 1
        s.log.append(s.count)
        if s.cache is None: s.cache = s.a.weight.detach().clone()
        return late(s, x @ s.cache.T)
    net = two(counted, lambda s: [setattr(s, *kv) for kv in (("count", 0), ("log", []), ("cache", None))])
    assert kinds(net, X(5, 4)) == {("permutation", "S_6"), ("sign flip", "Z2^6")}
    assert (net.count, net.log, net.cache) == (0, [], None)
    net(X(5, 4))  # from now on the weight is not looked at
    assert "24 of 44 parameters were not examined: unused" in first_line(untouched(net, X(5, 4)))


CALLS = []


@pytest.mark.parametrize("last", [1, 2, 5, 20])
def test_a_model_that_fails_midway_comes_back_as_it_was(last):
    def failing(s, x):
        CALLS.append(1)
        if len(CALLS) == last: raise KeyboardInterrupt
        return late(s, s.n(s.a(x)))
    net = two(failing, lambda s: setattr(s, "n", nn.Sequential(nn.BatchNorm1d(6), nn.Dropout())))
    CALLS.clear()
    before = everything(net)
    with pytest.raises(KeyboardInterrupt): symmetry_report(net, X(5, 4))
    assert everything(net) == before and net.n[1].p == 0.5 and net.training


def test_an_empty_report_says_why_and_a_full_one_says_nothing():
    assert symmetry_report(L(3, 2), X(4, 3)).notes == ["none of the symmetries that were looked for was found"]
    report = symmetry_report(nn.Sequential(L(3, 4), nn.ReLU(), L(4, 2)), X(4, 3))
    assert report.notes == [] and report.unexamined == {} and first_line(report).startswith("Sequential: 2 families")


def test_rows_that_the_example_does_not_look_up_are_not_proved():
    torch.manual_seed(0)
    plain = from_forward(lambda s, i: s.c(torch.relu(s.b(s.t[i]))), t=P(10, 4), b=L(4, 6), c=L(6, 2))
    table = from_forward(lambda s, i: s.c(torch.relu(s.b(s.t(i)))), t=nn.Embedding(10, 4), b=L(4, 6), c=L(6, 2))
    for net in (plain, table):
        report = untouched(net, torch.tensor([0, 1, 2]))
        assert {r.group for r in report} <= {"S_4", "R+^4", "Z2^4", "GL(4)", "R^4", "S_6", "R+^6"}, str(report)
        assert {"GL(4)", "S_6", "R+^6"} <= {r.group for r in report}
        assert first_line(report) == "28 of 84 parameters were not examined: unused by this example"


def test_weights_made_in_inference_mode_are_refused():
    with torch.inference_mode(): net = L(3, 2)
    with pytest.raises(ParameterError, match="inference mode"): symmetry_report(net, X(4, 3))


def test_compiled_and_expanded_weights_are_refused_and_empty_ones_are_not():
    for net in (torch.jit.script(nn.Sequential(L(4, 6), nn.Tanh())), nn.Sequential(torch.jit.script(L(4, 6)), L(6, 2))):
        with pytest.raises(ParameterError, match="not one compiled by torch.jit"): symmetry_report(net, X(5, 4))
    expanded = two(late, lambda s: setattr(s.a, "weight", nn.Parameter(torch.randn(1, 4).expand(6, 4))))
    with pytest.raises(ParameterError, match="a place of their own each"): symmetry_report(expanded, X(5, 4))
    empty = two(lambda s, x: s.b(torch.tanh(s.a(x))), lambda s: setattr(s, "z", nn.Parameter(torch.zeros(0, 3))))
    assert [r.group for r in untouched(empty, X(5, 4))] == ["S_6", "Z2^6"]


def test_outputs_without_slopes_leave_out_translations_only():
    report = untouched(two(lambda s, x: s.b(torch.tanh(s.a(x))).sum().item()), X(5, 4))
    assert {"S_6", "Z2^6"} <= {r.group for r in report} and not any("left out" in note for note in report.notes)


def test_what_holds_for_one_mask_or_for_one_set_of_indices_is_not_proved():
    masked = two(lambda s, x, mask: s.b(torch.sigmoid(s.a(x))*mask))
    report = untouched(masked, (X(5, 4), torch.ones(5, 6, dtype=torch.bool)))
    assert not len(report) and "not confirmed: permutation of a" in report.notes[0]
    looked_up = from_forward(lambda s, i: s.b(torch.sigmoid(s.t[i].sum(1))), t=P(5, 4), b=L(4, 2))
    assert {r.group for r in untouched(looked_up, torch.tensor([[0, 1, 2]]))} == {"S_4"}


FLOORS = ("labels", "operations", "trace", "channels", "groups", "states", "proofs", "trials", "survey")


@pytest.mark.parametrize("name", FLOORS)
def test_a_walk_from_the_report_goes_down_only(name, root):
    "A module of the finder imports lower ones only, and no class stands on one of its own."
    tree = ast.parse((root/"symbreak_nb"/f"{name}.py").read_text())
    imported = {node.module.rpartition(".")[2] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert not imported & set(FLOORS[FLOORS.index(name):])
    classes = {node.name: [ast.unparse(base) for base in node.bases] for node in tree.body if isinstance(node, ast.ClassDef)}
    assert not any(base in classes for bases in classes.values() for base in bases)


class Chosen(nn.Module):
    "Branches of which one is taken, element by element."
    def __init__(self, how):
        super().__init__()
        self.parts, self.how = nn.ModuleList(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)) for _ in range(2)), how

    def forward(self, x):
        a, b = (part(x) for part in self.parts)
        if self.how == "where": return torch.where(a > b, a, b)
        return torch.stack([a, b]).max(0).values if self.how == "max" else torch.stack([a, b]).sort(0).values


@pytest.mark.parametrize("how", ["where", "max", "sort"])
def test_branches_of_which_one_is_taken_may_be_exchanged(how):
    torch.manual_seed(0)
    report = symmetry_report(Chosen(how), torch.randn(6, 4), certify=False)
    moved = {n for row in report if row.symmetry == "permutation" and row.group == "S_2" for n in row.parameters}
    assert {"parts.0.0.weight", "parts.1.0.weight"} <= moved


@pytest.mark.parametrize("size, eps, biased", [(0.02, 1e-5, True), (1e-7, 1e-22, False)])
def test_a_shift_that_a_norm_takes_away_holds_for_small_weights_too(size, eps, biased):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6, eps=eps), nn.Linear(6, 3))
    with torch.no_grad():
        for p in net.parameters(): p *= size
        net[0].bias *= biased
    report = symmetry_report(net, torch.randn(6, 4), certify=False)
    assert ("0", "translation") in {(row.layer, row.symmetry) for row in report}
    assert not any("example only" in note or "not confirmed" in note for note in report.notes)


LARGE = {  # models that are treated as if they were too large to keep their states
    "relu": lambda: (nn.Sequential(L(3, 5), nn.ReLU(), L(5, 4), nn.Tanh(), L(4, 2)), X(6, 3)),
    "linear": lambda: (nn.Sequential(L(3, 4), L(4, 2)), X(6, 3)),
    "batch norm": lambda: (nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3)).eval(), X(2, 2, 6, 6)),
    "layer norm": lambda: (nn.Sequential(L(3, 5), nn.LayerNorm(5), L(5, 2)), X(6, 3)),
    "transformer": lambda: (nn.TransformerEncoderLayer(4, 2, 6, batch_first=True).eval(), X(2, 5, 4)),
    "tokens": lambda: (from_forward(lambda s, i: s.b(torch.tanh(s.t[i].sum(1))), t=P(5, 4), b=L(4, 2)),
                       torch.tensor([[0, 1, 2], [3, 4, 1]])),
}


@pytest.mark.parametrize("name", LARGE)
def test_states_that_are_made_anew_give_the_same_report(name, monkeypatch):
    torch.manual_seed(0)
    model, x = LARGE[name]()
    rows = lambda report: sorted((r.layer, r.symmetry, r.group, r.dos, r.dosb, round(r.delta, 9), r.control > 1e-7) for r in report)
    kept = untouched(model, x)
    monkeypatch.setattr(states, "_KEPT", 0)
    made = untouched(model, x)
    assert len(kept) and str(rows(made)) == str(rows(kept)) and made.notes == kept.notes and made.unexamined == kept.unexamined
