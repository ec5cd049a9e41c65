"Networks that look simpler near their example than they are: nothing false is found, and nothing false is called complete."
import copy

import pytest
import torch
from symbreak_nb.survey import symmetry_report
from torch import nn
from torch.nn import functional as F

from models import L, X, from_forward

DISCRETE = ("permutation", "sign flip")


def between(f, first=4):
    "Three inputs, hidden units, a function that leaves four of them, and two outputs."
    return from_forward(lambda s, x: s.b(f(s, s.a(x))), a=L(3, first), b=L(4, 2))


def bent(s, z): return torch.where(z.abs() < 5, z, z**3/25)


def filled(net, name, value):
    with torch.no_grad(): net.get_parameter(name).fill_(value)
    return net


def pooled(s, x): return s.b(s.p(s.a(x)).flatten(1))


def bag(s, i): return s.b(torch.relu(s.a(s.e(i).sum(1))))


def either(s, x): return torch.where(x.sum(1, keepdim=True) < 1000, s.a(x), s.b(x))


near = lambda: 0.1*X(9, 3)
NETS = {  # name -> (model, example, continuous dimension by hand)
    "bent at five": (lambda: between(bent), near, 0),
    "hardtanh of fifty": (lambda: between(lambda s, z: F.hardtanh(z, -50, 50)), near, 0),
    "a hundred added before ReLU": (lambda: between(lambda s, z: torch.relu(z + 100)), near, 4),   # affine rescalings
    # affine rescalings, and a bias that another takes up
    "a hundred subtracted before ReLU": (lambda: from_forward(lambda s, x: s.b(torch.relu(s.a(x) - 100)) + s.c(x), a=L(3, 4), b=L(4, 2),
                                                              c=L(3, 2)), near, 4 + 2),
    "biases of a hundred": (lambda: filled(between(lambda s, z: torch.relu(z)), "a.bias", 100.), near, 4),
    "biases of minus a hundred": (lambda: filled(between(lambda s, z: torch.relu(z)), "a.bias", -100.), near, 4),
    "ReLU6": (lambda: between(lambda s, z: F.relu6(z + 3)), near, 0),
    "hardswish, a square near zero": (lambda: between(lambda s, z: F.hardswish(0.1*z)), near, 0),
    "bent at ten million": (lambda: between(lambda s, z: z + torch.relu(z - 1e7)), near, 0),
    "another layer beyond a thousand": (lambda: from_forward(either, a=L(3, 2), b=L(3, 2)), near, 0),
    # a shift and an affine rescaling a unit; and max(u, v) = u + relu(v - u), where two outputs see two sums of four slopes of u
    "largest of two": (lambda: between(lambda s, z: torch.maximum(z[:, :4], z[:, 4:] - 80), 8), near, 4 + 4 + (4 - 2)*3),
    # per channel a rescaling, and a shift that the last bias takes up
    "max pool": (lambda: from_forward(pooled, a=nn.Conv1d(2, 3, 2), p=nn.MaxPool1d(2), b=L(9, 2)), lambda: X(4, 2, 7).abs(), 3 + 3),
    # per channel: rescaling by the next layer, gain against weight, shift against bias
    "batch norm in eval": (lambda: nn.Sequential(L(3, 4), nn.BatchNorm1d(4), nn.ReLU(), L(4, 2)).eval(), lambda: X(9, 3), 4*3),
    "inputs clamped": (lambda: from_forward(lambda s, x: s.b(torch.relu(s.a(x.clamp(0, 1)))), a=L(3, 4), b=L(4, 2)),
                       lambda: torch.rand(9, 3), 4),
    "an example of zeros": (lambda: nn.Sequential(L(3, 4), nn.ReLU(), L(4, 2)), lambda: torch.zeros(5, 3), 4),
    "an example without a sign": (lambda: from_forward(lambda s, x: s.b(s.a(x + torch.relu(-x - 3))), a=L(3, 2), b=L(2, 3)),
                                  lambda: torch.rand(9, 3), 2**2 + 2),
    # GL(3) and a shift between embedding and layer, and the rescalings; the example knows two of seven words
    "words": (lambda: from_forward(bag, e=nn.Embedding(7, 3), a=L(3, 4), b=L(4, 2)), lambda: torch.randint(2, (4, 5)), 9 + 3 + 4),
    # only weights as large as fifty take the clamp's other sides
    "bounded before a clamp": (lambda: from_forward(lambda s, x: s.b(F.hardtanh(s.c(torch.sigmoid(s.a(x))), -50, 50)),
                                                    a=L(3, 4), c=L(4, 3), b=L(3, 2)), near, 0),
}


def holds(row, model, x):
    "Whether random elements leave the outputs alone at inputs between a tenth and ten thousand million."
    for seed in range(2):
        moved = row.apply(copy.deepcopy(model), seed)
        for size in 10.0**torch.arange(-1, 11):
            rng = torch.Generator().manual_seed(int(size.log10()))
            far = size*torch.randn(400, *x.shape[1:], generator=rng, dtype=torch.float64) if x.is_floating_point() else \
                torch.randint(7, (400, *x.shape[1:]), generator=rng)
            with torch.no_grad(): got, want = moved(far), model(far)
            if not torch.allclose(got, want, rtol=1e-6, atol=1e-6*float(want.abs().max())): return False
    return True


@pytest.mark.parametrize("name", NETS)
def test_no_family_is_false_far_from_the_example_and_nothing_false_is_complete(name):
    make, sample, by_hand = NETS[name]
    torch.manual_seed(1)
    model, x = make().double(), sample()
    x = x.double() if x.is_floating_point() else x
    report = symmetry_report(model, x, certify=True)
    assert all(holds(row, model, x) for row in report), str(report)
    found = report.certificate
    assert found.explained <= by_hand <= found.null_dimension, str(report)
    assert not found.complete or found.null_dimension == by_hand, str(report)
    if name not in HARD: assert found.complete and not found.unreached, str(report)


HARD = ("bent at ten million", "bounded before a clamp")  # honest, but not complete


def test_what_no_input_reaches_is_named_and_nothing_rests_on_it():
    torch.manual_seed(0)
    never = between(lambda s, z: torch.relu(torch.sigmoid(z) - 2))
    found = symmetry_report(never, near(), certify=True).certificate
    assert not found.complete and "no output depends on 24 of 26 parameters" in found.verdict
    assert found.unreached == ("relu of the model above 0 (4 of 4 units)",) and "relu of the model above 0" in str(found)
    # the shift of a softmax before a clamp that it cannot reach is true, whatever the clamp gives
    clipped = between(lambda s, z: F.hardtanh(z.softmax(-1), -50, 50))
    report = symmetry_report(clipped, near(), certify=True)
    assert all(holds(row, clipped.double(), near().double()) for row in report)
    assert len(report.certificate.unreached) == 2 and report.certificate.null_dimension == 6
    # that the softmax sums to one is not seen by a layer behind the clamp if the clamp may give anything
    assert (report.certificate.explained, report.certificate.complete) == (4, False)
