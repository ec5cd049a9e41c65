"A report as JSON, a model by name, the canonical point and the nearest one of an orbit."
import copy
import json
import sys

import pytest
import torch
from click.testing import CliRunner
from symbreak_nb.canonical import align, canonicalise
from symbreak_nb.cli import command
from symbreak_nb.run import ParameterError, RunError
from symbreak_nb.survey import symmetry_report
from symbreak_nb.views import named_model
from torch import nn

from models import L, X, from_forward

MODULE = """
import torch
from torch import nn
def small(): return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)), torch.ones(5, 3)
def lone(): return nn.Linear(2, 2)
def broken(): raise ValueError("no weights here")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    "A module of the user's own in the current folder."
    (tmp_path/"own_models_of_a_test.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "own_models_of_a_test", raising=False)
    return "own_models_of_a_test"


def test_the_command_line_reports_on_a_model_of_the_users_own(own):
    short = CliRunner().invoke(command, ["symmetries", f"{own}:small"])
    assert short.exit_code == 0 and len(short.output.splitlines()) <= 10 and "S_6" in short.output and "R+^6" in short.output
    assert "continuous symmetries: complete (6 of 6 directions explained)" in short.output
    table = CliRunner().invoke(command, ["symmetries", f"{own}:small", "--table", "--no-certify"])
    assert table.exit_code == 0 and "error" in table.output and "continuous symmetries" not in table.output
    found = json.loads(CliRunner().invoke(command, ["symmetries", f"{own}:small", "--json"]).output)
    assert found["total"] == 38 and {"S_6", "R+^6"} <= {row["group"] for row in found["rows"]}


@pytest.mark.parametrize("name, match", [("lone", "a pair"), ("broken", "ValueError: no weights here"), ("absent", "has no absent")])
def test_a_factory_that_cannot_be_used_ends_in_one_line(own, name, match):
    with pytest.raises(RunError, match=match): named_model(f"{own}:{name}")


def chain(act): return nn.Sequential(L(3, 6), act, L(6, 5), act, L(5, 2)).double()


def apart(a, b): return max(float((p - q).detach().abs().max()) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("act", [nn.ReLU(), nn.Tanh(), nn.SiLU()], ids=["relu", "tanh", "silu"])
def test_every_model_of_an_orbit_has_one_canonical_point_and_is_aligned_to_any_other(act):
    torch.manual_seed(0)
    net, x = chain(act), X(5, 3).double()
    before, twin = copy.deepcopy(net.state_dict()), copy.deepcopy(net)
    for row in symmetry_report(net, x): row.apply(twin, seed=1)
    assert apart(net, twin) > 0.1
    point = canonicalise(twin, x)
    assert apart(canonicalise(net, x), point) < 1e-8 and torch.allclose(point(x), net(x))
    moved = align(net, twin, x)
    assert moved.after < 1e-3 < moved.before and torch.allclose(moved.model(x), net(x))
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())


def attention(s, x): return s.o((s.q(x)@s.k(x).mT).softmax(-1)@s.v(x))


def residual(s, x):
    y = s.i(x)
    return s.o(y + s.b(torch.tanh(s.a(y))) + s.d(torch.tanh(s.c(y))))


ORBITS = {
    "linear": (lambda: nn.Sequential(L(4, 3), L(3, 5)), (9, 4)),
    "attention": (lambda: from_forward(attention, **{n: L(5, 3, bias=False) for n in "qkv"}, o=L(3, 5)), (2, 4, 5)),
    "residual": (lambda: from_forward(residual, i=L(5, 4), a=L(4, 6), b=L(6, 4), c=L(4, 5), d=L(5, 4), o=L(4, 3)), (9, 5)),
}


@pytest.mark.parametrize("name", ORBITS)
def test_rotations_residual_streams_and_branches_have_one_canonical_point(name):
    torch.manual_seed(0)
    net, x = ORBITS[name][0]().double(), X(*ORBITS[name][1]).double()
    twin = copy.deepcopy(net)
    for row in symmetry_report(net, x, certify=False): row.apply(twin, seed=1)
    assert apart(net, twin) > 0.1 and torch.allclose(net(x), twin(x))
    points = canonicalise(net, x), canonicalise(twin, x)
    assert apart(*points) < 1e-7 and all(torch.allclose(point(x), net(x)) for point in points)
    moved = align(net, twin, x)
    assert moved.after < moved.before and torch.allclose(moved.model(x), net(x))


def test_models_of_two_architectures_are_not_aligned():
    with pytest.raises(ParameterError, match="model_b"): align(chain(nn.ReLU()), L(3, 2).double(), X(5, 3).double())
