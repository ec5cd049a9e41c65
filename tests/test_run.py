"The contract of a run under faults: kills, damaged units, a full disk, bad parameters, missing numbers."
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
from symbreak_nb.run import Claim, ParameterError, Run, RunError, between, each, pack, paired, unpack, verdict, write_atomic

TABLE = {"smoke": dict(size=2), "quick": dict(size=3), "paper": dict(size=4)}


def start(folder, **knobs) -> Run:
    return Run("demo", profile="smoke", seed=3, device="cpu", out_dir=folder, profiles=TABLE, params={"size": None} | knobs,
               allowed=dict(size=between(2, 8, int)))


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
    assert forward["value"] == pytest.approx(-back["value"], abs=1e-15)
    assert forward["interval"] == pytest.approx(tuple(-x for x in back["interval"][::-1]), abs=1e-14)
    assert paired(a + 100 * shift, b + 100 * shift)["interval"] == pytest.approx(forward["interval"], abs=1e-10)
    assert np.isnan(paired([1.], [0.])["interval"]).all()


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


def test_units_side_by_side_keep_their_order_and_their_neighbours(tmp_path):
    run, before, grid = start(tmp_path), torch.get_num_threads(), [dict(x=x, seed=0) for x in range(9)]
    with pytest.raises(ValueError, match="three"): run.units(_fails_at_three, grid, at_once=2)
    assert torch.get_num_threads() == before
    assert 3 <= run.counts["computed"] < 8  # what had begun is stored, what had not is dropped
    found = run.units(_square, grid, at_once=3)
    assert [u["y"][0] for u in found] == [x**2 for x in range(9)]
    again = start(tmp_path)
    again.units(_square, grid, at_once=2)
    assert again.counts == dict(computed=0, reused=9, damaged=0)
    with pytest.raises(ParameterError, match="at_once = 0"): run.units(_square, grid, at_once=0)


LOOP = """
import sys, time, pathlib
sys.path.insert(0, {folder!r})
from worker import slow
from symbreak_nb.run import Run
run = Run("demo", profile="smoke", device="cpu", out_dir={folder!r} + "/out", params=dict(size=None), profiles=dict(smoke=dict(size=2)))
units = run.units(slow, [dict(k=k, log={folder!r} + "/log") for k in range(12)], "units", at_once={at_once})
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


@pytest.mark.parametrize(("seed", "at_once"), [(0, 1), (1, 1), (2, 2)])
def test_a_killed_run_goes_on_and_repeats_no_finished_unit(tmp_path, seed, at_once):
    (tmp_path/"worker.py").write_text(WORKER)
    script = [sys.executable, "-c", LOOP.format(folder=str(tmp_path), at_once=at_once)]
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


def test_not_a_number_is_null_and_inconclusive(tmp_path):
    run = start(tmp_path)
    run.metric("bad", float("nan"), (float("nan"), 1))
    row = run.decide(Claim("demo.x", "p", "Fig. 1", "It rises.", "value > 0 with 95% interval"), float("nan"), (0, 1), 9)
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
