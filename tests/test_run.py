"The contract of a run under faults: kills, damaged units, a full disk, bad parameters, missing numbers."
import contextlib
import copy
import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from symbreak_nb import run as run_module
from symbreak_nb import units as units_module
from symbreak_nb.claims import claim
from symbreak_nb.run import (
    Declaration,
    Estimate,
    Handle,
    Parameter,
    ParameterError,
    Run,
    RunError,
    between,
    each,
    pack,
    paired,
    unpack,
    verdict,
    write_atomic,
)

TABLE = Declaration("demo", size=Parameter("sites", between(2, 8, int), 2, 3, 4))


def start(folder, **knobs) -> Run: return Run(TABLE, dict(profile="smoke", seed=3, device="cpu", out_dir=folder) | knobs)


@pytest.fixture(params=["serial", "threads", "processes"])
def kind(request, monkeypatch):
    "Each kind of executor."
    monkeypatch.setenv("SYMBREAK_EXECUTOR", request.param)
    monkeypatch.setenv("SYMBREAK_CORES", "2")
    return request.param


finite = st.floats(-1e6, 1e6)


@given(finite, finite, finite, st.sampled_from(["<", "<=", ">", ">="]))
def test_verdict_of_the_opposite_rule_is_the_opposite(a, b, bound, op):
    low, high = sorted((a, b))
    opposite = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[op]
    ours = verdict(f"value {op} {bound!r} with 95% interval", (low + high) / 2, (low, high))
    theirs = verdict(f"value {opposite} {bound!r} with 95% interval", (low + high) / 2, (low, high))
    assert (ours, theirs) in {("holds", "fails"), ("fails", "holds"), ("inconclusive", "inconclusive")}


@given(finite, st.floats(0, 1e3), finite)
def test_a_wider_interval_never_decides_more(center, half, bound):
    rule = f"value > {bound!r} with 95% interval"
    narrow, wide = (verdict(rule, center, (center - h, center + h)) for h in (half, 2 * half + 1))
    assert wide in (narrow, "inconclusive")


def test_paired_is_antisymmetric_and_ignores_a_common_shift():
    rng = np.random.default_rng(1)
    a, b, shift = rng.normal(size=(3, 9))
    forward, back = paired(a, b), paired(b, a)
    assert forward.value == pytest.approx(-back.value, abs=1e-15)
    assert forward.interval == pytest.approx(tuple(-x for x in back.interval[::-1]), abs=1e-14)
    assert paired(a + 100 * shift, b + 100 * shift).interval == pytest.approx(forward.interval, abs=1e-10)
    assert np.isnan(paired([1.], [0.]).interval).all()


arrays = st.dictionaries(st.text("abcdef", min_size=1, max_size=4),
                         st.lists(st.floats(allow_nan=False), max_size=5).map(np.array) | st.integers(-9, 9) | st.text("xyz"), max_size=4)


@given(arrays)
def test_pack_and_unpack_are_inverse(values):
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        back, notes = unpack(write_atomic(Path(folder)/"a.npz", pack(values, dict(note=1))))
    assert notes == dict(note=1) and set(back) == set(values)
    for name, value in values.items(): assert np.array_equal(back[name], value)


def test_every_single_flipped_byte_is_noticed_or_harmless(tmp_path):
    "Wherever a byte changes, the stored numbers are either refused or exactly what was stored."
    values = dict(curve=np.linspace(0, 1, 40), name="raw")
    whole = pack(values)
    for place in range(0, len(whole), 7):
        path = write_atomic(tmp_path/"x.npz", whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1:])
        try: back, _ = unpack(path)
        except ValueError: continue
        assert np.array_equal(back["curve"], values["curve"]) and back["name"] == "raw"


@pytest.mark.parametrize("cut", [0, 1, 60, 500])
def test_a_truncated_unit_is_computed_again_and_said(tmp_path, capsys, cut):
    start(tmp_path).unit(_square, x=3, seed=0)
    stored = next((tmp_path/"units").iterdir())
    stored.write_bytes(stored.read_bytes()[:cut])
    again = start(tmp_path)
    assert again.unit(_square, x=3, seed=0)["y"][0] == 9
    assert again.counts == dict(computed=1, reused=0, damaged=1) and "damaged" in capsys.readouterr().out
    assert start(tmp_path).unit(_square, x=3, seed=0)["y"][0] == 9


def _square(x, seed): return {"y": np.full(2, x**2)}


def _fails_at_three(x, seed):
    if x == 3: raise ValueError("three")
    return _square(x, seed)


def test_units_side_by_side_keep_their_order_and_their_neighbours(tmp_path, kind):
    run, before, grid = start(tmp_path), torch.get_num_threads(), [dict(x=x, seed=0) for x in range(9)]
    with pytest.raises(ValueError, match="three"): run.units(_fails_at_three, grid)
    assert torch.get_num_threads() == before
    assert 3 <= run.counts["computed"] < 8  # what had ended is stored, what had not begun is dropped
    found = run.units(_square, grid)
    assert [u["y"][0] for u in found] == [x**2 for x in range(9)]
    again = start(tmp_path)
    again.units(_square, grid)
    assert again.counts == dict(computed=0, reused=9, damaged=0)


def test_the_executor_is_chosen_by_cores_and_by_the_time_of_a_unit(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMBREAK_CORES", "2")
    choices = [units_module._choice(device, 10, seconds) for device, seconds in (("cpu", .1), ("cpu", 10), ("cuda", 10))]
    assert choices == [("serial", 2), ("processes", 2), ("serial", 2)]
    monkeypatch.setenv("SYMBREAK_CORES", "1")
    assert units_module._choice("cpu", 10, 100)[0] == "serial"
    monkeypatch.setenv("SYMBREAK_EXECUTOR", "rockets")
    with pytest.raises(ParameterError, match="SYMBREAK_EXECUTOR = 'rockets': allowed is one of"):
        start(tmp_path).units(_square, [dict(x=1, seed=0)])


def _sums(x): return dict(y=torch.linspace(0, 1, 10**6).mul(x).sum().item(), threads=torch.get_num_threads())


def test_a_unit_has_the_same_bits_wherever_it_is_computed(tmp_path, kind):
    units = start(tmp_path/kind).units(_sums, [dict(x=x) for x in (1.1, 2.3, 0.7)])
    monkey = start(tmp_path/"one")
    alone = [monkey.unit(_sums, x=x) for x in (1.1, 2.3, 0.7)]
    assert units == alone and {u["threads"] for u in units} == {1}



LOOP = """
import sys, time, pathlib
sys.path.insert(0, {folder!r})
from worker import slow
from symbreak_nb.run import Declaration, Parameter, Run
run = Run(Declaration("demo", size=Parameter("sites", None, 2)), dict(profile="smoke", device="cpu", out_dir={folder!r} + "/out"))
units = run.units(slow, [dict(k=k, log={folder!r} + "/log") for k in range(12)], "units")
run.metric("total", sum(u["k"] for u in units))
run.finish()
"""
WORKER = """
import time
def slow(k, log):
    time.sleep(.03)
    with open(log, "a") as file: file.write(f"{k}\\n")
    return {"k": k}
"""


@pytest.mark.parametrize(("seed", "how", "at_once"), [(0, "serial", 1), (1, "serial", 1), (2, "threads", 2), (3, "processes", 2)])
def test_a_killed_run_goes_on_and_repeats_no_finished_unit(tmp_path, monkeypatch, seed, how, at_once):
    monkeypatch.setenv("SYMBREAK_EXECUTOR", how)
    monkeypatch.setenv("SYMBREAK_CORES", str(at_once))
    (tmp_path/"worker.py").write_text(WORKER)
    script = [sys.executable, "-c", LOOP.format(folder=str(tmp_path))]
    units, draw = tmp_path/"out"/"units", random.Random(seed)
    goals, kills = sorted(draw.sample(range(1, 11), 2)), 0
    for goal in goals:
        process = subprocess.Popen(script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(units.glob("slow-*.npz"))) < goal: time.sleep(.001)
        time.sleep(draw.random() * .03)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = len(list(units.glob("slow-*.npz")))
    subprocess.run(script, check=True, capture_output=True)
    record = json.loads((tmp_path/"out"/"metrics.json").read_text())
    assert record["metrics"]["total"] == sum(range(12)) and record["units"]["damaged"] == 0
    assert record["units"]["reused"] == finished and record["units"]["computed"] == 12 - finished
    assert len((tmp_path/"log").read_text().split()) <= 12 + at_once*kills  # only units in flight at a kill may run twice


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = write_atomic(tmp_path/"a.txt", "old")

    def full(_): raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(run_module.os, "fsync", full)
    with pytest.raises(RunError, match="No space left") as caught: write_atomic(path, "new")
    assert path.read_text() == "old" and "\n" not in str(caught.value) and len(list(tmp_path.iterdir())) == 1


def test_a_real_write_failure_leaves_no_half_file(tmp_path):
    "A limit on file size makes the kernel itself refuse the write."
    code = f"""
import resource, signal
from symbreak_nb.run import write_atomic, RunError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try: write_atomic({str(tmp_path/'big.bin')!r}, bytes(100_000))
except RunError as error: print(error)
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "cannot write" in out and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("knob, words", [(dict(size=1), "size = 1"), (dict(size=2.0), "size = 2.0"), (dict(size="3"), "size = '3'"),
                                         (dict(size=float("nan")), "size = nan"), (dict(size=True), "size = True")])
def test_bad_parameters_are_one_line_and_touch_nothing(tmp_path, knob, words):
    start(tmp_path).finish()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ParameterError, match="from 2 to 8") as caught: start(tmp_path, **knob)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_profile_from_the_environment_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMBREAK_PROFILE", "paper")
    assert start(tmp_path).params.size == 4
    monkeypatch.setenv("SYMBREAK_PROFILE", "fast")
    with pytest.raises(ParameterError, match="profile = 'fast'"): start(tmp_path)


def test_relative_folders_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMBREAK_OUT", str(tmp_path/"elsewhere"))
    assert start("results/demo").out_dir == tmp_path/"elsewhere"/"results"/"demo"


def test_a_run_in_the_folder_of_notebooks_writes_where_the_report_looks(tmp_path, monkeypatch):
    "JupyterLab works in nbs/; the command line, in nbs/ or in the checkout, finds what was run there."
    from click.testing import CliRunner
    from symbreak_nb.cli import command
    checkout = tmp_path/"checkout"
    (checkout/"nbs").mkdir(parents=True)
    monkeypatch.chdir(checkout/"nbs")
    assert start("results/demo").out_dir == checkout/"nbs"/"results"/"demo", "no checkout: an ordinary folder"
    (checkout/"settings.ini").write_text("[DEFAULT]\nnbs_path = nbs\n")
    run = start("results/demo")
    run.finish()
    assert run.out_dir == checkout/"results"/"demo" and start(str(tmp_path/"own")).out_dir == tmp_path/"own"
    for folder in (checkout, checkout/"nbs"):
        monkeypatch.chdir(folder)
        done = CliRunner().invoke(command, ["report"], standalone_mode=False)
        assert done.exception is None and "demo" in (checkout/"results"/"index.html").read_text()
        (checkout/"results"/"index.html").unlink()


def test_not_a_number_is_null_and_inconclusive(tmp_path):
    run = start(tmp_path)
    run.metric("bad", Estimate(float("nan"), (float("nan"), 1)))
    row = run.decide(claim("fok.demo.x", "Fig. 1", "It rises.", "value > 0 with 95% interval"), Estimate(float("nan"), (0, 1), 9))
    run.finish()
    record = json.loads((tmp_path/"metrics.json").read_text(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert row["verdict"] == "inconclusive" and record["metrics"]["bad"] is None and record["intervals"]["bad"] == [None, 1.0]


def test_a_list_check_names_its_element():
    with pytest.raises(ParameterError, match="each element an integer from 2 to 5"): each(between(2, 5, int))("factors", [2, 9])


def test_files_follow_the_users_mask(tmp_path):
    old = os.umask(0o027)
    try: assert write_atomic(tmp_path/"a", "x").stat().st_mode & 0o777 == 0o640
    finally: os.umask(old)


def test_import_is_cheap():
    "The package itself loads nothing heavy; timing is left to the reader, the loaded modules are exact."
    code = "import sys, symbreak_nb, symbreak_nb.run, symbreak_nb.ising, symbreak_nb.report; print(*sorted(m for m in sys.modules))"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"torch", "torchvision", "numba", "matplotlib", "sklearn", "pandas", "papermill", "scipy"}


def _adds(weights, state=None): return {"y": weights.sum() + (state["a"].sum() if state else 0)}


def test_a_held_input_is_known_by_its_content_and_never_changed_by_a_unit(tmp_path):
    run, weights = start(tmp_path), np.arange(5.)
    held = run.hold(weights)
    assert held == run.hold(weights.copy()) != run.hold(weights + 1) and len(list((tmp_path/"held").iterdir())) == 2
    assert run.unit(_adds, weights=held)["y"] == run.unit(_adds, weights=weights)["y"] == 10
    assert run.counts["computed"] == 1 and run.unit(_adds, weights=weights, state=dict(a=weights))["y"] == 20

    held.load()[:] = 0
    assert held.load().sum() == 10 and Handle(held.digest, held.path).load().sum() == 10
    write_atomic(held.path, run.hold(weights + 1).path.read_bytes())
    with pytest.raises(RunError, match="is another one"): Handle(held.digest, held.path).load()
    held.path.unlink()
    with pytest.raises(RunError, match="run again"): Handle(held.digest, held.path).load()


def test_a_held_input_is_what_it_was_when_it_was_held(tmp_path):
    run, weights = start(tmp_path), np.arange(5.)
    held = run.hold(weights)
    weights += 1
    assert run.unit(_adds, weights=held)["y"] == 10 and run.unit(_adds, weights=weights)["y"] == 15


@pytest.mark.parametrize("content", [b"", b"PK", "another"])
def test_a_damaged_held_input_is_written_anew(tmp_path, content):
    run, weights = start(tmp_path), np.arange(5.)
    held = run.hold(weights)
    write_atomic(held.path, run.hold(weights + 1).path.read_bytes() if content == "another" else content)
    again = start(tmp_path).hold(weights)
    assert again == held and Handle(again.digest, again.path).load().sum() == 10


def test_held_records_of_other_fields_differ(tmp_path):
    run = start(tmp_path)
    assert run.hold(np.zeros(2, [("a", "f8"), ("b", "i8")])) != run.hold(np.zeros(2, [("b", "f8"), ("a", "i8")]))


def _takes(x): return {"y": str(x)}


def test_arguments_that_are_no_number_or_in_another_format(tmp_path):
    for expected in (dict(computed=3, reused=0, damaged=0), dict(computed=0, reused=3, damaged=0)):
        run = start(tmp_path)
        run.unit(_takes, x=float("nan"))
        kinds = [run.unit(_takes, x=[np.ones(1, kind)]) for kind in ("f4", "f8")]
        assert run.counts == expected and kinds[0] != {}


FACTOR = 2


def _scaled(x, name="a"): return {"y": x*FACTOR, "seen": os.environ.get("SYMBREAK_DATA", "")}


@pytest.mark.parametrize("kind", ["processes"], indirect=True)
def test_processes_follow_a_changed_constant_and_a_changed_folder_of_data(tmp_path, monkeypatch, kind):
    "A worker that was started before the change must not compute under the new key."
    grid = [dict(x=x) for x in range(3)]
    def once(folder): return start(tmp_path/folder).units(_scaled, grid)
    assert [u["y"] for u in once("one")] == [0, 2, 4]
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "FACTOR", 5)
        assert [u["y"] for u in once("two")] == [0, 5, 10]
    monkeypatch.setenv("SYMBREAK_DATA", str(tmp_path))
    assert {u["seen"] for u in once("three")} == {str(tmp_path)}


@pytest.mark.parametrize("make, words", [
    (lambda p: zipped(p, {"x.npy": npy("(200000000,)") + bytes(2*10**8)}), "would take"),
    (lambda p: zipped(p, {f"x{k}.npy": npy("(0,)") for k in range(10_001)}), "10,001 arrays"),
    (lambda p: zipped(p, {"x.npy": npy("(-1,)")}), "its size does not fit"),
    (lambda p: zipped(p, {"x.npy": npy("(0, 10**99)")}), "unreadable"),
    (lambda p: zipped(p, {"x.npy": npy("(99999999999, 0)", "|O")}), "pickled objects"),
    (lambda p: zipped(p, {"x.npy": b"\x93NUMPY\x02\x00" + (6*10**7).to_bytes(4, "little") + bytes(6*10**7)}), "unreadable"),
    (lambda p: os.mkfifo(p), "plain file"), (lambda p: p.mkdir(), "plain file")])
def test_hostile_files_are_refused_in_one_line(tmp_path, make, words):
    make(tmp_path/"a.npz")
    with pytest.raises(ValueError, match=words) as caught: unpack(tmp_path/"a.npz")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def npy(shape, kind="|u1"):
    "The header of an array."
    return b"\x93NUMPY\x01\x00v\x00" + f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"


def zipped(path, members):
    import zipfile
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items(): file.writestr(name, content)


def test_zeros_are_stored_so_that_they_are_no_bomb(tmp_path):
    write_atomic(tmp_path/"a.npz", run_module.pack(dict(x=np.zeros(10**7)), dict(a=1)))
    assert unpack(tmp_path/"a.npz")[0]["x"].shape == (10**7,)


def _reads(name):
    run_module.note_input("memory", name, run_module.IDENTITIES["memory"](name))
    return {"y": 1}


def test_a_unit_is_computed_again_where_its_data_changed_and_both_are_kept(tmp_path, monkeypatch):
    content = dict(a="one")
    monkeypatch.setitem(run_module.IDENTITIES, "memory", lambda name: content[name])
    counts = []
    for content["a"] in ("one", "one", "two", "one"):
        run = start(tmp_path)
        run.unit(_reads, name="a")
        counts.append(run.counts["computed"])
    assert counts == [1, 0, 1, 0] and len(list((tmp_path/"units").iterdir())) == 2
    content["a"], run = "three", start(tmp_path)
    run.units(_reads, [dict(name="a")])
    assert run.counts["computed"] == 1


@pytest.mark.parametrize("other", [dict(torch="1.0"), dict(numpy="0.9"), dict(scipy="0.1")])
def test_a_unit_of_other_versions_is_computed_anew_unless_told(tmp_path, monkeypatch, capsys, other):
    real = units_module.environment
    monkeypatch.setattr(units_module, "environment", lambda device="cpu": real() | dict(versions=real()["versions"] | other))
    start(tmp_path).unit(_square, x=3, seed=0)
    monkeypatch.setattr(units_module, "environment", real)
    monkeypatch.setenv("SYMBREAK_REUSE", "any")
    run = start(tmp_path)
    run.unit(_square, x=3, seed=0)
    run.unit(_square, x=4, seed=0)
    run.finish()
    made = json.loads((tmp_path/"metrics.json").read_text())["made_with"]
    (name, version), = other.items()
    assert run.counts == dict(computed=1, reused=1, damaged=0) and sorted(m["units"] for m in made) == [1, 1]
    assert version in [m["versions"][name] for m in made] and all(m["device"] == "cpu" for m in made)
    monkeypatch.delenv("SYMBREAK_REUSE")
    run = start(tmp_path)
    run.unit(_square, x=3, seed=0)
    assert run.counts["computed"] == 1 and f"{name} {version} (here" in capsys.readouterr().out
    monkeypatch.setenv("SYMBREAK_REUSE", "yes")
    with pytest.raises(ParameterError, match="SYMBREAK_REUSE"): start(tmp_path)


def test_a_unit_of_another_device_is_computed_anew(tmp_path, monkeypatch):
    real = units_module.environment
    monkeypatch.setattr(units_module, "environment", lambda device="cpu": real() | dict(device="cuda Some GPU"))
    start(tmp_path).unit(_square, x=3, seed=0)
    monkeypatch.setattr(units_module, "environment", real)
    run = start(tmp_path)
    run.unit(_square, x=3, seed=0)
    assert run.counts["computed"] == 1


@pytest.mark.parametrize("how", ["copy", "link"])
def test_a_unit_under_another_name_is_not_taken_for_it(tmp_path, capsys, how):
    run = start(tmp_path)
    one, two = (run.unit(_square, x=x, seed=0) for x in (3, 4))
    assert one["y"][0] != two["y"][0]
    paths = {json.dumps(unpack(p)[1]["arguments"]["x"]): p for p in (tmp_path/"units").iterdir()}
    content = paths["3"].read_bytes()
    paths["4"].unlink()
    paths["4"].write_bytes(content) if how == "copy" else os.link(paths["3"], paths["4"])
    again = start(tmp_path)
    assert again.unit(_square, x=4, seed=0)["y"][0] == 16 and "holds another unit" in capsys.readouterr().out
    assert again.counts == dict(computed=1, reused=0, damaged=1) and again.unit(_square, x=3, seed=0)["y"][0] == 9


def test_data_of_a_figure_under_another_name_is_refused(tmp_path):
    run = start(tmp_path)
    run.save("one", x=1)
    run.save("two", x=2)
    (tmp_path/"data"/"two.npz").write_bytes((tmp_path/"data"/"one.npz").read_bytes())
    with pytest.raises(RunError, match="saves 'two' again"): run.load("two")
    assert run.load("one")["x"] == 1


def test_a_bomb_is_refused_before_it_is_read(tmp_path):
    import zipfile
    tracer = "import resource, sys\nfrom symbreak_nb.run import unpack\n" \
             "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n" \
             "before = peak()\ntry: unpack(sys.argv[1])\nexcept ValueError as e: print(e)\nprint((peak() - before)//1024)"
    with zipfile.ZipFile(tmp_path/"bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("x.npy", "w", force_zip64=True) as member:
            for _ in range(1300): member.write(bytes(2**20))
    assert (tmp_path/"bomb.npz").stat().st_size < 2e6
    done = subprocess.run([sys.executable, "-c", tracer, tmp_path/"bomb.npz"], capture_output=True, text=True)
    said, megabytes = done.stdout.splitlines()
    assert "its arrays would take 1,363,148,800 bytes" in said and int(megabytes) < 300


def test_a_header_that_promises_more_than_the_file_has_is_refused(tmp_path):
    import zipfile
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path/"a.npz", "w") as file: file.writestr("x.npy", header + bytes(80))
    with pytest.raises(ValueError, match="declares the shape"): unpack(tmp_path/"a.npz")


HOLDER = """
import sys, time
from symbreak_nb.run import Declaration, Parameter, Run
run = Run(Declaration("demo"), dict(profile="smoke", device="cpu", seed=7, out_dir=sys.argv[1]))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_folder_that_another_process_works_in_is_refused_and_free_after_its_death(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n" and run_module.is_running(tmp_path)
    with pytest.raises(RunError, match=rf"in use by process {process.pid} \(demo, smoke, seed 7") as caught: start(tmp_path)
    assert "\n" not in str(caught.value) and json.loads((tmp_path/"run.json").read_text())["seed"] == 7
    process.kill()
    process.wait()
    assert not run_module.is_running(tmp_path) and start(tmp_path).seed == 3


def test_results_of_other_parameters_are_kept(tmp_path, capsys):
    def finished(**knobs):
        run = start(tmp_path, **knobs)
        run.unit(_square, x=3, seed=0)
        run.save("curve", x=run.params.size)
        run.metric("size", run.params.size)
        run.finish()
        return run
    finished()
    write_atomic(tmp_path/"demo.ipynb", "{}")
    assert finished(size=5).counts["reused"] == 1 and "held results of demo, smoke, seed 3" in capsys.readouterr().out
    (kept,) = (tmp_path/"earlier").iterdir()
    assert json.loads((kept/"metrics.json").read_text())["metrics"]["size"] == 2 and (kept/"demo.ipynb").exists()
    assert unpack(kept/"data"/"curve.npz")[0]["x"] == 2 and json.loads((tmp_path/"metrics.json").read_text())["metrics"]["size"] == 5
    finished()
    finished(size=5)
    assert len(list((tmp_path/"earlier").iterdir())) == 2 and capsys.readouterr().out.count("are in earlier/") == 2
    finished(size=5)
    assert "earlier" not in capsys.readouterr().out


def test_a_folder_that_is_deleted_during_a_run_ends_it(tmp_path):
    import shutil
    run = start(tmp_path/"out")
    run.unit(_square, x=3, seed=0)
    shutil.rmtree(tmp_path/"out")
    for act in (lambda: run.unit(_square, x=4, seed=0), run.finish, lambda: run.save("a", x=1)):
        with pytest.raises(RunError, match="deleted or replaced during the run"): act()
    assert not (tmp_path/"out").exists()


SHARED = """
import sys
sys.path.insert(0, {folder!r})
from symbreak_nb.run import Declaration, Parameter, Run
from layer import network
def unit(x): return dict(y=network(x))
run = Run(Declaration("demo", size=Parameter("sites", None, 2)), dict(profile="smoke", device="cpu", out_dir={folder!r} + "/out"))
print(run.units(unit, [dict(x=1.0), dict(x=2.0)])[1]["y"], run.counts["computed"])
"""


def test_an_edit_of_a_module_that_a_notebook_imports_counts(tmp_path):
    "The unit stands in `__main__`, as in a notebook; what it calls stands in a module."
    def once(rate):
        write_atomic(tmp_path/"layer.py", f"def network(x): return step(x)\ndef step(x): return x*{rate}\n")
        done = subprocess.run([sys.executable, "-c", SHARED.format(folder=str(tmp_path))], capture_output=True, text=True,
                              env=os.environ | dict(PYTHONDONTWRITEBYTECODE="1"))
        return done.stdout.split()[-2:]
    assert [once(1), once(1), once(3)] == [["2.0", "2"], ["2.0", "0"], ["6.0", "2"]]


def full_run(folder, side):
    run = Run(Declaration("demo", side=Parameter("side", None, side)), dict(profile="smoke", device="cpu", out_dir=folder))
    run.save("x", side=side)
    (folder/"demo.ipynb").write_text(str(side))
    run.finish()


@pytest.mark.parametrize("moves", range(5))
def test_a_kill_while_earlier_results_are_moved_loses_none(tmp_path, monkeypatch, moves):
    "Data, notebook and metrics are found under one name, whatever was moved when the run was killed."
    full_run(tmp_path, 3)
    (tmp_path/"earlier").mkdir()
    left, move = [moves], os.replace

    def killed(a, b):
        if "/earlier/" in str(b) and not left[0]: raise KeyboardInterrupt
        left[0] -= "/earlier/" in str(b)
        move(a, b)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with contextlib.suppress(KeyboardInterrupt): full_run(tmp_path, 4)
    run_module._free_folder(tmp_path)
    full_run(tmp_path, 4)
    (kept,) = (tmp_path/"earlier").iterdir()
    assert {p.name for p in kept.iterdir()} - {"run.json"} == {"data", "demo.ipynb", "metrics.json"}
    assert (kept/"demo.ipynb").read_text() == "3" and (kept/"data"/"x.npz").is_file()
    assert (tmp_path/"demo.ipynb").read_text() == "4" and (tmp_path/"data"/"x.npz").is_file()


@pytest.mark.parametrize("word", ["../../../out", "/tmp/out", "x"*5000, "a\x00b", ["smoke"], {"a": "../.."}, None, "."])
def test_a_record_leads_no_results_out_of_the_folder(tmp_path, word):
    folder = tmp_path/"deep"/"demo"
    full_run(folder, 3)
    found = json.loads((folder/"run.json").read_text()) | dict(profile=word, seed=word)
    (folder/"run.json").write_text(json.dumps(found))
    full_run(folder, 4)
    (kept,) = (folder/"earlier").iterdir()
    assert (kept/"demo.ipynb").read_text() == "3" and [p.name for p in tmp_path.rglob("*") if "seed" in p.name] == [kept.name]


ELSEWHERE = """
import functools, os, sys
import torch
from dataclasses import dataclass, field
from symbreak_nb.run import Declaration, Parameter, Run

@dataclass(frozen=True)
class Arm:
    "As a section's table has them."
    rate: float = 0.5
    names: tuple = ()
    more: list = field(default_factory=list)

ARMS = dict(raw=Arm(), expanded=Arm(2.0, ("a",)))

@functools.lru_cache(4)
def rate_of(arm): return ARMS[arm].rate

class Task: classes, ops = 2, 3

def unit(arm, seed): return dict(pid=os.getpid(), y=rate_of(arm)*seed + float(torch.zeros(Task.classes).sum())*Task.ops)

run = Run(Declaration("demo"), dict(profile="smoke", device="cpu", out_dir=sys.argv[1]))
found = run.units(unit, [dict(arm=a, seed=s) for a in ARMS for s in range(3)])
print(all(u["pid"] != os.getpid() for u in found), [u["y"] for u in found] == [0, .5, 1, 0, 2, 4])
"""


def test_units_of_a_notebook_are_computed_in_other_processes(tmp_path):
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, tmp_path], capture_output=True, text=True,
                          env=os.environ | dict(SYMBREAK_EXECUTOR="processes", SYMBREAK_CORES="2"))
    assert done.stdout.split()[-2:] == ["True", "True"], done.stderr[-2000:]


ALONE = """
import os, sys, time
from symbreak_nb.units import executor
from pathlib import Path

def sleeps(seconds): Path(sys.argv[1]).joinpath(str(os.getpid())).touch(); time.sleep(seconds)

with executor("processes", 2) as pool:
    for future in [pool.submit(sleeps, 100) for _ in range(2)]: future.result()
"""


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path):
    import psutil

    def until(condition):
        for _ in range(600):
            if condition(): return
            time.sleep(0.1)
        raise AssertionError("it took more than a minute")

    def gone(pid):
        try: return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess: return True

    driver = subprocess.Popen([sys.executable, "-c", ALONE, tmp_path])
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    driver.kill()
    driver.wait()
    until(lambda: all(gone(int(path.name)) for path in tmp_path.iterdir()))


def counted(state): return dict(total=state["weights"].sum() + state["step"], step=np.array(3.0))


def test_the_state_of_a_unit_is_held_and_its_text_does_not_stand_in_the_next_one(tmp_path):
    "A state of a training has arrays of one number, and these come back from the store as numbers."
    run = Run(Declaration("demo"), dict(profile="smoke", out_dir=tmp_path))
    (first,) = run.units(counted, [dict(state=dict(weights=np.arange(5.0), step=np.array(1.0)))])
    assert isinstance(first["step"], float)
    run.units(counted, [dict(state=dict(weights=np.arange(4.0), step=first["step"]))])
    given = [unpack(path)[1]["arguments"]["state"] for path in (tmp_path/"units").iterdir()]
    assert len(given) == 2 and all(set(one) == {"held"} for one in given)


def test_a_function_with_a_cache_goes_to_another_process_by_name_or_with_its_code():
    import functools

    import cloudpickle
    from symbreak_nb import coloring
    assert cloudpickle.loads(cloudpickle.dumps(coloring._photographs)) is coloring._photographs
    inner = functools.lru_cache(2)(lambda v: v + 1)
    other, again = (cloudpickle.loads(cloudpickle.dumps(inner)) for _ in range(2))
    assert other(2) == 3 and other.cache_parameters() == inner.cache_parameters() and copy.deepcopy(inner) is inner
    assert again is other and again.cache_info().currsize == 1   # the next unit finds what the last one remembered
    assert cloudpickle.loads(cloudpickle.dumps(functools.lru_cache(2)(lambda v: v + 2))) is not other
