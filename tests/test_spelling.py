"One function has one report, however it is spelled; recurrent cells and mixtures of experts are followed."
import functools
import random

import pytest
import torch
import torch.nn.functional as F
from symbreak_nb import survey
from symbreak_nb.proofs import EVIDENCE, TOLERANCE
from torch import nn

from models import L, from_forward

symmetry_report = functools.partial(survey.symmetry_report, certify=False)  # what the trace finds


def rows(net, *x):
    "The rows of a report, all proved; that it says nothing is missing."
    report = symmetry_report(net.double(), tuple(t.double() for t in x))
    assert all(r.error <= TOLERANCE and not r.control <= EVIDENCE for r in report) and not report.unexamined, str(report)
    return sorted((r.layer, r.symmetry, r.group) for r in report)


def first(s, x, how):
    "tanh of a linear layer."
    w, b, n = s.a.weight, s.a.bias, len(s.a.weight)
    if how == "layer": return torch.tanh(s.a(x))
    if how == "einsum": return torch.tanh(torch.einsum("...i,hi", x, w) + b)
    if how == "addmm": return torch.addmm(b, x, w.mT).tanh_()
    if how == "sum": return torch.tanh((x[:, None]*w).sum(-1) + b)
    if how == "vmap": return torch.vmap(lambda x: torch.tanh(w@x + b))(x)
    if how == "tensordot": return torch.tanh(torch.tensordot(x, w, ([1], [1])) + b)
    if how == "parts": return torch.tanh(torch.cat([x@w.T + b for w, b in zip(w.split([2, n - 2]), b.split([2, n - 2]), strict=True)], 1))
    if how == "chunk": return torch.cat([torch.tanh(y) for y in s.a(x).chunk(2, 1)], 1)
    if how == "rows": return torch.stack([torch.tanh(x@w[i] + b[i]) for i in range(n)], -1)
    y = torch.zeros(len(x), n, dtype=x.dtype)  # "written"
    y[:, :3], y[:, 3:] = x@w[:3].T, x@w[3:].T
    y += b
    return y.tanh_()


def second(s, y, how):
    "A linear layer."
    w, b, n = s.b.weight, s.b.bias, s.b.weight.shape[1]
    if how == "layer": return s.b(y)
    if how == "left": return (w@y.mT).mT + b
    if how == "flipped": return y.flip(1)@w.flip(1).T + b
    if how == "shuffled": return F.linear(y[:, [*range(3, n), 0, 1, 2]], w[:, [*range(3, n), 0, 1, 2]], b)
    if how == "chain": return torch.linalg.multi_dot([y, w.T, torch.eye(len(w), dtype=y.dtype)]) + b
    if how == "units": return b + sum(y[:, i, None]*w[:, i] for i in range(n))
    if how == "convolution": return F.conv1d(y[..., None], w[..., None], b)[..., 0]
    return torch.matmul(y.unsqueeze(1), w.mT.expand(len(y), n, len(w))).squeeze(1) + b  # "batched"


FIRST = ("layer", "einsum", "addmm", "sum", "vmap", "tensordot", "parts", "chunk", "rows", "written")
SECOND = ("layer", "left", "flipped", "shuffled", "chain", "units", "convolution", "batched")


@pytest.mark.parametrize("draw", range(12))
def test_random_spellings_of_one_network_have_one_report(draw):
    rng = random.Random(draw)
    ways = rng.choice(FIRST), rng.choice(SECOND)
    torch.manual_seed(draw)
    net = from_forward(lambda s, x: second(s, first(s, x, ways[0]), ways[1]), a=L(4, 6), b=L(6, 2)).double()
    x = torch.randn(5, 4).double()
    assert torch.allclose(net(x), net.b(torch.tanh(net.a(x))))  # the rewrite kept the function
    assert rows(net, x) == [("a", "permutation", "S_6"), ("a", "sign flip", "Z2^6")], ways


def heads(s, x): return (l(x).view(2, 5, 3, 4).transpose(1, 2) for l in (s.q, s.k, s.v))


def written(q, k, v):
    y = torch.zeros(2, 5, 12, dtype=q.dtype)
    for h in range(3): y[..., 4*h:4*h + 4] = (q[:, h]@k[:, h].mT)@v[:, h]
    return y.view(2, 5, 3, 4).transpose(1, 2)


ATTENTION = {
    "early": lambda q, k, v: (q@k.mT)@v,
    "late": lambda q, k, v: q@(k.mT@v),
    "einsum": lambda q, k, v: torch.einsum("bhmv,bhnd,bhmd->bhnv", v, q, k),
    "vmap": lambda q, k, v: torch.vmap(torch.vmap(lambda q, k, v: q@(k.T@v)))(q, k, v),
    "loop": lambda q, k, v: torch.stack([q[:, h]@(k[:, h].mT@v[:, h]) for h in range(3)], 1),
    "written": written,
}


@pytest.mark.parametrize("how", ATTENTION)
def test_the_order_of_products_in_attention_and_a_loop_over_heads_change_nothing(how):
    def forward(s, x):
        q, k, v = heads(s, x)
        return s.o(ATTENTION[how](F.elu(q) + 1, F.elu(k) + 1, v).transpose(1, 2).reshape(2, 5, 12))
    torch.manual_seed(0)
    net = from_forward(forward, q=L(6, 12), k=L(6, 12), v=L(6, 12), o=L(12, 3))
    found = [group for _, kind, group in rows(net, torch.randn(2, 5, 6)) if kind != "translation"]
    assert sorted(found) == ["GL(4)^3", "R+^12", "S_3", "S_4^3", "S_4^3", "Z2^12"]


def test_what_only_looks_alike_is_not_merged():
    def forward(s, x): return s.b(torch.cat([torch.tanh(x@s.a.weight[:3].T), torch.sigmoid(x@s.a.weight[3:].T)], -1))
    assert [row[2] for row in rows(from_forward(forward, a=L(4, 6, bias=False), b=L(6, 2)), torch.randn(5, 4))] == ["S_3", "S_3", "Z2^3"]


CELLS = {
    "tanh": (lambda: nn.RNN(4, 6, batch_first=True), ["S_6", "Z2^6"]),
    "relu": (lambda: nn.RNN(4, 6, nonlinearity="relu"), ["R+^6", "S_6"]),
    "gru": (lambda: nn.GRU(4, 6, batch_first=True), ["S_6", "Z2^6"]),
    "lstm": (lambda: nn.LSTM(4, 6, batch_first=True), ["S_6", "Z2^6"]),
    "projections": (lambda: nn.LSTM(4, 6, proj_size=3, batch_first=True), ["GL(3)", "R+^3", "S_3", "S_6", "Z2^3", "Z2^6"]),
    "both ways": (lambda: nn.LSTM(4, 6, bidirectional=True, batch_first=True), ["S_6", "S_6", "Z2^6", "Z2^6"]),
    "two layers": (lambda: nn.GRU(4, 6, num_layers=2, batch_first=True), ["S_6", "S_6", "Z2^6", "Z2^6"]),
}


@pytest.mark.parametrize("name", CELLS)
def test_recurrent_cells(name):
    cell = CELLS[name][0]()
    width = (cell.proj_size or cell.hidden_size)*(1 + cell.bidirectional)
    found = rows(from_forward(lambda s, x: s.o(s.cell(x)[0]), cell=cell, o=L(width, 2)), torch.randn(2, 3, 4))
    groups = [group for layer, kind, group in found if kind != "translation" and "/" not in layer]
    assert sorted(groups) == CELLS[name][1]


class Mixture(nn.Module):
    def __init__(self, stacked=False):
        super().__init__()
        self.stacked, self.gate = stacked, L(6, 3)
        if stacked: self.w = nn.Parameter(torch.randn(3, 4, 6))
        else: self.experts = nn.ModuleList(L(6, 4) for _ in range(3))

    def forward(self, x):
        gate = self.gate(x).softmax(-1)
        if self.stacked: return torch.einsum("ne,eoi,ni->no", gate, self.w, x)
        return sum(gate[:, i:i + 1]*expert(x) for i, expert in enumerate(self.experts))


@pytest.mark.parametrize("stacked", [False, True])
def test_experts_move_with_their_rows_of_the_gate(stacked):
    report = symmetry_report(Mixture(stacked), torch.randn(16, 6))
    moved, = (row for row in report if row.group == "S_3")
    experts = {"w"} if stacked else {f"experts.{i}.{n}" for i in range(3) for n in ("weight", "bias")}
    assert set(moved.parameters) == {"gate.weight", "gate.bias"} | experts and moved.error <= TOLERANCE and moved.control > EVIDENCE
