"Derivatives that travel forward equal repeated automatic differentiation, up to fourth order, in every combination."
import itertools

import pytest
import torch
from symbreak_nb import jets
from symbreak_nb.checks import ParameterError

pytestmark = pytest.mark.usefixtures("one_thread")
AXES = "xyt"


def networks(sizes, count=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)
    return [(draw(count, a, b)/a**0.5, 0.3*draw(count, b)) for a, b in itertools.pairwise(sizes)]


def plain(layers, x):
    for k, (w, b) in enumerate(layers):
        x = x @ w + b[:, None]
        if k < len(layers) - 1: x = torch.tanh(x)
    return x


class Autograd:
    "The accessor of an equation by torch.autograd."

    def __init__(self, layers, x, outputs, axes=AXES):
        self.x = x.clone().requires_grad_()
        self.u, self.outputs, self.axes = plain(layers, self.x), outputs, axes

    def __getitem__(self, name): return self.u[..., self.outputs.index(name)]

    def d(self, name, word):
        out = self[name]
        for letter in word:
            out = torch.autograd.grad(out.sum(), self.x, create_graph=True)[0][..., self.axes.index(letter)]
        return out

    def sum(self, name, terms): return sum(c*self.d(name, word) for word, c in terms.items())


def expected(layers, x, q, equation, outputs):
    flat = [t.clone().requires_grad_() for pair in layers for t in pair]
    stacked = list(zip(flat[::2], flat[1::2], strict=True))
    f = Autograd(stacked, x.expand(len(layers[0][0]), *x.shape) if x.dim() == 2 else x, outputs)
    found = equation(q, f)
    found = found if isinstance(found, list) else [found]
    losses = torch.stack([r.expand(len(layers[0][0]), r.shape[-1]).square().mean(-1) for r in found], -1)
    gradients = torch.autograd.grad(losses.sum(), flat, allow_unused=True)
    return losses.detach(), [torch.zeros_like(t) if g is None else g for g, t in zip(gradients, flat, strict=True)]


def close(a, b, eps=1e-12): return float((a.detach() - b.detach()).abs().max()) <= eps*max(float(b.detach().abs().max()), 1e-300)


EQUATIONS = {
    "value": lambda q, f: f["u"] - q["x"],
    "slopes": lambda q, f: f.d("u", "x")*f["v"] + f.d("v", "t"),
    "mixed": lambda q, f: f.d("u", "xy")*f.d("v", "yt") - f.d("u", "tt"),
    "operator": lambda q, f: f.sum("u", {"": 2.0, "t": 1.0, "xx": -q["a"], "xy": 0.5, "yy": q["x"], "y": q["a"]}),
    "two operators": lambda q, f: [f.sum("u", {"t": 1.0, "xx": -1.0}) - f["v"]**2, f.sum("v", {"t": 1.0, "xx": -2.0})],
    "first order": lambda q, f: f.sum("u", {"x": q["a"], "t": 1.0}),
    "third": lambda q, f: f.d("u", "xxt") + f["u"]*f.d("v", "yyy"),
    "fourth": lambda q, f: f.sum("u", {"t": 1.0, "xx": 0.4, "xxxx": 0.1}) + f["u"]*f.d("u", "x"),
    "all mixed": lambda q, f: f.d("u", "xxyt") + f.sum("v", {"xxyy": q["a"], "xyt": 1.0, "tttt": 0.2}),
}


@pytest.mark.parametrize("own", [False, True], ids=["shared points", "own points"])
@pytest.mark.parametrize("name", EQUATIONS)
def test_loss_and_gradient_equal_autograd(name, own):
    layers, g = networks((3, 9, 8, 7, 2)), torch.Generator().manual_seed(4)
    x = torch.rand(*((2, 11, 3) if own else (11, 3)), generator=g, dtype=torch.float64)
    q = dict(zip(AXES, x.movedim(-1, 0), strict=True)) | dict(a=1 + torch.rand(x.shape[:-1], generator=g, dtype=x.dtype))
    losses, gradients = jets.loss_and_gradient(layers, [jets.prepare(EQUATIONS[name], q, AXES, "uv")], block=4)
    want, slopes = expected(layers, x, q, EQUATIONS[name], "uv")
    assert close(losses, want)
    assert all(close(a, b, 2e-12) for a, b in zip([t for pair in gradients for t in pair], slopes, strict=True))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_word_of_a_derivative(order):
    layers, x = networks((2, 8, 8, 1), seed=order), torch.rand(5, 2, dtype=torch.float64)
    truth = Autograd(layers, x.expand(2, 5, 2), "u", "xy")
    for word in map("".join, itertools.product("xy", repeat=order)):
        found = {}
        def equation(q, f, word=word, found=found): found["d"] = f.d("u", word); return found["d"]
        jets.loss_and_gradient(layers, [jets.prepare(equation, dict(x=x[:, 0], y=x[:, 1]), "xy", "u")], block=None)
        assert close(found["d"], truth.d("u", word), 1e-11), word


def test_blocks_and_threads_change_only_the_order_of_sums():
    layers, x = networks((2, 12, 12, 1), 5), torch.rand(37, 2, dtype=torch.float64)
    q = dict(x=x[:, 0], t=x[:, 1])
    piece = jets.prepare(lambda q, f: f.sum("u", {"t": 1.0, "xx": q["x"]}), q, "xt", "u")
    whole = jets.loss_and_gradient(layers, [piece], block=None)
    for block, workers in ((1, 1), (10, 1), (64, 2), (100, 3)):
        some = jets.loss_and_gradient(layers, [piece], block=block, workers=workers)
        assert close(some[0], whole[0]) and all(close(a[0], b[0]) for a, b in zip(some[1], whole[1], strict=True))


@pytest.mark.parametrize("name", ["operator", "two operators", "slopes"])
def test_compiled_loops_equal_plain_torch(name, monkeypatch):
    layers, x = networks((3, 9, 8, 2), 3), torch.rand(11, 3, dtype=torch.float64)
    q = dict(zip(AXES, x.T, strict=True)) | dict(a=1 + torch.rand(11, dtype=torch.float64))
    piece = jets.prepare(EQUATIONS[name], q, AXES, "uv")
    compiled = jets.loss_and_gradient(layers, [piece], block=4)
    monkeypatch.setattr(jets, "_fused", lambda: None)
    plain_torch = jets.loss_and_gradient(layers, [piece], block=4)
    assert close(compiled[0], plain_torch[0])
    assert all(close(a[0], b[0]) and close(a[1], b[1]) for a, b in zip(compiled[1], plain_torch[1], strict=True))


def test_weights_of_terms_and_terms_that_compare_points():
    layers, x = networks((2, 6, 6, 1)), torch.rand(8, 2, dtype=torch.float64)
    q = dict(x=x[:, 0], y=x[:, 1])
    half = jets.prepare(lambda q, f: f["u"][..., :4] - f["u"][..., 4:], q, "xy", "u")
    assert half.whole
    both = jets.loss_and_gradient(layers, [half, half], weights=[1.0, 2.0], block=2)
    one = jets.loss_and_gradient(layers, [half], block=None)
    assert close(both[0][:, 1:], one[0]) and close(both[1][0][0], 3*one[1][0][0])


def test_a_network_that_is_lost_leaves_its_neighbours_alone():
    layers, x = networks((2, 6, 6, 1), 3), torch.rand(9, 2, dtype=torch.float64)
    piece = jets.prepare(lambda q, f: f.sum("u", {"xx": 1.0, "yy": 1.0}), dict(x=x[:, 0], y=x[:, 1]), "xy", "u")
    before = jets.loss_and_gradient(layers, [piece])
    layers[1][0][1] = float("nan")
    after = jets.loss_and_gradient(layers, [piece])
    assert torch.isnan(after[0][1]).all() and torch.equal(after[0][[0, 2]], before[0][[0, 2]])
    assert torch.equal(after[1][0][0][[0, 2]], before[1][0][0][[0, 2]])


def test_float32_is_as_good_as_float32_can_be():
    layers, x = networks((2, 50, 50, 1), 4), torch.rand(100, 2, dtype=torch.float64)
    make = lambda x: jets.prepare(lambda q, f: f.sum("u", {"t": 1.0, "xx": -1.0}), dict(x=x[:, 0], t=x[:, 1]), "xt", "u")
    exact = jets.loss_and_gradient(layers, [make(x)])
    single = jets.loss_and_gradient([(w.float(), b.float()) for w, b in layers], [make(x.float())])
    assert single[0].dtype == torch.float32 and close(single[0].double(), exact[0], 1e-5)
    assert close(single[1][1][0].double(), exact[1][1][0], 1e-5)


@pytest.mark.parametrize("word, message", [("z", "up to four letters"), ("xxxxx", "up to four letters")])
def test_a_derivative_that_there_is_not(word, message):
    x = torch.rand(3, dtype=torch.float64)
    with pytest.raises(ParameterError, match=message):
        jets.prepare(lambda q, f: f.d("u", word), dict(x=x, y=x), "xy", "u")
    with pytest.raises(ParameterError, match="one of u"):
        jets.prepare(lambda q, f: f["w"], dict(x=x, y=x), "xy", "u")
