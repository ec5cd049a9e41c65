"Models at the edge: a report proves what it can, and one line says what it did not examine, of how many parameters, and why."
import random
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from symbreak_nb.survey import symmetry_report
from torch import nn
from torch.nn import functional as F

from models import L, X, from_forward, late, two, untouched

PAIR = {("permutation", "S_6"), ("sign flip", "Z2^6")}  # of the tanh network 4-6-2


@dataclass
class Edge:
    make: object              # -> model
    rows: set                 # (symmetry, group) of all rows
    missed: str = ""          # what the first line begins with, if anything was not examined
    note: str = ""            # part of a note
    sample: object = None     # -> input


def plain(s, x): return s.b(torch.tanh(s.a(x)))


def with_state(s, x):
    s.h = torch.tanh(s.a(x) + s.h).detach()
    return s.b(torch.tanh(s.a(x) + s.h))


def with_buffer(s, x):
    h = torch.tanh(s.a(x) + s.c)
    s.c.copy_(h.detach())
    return s.b(h)


def with_list(s, x):
    s.past.append(s.a(x).detach())
    return s.b(torch.tanh(s.a(x) + sum(s.past)))


def turned(s, x):  # a second call sees the first one's units in another order
    h = torch.tanh(s.a(x) + s.h)
    s.h = h.detach().roll(1, -1)
    return s.b(h)


def forked(s, x): return s.b(torch.tanh(s.a(x))) if float(x.sum()) > -1e9 else s.d(s.c(x))


def two_ways(s, x): return s.b(torch.relu(s.a(x))) if float(x.sum()) > 0 else s.b(torch.tanh(s.a(x)))


def by_numpy(s, x): return torch.from_numpy(np.tanh(sum(m(x).detach().numpy() for m in s.m)))


def untraceable(s, x):
    y = sum(m(x).tanh() for m in s.m)
    if type(y.untyped_storage().data_ptr()) is not int or "Functional" in type(y).__name__ or torch._C._functorch.maybe_get_level(y) > 0:
        raise NotImplementedError("only plain tensors")
    return y


def half_quantised():
    from torch.ao.quantization import quantize_dynamic
    net = nn.Sequential(nn.Sequential(L(4, 6), nn.Tanh(), L(6, 5)), nn.Sequential(L(5, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net[1] = quantize_dynamic(net[1].eval(), {nn.Linear}, dtype=torch.qint8)
    return net


def quantised():
    from torch.ao.quantization import quantize_dynamic
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantize_dynamic(nn.Sequential(L(4, 6), nn.Tanh(), L(6, 2)).eval(), {nn.Linear}, dtype=torch.qint8)


def old_norm():
    from torch.nn.utils import weight_norm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(weight_norm(L(4, 6)), nn.Tanh(), L(6, 2))


STATE, FIRST = "it carries state, so two calls in a row were compared", "44 of 44 parameters were not examined: "
EDGES = {
    "attribute": Edge(lambda: two(with_state, lambda s: setattr(s, "h", 0.)), PAIR, note=STATE),
    "buffer": Edge(lambda: two(with_buffer, lambda s: s.register_buffer("c", torch.zeros(5, 6))), PAIR, note=STATE),
    "list": Edge(lambda: two(with_list, lambda s: setattr(s, "past", [])), PAIR, note=STATE),
    "generator": Edge(lambda: two(lambda s, x: plain(s, x)*float(s.g.normal()), lambda s: setattr(s, "g", np.random.default_rng(0))),
                      PAIR, note=STATE),
    "state in another order": Edge(lambda: two(turned, lambda s: setattr(s, "h", 0.)), {("sign flip", "Z2")}, note=STATE),
    "random in eval": Edge(lambda: two(lambda s, x: plain(s, x) + torch.randn(2)).eval(), PAIR, note="random numbers of torch"),
    "random by Python": Edge(lambda: two(lambda s, x: late(s, x @ s.a.weight.T)*random.random()), PAIR, note="random numbers of Python"),
    "random by numpy": Edge(lambda: two(lambda s, x: plain(s, x)*float(np.random.mtrand._rand.rand())), PAIR,
                            note="random numbers of numpy"),
    "random branch": Edge(lambda: two(lambda s, x: s.b(s.a(x).tanh() if random.random() < .5 else s.a(x).relu())),
                          {("permutation", "S_6")}, note="holds for this example only: "),
    "branch": Edge(lambda: two(forked, lambda s: (setattr(s, "c", L(4, 6)), setattr(s, "d", L(6, 2)))), PAIR,
                   "44 of 88 parameters were not examined: unused by this example", "the path of the example was followed"),
    "two ways": Edge(lambda: two(two_ways), {("permutation", "S_6")}, note="holds for this example only: "),
    "dropout": Edge(lambda: nn.Sequential(L(4, 6), nn.Tanh(), nn.Dropout(.5), L(6, 2)).train(), PAIR, note="dropout was switched off"),
    "dropout function": Edge(lambda: two(lambda s, x: s.b(F.dropout(torch.tanh(s.a(x)), .5))), PAIR, note="dropout was switched off"),
    "dropout in eval": Edge(lambda: nn.Sequential(L(4, 6), nn.Tanh(), nn.Dropout(.5), L(6, 2)).eval(), PAIR),
    "huge constant": Edge(lambda: two(lambda s, x: plain(s, x) + torch.tensor([1e30, 0.])), PAIR),
    "nothing but huge": Edge(lambda: two(lambda s, x: plain(s, x) + 1e30), set(), FIRST + "no output moves"),
    "bfloat16": Edge(lambda: two(plain).bfloat16(), PAIR, sample=lambda: X(5, 4).bfloat16()),
    "float16": Edge(lambda: two(plain).half(), PAIR, sample=lambda: X(5, 4).half()),
    "quantised in part": Edge(half_quantised, PAIR, "53 of 83 parameters were not examined: unknown operation quantized.linear_dynamic "
                              "(35); quantised weights (18)", "torch cannot export it"),
    "quantised": Edge(quantised, set(), "44 of 44 parameters were not examined: quantised weights"),
    "numpy on the way": Edge(lambda: from_forward(by_numpy, m=nn.ModuleList(L(4, 2) for _ in range(3))), {("permutation", "S_3")},
                             "30 of 30 parameters were not examined: used where the trace does not see it"),
    "no trace": Edge(lambda: from_forward(untraceable, m=nn.ModuleList(L(4, 2) for _ in range(3))), {("permutation", "S_3")},
                     "30 of 30 parameters were not examined: Net cannot be traced: "),
    "DataParallel": Edge(lambda: nn.DataParallel(two(plain)), PAIR),
    "old weight_norm": Edge(old_norm, PAIR | {("scaling", "R+^6")}),
}


@pytest.mark.parametrize("name", EDGES)
def test_an_edge_is_proved_as_far_as_possible_and_says_what_is_missing(name):
    torch.manual_seed(0)
    edge = EDGES[name]
    report = untouched(edge.make(), edge.sample() if edge.sample else X(5, 4))
    assert {(r.symmetry, r.group) for r in report} == edge.rows, str(report)
    missing = [line for line in str(report).splitlines() if "parameters were not examined" in line]
    assert missing[0].startswith(edge.missed) if edge.missed else not missing, str(report)
    assert any(edge.note in note for note in report.notes) if edge.note else True, str(report)
    assert len(report) or report.notes or report.unexamined
    assert all(row.error <= 1e-10 for row in report)


def imported():
    from symbreak_nb.run import import_torchvision
    transformers = pytest.importorskip("transformers")
    import_torchvision()  # before its models, which import torchvision
    return transformers


def test_a_language_model_with_its_cache_on_is_examined_and_the_cache_is_left_out():
    transformers = imported()
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_embd=12, n_layer=1, n_head=3, vocab_size=11, n_positions=8, use_cache=True)
    model, tokens = transformers.GPT2LMHeadModel(config).train(), torch.randint(11, (2, 5))
    with_cache = symmetry_report(model, dict(input_ids=tokens, use_cache=True))
    without = symmetry_report(model, dict(input_ids=tokens, use_cache=False))
    assert [(r.layer, r.group) for r in with_cache] == [(r.layer, r.group) for r in without]
    assert {"S_3", "GL(4)^3"} <= {r.group for r in with_cache} and with_cache.unexamined == {"unused by this example": 36}
    assert any("cache" in note for note in with_cache.notes) and not any("cache" in note for note in without.notes)
    assert any("dropout was switched off" in note for note in without.notes)


def test_a_mixture_of_experts_with_a_grouped_product_is_examined():
    transformers = imported()
    torch.manual_seed(0)
    config = transformers.MixtralConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, vocab_size=11,
                                        intermediate_size=12, num_local_experts=3, max_position_embeddings=16)
    for way in ("eager", "grouped_mm"):
        config._experts_implementation = way
        report = symmetry_report(transformers.MixtralForCausalLM(config).eval(), dict(input_ids=torch.randint(11, (2, 5))))
        assert len(report) and all(row.error <= 1e-10 for row in report), str(report)


def test_progress_is_shown_where_it_is_asked_for_and_nowhere_else(capfd):
    for progress, shown in ((None, False), (False, False), (True, True)):
        symmetry_report(two(plain), X(5, 4), progress=progress)
        assert ("proving" in capfd.readouterr().err) == shown
