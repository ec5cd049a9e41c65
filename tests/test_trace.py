"What a model may do in its forward pass, and the report still follows its weights."
import functools

import pytest
import torch
from symbreak_nb import survey
from symbreak_nb.run import ParameterError
from torch import nn
from torch.nn import functional as F

from models import L, P, X, first_line, from_forward, kinds, late, two, untouched

symmetry_report = functools.partial(survey.symmetry_report, certify=False)  # what the trace finds


def test_what_is_not_followed_is_named():
    report = symmetry_report(from_forward(lambda s, x: torch.linalg.svdvals(s.a(x)), a=L(3, 4)), torch.randn(5, 3))
    assert any("svd" in note for note in report.notes) and sum(report.unexamined.values()) == report.total == 16


def rnn(s, x):
    h = torch.zeros(x.shape[0], 4)
    for t in range(x.shape[1]): h = torch.tanh(s.i(x[:, t]) + s.h(h))
    return s.o(h)


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


@pytest.mark.parametrize("act", [nn.Hardtanh(-20, 20), nn.Hardtanh(0, 20), nn.Threshold(1e-3, 0), nn.Hardtanh(-1e4, 1e4)])
def test_corners_far_from_one_are_seen(act):
    torch.manual_seed(0)
    found = kinds(nn.Sequential(L(3, 4), act, L(4, 2)), X(8, 3))
    assert ("permutation", "S_4") in found and not {"rescaling", "double rotation"} & {kind for kind, _ in found}


def test_functions_of_several_tensors_and_eps_of_the_number_format():
    torch.manual_seed(0)
    for f in (torch.max, torch.minimum):
        net = from_forward(lambda s, x, f=f: s.o(f(s.a(x), s.b(x))), a=L(3, 4), b=L(3, 4), o=L(4, 2))
        assert {("permutation", "S_4"), ("permutation", "S_2"), ("permutation", "S_2^4"), ("rescaling", "R+^4")} == kinds(net, X(6, 3))
    assert ("scaling", "R+ at eps = 0") in kinds(nn.Sequential(L(3, 4), nn.RMSNorm(4), L(4, 2)), X(5, 3))


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


def test_overlapping_weights_are_refused():
    store = torch.randn(10)
    net = from_forward(lambda s, x: x*s.p[:4].sum() + s.q.sum(), p=nn.Parameter(store[:6]), q=nn.Parameter(store[4:]))
    with pytest.raises(ParameterError, match="share all of their storage or none"): symmetry_report(net, X(3))


def test_weights_of_modules_that_are_not_registered_are_constants():
    net = from_forward(lambda s, x: s.b(torch.tanh(s.hidden[0](x))), b=L(6, 2))
    net.hidden = [L(4, 6)]  # tracing it did not end
    assert untouched(net, X(5, 4)).notes == ["none of the symmetries that were looked for was found"]


def test_weights_read_through_data_are_followed():
    net = two(lambda s, x: s.b(torch.tanh(x @ s.a.weight.data.T + s.a.bias.data)))
    report = untouched(net, X(5, 4))
    assert [r.group for r in report] == ["S_6", "Z2^6"] and report.unexamined == {}


def test_vmap_and_autocast_are_written_out_and_cond_is_counted():
    mapped = from_forward(lambda s, x: torch.vmap(lambda w: torch.tanh(x @ w))(s.w).sum(0), w=P(3, 4, 2))
    report = untouched(mapped, X(5, 4))
    assert [r.group for r in report] == ["S_3"] and report.unexamined == {}

    def cast(s, x):
        with torch.autocast("cpu", dtype=torch.bfloat16): return s.b(torch.tanh(s.a(x)))
    assert [r.group for r in untouched(two(cast), X(5, 4))] == ["S_6", "Z2^6"]
    branches = two(lambda s, x: s.b(torch.cond(x.sum() > 0, lambda h: h.tanh(), lambda h: h.sin(), (s.a(x),))))
    assert first_line(untouched(branches, X(5, 4))) == "42 of 44 parameters were not examined: unknown operation cond"
