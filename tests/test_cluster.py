"Units on the workers of a Dask scheduler: processes of their own on the loopback, killed at will."
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from symbreak_nb import cluster
from symbreak_nb.cli import command
from symbreak_nb.run import Declaration, Run, RunError
from symbreak_nb.units import OutOfTime

BIN = Path(sys.executable).parent
LONG = 600   # seconds in which anything happens, even on a slow machine
WORK = '''
import os, time
from pathlib import Path

def squared(n, held=0.0): return dict(y=n*n + held)

def patient(n, log, go):
    with open(log, "a") as file: file.write(f"{n} {os.getpid()}\\n")
    while not Path(go).exists(): time.sleep(.02)
    return dict(y=n)

def wrong(n): raise ValueError(f"no square of {n}")
'''


def until(there):
    "Wait for a condition; the test fails if it never comes true."
    end = time.monotonic() + LONG
    while not (found := there()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(.05)
    return found


class Loopback:
    "A scheduler and workers as processes, each in a session of its own."

    def __init__(self, folder: Path):
        (folder/"cluster_work.py").write_text(WORK)
        sys.path.insert(0, str(folder))
        self.folder, self.workers, self.file = folder, [], folder/"scheduler.json"
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", self.file)
        self.address = json.loads(until(lambda: self.file.exists() and self.file.read_text()))["address"]

    def start(self, *words) -> subprocess.Popen:
        more = dict(PYTHONPATH=str(self.folder), DASK_DISTRIBUTED__SCHEDULER__DASHBOARD__STATUS__TASK_STREAM_LENGTH="10")
        return subprocess.Popen([sys.executable, "-m", "dask", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                start_new_session=True, env=os.environ | more)

    def worker(self) -> subprocess.Popen:
        self.workers.append(self.start("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                                       "--local-directory", self.folder))
        return self.workers[-1]

    def end(self) -> None:
        for process in (*self.workers, self.scheduler): process.kill(); process.wait()
        sys.path.remove(str(self.folder))


def _asked() -> None:
    "Real schedulers and workers are started and killed only where that is asked for: it takes minutes."
    if not os.environ.get("SYMBREAK_CLUSTER_TESTS"): pytest.skip("minutes of real schedulers: set SYMBREAK_CLUSTER_TESTS=1")


@pytest.fixture(scope="module")
def loopback(tmp_path_factory):
    _asked()
    found = Loopback(tmp_path_factory.mktemp("loopback"))
    for _ in range(2): found.worker()
    yield found
    found.end()


@pytest.fixture
def sent(loopback, monkeypatch):
    "The settings that `symbreak figures --engine dask --scheduler ADDRESS` hands to a section."
    with cluster.engine(loopback.address) as told:
        for name, value in told.items(): monkeypatch.setenv(name, value)
    return __import__("cluster_work")


def begin(folder) -> Run: return Run(Declaration("demo"), dict(profile="smoke", out_dir=folder, device="cpu"))


def names(folder) -> list[str]: return sorted(p.name for p in (folder/"units").iterdir())


def begun(log) -> Counter: return Counter(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else Counter()


@pytest.mark.parametrize("shared", ["1", "0"])
def test_workers_store_what_this_process_would(sent, tmp_path, monkeypatch, shared):
    grid = [dict(n=n, held=np.arange(3.)) for n in range(6)]
    monkeypatch.setenv("SYMBREAK_SHARED_FOLDER", shared)
    there = begin(tmp_path/"there")
    found = there.units(sent.squared, grid)
    monkeypatch.setenv("SYMBREAK_EXECUTOR", "serial")
    here = begin(tmp_path/"here").units(sent.squared, grid)
    assert [f["y"].tolist() for f in found] == [f["y"].tolist() for f in here]
    assert names(tmp_path/"there") == names(tmp_path/"here") and there.counts == dict(computed=6, reused=0, damaged=0)
    again = begin(tmp_path/"there")
    again.units(sent.squared, grid)
    assert again.counts["reused"] == 6   # whatever computes next takes them


def test_a_killed_worker_costs_its_unit_alone(loopback, sent, tmp_path):
    log, go, run = tmp_path/"log", tmp_path/"go", begin(tmp_path/"run")

    def kill():
        until(lambda: sum(begun(log).values()) == 2)
        victim = loopback.workers.pop()
        victim.kill()
        victim.wait()
        until(lambda: sum(begun(log).values()) == 2)
        loopback.worker()
        go.touch()
    thread = threading.Thread(target=kill)
    thread.start()
    found = run.units(sent.patient, [dict(n=n, log=str(log), go=str(go)) for n in range(6)])
    thread.join()
    assert [f["y"] for f in found] == list(range(6)) and len(names(tmp_path/"run")) == 6
    assert sorted(begun(log).values()) == [1, 1, 1, 1, 1, 2] and run.counts["computed"] == 6


def test_after_the_end_of_time_no_unit_begins_and_the_same_run_goes_on(sent, tmp_path, monkeypatch):
    log, go, call_off = tmp_path/"log", tmp_path/"go", cluster._call_off
    grid = [dict(n=n, log=str(log), go=str(go)) for n in range(12)]
    with monkeypatch.context() as patched:
        patched.setattr(cluster, "_late", lambda: bool(begun(log)))
        patched.setattr(cluster, "_until", lambda: time.time() + .2)
        patched.setattr(cluster, "_call_off", lambda *given: (call_off(*given), go.touch()))
        with pytest.raises(OutOfTime, match="time is up: .* of 12 units of patient are left"):
            begin(tmp_path/"run").units(sent.patient, grid)
    stored = len(names(tmp_path/"run"))
    assert 1 <= stored <= 4 and max(begun(log).values()) == 1
    monkeypatch.setenv("SYMBREAK_EXECUTOR", "serial")   # this process goes on from what workers have stored
    rest = begin(tmp_path/"run")
    assert [u["y"] for u in rest.units(sent.patient, grid)] == list(range(12)) and rest.counts["reused"] >= stored


def test_faults_are_one_line_and_leave_what_is_stored(sent, tmp_path, monkeypatch):
    run = begin(tmp_path/"run")
    with pytest.raises(ValueError, match="no square of"): run.units(sent.wrong, [dict(n=n) for n in range(3)])
    (tmp_path/"run"/"units").mkdir(exist_ok=True)
    (tmp_path/"run"/"units").rename(tmp_path/"aside")
    (tmp_path/"run"/"units").write_text("a disk that refuses")
    with pytest.raises(RunError, match="cannot write"): run.unit(sent.squared, n=1)
    monkeypatch.setenv("SYMBREAK_SHARED_FOLDER", "0")
    with pytest.raises(RunError, match="cannot write"): run.unit(sent.squared, n=1)
    (tmp_path/"run"/"units").unlink()
    assert run.unit(sent.squared, n=1)["y"] == 1
    monkeypatch.setattr(cluster, "_orders", lambda *given, orders=cluster._orders: orders(*given) | dict(code="0"*16))
    with pytest.raises(RunError, match="worker tcp://.*: it has other code of squared"): run.unit(sent.squared, n=2)
    monkeypatch.setattr(cluster, "versions", lambda: dict(torch="1.0"))
    with pytest.raises(RunError, match=r"has .*torch .*\(here 1.0\)"), cluster.engine(os.environ["SYMBREAK_SCHEDULER"]): pass


def test_a_killed_scheduler_is_one_line_and_its_workers_end(loopback, sent, tmp_path):
    "The last test of this scheduler."
    log, go, run = tmp_path/"log", tmp_path/"go", begin(tmp_path/"run")
    run.units(sent.squared, [dict(n=n) for n in range(3)])

    def kill():
        until(lambda: begun(log))
        loopback.scheduler.kill()
    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(RunError, match="the scheduler at tcp://.* is gone: what is finished is stored"):
        run.units(sent.patient, [dict(n=n, log=str(log), go=str(go)) for n in range(5)])
    thread.join()
    go.touch()
    for worker in loopback.workers: worker.wait(timeout=LONG)
    assert len([name for name in names(tmp_path/"run") if name.startswith("squared")]) == 3


SOURCES = ["from symbreak_nb.run import Declaration, Parameter, Run, between",
           """def waiting(n, log, go):
    import os, time
    from pathlib import Path
    with Path(log).open("a") as file: file.write(f"{n} {os.getpid()}\\n")   # a kernel has an open() of its own
    while n > 1 and not Path(go).exists(): time.sleep(.02)
    return dict(y=n)""",
           "declared = Declaration('patience')\nrun = Run(declared, globals())",
           """import os
units = run.units(waiting, [dict(n=n, log=os.environ["LOG"], go=os.environ["GO"]) for n in range(6)])
run.metric("sum", sum(u["y"] for u in units))
run.finish()"""]


@pytest.fixture
def patience(tmp_path):
    "A section whose units wait for a file."
    _asked()
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
    knobs = new_code_cell('profile = "smoke"\nseed = 0\ndevice = "cpu"\nout_dir = "results/patience"', metadata=dict(tags=["parameters"]))
    kernel = dict(name="python3", language="python", display_name="Python 3")
    cells = [new_markdown_cell("# Patience\n> Units wait."), knobs, *map(new_code_cell, SOURCES)]
    (tmp_path/"nbs").mkdir()
    nbformat.write(new_notebook(cells=cells, metadata=dict(kernelspec=kernel)), tmp_path/"nbs"/"99_patience.ipynb")
    return tmp_path


def test_a_killed_driver_leaves_no_process_and_loses_nothing(patience):
    log, go, out = patience/"log", patience/"go", patience/"out"
    call = [str(BIN/"symbreak"), "figures", "patience", "--engine", "dask", "--device", "cpu", "--notebooks", str(patience/"nbs"),
            "--out", str(out)]
    more = os.environ | dict(LOG=str(log), GO=str(go), SYMBREAK_CORES="2")
    said = (patience/"said").open("w+")
    first = subprocess.Popen(call, stdout=said, stderr=said, env=more, start_new_session=True)
    units = out/"patience"/"units"
    until(lambda: first.poll() is not None or (units.exists() and len(names(units.parent)) >= 2 and len(begun(log)) >= 4))
    assert first.poll() is None, (patience/"said").read_text()
    second = subprocess.run(call, capture_output=True, text=True, env=more)
    assert second.returncode == 2 and second.stderr.count("\n") == 1 and "another run works in" in second.stderr
    family = psutil.Process(first.pid).children(recursive=True)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    until(lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])
    stored = names(out/"patience")
    go.touch()
    done = subprocess.run(call, capture_output=True, text=True, env=more)
    assert done.returncode == 0, done.stderr
    record = json.loads((out/"patience"/"metrics.json").read_text())
    assert record["metrics"]["sum"] == 15 and record["units"] == dict(computed=6 - len(stored), reused=len(stored), damaged=0)
    assert all(begun(log)[str(n)] == 1 for n in range(2))   # what was stored was not computed again


def test_wrong_use_is_one_line(tmp_path, monkeypatch):
    for words in (["--scheduler", "tcp://127.0.0.1:9"], ["--no-shared-folder"]):
        done = CliRunner().invoke(command, ["figures", "ising", "--out", str(tmp_path), *words])
        assert done.exit_code == 2 and "ask for --engine dask" in done.output
    for name, ask in (("SYMBREAK_SCHEDULER", cluster._client), ("SYMBREAK_SHARED_FOLDER", cluster._shares)):
        monkeypatch.setenv(name, "nowhere")
        with pytest.raises(RunError, match=f"{name} = 'nowhere': allowed is"): ask()
