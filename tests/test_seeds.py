"""Sections at seeds that nobody chose, with the threads and instructions of two different processors.

The first of the two runs is the one that `test_notebooks` makes of every section under papermill: one thread, an old processor.
The second is made of ten sections, drawn anew for each run of the tests.
"""
import importlib.util
import json
import os
import random
import sys
from collections import Counter

import pytest

from conftest import ROOT
from test_repository import NOTEBOOKS, is_section

spec = importlib.util.spec_from_file_location("seeds", ROOT/"tools"/"seeds.py")
seeds = sys.modules["seeds"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(seeds)
SECTIONS = [n.stem.split("_", 1)[1] for n in NOTEBOOKS if is_section(n)]
DRAWN = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID")).sample(SECTIONS, 10)   # of all: `make seeds`; the workers agree


@pytest.mark.parametrize("section", DRAWN)
def test_a_section_runs_at_a_fresh_seed_on_two_threads_of_a_newer_processor(section):
    job = seeds.Job(section, *seeds.draw_seeds(1), seeds.Setting(2, "avx2"))
    print(job)
    outcome = seeds.run(job)
    assert not outcome.error, seeds.line(outcome)


def test_seeds_are_spread_over_the_settings():
    drawn = seeds.draw_seeds(12)
    assert len(set(drawn)) == 12 and all(0 <= seed < 2**32 for seed in drawn)
    assert set(Counter(job.setting for job in seeds.plan("ising", drawn)).values()) == {2} and len(seeds.SETTINGS) == 6
    every = {(job.seed, job.setting) for job in seeds.plan("ising", drawn[:2], every=True)}
    assert every == {(seed, setting) for seed in drawn[:2] for setting in seeds.SETTINGS}


def test_a_setting_replaces_what_the_caller_has_set(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    old, own = seeds.Setting(1, "default").environment(), seeds.Setting(2, "own").environment()
    assert old["OMP_NUM_THREADS"] == old["NUMBA_NUM_THREADS"] == "1" and old["ATEN_CPU_CAPABILITY"] == "default"
    assert own["MKL_NUM_THREADS"] == "2" and "ATEN_CPU_CAPABILITY" not in own
    assert own["SYMBREAK_EXECUTOR"] == "processes" and old.get("SYMBREAK_EXECUTOR") != "processes"


def test_a_failure_is_one_line_and_counts(tmp_path, monkeypatch):
    traceback = ["\x1b[0;32m----> 2\x1b[0m assert a == b"]
    error = dict(output_type="error", ename="AssertionError", evalue="", traceback=traceback)
    (tmp_path/"ising").mkdir()
    (tmp_path/"ising"/"ising.ipynb").write_text(json.dumps(dict(cells=[dict(outputs=[error])])))
    assert seeds.failure(tmp_path, None) == "AssertionError: in `assert a == b`"
    job = seeds.Job("ising", 3, seeds.SETTINGS[0])
    table = seeds.table([seeds.Outcome(job, "AssertionError", 1.0), seeds.Outcome(job, "", 3.0)])
    assert table.splitlines()[1].split() == ["ising", "1", "of", "2", "-", "-", "-", "-", "-", "2"]
    outcome = seeds.run(seeds.Job("nothing", 3, seeds.SETTINGS[0]))
    assert "nothing" in outcome.error and "\n" not in outcome.error
    monkeypatch.setattr(sys, "argv", ["seeds.py", "ising", "--seeds", "3", "4"])
    monkeypatch.setattr(seeds, "run", lambda job: seeds.Outcome(job, "AssertionError" if job.seed == 4 else "", 1.0))
    assert seeds.main() == 1
