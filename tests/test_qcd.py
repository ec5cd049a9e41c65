"Thermodynamics against high precision, derivatives against other routes, optimisers that keep rows apart, and refusals."
import functools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import qcd
from symbreak_nb.run import ParameterError, Run

pytestmark = pytest.mark.usefixtures("one_thread")

T50 = np.linspace(*qcd.VALID, 50)
AIM = qcd.target(T50, *qcd.hotqcd(T50))
VALUES = dict(T=T50.tolist(), p=AIM.p.tolist(), e=AIM.e.tolist())


@functools.cache
def high_precision(x: float, sign: int) -> float:
    "20 digits: a sum of Bessel functions, or the integral itself where the sum is long."
    mp = pytest.importorskip("mpmath")
    with mp.workdps(20): return float(_high_precision(mp, mp.mpf(x), sign))


def _high_precision(mp, x, sign):
    if x == 0: return mp.pi**2/90*(1 if sign < 0 else mp.mpf(7)/8)
    if x > .5:
        terms = ((-sign)**(k + 1)*x**2/(2*mp.pi**2*k**2)*mp.besselk(2, k*x) for k in range(1, math.ceil(42/x) + 3))
        return mp.fsum(terms)
    integrand = lambda u: sign*u*u*mp.log(1 + sign*mp.exp(-mp.sqrt(u*u + x*x)))/(2*mp.pi**2)
    return mp.quad(integrand, [0, x/8, x, 4*x, 30*x + .1, 4, 10, 20, 40, 80])


@pytest.mark.parametrize("statistics, sign", [("bose", -1), ("boson", -1), ("fermi", 1), ("fermion", 1)])
@pytest.mark.parametrize("x", [0, 1e-7, 1e-3, .03, .1, .37, .9, 2.5, 5, 9.99, 10, 17, 60, 300])
def test_pressure_against_high_precision(x, statistics, sign):
    exact = float(high_precision(x, sign))
    assert abs(qcd.pressure_over_t4(x, 1, statistics)/exact - 1) < 5e-13


@settings(max_examples=60, deadline=None)
@given(st.floats(0.002, 200), st.sampled_from(["bose", "fermi"]), st.floats(0, 50))
def test_pressure_against_bessel_sums_and_its_order(x, statistics, degeneracy):
    value = qcd.pressure_over_t4(x, degeneracy, statistics)
    assert math.isclose(value, degeneracy*qcd.bessel_sum(x, statistics), rel_tol=1e-12, abs_tol=0)
    assert value <= qcd.pressure_over_t4(0.99*x, degeneracy, statistics) <= degeneracy*np.pi**2/90*(1 + 1e-12)
    assert qcd.pressure_over_t4(x, 1, "fermi") < qcd.pressure_over_t4(x, 1, "bose")*(1 + 1e-14)


def test_pressure_keeps_kind_and_shape():
    x = np.array([[0, 1.5, 2000], [3, 4, 5]])
    assert isinstance(qcd.pressure_over_t4(1), float) and qcd.pressure_over_t4(x, 16).shape == (2, 3)
    assert torch.is_tensor(qcd.pressure_over_t4(torch.tensor(x))) and qcd.pressure_over_t4(x)[0, 2] == 0
    assert np.array_equal(qcd.pressure_over_t4([1, 2]), qcd.pressure_over_t4(np.array([1., 2.])))
    assert not qcd.pressure_over_t4(1e300)
    single = torch.tensor([.5, 2], dtype=torch.float32, requires_grad=True)
    assert np.array_equal(qcd.pressure_over_t4(single).detach(), qcd.pressure_over_t4(np.array([.5, 2], np.float32)))
    qcd.pressure_over_t4(single, 16, "fermi").sum().backward()
    assert (single.grad < 0).all() and qcd.pressure_over_t4([]).shape == (0,)


def log_of_a_heavy_gas(x: float) -> float:
    "log of x^2 K_2(x)/(2 pi^2), by its series in 1/x, for x of at least 300."
    return 1.5*math.log(x) + 0.5*math.log(math.pi/2) - math.log(2*math.pi**2) - x + math.log1p(
        (15/8 + (105/128 + (-315/1024 + 10395/32768/x)/x)/x)/x)


@pytest.mark.parametrize("statistics", ["bose", "fermi"])
@pytest.mark.parametrize("x", [300, 599.99, 600.01, 700, 740, 750, 751, 754, 800, 1e4, 1e8, 1e155, 1e200, 1e308])
def test_pressure_of_heavy_gases_is_the_nearest_float_and_its_logarithm_goes_on(x, statistics):
    exact = log_of_a_heavy_gas(x)
    logarithm = qcd.log_pressure_over_t4(x, 16, statistics) - math.log(16)
    assert math.isclose(logarithm, exact, rel_tol=1e-13, abs_tol=1e-11)
    for value in (qcd.pressure_over_t4(x, 1, statistics), qcd.bessel_sum(x, statistics)):
        assert math.isclose(value, math.exp(exact), rel_tol=1e-11, abs_tol=1e-323)
    assert (qcd.pressure_over_t4(x, 1, statistics) > 0) == (x < 752)


@pytest.mark.parametrize("statistics", ["bose", "fermi"])
def test_the_logarithm_is_that_of_the_pressure_and_has_its_slope(statistics):
    x = torch.tensor([0, .3, 5, 39.9, 40.1, 300, 650, 800, 1e300], dtype=torch.float64, requires_grad=True)
    logarithm = qcd.log_pressure_over_t4(x, 3, statistics)
    pressure = qcd.pressure_over_t4(x, 3, statistics)
    assert torch.allclose(logarithm[:7], pressure[:7].log(), rtol=1e-12, atol=1e-12)
    slope, = torch.autograd.grad(logarithm.sum(), x)
    plain, = torch.autograd.grad(pressure.sum(), x)
    assert torch.allclose(slope[:7], (plain/pressure)[:7], rtol=1e-9, atol=1e-12)
    assert torch.allclose(slope[7:], 1.5/x[7:] - 1, rtol=1e-5) and torch.isfinite(plain).all()
    with pytest.raises(ParameterError, match="degeneracy"): qcd.log_pressure_over_t4(1.0, 0)


@pytest.mark.parametrize("statistics, sign", [("bose", -1), ("fermi", 1)])
@pytest.mark.parametrize("x", [1.5, 3, 8, 40])
def test_slope_of_the_pressure_against_high_precision(x, statistics, sign):
    mp = pytest.importorskip("mpmath")
    with mp.workdps(20):
        terms = ((-sign)**(k + 1)*mp.mpf(x)**2/(2*mp.pi**2*k)*mp.besselk(1, k*x) for k in range(1, math.ceil(36/x) + 3))
        exact = float(-mp.fsum(terms))  # d/dx of x^2 K_2(kx) is -k x^2 K_1(kx)
    m = torch.tensor(float(x), dtype=torch.float64, requires_grad=True)
    slope, = torch.autograd.grad(qcd.pressure_over_t4(m, 1, statistics), m)
    assert math.isclose(slope, exact, rel_tol=2e-12)


@pytest.mark.parametrize("arguments", [(-1,), (math.nan,), (math.inf,), ("a",), (1, -1), (1, math.nan), (1, 1, "bosons"), ([1, -2],),
                                       ("1",), (None,), (True,), (1j,), ([[1], [2, 3]],), (torch.tensor([1j]),)])
def test_pressure_refuses_in_one_line(arguments):
    with pytest.raises(ParameterError, match="allowed is") as caught: qcd.pressure_over_t4(*arguments)
    assert "\n" not in str(caught.value)


def parametrization(T):
    "Bazavov et al. 2014, Eq. 16, with 40 digits, and its derivative by mpmath."
    mp = pytest.importorskip("mpmath")
    def p(T):
        t = T/mp.mpf("0.154")
        top = 95*mp.pi**2/180 + mp.mpf("-8.7704")/t + mp.mpf("3.92")/t**2 + mp.mpf("0.3419")/t**4
        bottom = 1 - mp.mpf("1.26")/t + mp.mpf("0.8425")/t**2 - mp.mpf("0.0475")/t**4
        return (1 + mp.tanh(mp.mpf("3.8706")*(t - mp.mpf("0.9761"))))/2*top/bottom
    with mp.workdps(40):
        T = mp.mpf(T)
        return float(p(T)), float(3*p(T) + T*mp.diff(p, T)), float(mp.diff(p, T, 2)*T*T)


@pytest.mark.parametrize("T", [.13, .1415, .154, .2, .25, .333, .4])
def test_hotqcd_against_high_precision(T):
    p, e, second = parametrization(T)
    state = qcd.hotqcd(T)
    assert math.isclose(state.p, p, rel_tol=1e-13) and math.isclose(state.e, e, rel_tol=1e-13)
    assert math.isclose(state.trace_anomaly, e - 3*p, rel_tol=1e-12) and state.entropy == state.e + state.p
    assert math.isclose(qcd._hotqcd(np.array(T/.154))[2], second, rel_tol=1e-9, abs_tol=1e-11)
    assert np.array_equal(qcd.hotqcd(np.array([T, T])).e, [state.e]*2)


def test_hotqcd_takes_every_kind_of_number():
    exact = qcd.hotqcd([.2, .3])
    assert all(isinstance(v, float) for v in qcd.hotqcd(.2))
    for T in ((.2, .3), np.array([.2, .3]), torch.tensor([.2, .3], dtype=torch.float64, requires_grad=True)):
        assert np.array_equal(qcd.hotqcd(T), exact)
    ends = np.array(qcd.VALID, np.float32)  # the ends rounded to single precision lie a little outside
    for T in (ends, torch.tensor(ends)): assert np.allclose(qcd.hotqcd(T), qcd.hotqcd(qcd.VALID), rtol=1e-5)
    for T in np.nextafter(ends, np.array([0, 1], np.float32), dtype=np.float32):
        with pytest.raises(ParameterError): qcd.hotqcd(T)


@pytest.mark.parametrize("bad", [.1299, .4001, 0, -.2, math.nan, math.inf, "hot", [.2, .5], None, "0.2", True, .2 + 0j,
                                 [[.2], [.2, .3]], [.2, None], torch.tensor(.5, requires_grad=True)])
def test_temperatures_out_of_range_are_one_line(bad):
    with pytest.raises(ParameterError, match="allowed is") as caught: qcd.hotqcd(bad)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("temperature = ")
    if bad is None or isinstance(bad, (int, float)) and bad <= 0:
        with pytest.raises(ParameterError): qcd.hotqcd(bad, extrapolate=True)


@pytest.mark.parametrize("bad", [.1299, .41, 0, -1, math.nan, "0.2", True])
def test_a_bad_probe_ends_before_any_work(bad, tmp_path):
    params = dict(T_probe=bad, T_c=.155, n_temperatures=50, n_seeds=None, adam_steps=None, lbfgs_steps=None)
    with pytest.raises(ParameterError, match="T_probe"):
        Run("qcd", profile="smoke", out_dir=tmp_path/"out", profiles=qcd.PROFILES, params=params, allowed=qcd.allowed())
    assert not (tmp_path/"out").exists()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 30), min_size=3, max_size=3), st.floats(.01, 5))
def test_masses_proportional_to_temperature_are_conformal(a, T):
    gas = qcd.QuasiParticleModel(lambda T: torch.tensor(a, dtype=torch.float64)[:, None]*T)
    p, e = gas(T)
    assert p > 0 and abs(e/p - 3) < 1e-12 and abs(gas.speed_of_sound(T) - 1/3) < 1e-9


@pytest.mark.parametrize("masses", [lambda T: torch.stack([.5 + T, 1/(1 + T), .1*torch.ones_like(T)]),
                                    lambda T: torch.stack([.8 - T, .3*torch.exp(T), T.sqrt()])])
def test_energy_is_the_derivative_of_the_pressure(masses):
    gas = qcd.QuasiParticleModel(masses)
    T = torch.linspace(.13, .4, 9, dtype=torch.float64).requires_grad_()
    P = gas.pressure(T)
    slope, = torch.autograd.grad(P.sum(), T)
    energy, T = gas.energy_density(T.detach()), T.detach()
    assert ((energy - (T*slope - P.detach()))/energy).abs().max() < 1e-12
    step = 1e-5
    rough = (gas.pressure(T + step) - gas.pressure(T - step))/(2*step)
    assert ((energy - (T*rough - P.detach()))/energy).abs().max() < 1e-7
    c, h = gas.speed_of_sound(T), 1e-4
    up, down = (gas.pressure(T + h), gas.energy_density(T + h)), (gas.pressure(T - h), gas.energy_density(T - h))
    assert (c - (up[0] - down[0])/(up[1] - down[1])).abs().max() < 1e-5


def test_fixed_masses_need_no_bag_and_moving_ones_do():
    fixed = qcd.QuasiParticleModel(lambda T: torch.tensor([[.5], [.6], [.7]], dtype=torch.float64)*torch.ones_like(T))
    moving = qcd.QuasiParticleModel(lambda T: torch.stack([T + .4]*3))
    assert np.array_equal(fixed(T50).e, qcd.QuasiParticleModel(lambda T: (.5, .6, .7))(T50).e)
    assert np.allclose(fixed(T50).e, fixed.kinetic_energy_over_t4(T50), rtol=1e-13)
    assert (moving.kinetic_energy_over_t4(T50) - moving(T50).e).min() > 1e-3


@pytest.mark.parametrize("bad", [0, -.2, math.nan, math.inf, "hot", None, True, [], [.2, -.1], [[.2, .3]]])
@pytest.mark.parametrize("method", ["__call__", "pressure", "pressure_over_t4", "energy_density", "entropy_density",
                                    "kinetic_energy_over_t4", "speed_of_sound", "derivatives"])
def test_a_model_refuses_bad_temperatures_in_one_line(method, bad):
    with pytest.raises(ParameterError, match="^temperature = ") as caught:
        getattr(qcd.QuasiParticleModel(lambda T: torch.stack([T]*3)), method)(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("masses", [lambda T: torch.stack([T, T]), lambda T: [T, T], lambda T: torch.ones(3), lambda T: -T,
                                    lambda T: torch.stack([T, T, -T]), lambda T: np.exp(T), lambda T: T.detach()**2,
                                    lambda T: [T, T, T.detach().numpy()], 3, None, [1, 2, 3], [lambda T: T]*2])
def test_masses_that_make_no_gas_are_one_line(masses):
    "Among them masses cut off from T: their energy would silently be the one at fixed masses."
    with pytest.raises(ParameterError, match="^masses = ") as caught: qcd.QuasiParticleModel(masses)([.2, .3])
    assert "\n" not in str(caught.value)


def test_masses_may_be_given_in_several_ways():
    T = torch.tensor([.15, .2, .3], dtype=torch.float64)
    forms = (lambda T: 2*T, [lambda T: 2*T]*3, lambda T: [2*T]*3, lambda T: torch.stack([2*T]*3), lambda T: torch.stack([2*T]*3)[None])
    states = [qcd.QuasiParticleModel(masses)(T) for masses in forms]
    for state in states: assert torch.equal(state.p.reshape(-1), states[0].p) and (state.e/state.p - 3).abs().max() < 1e-12
    assert states[-1].p.shape == (1, 3)
    batch = qcd.QuasiParticleModel(lambda T: [torch.stack([T, 2*T])]*3)(T)
    assert batch.p.shape == (2, 3) and torch.equal(batch.p[1], states[0].p)
    fixed = qcd.QuasiParticleModel(lambda T: .5)
    assert torch.equal(fixed(T).e, qcd.QuasiParticleModel(lambda T: torch.full((3, 1), .5))(T).e)
    gas, (p, e) = qcd.QuasiParticleModel(forms[0]), states[0]
    assert torch.allclose(gas.entropy_density(T), (e + p)*T**3, rtol=1e-14)


@pytest.mark.parametrize("inputs, constant", [(1, None), (2, .155), (2, 0.), (2, 1.)])
@pytest.mark.parametrize("seed", [0, 7])
def test_stacked_gradient_equals_the_plain_loop(inputs, constant, seed):
    weights = qcd.initial_weights([seed, seed + 1, seed + 2], inputs)
    aim = qcd.target(T50, *qcd.hotqcd(T50), 0.1 + T50, 1 + T50)
    losses, gradients = qcd.loss_and_gradient(weights, torch.full((3,), constant or 0., dtype=torch.float64), aim)
    for k in range(3):
        nets = qcd.plain_networks(weights[k], inputs)
        loss = qcd.plain_loss(nets, aim, constant)
        loss.backward()
        assert math.isclose(losses[k], loss.item(), rel_tol=1e-11)
        for net, row in zip(nets, gradients[k], strict=True):
            layers = qcd._views(row[None], 32, 7)
            parts = [layers[0][0][:, :inputs], layers[1][0], *(t[0] for t in layers[2:-2]), layers[-2], layers[-1]]
            own = [net.first.weight, net.first.bias, *net.blocks.parameters(), net.last.weight, net.last.bias]
            for a, b in zip(parts, own, strict=True): assert torch.allclose(a, b.grad, rtol=1e-8, atol=1e-8*b.grad.abs().max())
    if constant == 0: assert not gradients[..., 1:64:2].any()


@pytest.mark.parametrize("width, blocks, points", [(4, 1, 6), (16, 3, 11)])
def test_gradient_of_other_sizes_by_differences(width, blocks, points):
    T = np.linspace(*qcd.VALID, points)
    aim, c = qcd.target(T, *qcd.hotqcd(T)), torch.tensor([.3], dtype=torch.float64)
    weights = qcd.initial_weights([4], 2, width, blocks)
    turn = torch.randn(weights.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    value = lambda h: qcd.loss_and_gradient(weights + h*turn, c, aim, width, blocks)[0].item()
    slope = (qcd.loss_and_gradient(weights, c, aim, width, blocks)[1]*turn).sum().item()
    assert math.isclose((value(1e-5) - value(-1e-5))/2e-5, slope, rel_tol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lbfgs_rows_are_independent_and_find_minima(seed):
    g = torch.Generator().manual_seed(seed)
    scale = torch.logspace(0, 2, 12, dtype=torch.float64)
    target = torch.randn(5, 12, dtype=torch.float64, generator=g)
    function = lambda x: (((x - target[:len(x)])**2*scale).sum(1) + ((x - target[:len(x)])**4).sum(1),
                          2*(x - target[:len(x)])*scale + 4*(x - target[:len(x)])**3)
    start = torch.randn(5, 12, dtype=torch.float64, generator=g)*3
    together, alone = qcd.LBFGS(function, start), qcd.LBFGS(function, start[:1])
    for _ in range(120):
        before = together.loss
        assert (together.step() <= before).all()
        alone.step()
    assert together.loss.max() < 1e-12 and torch.allclose(together.x[:1], alone.x, atol=1e-6)


def test_lbfgs_solves_a_curved_valley_for_every_row():
    def rosenbrock(x):
        a, b = x[:, 1:] - x[:, :-1]**2, 1 - x[:, :-1]
        gradient = torch.zeros_like(x)
        gradient[:, 1:] += 200*a
        gradient[:, :-1] += -400*a*x[:, :-1] - 2*b
        return (100*a**2 + b**2).sum(1), gradient
    start = torch.tensor([[-1.2, 1, -1.2, 1], [2, 2, 2, 2], [0, 0, 0, 0]], dtype=torch.float64)
    descent = qcd.LBFGS(rosenbrock, start)
    for _ in range(400): descent.step()
    assert (descent.loss < 1e-10).sum() >= 2 and torch.isfinite(descent.x).all()


@pytest.mark.parametrize("fault", [math.nan, math.inf, 1e300])
def test_a_broken_seed_disturbs_no_other(fault, monkeypatch):
    whole = qcd.fit([0, 1, 2], 1, 0., VALUES, 3, 6)
    draw = qcd.initial_weights
    def broken(seeds, *rest):
        weights = draw(seeds, *rest)
        weights[[k for k, s in enumerate(seeds) if s == 1]] = fault
        return weights
    monkeypatch.setattr(qcd, "initial_weights", broken)
    found = qcd.fit([0, 1, 2], 1, 0., VALUES, 3, 6)
    assert not np.isfinite(found["loss"][1]) or found["loss"][1] > 1
    assert np.allclose(found["loss"][[0, 2]], whole["loss"][[0, 2]], rtol=1e-6)
    json.dumps(qcd.log_ratio(found["loss"], whole["loss"]))


def test_a_learning_rate_far_too_large_is_recorded_not_raised():
    found = qcd.fit([0, 1], 1, 0., VALUES, 4, 4, learning_rate=1e4)
    assert found["trace"].shape == (2, 8) and found["weights"].shape[:2] == (2, 3)


BAD_FITS = [dict(seeds=[]), dict(seeds=3), dict(seeds=[.5]), dict(inputs=3), dict(constant=math.nan), dict(adam_steps=0),
            dict(lbfgs_steps=0), dict(learning_rate=0), dict(width=2.5), dict(blocks=0), dict(values=None), dict(values={}),
            dict(values=VALUES | dict(mass=[1])), dict(values=VALUES | dict(p=VALUES["p"][1:])),
            dict(values=VALUES | dict(T=[-1]*50)), dict(values=VALUES | dict(e=[math.nan]*50)),
            dict(values=VALUES | dict(p_error=[0]*50)), dict(values=dict(T=[], p=[], e=[]))]


@pytest.mark.parametrize("change", BAD_FITS)
def test_a_fit_refuses_bad_input_in_one_line(change):
    fine = dict(seeds=[0], inputs=1, constant=0., values=VALUES, adam_steps=1, lbfgs_steps=1)
    with pytest.raises(ParameterError, match="allowed is") as caught: qcd.fit(**fine | change)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_a_fit_of_own_data_is_kept_loaded_and_predicts(tmp_path):
    T = np.linspace(.15, .3, 6)
    own = dict(T=T, p=1 + T, e=3 + 8*T, p_error=.1 + T)
    found = qcd.fit(range(2), 2, .155, own, 3, 5)
    np.savez(tmp_path/"fit.npz", **found)
    weights = np.load(tmp_path/"fit.npz")["weights"]
    p, e = (v.numpy() for v in qcd.QuasiParticleModel(qcd.masses(weights, .155))(T))
    loss = (((p - own["p"])/own["p_error"])**2 + (e - own["e"])**2).mean(1)/2
    assert np.allclose(loss, found["loss"], rtol=1e-10)
    for bad in (weights[0], weights[..., 1:]):
        with pytest.raises(ParameterError, match="^weights = "): qcd.masses(bad, .155)


@pytest.mark.parametrize("seeds", [[0], [3, 4, 5]])
def test_a_fit_is_the_same_whatever_the_threads(seeds):
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(qcd.fit(seeds, 2, .155, VALUES, 5, 5))
        assert torch.get_num_threads() == threads
    for key in found[0]: assert np.array_equal(found[0][key], found[1][key])


@pytest.mark.parametrize("seed", [0, 11])
def test_first_steps_of_adam_equal_torch(seed):
    plain = qcd.plain_trace(qcd.plain_networks(qcd.initial_weights([seed], 2)[0], 2), AIM, .155, 6)
    assert np.allclose(qcd.fit([seed], 2, .155, VALUES, 6, 1)["trace"][0, :6], plain, rtol=1e-7)


@pytest.mark.parametrize("ratios", [(1, 1, 1), (3, 1, .5), (1, 9, 1)])
def test_families_of_masses_give_the_same_pressure(ratios):
    m = qcd.family(T50, AIM.p.numpy(), ratios)
    p = sum(qcd.pressure_over_t4(row/T50, *species) for row, species in zip(m, qcd.SPECIES.values(), strict=True))
    assert np.allclose(p, AIM.p, atol=1e-12) and (m > 0).all()
    with pytest.raises(ParameterError): qcd.family([-.2], [1], ratios)
    for bad in ((0, 1, 1), (-1, 1, 1), (1, 1)):
        with pytest.raises(ParameterError): qcd.family(T50, AIM.p.numpy(), bad)


def test_log_ratio_and_correlation_leave_diverged_seeds_out():
    a, b = np.array([1, 2, 4, math.nan, 8.]), np.array([2, 4, 8, 1, math.nan])
    assert qcd.log_ratio(a, b)["n"] == 3 and math.isclose(qcd.log_ratio(a, b)["value"], -math.log(2))
    assert math.isnan(qcd.correlation(a, b)["value"]) and qcd.log_ratio(a*math.nan, b)["n"] == 0
    r = qcd.correlation(np.arange(6.), np.array([0, 1, 3, 2, 4, 5.]))
    assert r["interval"][0] < r["value"] < r["interval"][1]


def test_lattice_table_with_and_without_the_data(monkeypatch):
    monkeypatch.delenv("SYMBREAK_DATA", raising=False)
    assert qcd.lattice_table() == {}


def test_lattice_table_lies_on_the_parametrization():
    table = qcd.lattice_table()
    if not table: pytest.skip("the lattice table is not in $SYMBREAK_DATA")
    assert len(table["T"]) == 55 and abs(qcd.hotqcd(table["T"]).e - table["e_T4"]).max() < .06


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_the_plan_lists_work_that_can_be_tried(profile):
    units = qcd.plan_units(qcd.PROFILES[profile] | dict(n_temperatures=10))
    assert all(u["count"] > 0 and u["flops"] > 0 and u["memory_bytes"] > 0 for u in units) and 0 < units[0]["step"]() < 60
