"Null dimensions derived by hand, and by an independent Jacobian; what is unexplained becomes a row or is named."
import copy
import functools
import math

import pytest
import torch
from symbreak_nb import certificate, survey
from symbreak_nb.certificate import Certificate, _certified, functional_dimension
from symbreak_nb.proofs import _unproved, borrowed, prepare
from symbreak_nb.run import ParameterError
from symbreak_nb.spectra import _Spectrum
from torch import nn
from torch.nn import functional as F

from models import L, P, X, from_forward, late, two

symmetry_report = functools.partial(survey.symmetry_report, certify=True)


def added(s, x, z): return s.o(torch.tanh(s.a(x) + s.b(z)))


def gated(s, x):
    w = s.g(x).softmax(-1)
    return sum(w[:, i:i + 1]*e(x) for i, e in enumerate(s.e))


def attention(s, x):
    q, k, v = (t(x) for t in (s.q, s.k, s.v))
    return s.o((q @ k.mT).softmax(-1) @ v)


def heads(n, d, bias):
    return dict(q=L(n, d, bias=False), k=L(n, d, bias=False), v=L(n, d, bias=bias), o=L(d, n, bias=bias))


CASES = {  # name -> (model, input, null dimension by hand)
    "tanh": (lambda: nn.Sequential(L(4, 6), nn.Tanh(), L(6, 2)), lambda: X(5, 4), 0),
    "two linear layers": (lambda: nn.Sequential(L(6, 4, bias=False), L(4, 6, bias=False)), lambda: X(9, 6), 4**2),
    "shift between two linear layers": (lambda: nn.Sequential(L(6, 4), L(4, 6)), lambda: X(9, 6), 4**2 + 4),
    "relu": (lambda: nn.Sequential(L(4, 6), nn.ReLU(), L(6, 5), nn.ReLU(), L(5, 2)), lambda: X(9, 4), 6 + 5),
    "two added layers": (lambda: from_forward(added, a=L(4, 8), b=L(3, 8), o=L(8, 2)), lambda: (X(5, 4), X(5, 3)), 8),
    "gate of experts": (lambda: from_forward(gated, g=L(6, 3), e=nn.ModuleList(L(6, 4) for _ in range(3))), lambda: X(16, 6), 7),
    "attention": (lambda: from_forward(attention, **heads(5, 3, False)), lambda: X(2, 4, 5), 2*3**2),
    "attention with biases": (lambda: from_forward(attention, **heads(5, 3, True)), lambda: X(2, 4, 5), 2*3**2 + 3),
    "softmax": (lambda: nn.Sequential(L(3, 4), nn.Tanh(), L(4, 5), nn.Softmax(-1)), lambda: X(7, 3), 4 + 1),
    # per channel: the gain against the weight, and the shift against the bias of the normalisation
    "frozen statistics": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), L(16, 2)).eval(),
                          lambda: X(3, 3, 4, 4), 2*4),
    # shifts of all neurons: 4 + 1; gains and shifts against the next layer: 5 + 5; its rows along the constant: 2; rotations: 6
    "layer norm": (lambda: nn.Sequential(L(4, 5), nn.LayerNorm(5), L(5, 2)), lambda: X(9, 4), None),
}


def independent(model, x):
    "Parameters minus the largest rank at three random weights, by other means; at some weights neurons are asleep."
    return min(independent_at(model, x, seed) for seed in range(3))


def independent_at(model, x, seed):
    model = copy.deepcopy(model).double()
    x = tuple(t.double() for t in (x if isinstance(x, tuple) else (x,)))
    rng = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)
    weights = {n: 1.5*normal(*p.shape)/math.sqrt(max(p[0].numel(), 1)) for n, p in model.named_parameters()}
    run = lambda w, *x: torch.func.functional_call(model, w, x)
    rows = []
    for _ in range(30):
        slopes = torch.func.jacrev(run)(weights, *(normal(*t.shape) for t in x))
        rows.append(torch.cat([s.reshape(-1, weights[n].numel()) for n, s in slopes.items()], 1))
    rows = torch.cat(rows)
    return rows.shape[1] - int(torch.linalg.matrix_rank(rows, rtol=1e-10))


@pytest.mark.parametrize("name", CASES)
def test_the_null_dimension_is_that_by_hand_and_by_other_means_and_all_of_it_is_explained(name):
    torch.manual_seed(3)
    make, sample, by_hand = CASES[name]
    model, x = make(), sample()
    report = symmetry_report(model, x)
    found = report.certificate
    other = independent(model, x)  # of ReLU at three cells, in which neurons may be asleep
    assert found.null_dimension <= other if name == "relu" else found.null_dimension == other, str(report)
    assert by_hand is None or found.null_dimension == by_hand
    assert found.complete and found.explained == found.null_dimension and "complete" in found.verdict, str(report)
    assert found.gap[0] > 1e3*found.gap[1] and all(row.error <= 1e-10 for row in report)


def test_shifts_that_a_second_bias_takes_up_become_rows():
    torch.manual_seed(0)
    rows = symmetry_report(from_forward(added, a=L(4, 8), b=L(3, 8), o=L(8, 2)), (X(5, 4), X(5, 3)))
    assert [r.parameters for r in rows if (r.symmetry, r.group) == ("translation", "R^8")] == [("a.bias", "b.bias")]
    rows = symmetry_report(nn.Sequential(L(6, 4), L(4, 6)), X(9, 6))
    assert [r.parameters for r in rows if (r.symmetry, r.group) == ("translation", "R^4")] == [("0.bias", "1.bias")]


def rotary(s, x):
    a = torch.arange(x.shape[1]).to(x)[:, None]*torch.tensor([1., .1]).to(x)
    turn = lambda t: torch.cat([t[..., :2]*a.cos() - t[..., 2:]*a.sin(), t[..., :2]*a.sin() + t[..., 2:]*a.cos()], -1)
    return (turn(s.q(x)) @ turn(s.k(x)).mT).softmax(-1) @ x


def test_turns_of_rotary_pairs_are_found_where_the_trace_sees_scalings_only():
    torch.manual_seed(0)
    report = symmetry_report(from_forward(rotary, q=L(5, 4, bias=False), k=L(5, 4, bias=False)), X(2, 5, 5))
    assert report.certificate.null_dimension == 4 and report.certificate.complete, str(report)  # a complex number a pair


@pytest.mark.parametrize("name", ["shift between two linear layers", "attention with biases", "frozen statistics"])
def test_the_element_of_each_row_can_be_applied_by_hand(name):
    torch.manual_seed(3)
    model, x = CASES[name][0]().double(), CASES[name][1]().double()
    report, want = symmetry_report(model, x), model(x)
    for row in report:
        moved = copy.deepcopy(model)
        assert row.apply(moved, seed=4) is moved
        if "eps" in row.group: continue
        assert torch.allclose(moved(x), want, rtol=1e-8, atol=1e-9), row
        assert any(not torch.equal(a, b) for a, b in zip(moved.state_dict().values(), model.state_dict().values(), strict=True))
    with pytest.raises(ParameterError, match="a model with the tensors"): report[0].apply(nn.Linear(2, 2))


def bench_of(model, x):
    bench = prepare(model, (x,), {})
    assert not _unproved(bench, bench.states[1], bench.run(bench.states[1], bench.inputs[0]))
    return bench


def test_a_family_that_is_withheld_is_missed_by_name():
    torch.manual_seed(0)
    bench = bench_of(nn.Sequential(L(4, 3, bias=False), nn.ReLU(), L(3, 2, bias=False)).double(), X(9, 4).double())
    found, more, refused = _certified(bench, [], lambda c: False)
    assert (found.null_dimension, found.explained, found.complete, more, refused) == (3, 0, False, [], [])
    assert found.verdict.startswith("3 directions unexplained") and "0.weight" in str(found)
    assert sum(u["dimension"] for u in found.unexplained) == 3
    assert all(abs(sum(u["tensors"].values()) - 1) < 0.01 and set(u["tensors"]) == {"0.weight", "2.weight"} for u in found.unexplained)


def test_a_special_point_is_told_from_generic_weights():
    torch.manual_seed(0)
    net = nn.Sequential(L(3, 4), nn.Tanh(), L(4, 2))
    nn.init.zeros_(net[2].weight)
    found = symmetry_report(net, X(5, 3)).certificate
    assert (found.null_dimension, found.complete, found.here) == (0, True, 16)  # the first layer is flat behind a zero
    assert "at the model's own weights 16 directions are flat" in str(found)


def test_without_a_clear_gap_nothing_is_called_complete():
    values = torch.logspace(0, -15, 40, dtype=torch.float64)  # a spectrum that decays through the cut
    eye = torch.eye(40, dtype=torch.float64)
    assert not _Spectrum(["w"], torch.ones(40), eye, values, eye, 1e-15).clear
    smooth = Certificate(40, 14, 14, clear=False, gap=(2e-10, 9e-11))
    assert not smooth.complete and smooth.verdict.startswith("open: the spectrum has no clear gap")
    assert not Certificate(40, 3, 5, clear=True).complete and not Certificate(40, 5, 3, clear=True).complete
    assert not Certificate(40, 5, 5, clear=True, missing="no output depends on 2 of 42 parameters").complete


def test_what_cannot_be_counted_is_said_in_one_line(monkeypatch):
    why, report = "no output moves", symmetry_report(two(lambda s, x: late(s, s.a(x))*torch.zeros(())), X(5, 4))
    assert report.certificate.null_dimension is None and why in report.certificate.verdict and why in report.summary()
    idle = two(late_only, lambda s: setattr(s, "c", L(2, 3)))
    found = symmetry_report(idle, X(5, 4)).certificate
    assert not found.complete and found.verdict.endswith("no output depends on 9 of 53 parameters)")
    monkeypatch.setattr(certificate, "_spectrum", lambda *a, **k: 1/0)
    assert "ZeroDivisionError" in symmetry_report(two(late_only), X(5, 4)).certificate.verdict


def late_only(s, x): return s.b(torch.tanh(s.a(x)))


def test_a_summary_has_ten_lines_and_ends_with_the_certificate():
    torch.manual_seed(0)
    lines = symmetry_report(nn.Sequential(L(4, 6), nn.ReLU(), L(6, 5), nn.ReLU(), L(5, 2)), X(9, 4)).summary().splitlines()
    assert len(lines) <= 10 and lines[0].startswith("Sequential: 4 families") and "R+^6, " in "\n".join(lines)
    assert any(line.startswith("continuous symmetries: complete (11 of 11") for line in lines)


def test_a_functional_dimension_grows_with_inputs_and_leaves_the_model_alone():
    torch.manual_seed(0)
    net, x = nn.Sequential(L(3, 4), nn.ReLU(), L(4, 2)), X(64, 3)
    before = {k: t.clone() for k, t in net.state_dict().items()}
    few = [functional_dimension(net, x, n) for n in (1, 4, 16, 64)]
    assert few[0] == 2 and few == sorted(few) and few[-1] <= 22 and functional_dimension(net, x) <= 22
    assert all(torch.equal(t, before[k]) for k, t in net.state_dict().items()) and net[0].weight.dtype == torch.float32
    with pytest.raises(ParameterError, match="at most 2000"): functional_dimension(L(100, 100), X(2, 100))


def test_weights_that_are_read_through_a_view_are_counted_too():
    net = two(lambda s, x: late(s, x @ s.view.T), lambda s: setattr(s, "view", s.a.weight.data.view(6, 4)))
    bench = None
    with borrowed(net) as shared:
        bench = prepare(net, (X(5, 4).double(),), {}, shared)
        found = certificate._spectrum(bench, bench.states[1], bench.desk.parameters)
    assert (found.null.shape[1], bool(found.untouched.any())) == (0, False)


def test_a_constant_mask_hides_no_direction():
    net = from_forward(lambda s, x, m: F.linear(x, s.w).masked_fill(m, -torch.inf), w=P(3, 4))
    found = symmetry_report(net, (X(5, 4), torch.tensor([[False, False, True]]*5))).certificate
    assert found.parameters in (8, 12) and not found.explained


def test_small_models_are_certified_unless_asked_otherwise_and_others_say_so():
    torch.manual_seed(0)
    small, x = nn.Sequential(L(4, 6), nn.Tanh(), L(6, 2)), X(5, 4)
    assert survey.symmetry_report(small, x).certificate.complete
    left_out = survey.symmetry_report(small, x, certify=False)
    assert left_out.certificate is None and left_out.summary().endswith("not certified; certify=True counts")
    large = survey.symmetry_report(nn.Sequential(L(40, 60), nn.Tanh(), L(60, 2)), X(5, 40))
    assert large.certificate is None and large.summary().endswith("not certified; certify=True examines a sample")
