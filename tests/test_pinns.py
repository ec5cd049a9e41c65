"Both engines agree on all twenty problems; trainings can stop anywhere; what is wrong is said in one line."
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from symbreak_nb import jets, pinn_training, pinns
from symbreak_nb.checks import ParameterError, RunError
from symbreak_nb.pde_problems import Block, Counts, Domain, Problem, Term
from symbreak_nb.pdes import PROBLEMS
from symbreak_nb.pdes import problem as named
from symbreak_nb.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = dict(width=10, depth=2, counts=40)


def few(problem): return dict(domain=60, boundary=250) | (dict(initial=40) if problem.counts.initial else {})


def networks(problem, arm, seeds, width=16, depth=3):
    "Stacked networks with biases that are not zero."
    layers = jets.views(pinn_training.start(problem, arm, seeds, width, depth),
                        pinn_training.sizes(problem, arm, width, depth))
    g = torch.Generator().manual_seed(5)
    for _, b in layers: b += 0.3*torch.randn(b.shape, generator=g, dtype=b.dtype)
    return layers


def largest_gap(a, b):
    pairs = [(a[0][:, k], b[0][:, k]) for k in range(b[0].shape[1])]
    pairs += [pair for one, two in zip(a[1], b[1], strict=True) for pair in zip(one, two, strict=True)]
    return max(float((x - y).abs().max()/y.abs().max()) for x, y in pairs if float(y.abs().max()) > 0)


@pytest.mark.parametrize("name", PROBLEMS)
def test_engines_agree_on_every_problem(name):
    problem = PROBLEMS[name]
    points = problem.points(11, few(problem))
    for arm in ("raw", "expanded"):
        layers = networks(problem, arm, [3, 4])
        found = [pinns.loss_and_gradient(name, layers, points, engine, arm) for engine in pinns.ENGINES]
        assert found[0][0].shape[1] == found[1][0].shape[1] and largest_gap(*found) < 1e-12


@pytest.mark.parametrize("name", ["burgers_1d", "kuramoto_sivashinsky", "ns_lid_2d", "heat_varying_2d", "wave_long_2d"])
def test_engines_agree_on_the_benchmarks_own_versions_and_at_full_width(name):
    problem = named(name, as_published=True)
    layers = networks(problem, "expanded", [0], 100, 5)
    found = [pinns.loss_and_gradient(problem, layers, problem.points(2, few(problem)), engine, "expanded")
             for engine in pinns.ENGINES]
    assert largest_gap(*found) < 1e-12


def test_engines_agree_in_single_precision():
    problem = PROBLEMS["burgers_1d"]
    layers = [(w.float(), b.float()) for w, b in networks(problem, "raw", [0, 1])]
    one, two = (pinns.loss_and_gradient("burgers_1d", layers, problem.points(0, 60), e) for e in pinns.ENGINES)
    assert one[0].dtype == two[0].dtype == torch.float32 and largest_gap(one, two) < 1e-4
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("arm", pinn_training.ARMS)
def test_engines_train_alike_from_any_state(arm):
    how = dict(width=10, depth=2, counts=40, dtype="float64", every=2)
    problem = PROBLEMS["burgers_1d"]
    state = pinn_training.advance(problem, arm, [0, 7], None, 3, **how)
    found = [pinn_training.advance(problem, arm, [0, 7], state, 5, engine=e, **how) for e in pinns.ENGINES]
    for key in ("theta", "m", "v", "losses"): assert np.allclose(found[0][key], found[1][key], rtol=1e-9, atol=1e-12), key
    assert int(found[0]["step"]) == int(found[1]["step"]) == 8


def test_the_collapse_and_the_twin():
    problem = PROBLEMS["ns_lid_2d"]
    assert pinns._twin_distance("ns_lid_2d", 40, 10, 2, dict(domain=60, boundary=60)) < 1e-3
    how = dict(width=10, depth=2)
    x = problem.evaluation(30)
    values = [pinn_training.predict(problem, arm, pinn_training.start(problem, arm, [0], **how), x, **how)
              for arm in ("expanded", "restarted", "twin")]
    assert np.allclose(values[0], values[1], atol=1e-14) and np.allclose(values[0], values[2], atol=1e-14)


def test_constants_get_no_gradient_where_the_mean_is_zero():
    symmetric = [name for name, one in PROBLEMS.items() if not one.domain.mean.any()]
    assert "poisson_classic_2d" in symmetric
    layers = networks(PROBLEMS[symmetric[0]], "expanded", [0])
    gradient = pinns.loss_and_gradient(symmetric[0], layers, PROBLEMS[symmetric[0]].points(0, few(PROBLEMS[symmetric[0]])),
                                       arm="expanded")[1][0][0]
    assert not gradient[:, 1::5].any() and not gradient[:, 3::5].any() and gradient[:, 0].any()


def test_training_in_pieces_is_training_and_seeds_are_alone():
    how = dict(arm="expanded", dtype="float64", every=3, **SMALL)
    through = pinns.train("wave_1d", seeds=[0, 1], iterations=12, piece=12, **how)
    pieces = pinns.train("wave_1d", seeds=[0, 1], iterations=12, piece=5, **how)
    alone = pinns.train("wave_1d", seeds=[1], iterations=12, piece=12, **how)
    assert (through["theta"] == pieces["theta"]).all() and np.allclose(through["theta"][1], alone["theta"][0], atol=1e-12)
    assert through["at"].tolist() == [0, 3, 6, 9] and (through["losses"] == pieces["losses"]).all()


def test_adam_is_torchs():
    g = torch.Generator().manual_seed(0)
    theta = torch.randn(2, 5, generator=g, dtype=torch.float64)
    other, m, v = theta.clone().requires_grad_(), torch.zeros_like(theta), torch.zeros_like(theta)
    optimizer = torch.optim.Adam([other], lr=1e-3)
    for step in range(1, 20):
        gradient = torch.randn(2, 5, generator=g, dtype=torch.float64)
        other.grad = gradient.clone()
        optimizer.step()
        pinn_training._adam(theta, m, v, gradient, step, torch.full((5,), 1e-3, dtype=torch.float64))
    assert torch.allclose(theta, other.detach(), rtol=1e-13)


def test_own_points_differ_between_seeds():
    how = dict(iterations=2, piece=2, dtype="float64", **SMALL)
    shared, own = (pinns.train("burgers_1d", "raw", [0, 5], own_points=flag, **how)["losses"] for flag in (False, True))
    assert np.allclose(shared[0, 0], own[0, 0], rtol=1e-12) and not np.allclose(shared[0, 1], own[0, 1], rtol=1e-6)


def test_a_diverged_seed_is_counted_and_stays():
    result = pinns.train("wave_1d", "raw", [0, 1], iterations=6, piece=3, lr=1e30, **SMALL)
    assert (result["diverged"] > 0).all() and result["theta"].shape[0] == 2
    fine = pinns.train("wave_1d", "raw", [0, 1], iterations=2, piece=2, **SMALL)
    found = pinns.scores("wave_1d", dict(raw=fine, expanded=dict(theta=np.full_like(
        pinn_training.start(PROBLEMS["wave_1d"], "expanded", [0, 1], 10, 2).numpy(), np.nan), diverged=[3, -1])), 50, 10, 2)
    assert found["expanded"]["diverged"].all() and np.allclose(found["expanded"]["mse"], 10*found["raw"]["mse"].max())


def test_a_killed_sweep_loses_only_what_was_in_flight(tmp_path):
    run, jobs = Run(pinns.PARAMETERS, dict(profile="smoke", out_dir=tmp_path)), pinns._jobs(["wave_1d"], ["raw", "expanded"], [0], 1, False)
    how = dict(iterations=9, piece=3, dtype="float64", every=3, **SMALL)
    count = [0]

    def dying(function, grid, desc):
        found = run.units(function, grid, desc)
        count[0] += 1
        if count[0] == 2: raise KeyboardInterrupt
        return found
    with pytest.raises(KeyboardInterrupt): pinns.sweep(dying, jobs, **how)
    assert run.counts == dict(computed=4, reused=0, damaged=0)
    again = pinns.sweep(run.units, jobs, **how)
    assert run.counts == dict(computed=6, reused=4, damaged=0)
    direct = pinns.train("wave_1d", "expanded", [0], **how)
    assert (again[1]["theta"] == direct["theta"]).all() and (again[1]["losses"] == direct["losses"]).all()


def test_lbfgs_goes_on_where_adam_stopped():
    how = dict(iterations=20, piece=20, dtype="float64", **SMALL)
    found = pinns.train("wave_1d", "raw", [0, 1], lbfgs=20, **how)
    assert (found["after"].sum(1) < found["losses"][0].sum(1)).all()
    with pytest.raises(ParameterError, match="float64"): pinns.train("wave_1d", lbfgs=2, **how | dict(dtype="float32"))


def test_what_is_wrong_is_said_in_one_line(monkeypatch):
    one = networks(PROBLEMS["burgers_1d"], "raw", [0])
    points = PROBLEMS["burgers_1d"].points(0, 40)
    for call, message in (
            (lambda: pinns.train("burgers"), "burgers"),
            (lambda: pinns.train("burgers_1d", seeds=[]), "one or more integers"),
            (lambda: pinns.train("burgers_1d", "tripled"), "tripled"),
            (lambda: pinns.train("burgers_1d", engine="jax", iterations=1), "'jets', 'deepxde'|jets"),
            (lambda: pinns.train("burgers_1d", iterations=0), "iterations"),
            (lambda: pinns.loss_and_gradient("burgers_1d", one, [[3.0, 0.5]]), "1 of 1 outside"),
            (lambda: pinns.loss_and_gradient("burgers_1d", one, points, arm="expanded"), "10 features"),
            (lambda: pinns.train("ns_lid_2d", counts=4, iterations=1), "none for the term")):
        with pytest.raises(RunError, match=message) as error: call()
        assert "\n" not in str(error.value)
    for wrong in (dict(n_seeds=0), dict(problems=["burgers"]), dict(engine="jax"), dict(iterations=0)):
        with pytest.raises(ParameterError, match=next(iter(wrong))): Run(pinns.PARAMETERS, wrong)
    def full(*args, **kwargs): raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
    monkeypatch.setattr(jets, "loss_and_gradient", full)
    with pytest.raises(RunError, match="out of memory: take fewer seeds"): pinns.loss_and_gradient("burgers_1d", one, points)


def test_a_wrong_backend_is_refused_before_the_import():
    code = "from symbreak_nb import pinns; pinns.train('burgers_1d', engine='deepxde', iterations=1, counts=40, width=4)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | dict(DDE_BACKEND="jax"), capture_output=True, text=True)
    assert done.returncode and "DDE_BACKEND = 'jax': allowed is 'pytorch'" in done.stderr.strip().splitlines()[-1]


def test_the_share_and_the_ratio_on_known_numbers():
    both = pinns._share_improved(np.array([[-1.0, -1, -1], [1, 1, 1]]), 500)
    assert both.value == 0.5 and both.interval[0] < 0.1 and both.interval[1] > 0.9
    rng = np.random.default_rng(0)
    raw = 10**rng.normal(-2, 0.3, 20)
    errors = dict(raw=dict(mse=raw), expanded=dict(mse=raw/10*10**rng.normal(0, 0.05, 20)))
    found = pinns.log_ratio(errors)
    assert found.interval[0] < -1 < found.interval[1] or abs(found.value + 1) < 0.05
    assert found.p < 1e-4


def test_the_plan_counts_what_a_step_does():
    units = pinns.plan_units(pinns.PARAMETERS["paper"])
    assert [u.name.split(",")[0] for u in units] == list(PROBLEMS)
    total = sum(u.flops*u.count for u in units)
    assert 1e17 < total < 1e19 and all(u.memory_bytes > 0 for u in units)
    small = pinns.plan_units(pinns.PARAMETERS["smoke"])
    small[0].step()


def test_your_turn_runs_as_it_stands(root: Path):
    cells = json.loads((root/"nbs/22_pinns.ipynb").read_text())["cells"]
    source = next("".join(c["source"]) for c in cells if "Helmholtz" in "".join(c["source"]) and c["cell_type"] == "code")
    names = dict(math=math, np=np, torch=torch, **{k: getattr(pinns, k) for k in ("train", "scores", "engine_gap")})
    exec(source, names)
    assert names["engine_gap"](names["mine"]) < 1e-12
    assert all((u["relative"] < 2).all() for u in names["own_errors"].values())
    picture = pinns.field(names["mine"], None, names["own"]["raw"]["theta"][:1], n=9, width=20, depth=2)
    assert picture["prediction"].shape == (9, 9) and np.isfinite(picture["solution"]).all()


def test_a_problem_without_a_name_is_not_stored(tmp_path):
    own = Problem("own", "own", "u_xx = 0", ("x", "y"), ("u",), Domain(Block((0., 0.), (1., 1.))), Counts(30, 20, 0, 10),
                  lambda q, f: [f.sum("u", {"xx": 1.0})], (Term("dirichlet", "u"),))
    run = Run(pinns.PARAMETERS, dict(profile="smoke", out_dir=tmp_path))
    with pytest.raises(ParameterError, match="without a name"): pinns.train(own, unit=run.unit, iterations=1)
