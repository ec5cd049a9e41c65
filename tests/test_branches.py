"Groups of common building blocks, derived by hand; continuous dimensions by an independent Jacobian too."
import copy
import math

import pytest
import torch
from symbreak_nb.survey import symmetry_report
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from models import L, P, X, from_forward

FREE = dict(bias=False)


def heads(t, n): return t.view(*t.shape[:2], n, -1).transpose(1, 2)


def turned(t, interleaved):
    half = t.shape[-1]//2
    angle = torch.outer(torch.arange(t.shape[-2]), torch.tensor([1., .1])).to(t)
    if interleaved:
        z = torch.view_as_complex(t.reshape(*t.shape[:-1], -1, 2).contiguous())
        return torch.view_as_real(z*torch.polar(torch.ones_like(angle), angle)).flatten(-2)
    angle = torch.cat([angle, angle], -1)
    return t*angle.cos() + torch.cat([-t[..., half:], t[..., :half]], -1)*angle.sin()


def rotary(s, x, groups=2, interleaved=False):
    q, k, v = heads(s.q(x), 4), heads(s.k(x), 4//groups), heads(s.v(x), 4//groups)
    q, k, v = turned(q, interleaved), *(t.repeat_interleave(groups, 1) for t in (turned(k, interleaved), v))
    return s.o(((q@k.mT/2).softmax(-1)@v).transpose(1, 2).flatten(2))


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (L(6, 4, bias=False) for _ in range(3))
        self.register_buffer("mask", torch.ones(5, 5).tril() == 0)

    def forward(self, x): return (self.q(x)@self.k(x).mT).masked_fill(self.mask, -torch.inf).softmax(-1)@self.v(x)


def beside(s, x): return s.o(torch.cat([h(x) for h in s.heads], -1))


def tied(s, i):
    x = s.e(i)
    return (x + s.g(F.gelu(s.f(s.n(x)))))@s.e.weight.T


def both(a, b): return lambda s, x: b(s.a(x), s.b(x), s)


def deep(s, x): return s.a2(torch.tanh(s.a1(x)))*s.b2(torch.tanh(s.b1(x)))


CASES = {  # name -> (model, input, groups that must be among the rows, null dimension by hand)
    "product of two layers": (lambda: from_forward(lambda s, x: s.a(x)*s.b(x), a=L(4, 6), b=L(4, 6)), lambda: X(5, 4),
                              {"S_2^6", "R+^6", "Z2^6"}, 6),
    "product of neurons": (lambda: from_forward(lambda s, x: s.o(torch.tanh(s.a(x))*torch.tanh(s.b(x))), a=L(4, 6), b=L(4, 6), o=L(6, 2)),
                           lambda: X(5, 4), {"S_6", "S_2^6", "Z2^6"}, 0),
    "both factors in one layer": (lambda: from_forward(lambda s, x: torch.mul(*s.a(x).chunk(2, -1)), a=L(4, 12)), lambda: X(5, 4),
                                  {"S_2^6", "R+^6", "Z2^6"}, 6),
    "factors of one tensor": (lambda: from_forward(lambda s, x: torch.tanh(x@s.w[0])*torch.tanh(x@s.w[1]), w=P(2, 4, 3)),
                              lambda: X(5, 4), {"S_2"}, 0),
    "product of bare tensors": (lambda: from_forward(lambda s, x: torch.tanh(x@s.a + s.c)*torch.tanh(x@s.b + s.d), a=P(4, 3), b=P(4, 3),
                                                     c=P(3), d=P(3)), lambda: X(5, 4), {"S_2^3", "Z2^3"}, 0),
    "product of networks": (lambda: from_forward(deep, a1=L(4, 5), a2=L(5, 3), b1=L(4, 5), b2=L(5, 3)), lambda: X(5, 4),
                            {"S_2", "S_5", "R+^3", "Z2^3", "Z2^5"}, 3),
    "sum of networks": (lambda: from_forward(lambda s, x: s.c(torch.tanh(s.a(x))) + s.d(torch.tanh(s.b(x))), a=L(4, 5), b=L(4, 4),
                                             c=L(5, 3), d=L(4, 3)), lambda: X(5, 4), {"S_9", "R^3"}, 3),
    "layers side by side": (lambda: from_forward(lambda s, x: s.o(torch.tanh(torch.cat([s.a(x), s.b(x)], -1))), a=L(4, 5), b=L(4, 3),
                                                 o=L(8, 2)), lambda: X(5, 4), {"S_8"}, 0),
    "heads side by side": (lambda: from_forward(beside, heads=nn.ModuleList(Head() for _ in range(3)), o=L(12, 6)), lambda: X(2, 5, 6),
                           {"S_3", "GL(4)"}, 3*(16 + 16)),
    "rotary, grouped queries": (lambda: from_forward(rotary, q=L(6, 16, **FREE), k=L(6, 8, **FREE), v=L(6, 8, **FREE), o=L(16, 3, **FREE)),
                                lambda: X(2, 5, 6), {"S_2", "S_2^2", "SO(2)^4", "R+^4", "GL(4)^2"}, 2*4 + 2*16),
    "rotary, interleaved": (lambda: from_forward(lambda s, x: rotary(s, x, 1, True), o=L(16, 3, **FREE),
                                                 **{n: L(6, 16, **FREE) for n in "qkv"}), lambda: X(2, 5, 6),
                            {"S_4", "SO(2)^8", "R+^8", "GL(4)^4"}, None),
    "gated": (lambda: from_forward(lambda s, x: s.d(F.silu(s.g(x))*s.u(x)), g=L(4, 6, **FREE), u=L(4, 6, **FREE), d=L(6, 4, **FREE)),
              lambda: X(5, 4), {"S_6", "R+^6", "Z2^6"}, 6),
    "norm with a gain": (lambda: nn.Sequential(L(6, 4), nn.RMSNorm(4, eps=1e-3), L(4, 3)), lambda: X(9, 6), {"S_4", "R+^4", "O(4)"}, 4 + 6),
    "tied embedding": (lambda: from_forward(tied, e=nn.Embedding(40, 6), f=L(6, 8), g=L(8, 6), n=nn.RMSNorm(6)),
                       lambda: torch.arange(40).reshape(4, 10), {"S_6", "S_8", "R+^6", "O(6)"}, 6 + 15),
    "low rank": (lambda: from_forward(lambda s, x: s.b(s.a(x)) + x@s.frozen, a=L(6, 2, **FREE), b=L(2, 5, **FREE),
                                      frozen=torch.randn(6, 5).double()), lambda: X(9, 6), {"GL(2)", "R+^2", "S_2"}, 4),
    "weight norm": (lambda: nn.Sequential(weight_norm(L(4, 6)), nn.Tanh(), L(6, 2)), lambda: X(5, 4), {"S_6", "R+^6", "Z2^6"}, 6),
}


def independent(model, x, draws=30):
    "Parameters minus the rank of the slopes of all outputs, at random weights and inputs."
    model, rng = copy.deepcopy(model).double(), torch.Generator().manual_seed(1)
    normal = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)
    weights = {n: 1.5*normal(*p.shape)/math.sqrt(max(p[0].numel(), 1)) for n, p in model.named_parameters()}
    run = lambda w, x: torch.func.functional_call(model, w, x)
    rows = []
    for _ in range(draws if x.is_floating_point() else 1):
        slopes = torch.func.jacrev(run)(weights, normal(*x.shape) if x.is_floating_point() else x)
        rows.append(torch.cat([s.reshape(-1, weights[n].numel()) for n, s in slopes.items()], 1))
    rows = torch.cat(rows)
    return rows.shape[1] - int(torch.linalg.matrix_rank(rows, rtol=1e-10))


@pytest.mark.parametrize("name", CASES)
def test_groups_are_those_by_hand_and_no_continuous_one_is_missing(name):
    torch.manual_seed(3)
    make, sample, groups, by_hand = CASES[name]
    model, x = make().double(), sample()
    x = x.double() if x.is_floating_point() else x
    report = symmetry_report(model, x, certify=True)
    assert groups <= {row.group for row in report}, str(report)
    assert all(row.error <= 1e-10 and not row.control <= 1e-7 for row in report) and not report.unexamined, str(report)
    found, want = report.certificate, model(x)
    assert found.complete and (by_hand is None or found.null_dimension == by_hand), str(report)
    if name not in ("heads side by side", "tied embedding"): assert found.null_dimension == independent(model, x)
    for row in report:  # each element by hand
        assert torch.allclose(row.apply(copy.deepcopy(model), seed=2)(x), want, rtol=1e-7, atol=1e-8) or "eps" in row.group, row


@pytest.mark.parametrize("kind", ["Llama", "Qwen2"])
def test_small_language_models_of_transformers(kind):
    from symbreak_nb.environment import import_torchvision
    import_torchvision()
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, kind + "Config")(
        vocab_size=16, hidden_size=8, head_dim=4, intermediate_size=6, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=16, use_cache=False, attn_implementation="eager")
    torch.manual_seed(0)
    model = getattr(transformers, kind + "ForCausalLM")(config).eval()
    tokens = torch.stack([torch.randperm(16) for _ in range(2)])
    report = symmetry_report(model, dict(input_ids=tokens), certify=True)
    assert {"S_8", "S_2", "S_4", "S_6", "R+^8", "SO(2)^2", "GL(4)", "O(8)", "R+^6"} <= {row.group for row in report}, str(report)
    # three gains 24, rotary planes 2 + 2, values 16, gated units 6, rotations of the stream 28
    assert report.certificate.complete and report.certificate.null_dimension == 78, str(report)


def test_what_only_looks_alike_is_no_branch():
    torch.manual_seed(0)
    for forward in (lambda s, x: s.o(torch.tanh(s.a(x))*torch.sigmoid(s.b(x))), lambda s, x: s.o(torch.tanh(s.a(x)) - torch.tanh(s.b(x))),
                    lambda s, x: s.o(torch.tanh(s.a(x))/(2 + torch.tanh(s.b(x))))):
        report = symmetry_report(from_forward(forward, a=L(4, 6), b=L(4, 6), o=L(6, 2)), X(5, 4))
        assert not any(row.group.startswith("S_2") for row in report), str(report)
