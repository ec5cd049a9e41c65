"A replay gives what the model gives, stops where nothing differs, and closes nothing that a huge constant could hide."
import pytest
import torch
from symbreak_nb.proofs import _load, _unproved, prepare
from symbreak_nb.replays import _record, _replay
from symbreak_nb.trace import _sources, trace
from symbreak_nb.trials import _film
from torch import nn

from models import L, from_forward

X = torch.randn(5, 3, dtype=torch.float64)


def measured(net, x=X):
    bench = prepare(net, (x,), {})
    assert not _unproved(bench, bench.states[1], bench.run(bench.states[1], bench.inputs[0]))
    bench.films, walk = True, trace(net, (x,))
    for p in bench.points: _film(bench, walk, p)
    return bench


MODELS = {
    "tied": lambda: from_forward(lambda s, x: torch.tanh(x@s.a.weight.T)@s.a.weight + s.a.bias.sum(), a=L(3, 4)).double(),
    "view": lambda: from_forward(lambda s, x: torch.cat([x@w.T for w in s.a.weight.chunk(2)], 1)@s.b.weight.mT,
                                 a=L(3, 4), b=L(4, 2)).double(),
    "norm": lambda: nn.Sequential(L(3, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True), L(6, 2)).double().eval(),
    "residual": lambda: from_forward(lambda s, x: x + s.b(s.a(x).relu_()), a=L(3, 4), b=L(4, 3)).double(),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_replay_gives_the_outputs_of_the_model(name):
    torch.manual_seed(0)
    bench = measured(MODELS[name]())
    for p in bench.points:
        assert p.replay
        for n, t in p.state.items():
            change = {n: t*1.5 + 0.1}
            assert all(torch.allclose(a, b) for a, b in zip(p.replay(change)[0], p.run(p.state | change, p.inputs), strict=True)), n
        assert all(torch.equal(a, b) for a, b in zip(p.replay({})[0], p.want, strict=True))


def test_a_huge_constant_hides_no_change():
    mask = torch.tensor([False, False, True])
    net = from_forward(lambda s, x: s.b(s.a(x).masked_fill(mask, 1e30).clamp(max=1)), a=L(3, 3), b=L(3, 2)).double()
    p = measured(net).points[0]
    nudged = {"a.bias": p.state["a.bias"] + 1e-6}
    assert float((p.replay(nudged)[0][0] - p.want[0]).abs().max()) > 1e-8


def test_programs_that_do_not_repeat_themselves_and_too_large_ones_are_not_recorded():
    noisy = from_forward(lambda s, x: s.a(x) + torch.randn(5, 1), a=L(3, 2)).double()
    program = trace(noisy, (X,)).program
    assert _record(program, _sources(program, (X,), {})) is None
    program = trace(L(3, 2).double(), (X,)).program
    assert _record(program, _sources(program, (X,), {}), room=8) is None


def test_what_is_closed_is_not_computed_again():
    torch.manual_seed(0)
    net = nn.Sequential(L(3, 4), nn.ReLU(), L(4, 4), nn.Tanh(), L(4, 2)).double()
    bench, program = measured(net), trace(net, (X,)).program
    p = bench.points[0]
    _load(bench.desk, p.state)
    film = _record(program, _sources(program, *p.inputs))
    _load(bench.desk, p.state | {"0.weight": 2*p.state["0.weight"], "0.bias": 2*p.state["0.bias"], "2.weight": p.state["2.weight"]/2})
    changed = {n for n in film.values if n.op == "placeholder" and film.sources[n.name][1] in ("0.weight", "0.bias", "2.weight")}
    outputs, worst = _replay(film, changed)
    assert outputs[0] is film.values[film.outputs[0]] and worst <= 1e-12
