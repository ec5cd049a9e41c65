"""A wheel and what it declares, in an empty environment away from the repository: first the light core, then all extras.

The tests of the core stand first: `whole` adds to the same environment.
"""
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

import packaged as w

EXAMPLES = w.examples()
MISSING = {
    "from symbreak_nb import expansion": "symbreak_nb.expansion needs torchvision: pip install 'symbreak-nb[data]'",
    "from symbreak_nb.pixels import ExpandPixels": "symbreak_nb.pixels needs torchvision: pip install 'symbreak-nb[data]'",
    "from symbreak_nb import data; data.load('digits')": "needs platformdirs: pip install 'symbreak-nb[data]'",
    "from symbreak_nb import montecarlo; montecarlo.wolff(4, 2.0)": "needs numba: pip install 'symbreak-nb[compiled]'",
    "from symbreak_nb import explorer; explorer.explorer(live=True)": "needs ipywidgets: pip install 'symbreak-nb[notebooks]'",
    "from torch import nn; from symbreak_nb.rd_metric import replica_distance; "
    "replica_distance([nn.Linear(2, 2) for _ in range(4)], 'umap', 1)": "UMAP needs umap: pip install 'symbreak-nb[manifold]'",
}
REFUSED = {
    "figures ising": "symbreak: figures needs papermill: pip install 'symbreak-nb[notebooks]'",
    "data": "symbreak: the cache of data sets needs platformdirs: pip install 'symbreak-nb[data]'",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path: return w.build(tmp_path_factory.mktemp("wheel"), sys.executable)


@pytest.fixture(scope="module")
def core(wheel):
    "The commands of an environment that got the wheel by a plain install."
    folder = wheel.parent
    w.install(bin := w.empty(folder, sys.executable), wheel)
    yield bin
    w.remove(folder/"env")


@pytest.fixture(scope="module")
def whole(wheel, core) -> Path:
    "The same with all extras, and the notebook that README names."
    w.install(core, wheel, "all")
    (wheel.parent/"nbs").mkdir()
    shutil.copy(w.ROOT/"nbs"/"10_ising.ipynb", wheel.parent/"nbs")
    return core


def pinned(found: dict[str, str]) -> bool:
    "Whether everything has the version that constraints.txt names, but for what a CUDA build of torch brings along."
    pins, cuda = w.pins(), ("nvidia-", "cuda-", "triton")
    return not {name: v for name, v in found.items() if pins.get(name) != v and not name.startswith(cuda)}


def test_a_plain_install_is_the_light_core(core):
    found, needs = w.installed(core), w.requirements()
    light = {w.canonicalize_name(r.name) for r in needs.pop("")}
    assert light <= set(found) and pinned(found)
    assert not set(found) & ({w.canonicalize_name(r.name) for extra in needs.values() for r in extra} - light)
    script = "import symbreak_nb; print(symbreak_nb.__file__)"
    assert str(core.parent) in w.call(core, "python", "-c", script).stdout


def test_every_module_but_those_of_images_imports_in_the_core(core):
    names = [p.stem for p in (w.ROOT/"symbreak_nb").glob("*.py") if p.stem not in ("__init__", "_modidx", "expansion", "pixels")]
    done = w.call(core, "python", "-c", f"import importlib\nfor n in {sorted(names)}: importlib.import_module('symbreak_nb.' + n)")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("code", MISSING, ids=[text.split("'")[-2] for text in MISSING.values()])
def test_the_core_says_which_extra_a_function_needs(core, code):
    done = w.call(core, "python", "-c", code)
    assert done.stderr.splitlines()[-1].endswith(MISSING[code]), done.stderr[-2000:]


@pytest.mark.parametrize("arguments", REFUSED)
def test_the_core_says_in_one_line_which_extra_a_command_needs(core, arguments):
    done = w.call(core, "symbreak", *arguments.split())
    assert (done.returncode, done.stdout, done.stderr.strip()) == (2, "", REFUSED[arguments])
    assert not (core.parent.parent/"results").exists()


def test_the_wheel_holds_what_it_needs_and_its_annotations(wheel):
    with zipfile.ZipFile(wheel) as found: names = found.namelist()
    for name in ("py.typed", "templates/section.ipynb", "templates/section_check.txt", "templates/report.html", "notebooks/10_ising.ipynb"):
        assert f"symbreak_nb/{name}" in names
    assert not [name for name in names if name.endswith((".pyc", ".png")) or name.startswith("tests")]


@pytest.mark.parametrize("command", ["symbreak", "symbreak-nb"])   # the second is what pipx run and uvx look for
def test_the_core_shows_a_picture_and_writes_a_section(core, tmp_path, command):
    shown = w.call(core, command, "demo", folder=tmp_path)
    assert shown.returncode == 0 and (tmp_path/"symbreak_demo.png").stat().st_size > 20_000, shown.stderr
    assert str(tmp_path/"symbreak_demo.png") in shown.stdout
    written = w.call(core, command, "new", "hills", folder=tmp_path)
    assert written.returncode == 0 and (tmp_path/"60_hills.ipynb").is_file() and (tmp_path/"test_hills.py").is_file(), written.stderr


def test_commands_of_the_core(core):
    listed, planned = w.call(core, "symbreak", "list"), w.call(core, "symbreak", "plan", "ising", "expansion")
    assert listed.returncode == 0 and all(p.stem[3:] in listed.stdout for p in (w.ROOT/"nbs").glob("[1-4]*.ipynb")), listed.stderr
    assert planned.returncode == 0 and "wolff" in planned.stdout and "'symbreak-nb[data]'" in planned.stdout, planned.stderr


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_the_readme_runs_in_the_core_or_names_its_extra(core, number):
    extra, code = EXAMPLES[number]
    done = w.call(core, "python", "-c", code)
    if extra: assert done.stderr.strip().endswith(f"pip install 'symbreak-nb[{extra}]'")
    else: assert done.returncode == 0, done.stderr[-2000:]


def test_all_extras_are_installed_at_the_tested_versions(whole):
    found = w.installed(whole)
    assert {"papermill", "numba", "torchvision", "umap-learn"} <= set(found) and pinned(found)


@pytest.mark.parametrize("number", [i for i, (extra, _) in enumerate(EXAMPLES) if extra])
def test_an_example_that_needs_an_extra_runs_with_it(whole, number):
    done = w.call(whole, "python", "-c", EXAMPLES[number][1])
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_first_command_runs_a_section(whole):
    done = w.call(whole, "symbreak", "figures", "ising", "--profile", "smoke", "--out", "first")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (whole.parent.parent/"first"/"ising"/"metrics.json").exists() and (whole.parent.parent/"first"/"index.html").exists()


def test_the_commands_of_the_readme_run(whole):
    "In their order, for the last one shows what the others left."
    folder = whole.parent.parent
    assert {line.split()[1] for line in w.commands()} >= {"demo", "figures", "new", "list", "plan", "data", "report"}
    for line in w.commands():
        done = w.call(whole, *shlex.split(line, comments=True))
        assert done.returncode == 0, f"{line}: {(done.stdout + done.stderr)[-3000:]}"
    assert (folder/"out.ipynb").exists() and (folder/"results"/"expansion"/"metrics.json").exists()
    assert "expansion" in (folder/"results"/"index.html").read_text()
