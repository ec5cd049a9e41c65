"Noise in oscillator networks: what must not depend on the size, what an estimator must recover, and refusals."
import numpy as np
import pytest
import torch
from symbreak_nb import noise, noise_curves
from symbreak_nb.claims import decided
from symbreak_nb.criticality import synthetic_curves
from symbreak_nb.oscillators import KuramotoNet
from symbreak_nb.run import ParameterError, Run
from symbreak_nb.statistics import Estimate, jackknife, over_seeds
from symbreak_nb.transmogrification import shapes, trained_network

SMALL = dict(channels=4, steps=3, step_size=0.25, padding="circular")


@pytest.fixture(scope="module")
def weights():
    "Digests of untrained networks."
    nets = [KuramotoNet(seed=s, gain=2.0, **SMALL) for s in range(3)]
    return [{f"weights.{k}": v.detach().numpy() for k, v in net.named_parameters()} for net in nets]


@pytest.fixture(scope="module")
def scans(weights):
    "Random images of two sizes under three noises, three networks."
    etas = [0.0, 0.5, 1.0]
    return [[noise_curves.noise_scan(w, "z2", L, etas, 64*32*32//L**2, seed=k, **SMALL) for L in (32, 64)] for k, w in enumerate(weights)]


def test_a_scan_repeats_and_depends_on_its_seed(weights):
    scan = lambda **more: noise_curves.noise_scan(weights[0], "z2", 16, [0.0, 1.0], 5, **(dict(seed=3) | SMALL | more))
    assert np.array_equal(scan()["square"], scan()["square"])
    assert not np.array_equal(scan()["square"][1], scan(seed=4)["square"][1])


def test_matched_content_is_equal_without_noise_and_on_average_with_it(weights):
    jobs = {L: dict(size=L, images=4*(64//L)**2, cell=16, cells=4) for L in (16, 32, 64)}
    found = {L: noise_curves.noise_scan(weights[0], "z2", etas=[0.0, 1.0], seed=1, **job, **SMALL) for L, job in jobs.items()}
    for L in (32, 64):
        assert np.allclose(found[16]["square"][0, :4], found[L]["square"][0, :4], atol=1e-6)
        assert np.isclose(found[16]["square"][1].mean(), found[L]["square"][1].mean(), rtol=0.01)
        assert np.array_equal(found[16]["density"][:4], found[L]["density"][:4])


def test_sizes_that_no_cell_fills_are_refused(weights):
    with pytest.raises(ParameterError, match="multiples of the cell, 16 pixels"):
        noise_curves.noise_scan(weights[0], "z2", 40, [0.0], 2, seed=0, cell=16, **SMALL)


@pytest.mark.parametrize("seed", range(3))
def test_moving_both_images_changes_no_error(seed):
    output, target = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed)), shapes(2, 16, seed)[1][..., :8, :8]
    found = noise_curves._pixel_errors(output, target)
    assert torch.allclose(found["moved"], found["square"], rtol=1e-12)
    assert torch.allclose(noise_curves._pixel_errors(3*output + 1, target)["stretched"], found["stretched"])
    assert (found["clipped"] <= found["square"] + 1e-12).all()


def test_the_error_with_another_bias_is_exact(scans, weights):
    net = trained_network(weights[0], **SMALL)
    images, target = shapes(len(scans[0][0]["density"]), 32, [0, 32])
    changed = noise._with_bias(scans[:1], 0.2, [net.readout_bias.item()])[0][0]["square"][0]
    net.readout_bias.fill_(0.2)
    assert np.allclose(changed, ((net(images) - target)**2).mean((1, 2, 3)).numpy(), atol=1e-5)


def test_when_only_the_bias_is_left_its_sign_orders_the_densities(weights):
    "Noise that wipes the states out: the error is (b + 1/2)^2 + variance - 2 b (share of shape pixels)."
    found = noise_curves.noise_scan(weights[0], "z2", 32, [60.0], 200, seed=5, **SMALL)
    bias = weights[0]["weights.readout_bias"][0]
    target = shapes(200, 32, [5, 32])[1]
    slope = np.polyfit((target > 0).double().mean((1, 2, 3)).numpy(), found["square"][0], 1)[0]
    assert np.isclose(slope, -2*bias, atol=0.15*abs(bias) + 0.02)


def test_kicks_of_two_conventions_are_the_same(weights):
    scan = lambda eta, name: noise_curves.noise_scan(weights[1], "z2", 16, [eta], 8, seed=2, noise_convention=name, **SMALL)["square"]
    assert np.allclose(scan(0.8, "inside"), scan(0.4, "sqrt"), atol=1e-5)


def test_control_variate_removes_the_density_and_no_more():
    rng, slopes, means = np.random.default_rng(0), [], [1.5, 1.1]
    for _ in range(200):
        density = [rng.uniform(1, 2, 20), rng.uniform(0.2, 2, 5)]
        values = [(1 + 0.3*k + 2*d + 0.05*rng.normal(size=d.size))[None] for k, d in enumerate(density)]
        mean, slope = noise_curves.adjusted_means(values, density, means)
        slopes.append([*mean[:, 0], slope[0]])
    assert np.allclose(np.mean(slopes, 0), [1 + 2*1.5, 1.3 + 2*1.1, 2], atol=0.02)
    assert np.std(slopes, 0).max() < 0.1


def test_strength_is_blind_to_direction_and_to_units():
    eta = np.linspace(0, 1, 15)
    crossed = np.array([1 + eta + 0.1*k*(eta - 0.5) for k in range(3)])
    strength = noise_curves.crossing_strength(crossed, [8, 16, 32])
    assert strength > 0.01
    assert np.isclose(noise_curves.crossing_strength(7*crossed, [8, 16, 32]), strength)
    assert np.isclose(noise_curves.crossing_strength(crossed[::-1], [8, 16, 32]), strength)
    assert noise_curves.crossing_strength(np.array([1 + eta - 0.1*k for k in range(3)]), [8, 16, 32]) < -0.01
    assert noise_curves.crossing_strength(np.array([1 + eta]*3), [8, 16, 32]) == 0


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_collapse_finds_the_exponent_that_was_put_in(alpha):
    found = []
    for seed in range(4):
        x = 5 + np.linspace(-4, 4, 15)/64**alpha
        y = synthetic_curves(x, [32, 64, 96], 5.0, alpha, 0.004, seed=seed)
        found.append(noise._collapse(x, y, [32, 64, 96], np.full(y.shape, 0.004)))
    assert np.allclose(np.array(found)[:, :2], [5, alpha], atol=0.12)
    assert np.all(np.array(found)[:, 2] < 3)


def test_collapse_of_equal_curves_wants_no_scaling():
    x = np.linspace(0, 2, 11)
    y = 0.3 + 0.1*np.tanh(x)*np.ones((3, 1)) + 0.001*np.random.default_rng(0).normal(size=(3, 11))
    error = np.full(y.shape, 0.001)
    assert abs(noise._collapse(x, y, [32, 64, 96], error)[1]) < 0.05
    assert noise._quality_at(0.0, x, y, [32, 64, 96], error)[0] < noise._quality_at(0.3, x, y, [32, 64, 96], error)[0]/10


def test_redrawn_curves_scatter_around_the_curves(scans):
    means = [noise_curves.expected_density(L) for L in (32, 64)]
    draws = noise_curves.redrawn_curves(scans, means, 30, seed=0)
    assert draws.shape == (30, 2, 3)
    assert (np.abs(draws.mean(0) - noise_curves.rmse_curves(scans, means)) < 4*draws.std(0)/np.sqrt(30) + 0.01).all()
    assert (noise_curves.size_errors(draws) > 0).all()
    with pytest.raises(ParameterError, match="reading"): noise_curves.rmse_curves(scans, means, "median")


def test_half_noise_is_where_half_of_the_rise_is():
    assert np.isclose(noise_curves.half_noise([0, 1, 2], np.array([1., 1., 3.])), 1.5)
    assert np.isclose(noise_curves.half_noise([0, 1, 2, 3], np.array([1., 2., 3., 2.])), 1.0)
    assert noise_curves.half_noise([0, 1, 2], np.array([3., 2., 1.])) == 2


def test_uniform_images_keep_their_state_without_noise_and_lose_it_with_much(weights):
    found = noise_curves.background_scan(weights[0], 12, [0.0, 60.0], 6, 3, seed=0, **SMALL)
    assert np.allclose(found["overlap"][0], 1, atol=1e-4) and (found["walls"][0] == 0).all()
    assert (np.abs(found["overlap"][1]) < 0.5).all() and (found["walls"][1] > 0.5).all()


def test_a_killed_scan_goes_on(tmp_path, weights):
    jobs = [dict(weights=w, arm="z2", size=L, etas=[0.0, 0.5], images=2, seed=0, **SMALL) for w in weights[:2] for L in (16, 24)]
    first = Run(noise.PARAMETERS, dict(profile="smoke", out_dir=tmp_path))
    first.units(noise_curves.noise_scan, jobs[:3])
    again = Run(noise.PARAMETERS, dict(profile="smoke", out_dir=tmp_path))
    found = again.units(noise_curves.noise_scan, jobs)
    assert again.counts["reused"] == 3 and again.counts["computed"] == 1
    assert np.allclose(found[0]["square"], noise_curves.noise_scan(**jobs[0])["square"], rtol=1e-4, atol=1e-6)


def test_the_plan_lists_noisy_steps():
    *_, unit = noise.plan_units(noise.PARAMETERS["smoke"] | dict(channels=4))
    unit.step()
    assert unit.count > 0 and unit.flops > 0 and unit.memory_bytes > 0
    *_, larger = noise.plan_units(noise.PARAMETERS["paper"] | dict(channels=16))
    assert larger.count*larger.flops > 1000*unit.count*unit.flops


@pytest.mark.parametrize("change, words", [
    (dict(curves=np.full((3, 9), np.nan)), "curves"), (dict(error=np.zeros((3, 9))), "error"), (dict(sizes=[16, 16, 16]), "sizes"),
    (dict(etas=np.zeros(9)), "etas"), (dict(etas=np.linspace(1, 0, 9)), "etas"), (dict(etas=np.ones((3, 9))), "etas"),
    (dict(error=np.ones((2, 9))), "error")])
def test_a_collapse_of_nothing_is_refused(change, words):
    good = dict(etas=np.linspace(0, 1, 9), curves=np.tile(np.linspace(1, 2, 9), (3, 1)), sizes=[16, 32, 64], error=np.ones((3, 9)))
    assert np.isfinite(noise._collapse(**good)).all()
    with pytest.raises(ParameterError, match=words): noise._collapse(**(good | change))


def test_each_network_is_divided_by_its_own_density():
    make = lambda density: [dict(density=np.full(4, density), square=np.full((2, 4), 0.1))]*2
    pair = noise_curves.rmse_curves([make(1.0), make(4.0)], None, "relative to the target")
    assert np.allclose(pair**2, (0.1 + 0.025)/2)
    assert np.allclose(pair, noise_curves.rmse_curves([make(4.0), make(1.0)], None, "relative to the target"))


def test_the_jackknife_of_a_mean_is_the_interval_of_a_mean():
    values = np.random.default_rng(3).normal(size=7)
    found = jackknife(values.mean(), [np.delete(values, k).mean() for k in range(7)])
    assert np.allclose(found.interval, over_seeds(values).interval)


def test_a_cell_without_a_side_is_refused():
    with pytest.raises(ParameterError, match="cell = 0") as refused: noise_curves.tiled_images(1, 0, 16, 0)
    assert "\n" not in str(refused.value)


# ---- premises, and the order parameter

def measured(value, n=6): return Estimate(value, (value - 0.001, value + 0.001), n, error=0.0005)


@pytest.mark.parametrize("broken", [dict(solved=0.9), dict(transition=-0.02), dict(collapse=6.0)], ids=str)
def test_no_exponent_is_judged_without_its_premises(broken):
    good = dict(solved=0.1, transition=0.05, collapse=1.0)
    rows = [decided(noise.CLAIMS["iqbal.fig7.exponent"], measured(0.3), "quick", **{
        k: v if k == "collapse" else measured(v) for k, v in (good | change).items()}) for change in ({}, broken)]
    assert [row["verdict"] for row in rows] == ["holds", "inconclusive"]
    assert rows[1]["reason"].startswith("premise not met")


@pytest.mark.parametrize("id", ["iqbal.fig10.not_ising", "iqbal.fig11.no_crossing"])
def test_a_contrast_is_asked_of_the_symmetric_networks(id):
    value = 5.0 if "ising" in id else -0.02
    rows = [decided(noise.CLAIMS[id], measured(value), "quick", solved=measured(0.1), transition=measured(strength))
            for strength in (0.05, -0.05)]
    assert [row["verdict"] for row in rows] == ["holds", "inconclusive"]


def test_pixel_values_can_come_out_both_ways():
    claim = noise.CLAIMS["iqbal.a3.pixel_values"]
    assert [decided(claim, measured(v), "quick", solved=measured(0.1))["verdict"] for v in (0.02, -0.02)] == ["holds", "fails"]
    assert noise.CLAIMS["iqbal.a3.identity.pixel_values"].kind == "identity"


def test_copies_agree_without_noise_and_not_with_much(weights):
    scan = lambda etas, **more: noise_curves.replica_overlap(weights[0], "z2", 16, etas, 3, 6, 4, seed=0, **(SMALL | more))["overlap"]
    assert np.allclose(scan([0.0]), 1, atol=1e-5) and (np.abs(scan([60.0])) < 0.2).all()
    weak, strong = scan([0.5, 2.0]).mean(1)
    assert 0 < strong < weak < 1
    assert scan([0.5], noise_convention="after").mean() < weak
    with pytest.raises(ParameterError, match="replicas = 1"): noise_curves.replica_overlap(weights[0], "z2", 16, [0.0], 1, 1, 2, 0, **SMALL)


@pytest.mark.parametrize("points", [6, 13, 33])
def test_a_grid_of_noise_holds_the_papers_two(points):
    etas = noise_curves.noise_grid(4.8, points)
    assert len(etas) == points and etas[0] == 0 and etas[-1] == 4.8 and set(noise_curves.PAPERS_NOISE) <= set(etas)
    assert np.allclose(np.diff(np.log(etas[3:])), np.log(30)/(points - 4), atol=1e-4)
