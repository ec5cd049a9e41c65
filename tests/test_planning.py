"""Rates by hand, files of rates that are whole or refused, what a plan says that it knows, and the kernels that sections declare."""
import json
import math
import re
import sys
from types import SimpleNamespace

import pytest
import torch
from symbreak_nb import planning, rates, sections, work
from symbreak_nb.cli import _guarded
from symbreak_nb.files import write_atomic
from symbreak_nb.parameters import Declaration, Parameter
from symbreak_nb.rates import Rates, read_rates, store_rates
from symbreak_nb.units import WorkUnit
from symbreak_nb.work import Kernels, count_work

ENTRY = dict(how="measured", torch="2.13.0", date="2026-11-28",
             threads={"1": dict(launch=1e-3, product=[[10, 1e9], [1000, 1e11]], loop=[[1, 1e8]])})


def rates_file(folder, **devices): return write_atomic(folder/"rates.json", json.dumps(devices or {rates._device_kind("cpu"): ENTRY}))


@pytest.fixture
def wells(tmp_path, monkeypatch):
    "A section whose units a test sets."
    notebook = sections._example_section(tmp_path/"nbs")
    module = SimpleNamespace(PARAMETERS=Declaration("wells", L=Parameter("lattice side", None, 3)), plan_units=lambda params, device: [])
    monkeypatch.setitem(sys.modules, "symbreak_nb.wells", module)
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebook.parent))
    return module


def cells(out: str, unit: str) -> list[str]:
    (line,) = [line for line in out.splitlines() if f"│ {unit} " in line]
    return [cell.strip() for cell in line.split("│")[1:-1]]


def test_a_plan_is_what_a_file_of_rates_says(wells, tmp_path, capsys):
    "100 launches of a millisecond, and 10^9 operations at the rate between 10^9 and 10^11: 0.2 s, ten times."
    product = dict(product=Kernels(100, 1e9, 100))
    wells.plan_units = lambda params, device: [WorkUnit("known", 10, 1e9, kernels=product), WorkUnit("large", 3, 1e11),
                                               WorkUnit("strange", 2, 1e9, kernels=dict(fft=Kernels(1, 1, 1))), WorkUnit("silent")]
    place = rates_file(tmp_path)
    assert _guarded(["plan", "wells", "--device", "cpu", "--rates", str(place)]) == 0
    out = capsys.readouterr().out
    assert cells(out, "known")[2:] == ["10", "10 G", "–", "2.0 s", "–", ""]
    large = 3*(1e-3 + 1e11/math.exp(math.log(1e9) + math.log(100)*math.log(256/10)/math.log(100)))
    assert cells(out, "large")[5] == f"{large:.1f} s" and cells(out, "strange")[5] == "–" == cells(out, "silent")[5]
    assert "measured 2026-11-28, torch 2.13.0, one thread" in out and "H200: not known" in out
    both = {rates._device_kind("cpu"): ENTRY, "NVIDIA H200": ENTRY | dict(how="made up for a test")}
    assert _guarded(["plan", "wells", "--device", "cpu", "--rates", str(rates_file(tmp_path, **both))]) == 0
    out = capsys.readouterr().out
    assert cells(out, "known")[5:7] == ["2.0 s", "2.0 s"] and "H200: made up for a test" in out


def test_a_step_that_was_taken_counts_as_it_was_timed(wells, tmp_path, capsys):
    wells.plan_units = lambda params, device: [WorkUnit("tried", 10, 1e15, step=lambda: torch.ones(8, 8) @ torch.ones(8, 8))]
    assert _guarded(["plan", "wells", "--device", "cpu", "--check", "--rates", str(rates_file(tmp_path))]) == 0
    out = capsys.readouterr().out
    assert "days" not in cells(out, "tried")[5] and "a step that was taken counts as it was timed" in out
    (found,) = planning.check_units([planning.PlannedUnit(WorkUnit("a", step=lambda: torch.ones(8, 8) @ torch.ones(8, 8)))], "cpu", print)
    assert found.counted["product"] == Kernels(1, 1024, 8)


@pytest.mark.parametrize("content, said", [
    ("{", "is no file of rates"), ("[]", "it names no device"), ("{}", "it names no device"), ('{"x": 3}', "does not say how"),
    (json.dumps(dict(x=ENTRY | dict(threads={}))), "no rates of one thread"),
    (json.dumps(dict(x=ENTRY | dict(threads={"1": dict(launch=-1, loop=[[1, 1]])}))), "no launch"),
    (json.dumps(dict(x=ENTRY | dict(threads={"1": dict(launch=1, loop=[[2, 1], [1, 1]])}))), "loop is no list"),
    (json.dumps(dict(x=ENTRY | dict(threads={"1": dict(launch=1, loop=[[1, math.nan]])}))), "loop is no list"),
], ids=["cut", "list", "empty", "number", "threads", "launch", "order", "nan"])
def test_a_damaged_file_of_rates_is_refused_in_one_line_and_stays(wells, tmp_path, capsys, monkeypatch, content, said):
    place = write_atomic(tmp_path/"rates.json", content)
    monkeypatch.setattr("symbreak_nb.cli.calibrate", lambda *given, **more: pytest.fail("measured for nothing"))
    for call in (["plan", "wells", "--device", "cpu"], ["plan", "--calibrate"]):
        assert _guarded([*call, "--rates", str(place)]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and said in err and "rates.json" in err
    with pytest.raises(Exception, match="is no file of rates"): store_rates(ENTRY | dict(device="y"), place)
    assert place.read_text() == content


@pytest.mark.parametrize("call", [["--rates", "nowhere.json"], ["--calibrate", "--device", "cuda"], ["--calibrate", "--rates", "here/"]])
def test_what_cannot_be_measured_or_read_is_one_line(wells, tmp_path, capsys, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    (tmp_path/"here").mkdir()
    if "cuda" in call and torch.cuda.is_available(): pytest.skip("there is a GPU")
    assert _guarded(["plan", *call, *([] if "--calibrate" in call else ["wells"])]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not list((tmp_path/"here").iterdir())


def test_a_calibration_is_kept_by_the_kind_of_device_beside_others(wells, tmp_path, capsys, monkeypatch):
    place = rates_file(tmp_path, another=ENTRY)
    quick = lambda device, threads, tell: rates.calibrate(device, threads, 0.2, tell)
    monkeypatch.setattr("symbreak_nb.cli.calibrate", quick)
    assert _guarded(["plan", "--calibrate", "--device", "cpu", "--rates", str(place)]) == 0
    kept = read_rates(place)
    assert set(kept) == {"another", rates._device_kind("cpu")} and kept["another"] == ENTRY
    made = kept[rates._device_kind("cpu")]
    assert made["torch"] == torch.__version__ and re.fullmatch(r"\d{4}-\d\d-\d\d", made["date"]) and "1" in made["threads"]
    assert all(set(row) == {"launch", *work.KINDS} for row in made["threads"].values())
    assert "rates:" in capsys.readouterr().out
    text = place.read_text()
    assert store_rates(made | dict(device=rates._device_kind("cpu")), place).read_text() == text, "a round trip changes nothing"


def test_no_file_measures_in_brief_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(rates, "_device_kind", lambda device: "a processor of a test")
    rates._brief_rates.cache_clear()
    found = planning._rates_here("cpu", rates_file(tmp_path, another=ENTRY))
    assert found.device == "a processor of a test" and "just now" in found.how and found.launch > 0
    rates._brief_rates.cache_clear()


def test_rates_are_met_at_the_sizes_that_were_measured():
    one = Rates("", "", 2e-6, dict(product=[(8, 1e9), (64, 3e10), (512, 8e10)]))
    for size, rate in one.speeds["product"]: assert math.isclose(one.seconds(dict(product=Kernels(5, 1e9, size))), 5*2e-6 + 1e9/rate)
    assert one.seconds({}) == 0 and one.seconds(dict(product=Kernels(0, 1e9, 1e9))) == pytest.approx(1e9/8e10)


@pytest.mark.parametrize("n", [1, 7, 64])
def test_a_gradient_costs_two_products_more(n):
    x, w = torch.randn(n, 12), torch.randn(12, 5, requires_grad=True)
    found = count_work(lambda: (x @ w).sum().backward())["product"]
    assert found.amount == 2*2*n*12*5, "the inputs ask for no gradient"
    double = count_work(lambda: (x.double() @ w.double()).sum())["product"]
    assert double.amount == 2*(2*n*12*5), "numbers of twice the size count twice"


def test_an_oscillator_step_on_an_h200_is_within_a_factor_of_two_of_the_one_that_was_timed():
    "46 ms a step at 64 x 64, T = 30, batch 16, one network at a time: 1.6 TFLOP/s (a probe on one H200)."
    from symbreak_nb.kuramoto import PARAMETERS
    from symbreak_nb.transmogrification import training_unit
    p = PARAMETERS["paper"] | dict(size=64, steps=30, batch=16, channels=16)
    unit = planning.PlannedUnit(training_unit("step", 1, p))
    step = planning._estimated_seconds(unit, Rates("", "", 1, {}), planning._rates_elsewhere())[1]
    assert 0.023 < step < 0.092 and unit.work.flops/0.046 == pytest.approx(1.6e12, rel=0.1)


@pytest.mark.parametrize("section, names", [
    ("kuramoto", ["training steps"]), ("noise", ["training steps"]), ("ising", ["wolff"]), ("pdes", ["references"])])
def test_no_plan_promises_an_h200_what_it_cannot_do(section, names):
    "No step is faster than its operations at the device's largest rate, and what runs in compiled loops on the CPU gets no number."
    there = planning._rates_elsewhere()
    fastest = max(rate for kind in ("product", "convolution") for _, rate in there.speeds[kind])
    for unit in planning.planned_units(sections.find_sections()[section], "paper", {}, "cpu"):
        if not any(unit.work.name.startswith(name) for name in names): continue
        seconds = there.seconds(planning._kernels(unit))
        assert math.isnan(seconds) if section in ("ising", "pdes") else seconds > unit.work.flops/fastest


def test_declared_kernels_of_a_stack_are_those_of_its_training():
    "A stack of three networks: the products of one training step of each, in as many calls as one network takes."
    from symbreak_nb.tasks import OwnData, perceptron, plan_own_data
    build = lambda: OwnData(perceptron([4, 8, 2], torch.nn.Tanh), torch.zeros(20, 4), torch.zeros(20, 2))
    unit = plan_own_data("a", 30, 20, [4, 8, 2], build, "cpu", 3)
    assert unit.kernels["product"].amount == 3*2*20*(2*4*8 + 3*8*2) and unit.kernels["product"].calls == 5 and unit.count == 10
