"""Problems, their references, and DeepXDE's view of them."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("deepxde", reason="the extra `pinns` is not installed")
pytest.importorskip("skfem", reason="the extra `pinns` is not installed")

from symbreak_nb import pde_elements as elements
from symbreak_nb import pde_references as references
from symbreak_nb import pde_streams as streams
from symbreak_nb import pdes
from symbreak_nb.checks import ParameterError, RunError
from symbreak_nb.pde_problems import AutogradFields, Ball, Block, Domain, boundary_points, load_deepxde
from symbreak_nb.pdes import PROBLEMS, collapse, expand, problem

BOTH = [(name, published) for name in PROBLEMS for published in (False, True)]
CLOSED = ("wave_1d", "wave_long_2d", "heat_nd", "poisson_nd", "heat_multiscale_2d")


@pytest.fixture(autouse=True)
def double():
    dde = load_deepxde()
    before = dde.config.real(np)
    dde.config.set_default_float("float64")
    yield dde
    dde.config.set_default_float(np.dtype(before).name)
    dde.grad.clear()


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMBREAK_CACHE", str(tmp_path))
    return tmp_path


class Net(torch.nn.Module):
    "A small tanh network that DeepXDE's data object can be asked with."

    def __init__(self, p):
        super().__init__()
        torch.manual_seed(3)
        sizes = [len(p.inputs), 11, 9, len(p.outputs)]
        layers = [part for a, b in zip(sizes, sizes[1:], strict=False) for part in (torch.nn.Linear(a, b), torch.nn.Tanh())]
        self.body = torch.nn.Sequential(*layers[:-1]).double()

    def forward(self, x): return self.body(x)


def term_losses(p, net, seed, n):
    "Mean squared residuals of equations and terms, without DeepXDE's data object."
    points, found = p.points(seed, n), []
    x = torch.from_numpy(points["residual"]).requires_grad_()
    found += [(r**2).mean() for r in p.residuals(p.quantities(points["residual"]), AutogradFields(p, x, net(x)))]
    for label, term in zip(p.labels, p.terms, strict=True):
        x = torch.from_numpy(points[label]).requires_grad_()
        found.append((term.residual(p.quantities(points[label], term), AutogradFields(p, x, net(x)))**2).mean())
    return torch.stack(found)


@pytest.mark.parametrize("name, published", BOTH)
def test_deepxde_and_the_definition_give_the_same_losses(name, published):
    p = problem(name, published)
    net, data = Net(p), problem(name, published).dde(seed=5, n=120)
    net.auxiliary_vars = None if data.train_aux_vars is None else torch.from_numpy(data.train_aux_vars)
    x = torch.from_numpy(data.train_x).requires_grad_()
    theirs = data.losses(None, net(x), lambda zero, error: (error**2).mean(), x, type("M", (), dict(net=net)))
    mine = term_losses(p, net, 5, 120)
    assert torch.allclose(torch.stack(theirs), mine, rtol=1e-12, atol=1e-14)
    a = torch.autograd.grad(sum(theirs), list(net.parameters()))
    b = torch.autograd.grad(mine.sum(), list(net.parameters()))
    scale = max(g.abs().max() for g in b)
    assert all((g - h).abs().max() <= 1e-11*scale for g, h in zip(a, b, strict=True))


def test_deepxde_trains_a_problem_as_it_is(double):
    p = PROBLEMS["heat_varying_2d"]
    model = double.Model(p.dde(seed=1, n=64), double.nn.FNN([3, 8, 1], "tanh", "Glorot normal"))
    model.compile("adam", lr=1e-2, verbose=0)
    history, _ = model.train(iterations=20, display_every=10, verbose=0)
    assert np.sum(history.loss_train[-1]) < np.sum(history.loss_train[0])


@pytest.mark.parametrize("name, published", BOTH)
def test_points_lie_in_the_domain_and_terms_find_theirs(name, published):
    p = problem(name, published)
    points = p.points(seed=2, counts=200)
    assert all(p.contains(x).all() and len(x) for x in points.values())
    assert p.contains(p.evaluation(50)).all() and p.evaluation(50).shape == (50, len(p.inputs))
    again, other = p.points(seed=2, counts=200)["residual"], p.points(seed=3, counts=200)["residual"]
    assert (again == points["residual"]).all() and (other != again).any()


def test_counts_are_the_benchmarks():
    assert tuple(PROBLEMS["burgers_1d"].counts) == (8192, 2048, 2048, 8192)
    assert tuple(PROBLEMS["gray_scott"].counts) == (32768, 8192, 8192, 32768)
    assert tuple(PROBLEMS["ns_lid_2d"].counts) == (8192, 2048, 0, 8192)
    assert len(PROBLEMS["poisson_nd"].points(0, dict(domain=10, boundary=7))["residual"]) == 17


@pytest.mark.parametrize("space, holes", [(Block((0., 0.), (2., 1.)), (Ball((1., 0.5), 0.25),)), (Ball((0.,)*5, 1.), ()),
                                          (Block((0.,)*3, (1.,)*3), (Ball((0.5,)*3, 0.3),))])
def test_boundary_points_are_uniform_and_normals_point_outward(space, holes):
    domain = Domain(space, holes=holes)
    x = boundary_points(domain, 2000, 1)
    share = (domain.pieces(x) == 0).mean()
    assert abs(share - space.measure/(space.measure + sum(h.measure for h in holes))) < 0.02
    normal = domain.normals(x)
    assert np.allclose(np.linalg.norm(normal, axis=1), 1)
    assert domain.contains(x - 1e-3*normal, 0).mean() > 0.99 and domain.contains(x + 1e-3*normal, 0).mean() < 0.01


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_satisfy_their_terms(name):
    p = PROBLEMS[name]
    for label, term in zip(p.labels, p.terms, strict=True):
        if term.kind not in ("dirichlet", "initial"): continue
        points = p.points(0, 300)[label]
        wanted = np.broadcast_to(np.asarray(term.right(p.quantities(points))), len(points))
        assert np.allclose(p.reference(points)[:, 0], wanted, atol=1e-9*max(1, np.abs(wanted).max()))


def test_long_wave_solves_its_own_equation_and_not_the_published_one():
    def wave(x): return pdes._wave_long_value(dict(zip("xyt", x.T, strict=True)))[:, None]
    points = problem("wave_long_2d").evaluation(200)
    scale = 2*np.pi**2*np.abs(problem("wave_long_2d").reference(points)).max()
    assert pdes.residual_size(problem("wave_long_2d"), wave, points) < 1e-12*scale
    assert pdes.residual_size(problem("wave_long_2d", True), wave, points) == pytest.approx(scale, rel=1e-9)


def test_coefficients_have_the_gradient_that_the_residual_uses():
    x, step = np.random.default_rng(0).uniform(0.1, 0.9, (20, 2)), 1e-6
    found = pdes.heat_coefficient(x)
    for k, name in enumerate(("a_x", "a_y")):
        shift = step*np.eye(2)[k]
        slope = (pdes.heat_coefficient(x + shift)["a"] - pdes.heat_coefficient(x - shift)["a"])/(2*step)
        assert np.allclose(slope, found[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["poisson_classic_2d", "poisson_many_area_2d", "kuramoto_sivashinsky", "burgers_2d",
                                  "poisson_boltzmann_2d", "heat_varying_2d", "wave_heterogeneous_2d", "ns_lid_2d", "ns_long_2d",
                                  "gray_scott", "burgers_1d", *CLOSED])
def test_two_resolutions_of_a_reference_differ_by_less_than_its_target(name, fresh_cache):
    p = PROBLEMS[name]
    assert p.reference_error < pdes._TARGETS[name]
    if name not in pdes._SOLVERS: return
    (file,) = fresh_cache.glob(f"pdes/{name}-*.npz")
    references.unpack(file)
    if name != "poisson_classic_2d": return
    points, before = p.evaluation(20), p.reference(p.evaluation(20))
    content = bytearray(file.read_bytes())
    content[len(content)//2] ^= 255
    file.write_bytes(content)
    references._TABLES.clear()
    assert np.allclose(p.reference(points), before)  # a damaged file is computed again
    references.unpack(file)


def test_every_problem_has_a_reference_and_a_target():
    assert set(pdes._TARGETS) == set(PROBLEMS) and all(p.solution and p.method for p in PROBLEMS.values())
    assert set(pdes._SOLVERS) | set(CLOSED) | {"burgers_1d"} == set(PROBLEMS)


def test_two_solvers_agree_on_the_cavity():
    def wall(x, y): return 4*x*(1 - x)*(y > 1 - 1e-9), 0*x, x > -1, x > -1
    lines = elements.clustered((0., 1., 16, True, True))
    squares = elements.cell_interpolant(elements.steady_flow(lines, lines, None, wall, 0.01))
    splines = references.grid_interpolant(streams.lid_flow(lambda x: 4*x*(1 - x), 0.01, streams.graded(1., 20, 2.5)))
    points = PROBLEMS["ns_lid_2d"].evaluation(500)
    a, b = squares(points), splines(points)
    assert all(references.relative_l2(a[:, k], b[:, k]) < bound for k, bound in enumerate((5e-3, 5e-3, 4e-2)))


def test_the_pulsed_channel_solves_its_equations_and_terms():
    "By central differences, whose own error is of order h^2; the smallest term, viscosity in v, has a tenth of the largest one."
    solved, rng, h, eye = PROBLEMS["ns_long_2d"].reference, np.random.default_rng(1), 4e-3, np.eye(3)
    x = np.column_stack([rng.uniform(0.3, 1.7, 200), rng.uniform(0.2, 0.8, 200), rng.uniform(0.3, 4.7, 200)])
    w, first, second = solved(x), [], []
    for k in range(3):
        up, down = solved(x + h*eye[k]), solved(x - h*eye[k])
        first.append((up - down)/(2*h)); second.append((up - 2*w + down)/h**2)
    (wx, wy, wt), force = first, np.prod(np.sin(np.pi*x), axis=1)
    for k in (0, 1):
        terms = [wt[:, k], w[:, 0]*wx[:, k] + w[:, 1]*wy[:, k], first[k][:, 2], -0.01*(second[0] + second[1])[:, k], force]
        assert np.linalg.norm(sum(terms)) < 0.005*max(np.linalg.norm(v) for v in terms)
    assert np.linalg.norm(wx[:, 0] + wy[:, 1]) < 1e-3*np.linalg.norm(wx[:, 0])
    t, y = np.full(9, 0.3), np.linspace(0, 1, 9)
    inlet, outlet = solved(np.stack([0*y, y, t], 1)), solved(np.stack([0*y + 2, y, t], 1))
    assert np.allclose(inlet[:, :2], np.stack([np.sin(np.pi*y)*pdes._pulse(0.3)[0], 0*y], 1), atol=1e-5)
    assert np.allclose(outlet[:, 1:], 0, atol=1e-5)


def test_published_flows_lack_the_second_condition_at_the_outlet():
    for name in ("ns_back_step_2d", "ns_long_2d"):
        p, old = problem(name), problem(name, True)
        end = p.domain.box[0, 1]
        there = np.array([[end, 0.5, 1.][:len(p.inputs)]])
        held = [{term.output for term in q.terms if not term.initial and term.mask(q.domain, there)[0]} for q in (p, old)]
        assert held == [{"v", "p"}, {"p"}]
    starts = [{term.output for term in problem("ns_long_2d", old).terms if term.initial} for old in (False, True)]
    assert starts == [{"u", "v"}, {"u", "v", "p"}]


def test_chaotic_problems_are_periodic_here_and_without_boundary_terms_as_published():
    for name in ("gray_scott", "kuramoto_sivashinsky"):
        assert {term.kind for term in problem(name).terms} == {"initial", "periodic"} and "periodic" in problem(name).equation
        assert {term.kind for term in problem(name, True).terms} == {"initial"}
    p = problem("kuramoto_sivashinsky")
    t = np.linspace(0, 1, 7)
    ends = [p.reference(np.stack([0*t + x, t], 1)) for x in p.domain.box[0]]
    assert np.allclose(*ends, atol=1e-6)


DATA = Path(os.environ.get("SYMBREAK_DATA", "nowhere"))/"pinnacle"


@pytest.mark.skipif(not DATA.is_dir(), reason="no reference data in $SYMBREAK_DATA")
@pytest.mark.parametrize("name, file, bounds", [
    ("burgers_1d", "burgers1d", [0.0140]), ("poisson_classic_2d", "poisson1_cg_data", [2e-4]),
    ("poisson_boltzmann_2d", "poisson_boltzmann2d", [4e-4]), ("ns_lid_2d", "lid_driven_a4", [4e-4, 4e-4, 2e-3])])
def test_references_agree_with_the_benchmarks_files(name, file, bounds):
    with np.load(DATA/f"{file}.npz") as held: held = {k: held[k].astype(float) for k in held.files}
    if "xy" in held: points, values = held["xy"], held.get("uvp", held.get("u")).reshape(len(held["xy"]), -1)
    else:
        points = np.stack(np.meshgrid(held["x"], held["t"], indexing="ij"), -1).reshape(-1, 2)
        values = held["u"].reshape(-1, 1)
    p = PROBLEMS[name]
    if name == "ns_lid_2d":  # the pressure is singular where the lid meets the walls
        far = (points[:, 1] < 0.97) | (np.abs(points[:, 0] - 0.5) < 0.47)
        points, values = points[far], values[far]
    found = p.reference(points)
    for k, bound in enumerate(bounds): assert references.relative_l2(found[:, k], values[:, k]) < bound
    if name == "burgers_1d": assert references.relative_l2(found[:, 0], values[:, 0]) == pytest.approx(1.33e-2, rel=0.01)


@pytest.mark.skipif(not DATA.is_dir(), reason="no reference data in $SYMBREAK_DATA")
def test_the_varying_heat_file_fits_the_divergence_form_and_not_the_published_one():
    with np.load(DATA/"heat_darcy.npz") as held: xy, t, u = (held[k].astype(float) for k in ("xy", "t", "u"))
    def source(x, y, t): return 200*np.sin(np.pi*x)*np.sin(5*np.pi*y)*np.sin(np.pi*t)
    divergence, published = pdes._form_residuals(xy, t, u, source)
    assert divergence < 0.08 < 0.12 < published


def test_an_expanded_layer_is_a_plain_one():
    x, centre = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0.5, 0., -2.], dtype=torch.float64)
    weight, bias = torch.randn(2, 4, 15, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    plain, shifted = collapse(weight, bias, centre)
    assert torch.allclose(expand(x, centre) @ weight.mT + bias[:, None], x @ plain.mT + shifted[:, None], atol=1e-12)
    assert expand(x, centre)[0, :5].tolist() == [x[0, 0], 0.5, x[0, 0], 0.5, x[0, 0]]


def test_bad_input_is_one_line():
    for call, words in ((lambda: problem("nothing"), "problem = 'nothing': allowed is one of burgers_1d"),
                        (lambda: problem("wave_1d").points(counts=0), "counts = 0"),
                        (lambda: problem("wave_1d").points(counts=-3), "counts = -3"),
                        (lambda: problem("wave_1d").points(seed=-1), "seed = -1"),
                        (lambda: problem("wave_1d").points(counts=dict(edge=3)), "allowed is one of domain"),
                        (lambda: problem("wave_1d").reference([[0.5, np.nan]]), "finite numbers"),
                        (lambda: problem("poisson_classic_2d").reference([[0.3, 0.3]]), "1 of 1 outside"),
                        (lambda: problem("heat_nd").reference([[1.]*5 + [0.]]), "1 of 1 outside"),
                        (lambda: problem("ns_back_step_2d").reference([[1., 1.5]]), "outside")):
        with pytest.raises(ParameterError, match=words) as caught: call()
        assert "\n" not in str(caught.value)


def test_another_backend_is_refused_in_one_line():
    code = "from symbreak_nb.pde_problems import load_deepxde; load_deepxde()"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | dict(DDE_BACKEND="jax"), capture_output=True, text=True)
    assert done.returncode and done.stderr.strip().splitlines()[-1].endswith(
        "DDE_BACKEND = 'jax': allowed is 'pytorch', or leave it unset")
    assert issubclass(RunError, Exception)
