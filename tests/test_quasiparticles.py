"Thermodynamics against high precision, derivatives against other routes, and refusals."
import doctest
import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import quasiparticles as thermo
from symbreak_nb.run import ParameterError

pytestmark = pytest.mark.usefixtures("one_thread")

T50 = np.linspace(*thermo.VALID_RANGE, 50)
STATE = thermo.hotqcd(T50)


def test_the_examples_run():
    found = doctest.testmod(thermo)
    assert found.attempted >= 4 and not found.failed


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
    assert abs(thermo.pressure_over_t4(x, 1, statistics)/exact - 1) < 5e-13


@settings(max_examples=60, deadline=None)
@given(st.floats(0.002, 200), st.sampled_from(["bose", "fermi"]), st.floats(0, 50))
def test_pressure_against_bessel_sums_and_its_order(x, statistics, degeneracy):
    value = thermo.pressure_over_t4(x, degeneracy, statistics)
    assert math.isclose(value, degeneracy*thermo.bessel_sum(x, statistics), rel_tol=1e-12, abs_tol=0)
    assert value <= thermo.pressure_over_t4(0.99*x, degeneracy, statistics) <= degeneracy*np.pi**2/90*(1 + 1e-12)
    assert thermo.pressure_over_t4(x, 1, "fermi") < thermo.pressure_over_t4(x, 1, "bose")*(1 + 1e-14)


def test_pressure_keeps_kind_and_shape():
    x = np.array([[0, 1.5, 2000], [3, 4, 5]])
    assert isinstance(thermo.pressure_over_t4(1), float) and thermo.pressure_over_t4(x, 16).shape == (2, 3)
    assert torch.is_tensor(thermo.pressure_over_t4(torch.tensor(x))) and thermo.pressure_over_t4(x)[0, 2] == 0
    assert np.allclose(thermo.pressure_over_t4([1, 2]), thermo.pressure_over_t4(np.array([1., 2.])), rtol=1e-13)
    assert not thermo.pressure_over_t4(1e300)
    single = torch.tensor([.5, 2], dtype=torch.float32, requires_grad=True)
    assert np.allclose(thermo.pressure_over_t4(single).detach(), thermo.pressure_over_t4(np.array([.5, 2], np.float32)), rtol=1e-6)
    thermo.pressure_over_t4(single, 16, "fermi").sum().backward()
    assert (single.grad < 0).all() and thermo.pressure_over_t4([]).shape == (0,)


def log_of_a_heavy_gas(x: float) -> float:
    "log of x^2 K_2(x)/(2 pi^2), by its series in 1/x, for x of at least 300."
    return 1.5*math.log(x) + 0.5*math.log(math.pi/2) - math.log(2*math.pi**2) - x + math.log1p(
        (15/8 + (105/128 + (-315/1024 + 10395/32768/x)/x)/x)/x)


@pytest.mark.parametrize("statistics", ["bose", "fermi"])
@pytest.mark.parametrize("x", [300, 599.99, 600.01, 700, 740, 750, 751, 754, 800, 1e4, 1e8, 1e155, 1e200, 1e308])
def test_pressure_of_heavy_gases_is_the_nearest_float_and_its_logarithm_goes_on(x, statistics):
    exact = log_of_a_heavy_gas(x)
    logarithm = thermo.log_pressure_over_t4(x, 16, statistics) - math.log(16)
    assert math.isclose(logarithm, exact, rel_tol=1e-13, abs_tol=1e-11)
    for value in (thermo.pressure_over_t4(x, 1, statistics), thermo.bessel_sum(x, statistics)):
        assert math.isclose(value, math.exp(exact), rel_tol=1e-11, abs_tol=1e-323)
    assert (thermo.pressure_over_t4(x, 1, statistics) > 0) == (x < 752)


@pytest.mark.parametrize("statistics", ["bose", "fermi"])
def test_the_logarithm_is_that_of_the_pressure_and_has_its_slope(statistics):
    x = torch.tensor([0, .3, 5, 39.9, 40.1, 300, 650, 800, 1e300], dtype=torch.float64, requires_grad=True)
    logarithm = thermo.log_pressure_over_t4(x, 3, statistics)
    pressure = thermo.pressure_over_t4(x, 3, statistics)
    assert torch.allclose(logarithm[:7], pressure[:7].log(), rtol=1e-12, atol=1e-12)
    slope, = torch.autograd.grad(logarithm.sum(), x)
    plain, = torch.autograd.grad(pressure.sum(), x)
    assert torch.allclose(slope[:7], (plain/pressure)[:7], rtol=1e-9, atol=1e-12)
    assert torch.allclose(slope[7:], 1.5/x[7:] - 1, rtol=1e-5) and torch.isfinite(plain).all()
    with pytest.raises(ParameterError, match="degeneracy"): thermo.log_pressure_over_t4(1.0, 0)


@pytest.mark.parametrize("statistics, sign", [("bose", -1), ("fermi", 1)])
@pytest.mark.parametrize("x", [1.5, 3, 8, 40])
def test_slope_of_the_pressure_against_high_precision(x, statistics, sign):
    mp = pytest.importorskip("mpmath")
    with mp.workdps(20):
        terms = ((-sign)**(k + 1)*mp.mpf(x)**2/(2*mp.pi**2*k)*mp.besselk(1, k*x) for k in range(1, math.ceil(36/x) + 3))
        exact = float(-mp.fsum(terms))  # d/dx of x^2 K_2(kx) is -k x^2 K_1(kx)
    m = torch.tensor(float(x), dtype=torch.float64, requires_grad=True)
    slope, = torch.autograd.grad(thermo.pressure_over_t4(m, 1, statistics), m)
    assert math.isclose(slope, exact, rel_tol=2e-12)


@pytest.mark.parametrize("arguments", [(-1,), (math.nan,), (math.inf,), ("a",), (1, -1), (1, math.nan), (1, 1, "bosons"), ([1, -2],),
                                       ("1",), (None,), (True,), (1j,), ([[1], [2, 3]],), (torch.tensor([1j]),)])
def test_pressure_refuses_in_one_line(arguments):
    with pytest.raises(ParameterError, match="allowed is") as caught: thermo.pressure_over_t4(*arguments)
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
    state = thermo.hotqcd(T)
    assert math.isclose(state.p, p, rel_tol=1e-13) and math.isclose(state.e, e, rel_tol=1e-13)
    assert math.isclose(state.trace_anomaly, e - 3*p, rel_tol=1e-12) and state.entropy == state.e + state.p
    assert math.isclose(thermo._hotqcd(np.array(T/.154))[2], second, rel_tol=1e-9, abs_tol=1e-11)
    assert np.allclose(thermo.hotqcd(np.array([T, T])).e, [state.e]*2, rtol=1e-13)


def test_hotqcd_takes_every_kind_of_number():
    exact = thermo.hotqcd([.2, .3])
    assert all(isinstance(v, float) for v in thermo.hotqcd(.2))
    for T in ((.2, .3), np.array([.2, .3]), torch.tensor([.2, .3], dtype=torch.float64, requires_grad=True)):
        assert np.allclose(thermo.hotqcd(T), exact, rtol=1e-13)
    ends = np.array(thermo.VALID_RANGE, np.float32)  # the ends rounded to single precision lie a little outside
    for T in (ends, torch.tensor(ends)): assert np.allclose(thermo.hotqcd(T), thermo.hotqcd(thermo.VALID_RANGE), rtol=1e-5)
    for T in np.nextafter(ends, np.array([0, 1], np.float32), dtype=np.float32):
        with pytest.raises(ParameterError): thermo.hotqcd(T)


@pytest.mark.parametrize("bad", [.1299, .4001, 0, -.2, math.nan, math.inf, "hot", [.2, .5], None, "0.2", True, .2 + 0j,
                                 [[.2], [.2, .3]], [.2, None], torch.tensor(.5, requires_grad=True)])
def test_temperatures_out_of_range_are_one_line(bad):
    with pytest.raises(ParameterError, match="allowed is") as caught: thermo.hotqcd(bad)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("temperature = ")
    if bad is None or isinstance(bad, (int, float)) and bad <= 0:
        with pytest.raises(ParameterError): thermo.hotqcd(bad, extrapolate=True)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 30), min_size=3, max_size=3), st.floats(.01, 5))
def test_masses_proportional_to_temperature_are_conformal(a, T):
    gas = thermo.QuasiParticleModel(lambda T: torch.tensor(a, dtype=torch.float64)[:, None]*T)
    p, e = gas(T)
    assert p > 0 and abs(e/p - 3) < 1e-12 and abs(gas.speed_of_sound(T) - 1/3) < 1e-9


@pytest.mark.parametrize("masses", [lambda T: torch.stack([.5 + T, 1/(1 + T), .1*torch.ones_like(T)]),
                                    lambda T: torch.stack([.8 - T, .3*torch.exp(T), T.sqrt()])])
def test_energy_is_the_derivative_of_the_pressure(masses):
    gas = thermo.QuasiParticleModel(masses)
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
    fixed = thermo.QuasiParticleModel(lambda T: torch.tensor([[.5], [.6], [.7]], dtype=torch.float64)*torch.ones_like(T))
    moving = thermo.QuasiParticleModel(lambda T: torch.stack([T + .4]*3))
    assert np.allclose(fixed(T50).e, thermo.QuasiParticleModel(lambda T: (.5, .6, .7))(T50).e, rtol=1e-13)
    assert np.allclose(fixed(T50).e, fixed.kinetic_energy_over_t4(T50), rtol=1e-13)
    assert (moving.kinetic_energy_over_t4(T50) - moving(T50).e).min() > 1e-3


@pytest.mark.parametrize("bad", [0, -.2, math.nan, math.inf, "hot", None, True, [], [.2, -.1], [[.2, .3]]])
@pytest.mark.parametrize("method", ["__call__", "pressure", "pressure_over_t4", "energy_density", "entropy_density",
                                    "kinetic_energy_over_t4", "speed_of_sound", "derivatives"])
def test_a_model_refuses_bad_temperatures_in_one_line(method, bad):
    with pytest.raises(ParameterError, match="^temperature = ") as caught:
        getattr(thermo.QuasiParticleModel(lambda T: torch.stack([T]*3)), method)(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("masses", [lambda T: torch.stack([T, T]), lambda T: [T, T], lambda T: torch.ones(3), lambda T: -T,
                                    lambda T: torch.stack([T, T, -T]), lambda T: np.exp(T), lambda T: T.detach()**2,
                                    lambda T: [T, T, T.detach().numpy()], 3, None, [1, 2, 3], [lambda T: T]*2])
def test_masses_that_make_no_gas_are_one_line(masses):
    "Among them masses cut off from T: their energy would silently be the one at fixed masses."
    with pytest.raises(ParameterError, match="^masses = ") as caught: thermo.QuasiParticleModel(masses)([.2, .3])
    assert "\n" not in str(caught.value)


def test_masses_may_be_given_in_several_ways():
    T = torch.tensor([.15, .2, .3], dtype=torch.float64)
    forms = (lambda T: 2*T, [lambda T: 2*T]*3, lambda T: [2*T]*3, lambda T: torch.stack([2*T]*3), lambda T: torch.stack([2*T]*3)[None])
    states = [thermo.QuasiParticleModel(masses)(T) for masses in forms]
    for state in states: assert torch.allclose(state.p.reshape(-1), states[0].p, rtol=1e-13) and (state.e/state.p - 3).abs().max() < 1e-12
    assert states[-1].p.shape == (1, 3)
    batch = thermo.QuasiParticleModel(lambda T: [torch.stack([T, 2*T])]*3)(T)
    assert batch.p.shape == (2, 3) and torch.allclose(batch.p[1], states[0].p, rtol=1e-13)
    fixed = thermo.QuasiParticleModel(lambda T: .5)
    assert torch.allclose(fixed(T).e, thermo.QuasiParticleModel(lambda T: torch.full((3, 1), .5))(T).e, rtol=1e-13)
    gas, (p, e) = thermo.QuasiParticleModel(forms[0]), states[0]
    assert torch.allclose(gas.entropy_density(T), (e + p)*T**3, rtol=1e-14)


@pytest.mark.parametrize("ratios", [(1, 1, 1), (3, 1, .5), (1, 9, 1)])
def test_families_of_masses_give_the_same_pressure(ratios):
    m = thermo.equivalent_masses(T50, STATE.p, ratios)
    p = sum(thermo.pressure_over_t4(row/T50, *species) for row, species in zip(m, thermo._SPECIES.values(), strict=True))
    assert np.allclose(p, STATE.p, atol=1e-12) and (m > 0).all()
    with pytest.raises(ParameterError): thermo.equivalent_masses([-.2], [1], ratios)
    for bad in ((0, 1, 1), (-1, 1, 1), (1, 1)):
        with pytest.raises(ParameterError): thermo.equivalent_masses(T50, STATE.p, bad)


def test_lattice_table_with_and_without_the_data(monkeypatch):
    monkeypatch.delenv("SYMBREAK_DATA", raising=False)
    assert thermo.lattice_table() == {}


def test_lattice_table_lies_on_the_parametrization():
    table = thermo.lattice_table()
    if not table: pytest.skip("the lattice table is not in $SYMBREAK_DATA")
    assert len(table["T"]) == 55 and abs(thermo.hotqcd(table["T"]).e - table["e_T4"]).max() < .06
