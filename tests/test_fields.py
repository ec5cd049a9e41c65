"The potential, the lattice and its Monte Carlo against closed forms, and what the section refuses."
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb.fields import (
    CLAIMS,
    PARAMETERS,
    _cold_limit,
    _descend,
    _fitted_mass2,
    _free_field,
    _log_slope,
    _numerical_eta_c,
    _slips,
    _spectra,
    _transition,
    blocked,
    check_parameters,
    free_propagator,
    plan_units,
    potential,
    vacuum,
)
from symbreak_nb.hybrid_montecarlo import _round_trip, hmc
from symbreak_nb.run import ParameterError, Run

positive = st.floats(0.1, 5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), positive, positive, st.floats(0, 12), st.integers(0, 100))
def test_the_potential_is_invariant_and_nowhere_below_its_minimum(n, mu, lam, eta, seed):
    rng = np.random.default_rng(seed)
    w, Q = rng.normal(size=(20, n))*mu/np.sqrt(lam), np.linalg.qr(rng.normal(size=(n, n)))[0]
    V, ground = potential(w, eta, mu, lam), vacuum(eta, mu, lam, n)
    assert np.allclose(potential(w @ Q, eta, mu, lam), V, rtol=1e-10, atol=1e-10*mu**4/lam)
    assert (V >= ground.v_min - 1e-10*mu**4/lam).all()
    at = potential(ground.w_star*Q[0], eta, mu, lam)
    assert np.isclose(at, ground.v_min, rtol=1e-10, atol=1e-12*mu**4/lam)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 6), positive, positive, st.floats(0, 2), st.integers(0, 9))
def test_a_descent_finds_the_closed_form(n, mu, lam, ratio, seed):
    if abs(ratio - 1) < .05: ratio += .1   # at eta_c the minimum is quartic, and a descent is slow
    eta = ratio*2*mu/np.sqrt(lam)
    found, ground = _descend(eta, mu, lam, n, seed), vacuum(eta, mu, lam, n)
    assert abs(np.linalg.norm(found["w"]) - ground.w_star) < 1e-8*mu/np.sqrt(lam)
    wanted = np.r_[np.full(n - 1, ground.pi_mass2), ground.sigma_mass2]
    assert np.allclose(found["eigenvalues"], wanted, atol=1e-7*mu**2)
    assert abs(found["value"] - ground.v_min) < 1e-10*max(1, mu**4/lam)
    assert (np.abs(found["eigenvalues"]) < 1e-7*mu**2).sum() == ground.n_goldstone


@pytest.mark.parametrize("mu, lam", [(1.0, 1.0), (0.3, 4.0), (7.0, 0.02)])
def test_the_curvature_at_the_origin_changes_sign_at_eta_c(mu, lam):
    assert _numerical_eta_c(mu, lam) == pytest.approx(vacuum(0.0, mu, lam).eta_c, rel=1e-12)


@pytest.mark.parametrize("mu, lam, eta, n", [(1.3, 0.6, 0.9, 4), (0.2, 7.0, 0.05, 1), (3.0, 2.0, 10.0, 3), (0.0, 1.0, 0.0, 2)])
def test_closed_forms(mu, lam, eta, n):
    m2, v = -mu**2 + lam*eta**2/4, vacuum(eta, mu, lam, n)
    assert v.eta_c == pytest.approx(2*mu/lam**.5, rel=1e-14)
    if m2 < 0:
        assert (v.w_star, v.v_min, v.sigma_mass2, v.n_goldstone) == pytest.approx(((-m2/lam)**.5, -m2**2/4/lam, -2*m2, n - 1), rel=1e-13)
    else: assert (v.w_star, v.v_min, v.sigma_mass2, v.pi_mass2, v.n_goldstone) == pytest.approx((0, 0, m2, m2, 0), rel=1e-13)


@pytest.mark.parametrize("mu", [1.0, 0.3, 1.7])
def test_the_critical_point_itself_is_symmetric(mu):
    v = vacuum(2*mu/0.7**.5, mu, 0.7, 3)
    assert (v.w_star, v.v_min, v.sigma_mass2, v.n_goldstone) == (0, 0, 0, 0)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_leapfrog_is_reversible(dimension, n): assert _round_trip(dimension, n, 0.1, seed=7)["distance"] < 1e-12


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("L, dimension, mass2", [(5, 3, 0.5), (9, 2, 0.05), (2, 4, 3.0), (16, 1, 0.3)])
def test_the_free_field(seed, L, dimension, mass2):
    found, exact = _free_field(L, dimension, mass2, 300, None, seed, "cpu"), free_propagator(L, dimension, mass2)
    phi2 = blocked(found["phi2"])
    assert abs(phi2.value - exact.mean()) < 4*phi2.error, (phi2, exact.mean())
    assert phi2.error < 0.05*exact.mean()
    assert abs(blocked(found["exp_dh"]).value - 1) < 4.5*blocked(found["exp_dh"]).error
    axis = exact.reshape(L, -1)[:L//2 + 1, 0]
    spectrum = found["spectrum"][:, 0]                  # one component: all of it is along the magnetisation
    error = spectrum.std(0, ddof=1)/len(spectrum)**.5
    assert (np.abs(spectrum.mean(0) - axis) < 5.5*error).all()


def chain_of_three(temperature, m2, lam):
    "<phi^2> of one component on a ring of three sites, by quadrature: trace of the transfer matrix."
    x = np.linspace(-6, 6, 601)
    half = (m2/2*x**2 + lam/4*x**4)/2
    K = np.exp(-((x[:, None] - x)**2/2 + half[:, None] + half)/temperature)
    cube = np.linalg.matrix_power(K, 3)
    return float((np.diag(cube)*x**2).sum()/np.trace(cube))


@pytest.mark.parametrize("seed", range(3))
def test_an_interacting_chain_against_quadrature(seed):
    found = hmc([0.4, 1.5], 3, 1, 1, -1.0, 1.0, chains=64, samples=400, seed=seed)
    for k, T in enumerate((0.4, 1.5)):
        phi2, virial = blocked(found["phi2"][k]), blocked(found["virial"][k])
        assert abs(phi2.value - chain_of_three(T, -1.0, 1.0)) < 4*phi2.error
        assert abs(virial.value - T) < 4*virial.error


@pytest.mark.parametrize("dimension, n", [(2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3)])
def test_exact_identities_of_every_model(dimension, n):
    found = hmc([0.3, 1.0], 5, dimension, n, chains=16, samples=150, seed=n)
    for k, T in enumerate((0.3, 1.0)):
        for series, wanted in ((found["virial"][k], n*T), (found["exp_dh"][k], 1)):
            assert abs((e := blocked(series)).value - wanted) < 4.5*e.error, (T, e, wanted)


def test_cold_fields_follow_the_potential():
    found = hmc([1e-4], 4, 3, 3, m2=-1.7, lam=0.6, chains=8, samples=100, seed=1)
    assert found["order"].mean() == pytest.approx(vacuum(0.0, 1.7**.5, 0.6, 3).w_star, rel=1e-3)


def test_masses_of_known_spectra():
    k2 = 4*np.sin(np.pi*np.arange(7)/12)**2
    rng = np.random.default_rng(0)
    for m2 in (0.0, 0.4): assert _fitted_mass2(0.3/(1.2*(k2 + m2 + 1e-30))[None], 0.3, 12) == pytest.approx(m2, abs=1e-12)
    assert _log_slope(1/(k2 + 1e-30)[None], 12) == pytest.approx(-1)
    masses = [2 - T + T*T/3 for T in (0.05, 0.1, 0.2, 0.4)]
    cold = np.stack([T/(k2 + m)[None].repeat(4, 0) for T, m in zip((0.05, 0.1, 0.2, 0.4), masses, strict=True)], 1)
    assert _cold_limit(cold + 0*rng.normal(size=cold.shape), 12) == pytest.approx(2, abs=1e-9)


def test_pions_are_lighter_than_the_paper_says():
    found = _spectra(6, 16, 150, seed=3, device="cpu")
    pion, sigma = (np.array([_fitted_mass2(s[:, k], T, 6) for s, T in zip(found["spectrum"][3:6], (0.4, 0.6, 0.9), strict=True)])
                   for k in (1, 0))
    assert (np.abs(pion) < 0.15).all() and (sigma > 0.3).all()


@pytest.mark.parametrize("model, L, low, high", [
    ("3D N=1", 4, 0.4255, 0.5055), ("3D N=2", 4, 0.5456, 0.6256), ("3D N=3", 4, 0.5802, 0.6602),
    ("2D N=1", 12, 0.52, 0.6107)])   # a weak coupling: the cumulant rises to 0.6107 with the side
def test_cumulants_at_published_critical_points(model, L, low, high):
    found = _transition(model, L, [1.0], 32, 200, 5, "cpu")
    assert low < 1 - found["q4"].mean()/(3*found["q2"].mean()**2) < high
    assert found["virial"].max() < 4.5 and found["exp_dh"].max() < 4.5


def test_every_slip_is_one():
    for place, _, paper, _, right, measured in _slips(4):
        assert measured == pytest.approx(right, rel=1e-3), place
        assert abs(measured - paper) > 0.05*abs(measured), place


def test_the_same_seed_gives_the_same_chains(one_thread):
    one, two, other = (hmc([0.7], 3, 2, 2, chains=4, samples=20, seed=s)["order"] for s in (1, 1, 2))
    assert (one == two).all() and (one != other).any()


@pytest.mark.parametrize("options, message", [
    (dict(step_size=1.9), "step_size = 1.9: allowed is a smaller one: 0% of the proposals were accepted"),
    (dict(lam=0.0), "lam = 0.0: allowed is above 0 at m2 = -1"), (dict(lam=0.0, m2=0.0), "no minimum"), (dict(lam=-1.0), "lam = -1.0"),
    (dict(n_components=0), "n_components = 0: allowed is an integer of at least 1"), (dict(temperature=[]), "temperature"),
    (dict(temperature=[-1.0]), "above 0"), (dict(lattice_size=1), "at least 2"), (dict(chains=0), "at least 1"),
    (dict(step_size=0.0), "above 0"), (dict(dimension=0), "at least 1"), (dict(samples=0), "at least 1")])
def test_what_no_chain_can_sample(options, message):
    with pytest.raises(ParameterError, match=message): hmc(**dict(temperature=[1.0], lattice_size=4, samples=30) | options)


@pytest.mark.parametrize("call, message", [
    (lambda: vacuum(1.0, lam=0.0), "lam = 0.0: .*no minimum"), (lambda: vacuum(1.0, n_components=0), "at least 1"),
    (lambda: vacuum(1.0, mu=-1.0), "mu = -1.0"), (lambda: vacuum(float("nan")), "eta = nan"),
    (lambda: potential(np.zeros((3, 0)), 1.0), "N >= 1"), (lambda: free_propagator(4, 2, 0.0), "above 0"),
    (lambda: free_propagator(0, 2, 1.0), "at least 1")])
def test_one_line_for_what_has_no_answer(call, message):
    with pytest.raises(ParameterError, match=message): call()


@pytest.mark.parametrize("name, value", [("lam", 0.0), ("n_components", 0), ("n_components", 2.0), ("mu", -1.0), ("eta", float("nan")),
                                         ("mass2", 0.0), ("lattice_size", 1), ("dimension", 5), ("step_size", 0.0), ("step_size", 5)])
def test_a_run_refuses_before_any_work(name, value, tmp_path):
    with pytest.raises(ParameterError, match=name): Run(PARAMETERS, {"profile": "smoke", "out_dir": tmp_path/"out", name: value})
    assert not (tmp_path/"out").exists()


def test_two_parameters_limit_each_other():
    smoke = PARAMETERS["smoke"]
    check_parameters(smoke)
    check_parameters(smoke | dict(lattice_size=32, step_size=0.1))
    with pytest.raises(ParameterError, match="lattice_size = 33: allowed is at most 32 in 3"):
        check_parameters(smoke | dict(lattice_size=33))
    with pytest.raises(ParameterError, match="step_size = 0.6"): check_parameters(smoke | dict(step_size=0.6))


def test_a_run_goes_on_where_it_stopped(tmp_path):
    arguments = dict(lattice_size=4, dimension=2, mass2=1.0, samples=40, step_size=None, seed=0, device="cpu")
    first = Run(PARAMETERS, dict(profile="smoke", out_dir=tmp_path)).unit(_free_field, **arguments)
    again = Run(PARAMETERS, dict(profile="smoke", out_dir=tmp_path))
    assert (again.unit(_free_field, **arguments)["phi2"] == first["phi2"]).all() and again.counts["reused"] == 1


def test_rules_can_come_out_both_ways():
    from symbreak_nb.claims import verdict
    assert verdict(CLAIMS["fok.pi_mass"].rule, 0.0, (-.1, .1), 16) == "fails"
    assert verdict(CLAIMS["fok.pi_mass"].rule, 1.0, (.9, 1.1), 16) == "holds"
    assert verdict(CLAIMS["fok.goldstone"].rule, 1.0) == "fails"


def test_the_plan_counts_its_units():
    for profile in PARAMETERS:
        units = plan_units(PARAMETERS[profile])
        assert all(unit.flops > 0 and unit.count > 0 for unit in units)
    assert json.dumps([unit.count for unit in units])
    plan_units(PARAMETERS["smoke"])[0].step()


def test_tensors_and_arrays_give_the_same_potential():
    w = np.random.default_rng(0).normal(size=(5, 3))
    assert np.allclose(potential(torch.tensor(w), 0.4).numpy(), potential(w, 0.4))
