"Oscillator networks: the symmetries on random kernels, the energy's exact laws, both routes of the step, and refusals."
import copy
import math
import pickle

import pytest
import torch
from symbreak_nb import fourier_step
from symbreak_nb import oscillators as K
from symbreak_nb.run import ParameterError
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = [dict(), dict(padding="zeros"), dict(shared=False), dict(symmetric=False), dict(kernel_size=3), dict(renormalise=False)]
SEEDS = [0, 1, 7]


def make(seed: int = 0, **kind) -> K.KuramotoNet:
    return K.KuramotoNet(**(dict(channels=6, steps=5, gain=3.0, seed=seed) | kind)).double().requires_grad_(False)


def noise_images(seed: int, n: int = 2, size=(9, 11)) -> torch.Tensor:
    return torch.randn(n, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def oscillators(seed: int, n: int = 2, channels: int = 6, size=(9, 11)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, channels, *size, dtype=torch.float64, generator=generator), dim=1)


def gap(a, b) -> float: return (a - b).abs().max().item()


# ---- what the symmetry makes exact

@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_without_c_the_network_is_odd(seed, kind):
    error = K.z2_error(make(seed, **kind), noise_images(seed))
    assert max(error.values()) < 1e-12


@pytest.mark.parametrize("kind", [dict(broken=True), dict(lift_bias=True), dict(broken=True, bias_scale=20.0)], ids=str)
def test_c_and_a_bias_in_the_lift_break_it(kind):
    assert K.z2_error(make(3, **kind), noise_images(3))["states"] > 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_translations_gauge_and_uniform_images(seed):
    net, images = make(seed, broken=True, lift_bias=True), noise_images(seed)
    R = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))[0]
    assert gap(net(images.roll((4, -3), (2, 3))), net(images).roll((4, -3), (2, 3))) < 1e-12
    assert gap(K._gauge_rotated(net, R)(images), net(images)) < 1e-12
    x = net.evolve(net.lift(torch.full((1, 1, 5, 3), -0.5, dtype=torch.float64)))
    assert gap(x, K.uniform_state(net, -0.5, 5)[:, None, None]) < 1e-12


@pytest.mark.parametrize("k, steps", [(1, 4), (3, 3), (5, 2), (5, 0), (7, 1)])
def test_nothing_leaves_the_cone(k, steps):
    for seed in range(10): assert K._influence(make(seed, kernel_size=k), 23, steps) == steps*(k//2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sums_that_round_otherwise_are_no_influence(dtype, monkeypatch):
    "A processor may add in another order in each place of the batch; here every state is off by some last bits."
    net, step = make(2, kernel_size=5).to(dtype), K.KuramotoNet.step
    noise = torch.Generator().manual_seed(0)
    shaken = lambda self, x, *more: step(self, x, *more)*(1 + 4e-16*torch.randn(x.shape, dtype=x.dtype, generator=noise))
    monkeypatch.setattr(K.KuramotoNet, "step", shaken)
    assert K._influence(net, 23, 3) == 6


def test_the_unbroken_arm_shares_every_weight_but_c():
    plain, broken = K.KuramotoNet(seed=4), K.KuramotoNet(seed=4, broken=True, bias_scale=20.0)
    for name, w in plain.named_parameters(): assert torch.equal(w, broken.get_parameter(name))
    assert broken.c.abs().max() > 0.5 and K.KuramotoNet(seed=4, broken=True).c.abs().max() <= 0.05


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_c_and_j_start_at_one_scale(gain):
    net = K.KuramotoNet(64, 3, seed=0, gain=gain, symmetric=False, broken=True)
    bound = gain/(64*9)**0.5
    for w in (net.c, net.kernel): assert 0.9*bound < w.abs().max() <= bound


# ---- energy

@pytest.mark.parametrize("kind", [dict(), dict(broken=True), dict(padding="zeros", broken=True)], ids=str)
def test_minus_the_gradient_of_the_energy_is_the_force(kind):
    net, x = make(1, **kind), oscillators(1).requires_grad_()
    assert gap(torch.autograd.grad(K.energy(net, x).sum(), x)[0], -net.force(x)) < 1e-12
    assert K.energy_identity_error(net, x.detach()) < 1e-6


@pytest.mark.parametrize("gamma", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("padding", ["circular", "zeros"])
def test_the_change_of_energy_and_its_bound(gamma, padding):
    rose = []
    for seed in range(6):
        net, x = make(seed, step_size=gamma, padding=padding, broken=seed % 2 == 1, gain=6.0), oscillators(seed)
        low = K.spectrum(net, 9, 11).min()
        for _ in range(6):
            change, number = K._energy_change(net, x), gamma*((x*net.force(x)).sum(1).amax((1, 2)) - low)
            assert gap(change, K.energy(net, net.step(x)) - K.energy(net, x)) < 1e-9
            assert (change[number <= 2] <= 1e-12).all()
            rose.append((change > 0).any().item())
            x = net.step(x)
    assert any(rose) or gamma < 5


def test_the_bound_is_sharp():
    "J = s - mu on a checkerboard: a flat state is stable for gamma (s - mu) < 2 and alternates just above."
    for factor, alternates in ((0.97, False), (1.03, True)):
        net = make(0, channels=2, kernel_size=3, step_size=1.0)
        net.kernel.zero_()
        net.kernel[0, 1, 1, 1, 1], net.kernel[0, 0, 0, 1, 1] = -2*factor, 0.0  # x = e_0 has s = 0, e_1 has mu = -2 factor
        x = F.normalize(torch.tensor([1.0, 1e-3], dtype=torch.float64), dim=0).view(1, 2, 1, 1).expand(1, 2, 6, 6)
        for _ in range(400): x = net.step(x)
        assert (gap(x, net.step(x)) > 1e-3) == alternates
        assert not alternates or gap(x, net.step(net.step(x))) < 1e-6


@pytest.mark.parametrize("size", [(6, 7), (3, 4), (1, 2), (8, 8)])
def test_the_spectrum_is_that_of_the_matrix(size):
    net = make(5, channels=3)
    sites = torch.eye(3*size[0]*size[1], dtype=torch.float64).view(-1, 3, *size)
    dense = K._couple(sites, net.coupling()).flatten(1)
    assert gap(dense, dense.T) < 1e-12
    assert gap(torch.linalg.eigvalsh(dense), K.spectrum(net, *size).flatten().sort()[0]) < 1e-10
    net.padding = "zeros"
    inner = torch.linalg.eigvalsh(K._couple(sites, net.coupling(), "zeros").flatten(1))
    outer = K.spectrum(net, *size)
    assert outer.min() - 1e-12 <= inner[0] and inner[-1] <= outer.max() + 1e-12
    with pytest.raises(ParameterError, match="symmetric"): K.spectrum(make(symmetric=False), 4, 4)


def test_an_alternating_network_is_noticed():
    net = make(1, channels=4, kernel_size=3, gain=0.1)
    net.kernel += 6*torch.eye(4)[:, :, None, None]*torch.tensor([[0, -.5, 0], [-.5, 1, -.5], [0, -.5, 0]])
    found, ends = K.stability(net, noise_images(0), 40), K.alternation(net, noise_images(0), 200)
    assert found["number"].max() > 2 and ends["two"] < 0.1*ends["one"]
    assert found["number"].shape == found["change"].shape == (40, 2)


# ---- routes

@pytest.mark.parametrize("size", [(8, 8), (13, 7), (1, 1), (3, 4)])
@pytest.mark.parametrize("kind", [dict(), dict(broken=True), dict(checkpoint=2), dict(symmetric=False)], ids=str)
def test_the_fourier_route_is_the_plain_one(size, kind):
    found = []
    for route in K._ROUTES[1:]:
        net = K.KuramotoNet(4, 5, 5, seed=2, gain=2.0, route=route, **kind)
        images = noise_images(2, 3, size).float()
        for _ in range(2):  # the second pass uses the buffers of the first
            net.zero_grad()
            (net(images)*images).sum().backward()
        found.append([net(images).detach()] + [w.grad for w in net.parameters()])
    for a, b in zip(*found, strict=True): assert gap(a, b) < 2e-5*max(1, a.abs().max().item())


@pytest.mark.parametrize("convention", K.NOISE_CONVENTIONS)
def test_noise_is_the_same_on_both_routes_and_one_strength_an_image(convention):
    outs, eta = [], torch.tensor([0.0, 0.5, 1.0])
    for route in K._ROUTES[1:]:
        net = K.KuramotoNet(4, 3, 4, seed=1, noise_convention=convention, route=route).requires_grad_(False)
        images = noise_images(1, 3).float()
        out, states = net(images, eta, torch.Generator().manual_seed(3), trajectory=True)
        assert gap(net.readout(states[-1]), out) == 0
        outs.append(out)
        assert gap(out[0], net(images)[0]) < 1e-5 and gap(out[1:], net(images)[1:]) > 1e-2
    assert gap(*outs) < 1e-5


def test_two_passes_before_a_gradient_keep_apart():
    net, (a, b) = K.KuramotoNet(4, 5, 3, seed=0, route="fourier"), noise_images(0).float().split(1)
    first, second = net(a).sum(), net(b).sum()
    first.backward()
    alone = copy.deepcopy({k: w.grad for k, w in net.named_parameters()})
    net.zero_grad()
    second.backward()
    net.zero_grad()
    net(a).sum().backward()
    for name, w in net.named_parameters(): assert gap(w.grad, alone[name]) < 1e-6


def test_limits():
    net, images = make(0), noise_images(0)
    assert gap(net(images, steps=0), net.readout(net.lift(images))) < 1e-12
    assert torch.equal(net(3*images), net(images)) or gap(net(3*images), net(images)) < 1e-12  # the sign alone counts
    assert torch.isfinite(K.KuramotoNet(seed=0)(torch.zeros(8, 1, 6, 6))).all()
    assert K.KuramotoNet(seed=0)(torch.ones(1, 1, 4, 4, dtype=torch.uint8)).dtype == torch.float32
    half = K.KuramotoNet(4, seed=0, steps=3, precision=torch.bfloat16)(images.float())
    assert 1e-5 < gap(half, K.KuramotoNet(4, seed=0, steps=3)(images.float())) < 0.1


@pytest.mark.parametrize("wrong, words", [
    (dict(kernel_size=4), "kernel_size = 4: allowed is an odd integer"), (dict(channels=0), "channels = 0"),
    (dict(steps=-1), "steps = -1"), (dict(steps=2.5), "steps = 2.5"), (dict(step_size=0), "step_size = 0"),
    (dict(padding="reflect"), "padding = 'reflect'"), (dict(noise_convention="x"), "noise_convention = 'x'"),
    (dict(gain=math.nan), "gain = nan"), (dict(bias_scale=-1.0), "bias_scale = -1.0"), (dict(route="fast"), "route = 'fast'"),
])
def test_settings_that_cannot_be_built(wrong, words):
    with pytest.raises(ParameterError, match=words.replace("(", r"\(")): K.KuramotoNet(**wrong)


@pytest.mark.parametrize("images, words", [
    (torch.full((1, 1, 4, 4), math.nan), "nan or infinite"), (torch.full((1, 1, 4, 4), math.inf), "nan or infinite"),
    (torch.zeros(4, 4), "shape"), (torch.zeros(2, 3, 4, 4), "shape"), (torch.zeros(0, 1, 4, 4), "shape"),
])
def test_images_that_cannot_be_shown(images, words):
    with pytest.raises(ParameterError, match=words) as error: K.KuramotoNet(seed=0)(images)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("noise", [torch.ones(3), torch.ones(2, 2), -0.1, math.nan])
def test_noise_that_cannot_be_added(noise):
    with pytest.raises(ParameterError, match="noise"): K.KuramotoNet(seed=0)(torch.ones(2, 1, 4, 4), noise)


# ---- rotations of the internal space

@pytest.mark.parametrize("n", [3, 4, 7])
def test_a_cyclic_average_is_invariant_under_every_rotation(n):
    kernel = make(0, channels=8).coupling()
    averaged, R = K.group_average(kernel, K.cyclic_group(n, 8)), K.rotation(0.7, 8)
    assert gap(torch.einsum("ab,bckl,dc->adkl", R, averaged, R), averaged) < 1e-12
    assert gap(K.group_average(averaged, K.cyclic_group(n, 8)), averaged) < 1e-12
    assert gap(K.group_average(kernel, K.cyclic_group(2, 8)), kernel) < 1e-12
    assert gap(K._symmetrised(averaged), averaged) < 1e-12


# ---- a network that has been used

def used(**kind) -> tuple[K.KuramotoNet, torch.Tensor, torch.Tensor]:
    "A network after a gradient on the fast route, and two batches."
    net, batches = K.KuramotoNet(**(dict(channels=4, seed=0, steps=4) | kind)), torch.randn(2, 5, 1, 8, 8)
    net(batches[0]).mean().backward()
    return net, *batches


@pytest.mark.parametrize("other", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_a_copy_of_a_used_network_is_the_network(other):
    net, seen, new = used(broken=True)
    twin = other(net)
    for images in (seen, new):
        outputs = [n(images) for n in (net, twin)]
        assert gap(*outputs) == 0
        for n, out in zip((net, twin), outputs, strict=True):
            n.zero_grad()
            out.square().sum().backward()
        assert gap(net.kernel.grad, twin.kernel.grad) == 0
    assert len(pickle.dumps(twin)) < 10**5


@pytest.mark.parametrize("keep", [0, 2])
def test_a_gradient_can_be_taken_twice(keep):
    net, _, images = used(checkpoint=keep)
    net.zero_grad()
    loss = net(images).square().sum()
    loss.backward(retain_graph=True)
    once = net.kernel.grad.clone()
    loss.backward()
    assert gap(net.kernel.grad, 2*once) <= 1e-5*once.abs().max()


def test_what_inference_mode_keeps_serves_gradients_too():
    fourier_step._phases.cache_clear()
    net, images = K.KuramotoNet(4, seed=0, steps=3), torch.randn(5, 1, 7, 9)
    with torch.inference_mode(): before = net(images)
    after = net(images)
    after.sum().backward()
    assert gap(after, before.clone()) == 0


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-6), (torch.float64, 1e-14)], ids=str)
@pytest.mark.parametrize("sizes", [*((n, n) for n in (*range(1, 10), 16, 31)), (1, 8), (12, 7), (9, 32)], ids=str)
def test_the_transforms_are_discrete_ones_and_fit_the_gradient(sizes, dtype, tolerance):
    "Of the first two axes; a weighted sum over half of the waves is one over all pixels."
    draw, lanes = (lambda: torch.randn(*sizes, 5, generator=rng).to(dtype)), (sizes[0]//2 + 1, sizes[1], 5)
    rng = torch.Generator().manual_seed(0)
    x, y, back = draw(), draw(), draw()
    there, other = (torch.empty(lanes, dtype=dtype.to_complex()) for _ in range(2))
    for real, waves in ((x, there), (y, other)): fourier_step._there(real.numpy(), waves.numpy())
    exact = torch.fft.rfft2(x.double(), dim=(1, 0))
    assert (there - exact).abs().max() <= tolerance*exact.abs().max()
    weights = fourier_step._weights(*sizes, there)
    whole = (weights*(there.conj()*other).real.flatten(0, 1)[:, None]).sum()
    assert abs(whole - (x*y).sum()) <= 10*tolerance*x.norm()*y.norm()
    fourier_step._back(there.numpy(), back.numpy())
    assert (back - x).abs().max() <= 10*tolerance*x.abs().max()


def test_a_pass_without_gradient_leaves_a_pending_one_alone():
    "Both take their memory from the same list."
    net, first, second = K.KuramotoNet(4, seed=0, steps=1, route="fourier"), torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8)
    net(first).square().sum().backward()
    alone = net.kernel.grad.clone()
    net.zero_grad()
    with torch.no_grad(): kept = net(second)
    loss = net(first).square().sum()
    with torch.inference_mode(): again = net(second)
    loss.backward()
    assert gap(net.kernel.grad, alone) == 0 and gap(kept, again.clone()) == 0


def test_threads_do_not_share_buffers():
    "Of two threads that find the same buffers in the list, one takes them and the other makes its own."
    class Late(list):
        def __iter__(self): return iter([kept])   # what another thread has taken since
    x, first = torch.randn(4, 2, 3, 5), []
    fourier_step._give(first, fourier_step._take([], 1, x))
    (kept,) = first
    assert fourier_step._take(Late([kept]), 1, x) is kept and fourier_step._take(Late(), 1, x) is not kept


@pytest.mark.parametrize("n", [3, 4])
def test_the_noise_has_a_gradient_at_any_number_of_images(n):
    eta, images = torch.tensor(0.3, requires_grad=True), torch.ones(n, 1, 8, 8)
    net = K.KuramotoNet(4, seed=0, steps=2).requires_grad_(False)
    at = lambda value: net(images, value, torch.Generator().manual_seed(0)).sum()
    at(eta).backward()
    assert math.isclose(eta.grad.item(), ((at(0.301) - at(0.299))/0.002).item(), rel_tol=0.02, abs_tol=1e-3)


def test_the_trajectory_of_one_pixel_keeps_its_states():
    net, pixel = K.KuramotoNet(4, steps=3, seed=0, route="fourier").requires_grad_(False), torch.ones(1, 1, 1, 1)
    states = [(setattr(net, "route", route), net(pixel, trajectory=True)[1])[1] for route in ("fourier", "plain")]
    assert gap(*states) < 1e-6


@pytest.mark.parametrize("call, words", [
    (lambda: K.KuramotoNet(broken="False"), "broken = 'False'"), (lambda: K.KuramotoNet(seed="a"), "seed = 'a'"),
    (lambda: K.KuramotoNet(precision=torch.int32), "precision"), (lambda: make()(None), "images"),
    (lambda: make()(noise_images(0), noise="much"), "noise = 'much'"), (lambda: make()(noise_images(0), noise=math.inf), "noise"),
    (lambda: make().evolve(torch.ones(1, 3, 4, 4)), r"\(B, 6, H, W\)"), (lambda: K.cyclic_group(0, 4), "n = 0"),
    (lambda: K.stability(make(renormalise=False), noise_images(0), 3), "renormalise"),
    (lambda: K.stability(make(shared=False), noise_images(0), 3), "one kernel")])
def test_what_makes_no_sense_is_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as refused: call()
    assert "\n" not in str(refused.value)
