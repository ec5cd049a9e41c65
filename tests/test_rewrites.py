"A network is spelled anew at random, operation by operation; its function stays, and so does its report."
import random

import pytest
import torch
import torch.nn.functional as F
from symbreak_nb.survey import symmetry_report

from models import L, from_forward


def written(x, w, b):
    y, cut = x.new_zeros(*x.shape[:-1], len(w)), len(w)//2
    y[..., :cut], y[..., cut:] = x@w[:cut].T, x@w[cut:].T
    y += b
    return y


LINEAR = dict(
    layer=F.linear,
    einsum=lambda x, w, b: torch.einsum("...i,hi->...h", x, w) + b,
    left=lambda x, w, b: (w@x.mT).mT + b,
    tensordot=lambda x, w, b: torch.tensordot(x, w, ([-1], [1])) + b,
    summed=lambda x, w, b: b + (x[..., None, :]*w).sum(-1),
    parts=lambda x, w, b: torch.cat([F.linear(x, w[:2], b[:2]), F.linear(x, w[2:], b[2:])], -1),
    inputs=lambda x, w, b: x[..., :3]@w[:, :3].T + b + x[..., 3:]@w[:, 3:].T,
    rows=lambda x, w, b: torch.stack([x@w[i] + b[i] for i in range(len(w))], -1),
    vmap=lambda x, w, b: torch.vmap(torch.vmap(lambda x: w@x + b))(x),
    addmm=lambda x, w, b: torch.addmm(b, x.flatten(0, 1), w.mT).unflatten(0, x.shape[:2]),
    convolution=lambda x, w, b: F.conv1d(x.mT, w[..., None], b).mT,
    units=lambda x, w, b: sum(x[..., i, None]*w[:, i] for i in range(w.shape[1])) + b,
    turned=lambda x, w, b: F.linear(x.flip(-1), w.flip(1), b),
    written=written,
)
RELU = dict(
    relu=F.relu, clamp=lambda x: x.clamp(min=0), where=lambda x: torch.where(x > 0, x, 0), mask=lambda x: x*(x > 0),
    place=lambda x: x.clone().relu_(), filled=lambda x: x.masked_fill(x < 0, 0),
    halves=lambda x: torch.cat([F.relu(y) for y in x.chunk(2, -1)], -1),
    maximum=lambda x: torch.maximum(x, torch.zeros_like(x)), minus=lambda x: -(-x).clamp(max=0),
)
SUM = dict(
    plus=lambda x, y: x + y, swapped=lambda x, y: torch.add(y, x), minus=lambda x, y: x - (-y), place=lambda x, y: x.clone().add_(y),
    stack=lambda x, y: torch.stack([x, y]).sum(0),
    halves=lambda x, y: torch.cat([u + v for u, v in zip(x.chunk(2, 1), y.chunk(2, 1), strict=True)], 1),
)


def looped(q, k, v):
    y = q.new_zeros(*q.shape)
    for h in range(q.shape[1]): y[:, h] = (q[:, h]@k[:, h].mT).softmax(-1)@v[:, h]
    return y


ATTEND = dict(
    matmul=lambda q, k, v: (q@k.mT).softmax(-1)@v,
    fused=lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=1.0),
    einsum=lambda q, k, v: torch.einsum("bhnm,bhmd->bhnd", torch.einsum("bhnd,bhmd->bhnm", q, k).softmax(-1), v),
    sums=lambda q, k, v: ((q[..., :, None, :]*k[..., None, :, :]).sum(-1).softmax(-1)[..., None]*v[..., None, :, :]).sum(-2),
    exponentials=lambda q, k, v: (e := (q@k.mT).exp())@v/e.sum(-1, keepdim=True),
    vmap=lambda q, k, v: torch.vmap(torch.vmap(lambda q, k, v: (q@k.T).softmax(-1)@v))(q, k, v),
    loop=lambda q, k, v: torch.stack([(q[:, h]@k[:, h].mT).softmax(-1)@v[:, h] for h in range(q.shape[1])], 1),
    written=looped,
)
HEADS = dict(
    view=lambda t: t.view(*t.shape[:2], 2, 3).transpose(1, 2), split=lambda t: torch.stack(t.split(3, -1), 1),
    chunk=lambda t: torch.stack(t.chunk(2, -1)).movedim(0, 1), slices=lambda t: torch.stack([t[..., :3], t[..., 3:]], 1),
    unflatten=lambda t: t.unflatten(-1, (2, -1)).movedim(2, 1),
)


def forward(s, x):
    lin = lambda name, x: LINEAR[s.ways[name]](x, getattr(s, name).weight, getattr(s, name).bias)
    x = lin("i", x)
    q, k, v = (HEADS[s.ways["heads " + n]](lin(n, x)) for n in "qkv")
    y = ATTEND[s.ways["attend"]](q, k, v)
    y = torch.cat(y.unbind(1), -1) if s.ways["merge"] == "unbind" else y.transpose(1, 2).flatten(2)
    x = SUM[s.ways["first sum"]](x, lin("o", y))
    x = SUM[s.ways["second sum"]](x, lin("down", RELU[s.ways["relu"]](lin("up", x))))
    return lin("last", torch.tanh(lin("inner", x)))


def choices(rng):
    tables = {**{n: LINEAR for n in ("i", "q", "k", "v", "o", "up", "down", "inner", "last")}, **{f"heads {n}": HEADS for n in "qkv"},
              "attend": ATTEND, "merge": ("flatten", "unbind"), "first sum": SUM, "second sum": SUM, "relu": RELU}
    return {part: rng.choice(list(table)) if rng else next(iter(table)) for part, table in tables.items()}


def network(rng=None):
    torch.manual_seed(0)
    sizes = dict(i=(4, 6), q=(6, 6), k=(6, 6), v=(6, 6), o=(6, 6), up=(6, 4), down=(4, 6), inner=(6, 4), last=(4, 2))
    net = from_forward(forward, **{name: L(*size) for name, size in sizes.items()}).double()
    net.ways = choices(rng)
    return net, torch.randn(2, 4, 4, dtype=torch.float64)


def rows(net, x):
    report = symmetry_report(net, x, certify=False)
    assert not report.unexamined and all(row.error <= 1e-10 for row in report), str(report)
    return sorted((row.symmetry, row.group, sorted(row.parameters)) for row in report)


@pytest.fixture(scope="module")
def plain():
    "The report of the plain spelling."
    found = rows(*network())
    assert {group for _, group, _ in found} >= {"GL(6)", "GL(3)^2", "S_2", "S_4", "R+^4", "Z2^4"}, found
    return found


@pytest.mark.parametrize("draw", range(8))
def test_a_random_spelling_has_the_report_of_the_plain_one(plain, draw):
    net, x = network(random.Random(draw))
    usual, _ = network()
    assert torch.allclose(net(x), usual(x))   # the rewrites kept the function
    assert rows(net, x) == plain, net.ways


def attending(s, x):
    lin = lambda name, x: LINEAR[s.ways[0]](x, getattr(s, name).weight, getattr(s, name).bias)
    x = lin("i", x)
    q, k, v = (lin(n, x)[:, None] for n in "qkv")
    return lin("last", x + lin("o", ATTEND[s.ways[1]](q, k, v)[:, 0]))


def test_the_certificate_does_not_depend_on_the_spelling():
    found = []
    for ways in (("layer", "matmul"), ("written", "written"), ("einsum", "exponentials")):   # the last overflows at some weights
        torch.manual_seed(0)
        sizes = dict(i=(3, 4), q=(4, 2), k=(4, 2), v=(4, 2), o=(2, 4), last=(4, 3))
        net = from_forward(attending, **{name: L(*size) for name, size in sizes.items()}).double()
        net.ways = ways
        report = symmetry_report(net, torch.randn(2, 4, 3, dtype=torch.float64))
        assert report.certificate.complete, str(report)
        found.append((report.certificate.null_dimension, sorted((r.symmetry, r.group, sorted(r.parameters)) for r in report)))
    assert found[0] == found[1] == found[2]


def test_every_way_of_every_part_alone(plain):
    base = choices(None)
    tables = dict(attend=ATTEND, relu=RELU, **{"second sum": SUM, "heads v": HEADS})
    wrong = []
    for part, table in tables.items():
        for way in table:
            net, x = network()
            net.ways = base | {part: way}
            if rows(net, x) != plain: wrong.append((part, way))
    assert not wrong
