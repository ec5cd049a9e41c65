"Symmetries of models that the notebook does not show: every expected family is found, proved, and nothing false is added."
import copy

import numpy as np
import pytest
import torch
from symbreak_nb.run import ParameterError, RunError
from symbreak_nb.symmetries import (
    PROFILES,
    SymmetryMonitor,
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
