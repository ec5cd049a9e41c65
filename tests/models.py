"Models and checks that the tests of traces, groups and symmetries share."
import copy
import functools
import random

import numpy as np
import torch
from symbreak_nb import survey
from torch import nn

symmetry_report = functools.partial(survey.symmetry_report, certify=False)  # what the trace finds


def from_forward(forward, **modules) -> nn.Module:
    "A module with these members and this forward function."
    net = type("Net", (nn.Module,), {"forward": forward})()
    for name, module in modules.items(): setattr(net, name, module)
    return net


def P(*shape): return nn.Parameter(torch.randn(shape))


L, X = nn.Linear, torch.randn


def kinds(model, x): return {(row.symmetry, row.group) for row in symmetry_report(model, x)}


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


def late(s, weight): return s.b(torch.tanh(weight + s.a.bias))
