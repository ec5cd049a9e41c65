"Symmetries of models that the notebook does not show: every expected family is found, proved, and nothing false is added."
import copy
import random
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from symbreak_nb.run import ParameterError, RunError
from symbreak_nb.symmetries import (
    PROFILES,
    SymmetryMonitor,
    allowed,
    decay_penalty,
    degree_of_symmetry,
    delta,
    double_rotation_delta,
    factorise,
    lazy_solution,
    neighbours,
    plan_units,
    project,
    prove,
    reduced_training,
    scale_by_parameter,
    separation,
    symmetry_report,
    syre,
    w_fix,
)
from torch import nn
from torch.nn import functional as F


def from_forward(forward, **modules) -> nn.Module:
    "A module with these members and this forward function."
    net = type("Net", (nn.Module,), {"forward": forward})()
    for name, module in modules.items(): setattr(net, name, module)
    return net


def heads(t, count): return t.view(*t.shape[:2], count, -1).transpose(1, 2)


def merged(t): return t.transpose(1, 2).reshape(t.shape[0], t.shape[2], -1)


def P(*shape): return nn.Parameter(torch.randn(shape))


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


L, X = nn.Linear, torch.randn
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


def test_nan_weights_quantised_models_and_models_that_cannot_be_traced_are_named():
    net = nn.Linear(2, 2)
    net.weight.data[0, 0] = torch.nan
    with pytest.raises(ParameterError, match="finite weights"): symmetry_report(net, torch.zeros(1, 2))
    quantised = type("QLinear", (nn.Linear,), {"__module__": "torch.ao.nn.quantized.modules"})(2, 2)
    with pytest.raises(ParameterError, match="floating point"): symmetry_report(quantised, torch.zeros(1, 2))
    branch = from_forward(lambda s, x: s.a(x) if float(x.sum()) > 0 else s.a(-x), a=nn.Linear(2, 2))
    with pytest.raises(RunError, match="cannot be traced"): symmetry_report(branch, torch.zeros(1, 2))


def test_what_is_not_followed_is_named():
    report = symmetry_report(nn.LSTM(3, 4), torch.randn(5, 2, 3))
    assert any("lstm" in note for note in report.notes)


@pytest.mark.parametrize("seed", range(3))
def test_table_1(seed):
    for name in ("translation", "scaling", "rescaling", "rotation", "permutation", "double rotation", "sign flip"):
        assert prove(name, seed)["error"] < 1e-10


def test_distances_over_leading_axes_agree_with_a_plain_loop():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(2, 3, 6, 5))
    for kwargs in (dict(), dict(pairs="all"), dict(sign_flip=True), dict(squared=True, to="state"), dict(symmetry="double rotation")):
        left, right = (b, a) if "symmetry" in kwargs else (a, b)
        together = delta(left, right, **kwargs)
        for i, j in np.ndindex(2, 3): np.testing.assert_allclose(together[i, j], delta(left[i, j], right[i, j], **kwargs), atol=1e-12)
    assert neighbours(a).shape == (2, 3, 5) and degree_of_symmetry(delta(a, b), 2.0).dos.shape == (2, 3)


def test_distance_is_that_to_the_projection():
    w = np.random.default_rng(1).normal(size=(2, 7))
    near, _ = project(w)
    assert delta(w, to="state", squared=True)[0] == pytest.approx(float(((torch.tensor(w) - near)**2).sum()))
    U, W = np.random.default_rng(2).normal(size=(5, 3)), np.random.default_rng(3).normal(size=(3, 4))
    values, vectors = np.linalg.eigh(U.T @ U + W @ W.T)
    a, b = project(U, W, symmetry="double rotation", direction=vectors[:, 0])
    assert values[0] == pytest.approx(((U - a.numpy())**2).sum() + ((W - b.numpy())**2).sum())


def test_balance_is_not_a_null_direction():
    end = factorise([2.0, 1.0, 0.2], 0.5, 3000, seed=1)
    assert np.allclose(end["values"], [1.5, 0.5, 0.0], atol=1e-6)
    assert degree_of_symmetry(double_rotation_delta(end["U"], end["W"], "eq13"), 0.05).dos == 3
    assert degree_of_symmetry(double_rotation_delta(end["U"], end["W"], "null"), 0.05).dos == 1


def test_theorems():
    paths = reduced_training(200, seed=5)
    assert paths["gap"] < 1e-12 and paths["broken"] < 1e-12 and paths["rank"] == 15 and paths["parameters"] == 30
    assert lazy_solution(5)["gap"] < 1e-8
    apart = separation(np.array([0.01, 0.2, 0.49, 0.5, 2.0]))
    assert (np.diff(apart) <= 0).all() and apart[2] > 0 and (apart[3:] == 0).all()


def test_control_of_symmetries():
    net = lambda: nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    x = torch.randn(4, 3)
    for change in (syre, w_fix): assert not len(symmetry_report(change(net()), x))
    assert sum(row.symmetry == "rescaling" for row in symmetry_report(scale_by_parameter(net()), x)) > 2
    model = syre(net(), advanced=True)
    decay_penalty(model, 0.1).backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in model.parameters())
    with pytest.raises(ParameterError, match="sigma"): syre(net(), -1.0)
    with pytest.raises(ParameterError, match="fraction"): w_fix(net(), 1.0)


def test_the_monitor_only_reads():
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    before, monitor = copy.deepcopy(net.state_dict()), SymmetryMonitor(net, every=2)
    for _ in range(5): monitor.step()
    assert monitor.steps == [0, 2, 4] and all(torch.equal(t, before[k]) for k, t in net.state_dict().items())
    with pytest.raises(ParameterError, match="every"): SymmetryMonitor(net, every=0)


def test_the_plan_lists_its_work():
    for profile in PROFILES: assert all(unit["flops"] > 0 for unit in plan_units(PROFILES[profile]))


def rnn(s, x):
    h = torch.zeros(x.shape[0], 4)
    for t in range(x.shape[1]): h = torch.tanh(s.i(x[:, t]) + s.h(h))
    return s.o(h)


def kinds(model, x): return {(row.symmetry, row.group) for row in symmetry_report(model, x)}


def test_forward_functions_that_make_tensors_or_noise():
    torch.manual_seed(0)
    net = from_forward(rnn, i=L(3, 4), h=L(4, 4), o=L(4, 2))
    assert {("permutation", "S_4"), ("sign flip", "Z2^4")} <= kinds(net, X(2, 3, 3))
    noisy = from_forward(lambda s, x: s.o(F.relu(s.a(x)) + torch.randn(x.shape[0], 1)), a=L(3, 4), o=L(4, 2))
    x, before = X(2, 3), torch.get_rng_state()
    assert ("permutation", "S_4") in kinds(noisy, x) and torch.equal(before, torch.get_rng_state())
    norm = nn.Sequential(L(3, 4), nn.RMSNorm(4, eps=1e-3), L(4, 2))
    made = from_forward(lambda s, x: s.n(x)*torch.ones(2), n=norm)
    assert ("scaling", "R+ at eps = 0") in kinds(made, x)


def test_nan_after_a_transformation_is_no_symmetry():
    from symbreak_nb.symmetries import _apart
    net = from_forward(lambda s, x: (s.p*s.q*x, torch.sqrt(s.p - s.q)), p=nn.Parameter(torch.tensor(5.)), q=nn.Parameter(torch.tensor(1.)))
    assert not len(symmetry_report(net, X(4, 3)))
    assert _apart(torch.tensor([0., torch.nan]), torch.ones(2)).tolist() == [1, np.inf]


@pytest.mark.parametrize("act", [nn.Hardtanh(-20, 20), nn.Hardtanh(0, 20), nn.Threshold(1e-3, 0), nn.Hardtanh(-1e4, 1e4)])
def test_corners_far_from_one_are_seen(act):
    torch.manual_seed(0)
    found = kinds(nn.Sequential(L(3, 4), act, L(4, 2)), X(8, 3))
    assert ("permutation", "S_4") in found and not {"rescaling", "double rotation"} & {kind for kind, _ in found}


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
    assert not any(row.symmetry == "translation" for row in one_token), str(one_token)
    cell = symmetry_report(nn.RNNCell(3, 4), X(2, 3))
    assert any("no output depends" in note and "weight_hh" in note for note in cell.notes)


def test_functions_of_several_tensors_and_eps_of_the_number_format():
    torch.manual_seed(0)
    for f in (torch.max, torch.minimum):
        net = from_forward(lambda s, x, f=f: s.o(f(s.a(x), s.b(x))), a=L(3, 4), b=L(3, 4), o=L(4, 2))
        assert {("permutation", "S_4"), ("permutation", "S_2"), ("rescaling", "R+^4")} == kinds(net, X(6, 3))
    assert ("scaling", "R+ at eps = 0") in kinds(nn.Sequential(L(3, 4), nn.RMSNorm(4), L(4, 2)), X(5, 3))


def test_w_fix_leaves_no_neuron_alone():
    for seed in range(3):
        torch.manual_seed(seed)
        net, x = nn.Sequential(L(3, 6), nn.ReLU(), L(6, 2)), 9*X(99, 3)  # every neuron is active somewhere
        w_fix(net, 1e-3, seed=seed)
        for i in (0, 2):
            fixed = net[i].parametrizations.weight[0]
            assert fixed.mask.any(0).all() and fixed.mask.any(1).all() and not fixed.value[~fixed.mask].any()
        assert not len(symmetry_report(net, x))
        for i in range(6):
            scaled, swapped = copy.deepcopy(net), copy.deepcopy(net)
            order = [i, (i + 1) % 6]
            with torch.no_grad():
                a, b = scaled[0].parametrizations.weight.original, scaled[2].parametrizations.weight.original
                a[i], scaled[0].bias[i], b[:, i] = 2*a[i], 2*scaled[0].bias[i], b[:, i]/2
                a, b = swapped[0].parametrizations.weight.original, swapped[2].parametrizations.weight.original
                for t in (a, swapped[0].bias, b.T): t[order] = t[order[::-1]].clone()
            for other in (scaled, swapped): assert not torch.allclose(net(x), other(x), atol=1e-5)


@pytest.mark.parametrize("change", [syre, w_fix, scale_by_parameter])
def test_tied_weights_are_refused_before_anything_changes(change):
    net = nn.Sequential(L(4, 4), nn.ReLU(), L(4, 4))
    net[2].weight = net[0].weight
    names = list(net.state_dict())
    with pytest.raises(ParameterError, match="shared"): change(net)
    assert list(net.state_dict()) == names


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
    with pytest.raises(RunError): symmetry_report(branch, X(1, 2))
    assert capfd.readouterr().err == ""
    import symbreak_nb.symmetries as module
    def broken(*_): raise IndexError("unusual")
    monkeypatch.setitem(module._HANDLERS, "softmax", broken)
    net, x = nn.Sequential(L(3, 4), nn.ReLU(), L(4, 2), nn.Softmax(-1)), X(4, 3)
    report = symmetry_report(net, x)
    assert any("softmax" in note for note in report.notes) and any(row.group == "S_4" for row in report)
    monkeypatch.setattr(module, "_verify", broken)
    report = symmetry_report(net, x)
    assert not len(report) and any("left out: IndexError" in note for note in report.notes)


class Two(nn.Module):
    "A tanh network 4-6-2; its groups are S_6 and Z2^6 on (a.weight, a.bias, b.weight) and nothing else."

    def __init__(self):
        super().__init__()
        self.a, self.b = L(4, 6), L(6, 2)


def two(forward, setup=lambda s: None, seed=0):
    torch.manual_seed(seed)
    net = type("Net", (Two,), {"forward": forward})()
    setup(net)
    return net


def everything(net):
    "All that a report may not change, in the order of the modules: attributes, storage, bits."
    tensors = [*net.parameters(), *net.buffers()]
    attributes = [{k: v for k, v in vars(m).items() if not isinstance(v, dict)} for m in net.modules()]
    return attributes, [(t.data_ptr(), t.dtype, t.requires_grad, t.tolist()) for t in tensors]


def untouched(net, x):
    "The report, after a check that model, input and generators are as they were."
    before, given = everything(net), copy.deepcopy(x)
    states = torch.get_rng_state(), random.getstate(), np.random.mtrand._rand.get_state()[1]
    report = symmetry_report(net, x)
    assert everything(net) == before
    pairs = zip(given, x, strict=True) if isinstance(x, tuple) else [(given, x)]
    assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert (np.random.mtrand._rand.get_state()[1] == states[2]).all()
    return report


def first_line(report): return str(report).splitlines()[0]


class Holder: pass


def hold(s):
    s.o = Holder()
    s.o.deep = {"w": [s.a.weight]}


def closed():
    w, c = P(6, 4), P(6)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.c, self.b = w, c, L(6, 2)

        def forward(self, x): return self.b(torch.tanh(x @ w.T + c))
    return Net()


def flat(s):
    s.flat = P(30)
    s.a.weight, s.a.bias = nn.Parameter(s.flat.data[:24].view(6, 4)), nn.Parameter(s.flat.data[24:])


def late(s, weight): return s.b(torch.tanh(weight + s.a.bias))


GLOBAL = P(6, 4)
ALIASES = {
    "list": lambda: two(lambda s, x: torch.tanh(x @ s.ws[0].T + s.a.bias) @ s.ws[1].T + s.b.bias,
                        lambda s: setattr(s, "ws", [s.a.weight, s.b.weight])),
    "tuple in a dict": lambda: two(lambda s, x: late(s, x @ s.d["w"][0].T), lambda s: setattr(s, "d", {"w": (s.a.weight,)})),
    "object": lambda: two(lambda s, x: late(s, x @ s.o.deep["w"][0].T), hold),
    "view of the time of init": lambda: two(lambda s, x: late(s, x @ s.v), lambda s: setattr(s, "v", s.a.weight.T)),
    "detached view": lambda: two(lambda s, x: late(s, x @ s.v), lambda s: setattr(s, "v", s.a.weight.detach().T)),
    "flat view": lambda: two(lambda s, x: late(s, x @ s.v.view(6, 4).T), lambda s: setattr(s, "v", s.a.weight.data.view(-1))),
    "lambda": lambda: two(lambda s, x: late(s, s.f(x)), lambda s: setattr(s, "f", lambda x, w=s.a.weight: x @ w.T)),
    "closure of the class": closed,
    "global": lambda: two(lambda s, x: late(s, x @ GLOBAL.T), lambda s: setattr(s.a, "weight", GLOBAL)),
    "part of a flat parameter": lambda: two(lambda s, x: s.b(torch.tanh(s.a(x))), flat),
    "tied by a view": lambda: two(lambda s, x: s.b(torch.tanh(s.a(x))),
                                  lambda s: setattr(s.b, "weight", nn.Parameter(s.a.weight.data[:, :2].T))),
}


@pytest.mark.parametrize("name", ALIASES)
def test_weights_that_are_reached_by_other_ways_than_their_name(name):
    report = untouched(ALIASES[name](), X(5, 4))
    assert [(r.symmetry, r.group) for r in report] == [("permutation", "S_6"), ("sign flip", "Z2^6")], str(report)


def test_translations_are_found_through_views():
    net = two(lambda s, x: torch.softmax(torch.tanh(s.a(x)) @ s.w + s.c, -1),
              lambda s: (setattr(s, "w", s.b.weight.T), setattr(s, "c", s.b.bias.detach())))
    assert ("translation", "R^7") in kinds(net, X(5, 4))


def test_weights_that_are_only_copied_are_unused():
    net = two(lambda s, x: late(s, x @ s.w.T), lambda s: setattr(s, "w", s.a.weight.detach().clone()))
    report = untouched(net, X(5, 4))
    assert not len(report) and first_line(report) == "24 of 44 parameters were not examined: unused by this example"
    array = two(lambda s, x: late(s, x @ torch.from_numpy(s.n).to(x).T) + late(s, s.a(x)),
                lambda s: setattr(s, "n", s.a.weight.detach().numpy()))
    report = untouched(array, X(5, 4))
    assert not len(report) and "44 of 44 parameters were not examined: with weights in their own storage" in first_line(report)
    more = two(lambda s, x: s.b(torch.tanh(s.a(x))), lambda s: setattr(s, "u", nn.ModuleList([L(4, 4), L(4, 4)])))
    report = untouched(more, X(5, 4))
    assert len(report) == 2 and first_line(report) == "40 of 84 parameters were not examined: unused by this example"


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


def with_state(s, x):
    h = torch.tanh(s.a(x) + s.h)
    s.h = h.detach()
    return s.b(h)


def with_buffer(s, x):
    h = torch.tanh(s.a(x) + s.c)
    s.c.copy_(h.detach())
    return s.b(h)


def with_list(s, x):
    s.past.append(s.a(x).detach())
    return s.b(torch.tanh(s.a(x) + sum(s.past)))


STATES = {"attribute": (with_state, lambda s: setattr(s, "h", 0.)),
          "buffer": (with_buffer, lambda s: s.register_buffer("c", torch.zeros(5, 6))),
          "list": (with_list, lambda s: setattr(s, "past", [])),
          "generator": (lambda s, x: late(s, s.a(x))*float(s.g.normal()), lambda s: setattr(s, "g", np.random.default_rng(0)))}


@pytest.mark.parametrize("name", STATES)
def test_a_module_with_state_between_calls_says_so(name):
    net = two(*STATES[name])
    report = untouched(net, X(5, 4))
    assert not len(report) and first_line(report).startswith("44 of 44 parameters were not examined: two calls on one input differ by")
    if name == "list": assert net.past == []
    if name == "generator": assert float(net.g.normal()) == float(np.random.default_rng(0).normal())


def test_a_branch_drawn_by_python_proves_nothing():
    report = untouched(two(lambda s, x: late(s, s.a(x))*(1 if random.random() < 2 else s.a.bias[0])), X(5, 4))
    assert not len(report) and "draws random numbers" in first_line(report)


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


@pytest.mark.parametrize("last", [1, 2, 5, 30])
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


@pytest.mark.filterwarnings("ignore:symbreak_test")
def test_the_first_line_counts_what_an_unknown_operation_stops():
    library = torch.library.Library("symbreak_test", "FRAGMENT")
    library.define("mix(Tensor x) -> Tensor")
    library.impl("mix", lambda x: x.cumsum(-1), "CompositeExplicitAutograd")
    torch.library.register_fake("symbreak_test::mix", torch.empty_like, lib=library)
    mix = from_forward(lambda s, x: torch.ops.symbreak_test.mix(x))
    net = nn.Sequential(L(4, 6), nn.Tanh(), L(6, 5), mix, L(5, 7), nn.Tanh(), L(7, 2))
    report = untouched(net, X(5, 4))  # 6*5 + 5 before it, 5*7 after it
    assert first_line(report) == "70 of 123 parameters were not examined: unknown operation symbreak_test.mix"
    assert [r.group for r in report] == ["S_6", "Z2^6", "S_7", "Z2^7"]


def test_an_empty_report_says_why_and_a_full_one_says_nothing():
    assert symmetry_report(L(3, 2), X(4, 3)).notes == ["none of the symmetries that were looked for was found"]
    report = symmetry_report(nn.Sequential(L(3, 4), nn.ReLU(), L(4, 2)), X(4, 3))
    assert report.notes == [] and report.unexamined == {} and first_line(report).startswith("Sequential: 2 families")


def test_overlapping_weights_are_refused():
    store = torch.randn(10)
    net = from_forward(lambda s, x: x*s.p[:4].sum() + s.q.sum(), p=nn.Parameter(store[:6]), q=nn.Parameter(store[4:]))
    with pytest.raises(ParameterError, match="share all of their storage or none"): symmetry_report(net, X(3))


@pytest.mark.parametrize("name, value", [("sigma", 1e-300), ("sigma", 0), ("sigma", 11), ("threshold", 0.), ("threshold", 1e-300),
                                         ("threshold", 1e308), ("gamma", 1e-300), ("gamma", 0.), ("gamma", 101)])
def test_parameters_that_would_fail_after_work_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} = .*: allowed is a finite number from"): allowed()[name](name, value)


def test_rows_that_the_example_does_not_look_up_are_not_proved():
    torch.manual_seed(0)
    plain = from_forward(lambda s, i: s.c(torch.relu(s.b(s.t[i]))), t=P(10, 4), b=L(4, 6), c=L(6, 2))
    table = from_forward(lambda s, i: s.c(torch.relu(s.b(s.t(i)))), t=nn.Embedding(10, 4), b=L(4, 6), c=L(6, 2))
    for net in (plain, table):
        report = untouched(net, torch.tensor([0, 1, 2]))
        assert {r.group for r in report} <= {"S_4", "R+^4", "Z2^4", "GL(4)", "S_6", "R+^6"}, str(report)
        assert {"GL(4)", "S_6", "R+^6"} <= {r.group for r in report}
        assert first_line(report) == "28 of 84 parameters were not examined: unused by this example"


def test_weights_made_in_inference_mode_are_refused():
    with torch.inference_mode(): net = L(3, 2)
    with pytest.raises(ParameterError, match="inference mode"): symmetry_report(net, X(4, 3))


def test_weights_of_modules_that_are_not_registered_are_constants():
    net = from_forward(lambda s, x: s.b(torch.tanh(s.hidden[0](x))), b=L(6, 2))
    net.hidden = [L(4, 6)]  # tracing it did not end
    assert untouched(net, X(5, 4)).notes == ["none of the symmetries that were looked for was found"]


def test_weights_read_through_data_are_followed():
    net = two(lambda s, x: s.b(torch.tanh(x @ s.a.weight.data.T + s.a.bias.data)))
    report = untouched(net, X(5, 4))
    assert [r.group for r in report] == ["S_6", "Z2^6"] and report.unexamined == {}


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


def test_vmap_and_autocast_are_written_out_and_cond_is_counted():
    mapped = from_forward(lambda s, x: torch.vmap(lambda w: torch.tanh(x @ w))(s.w).sum(0), w=P(3, 4, 2))
    report = untouched(mapped, X(5, 4))
    assert [r.group for r in report] == ["S_3"] and report.unexamined == {}

    def cast(s, x):
        with torch.autocast("cpu", dtype=torch.bfloat16): return s.b(torch.tanh(s.a(x)))
    assert [r.group for r in untouched(two(cast), X(5, 4))] == ["S_6", "Z2^6"]
    branches = two(lambda s, x: s.b(torch.cond(x.sum() > 0, lambda h: h.tanh(), lambda h: h.sin(), (s.a(x),))))
    assert first_line(untouched(branches, X(5, 4))) == "42 of 44 parameters were not examined: unknown operation cond"
