"The tree agrees with itself: exported code, clean notebooks, no error outputs, lint, and nothing private in it."
import ast
import filecmp
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import packaged

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT/"nbs").glob("*.ipynb"))
BIN = Path(sys.executable).parent


def cells(notebook: Path, kind: str = "code") -> list[dict]:
    return [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == kind]


def source(cell: dict) -> str: return "".join(cell["source"])


def is_section(notebook: Path) -> bool: return any("parameters" in c["metadata"].get("tags", []) for c in cells(notebook))


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    "The files that make the package, copied, exported and cleaned there."
    folder = tmp_path_factory.mktemp("tree")/"symbreak_nb"
    skip = shutil.ignore_patterns(".*", "__pycache__", "results")
    for name in ("nbs", "symbreak_nb"): shutil.copytree(ROOT/name, folder/name, ignore=skip)
    for name in ("settings.ini", "setup.py"): shutil.copy(ROOT/name, folder/name)
    for command in ("nbdev_export", "nbdev_clean"): subprocess.run([BIN/command], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("folder, pattern", [("symbreak_nb", "*.py"), ("nbs", "*.ipynb")])
def test_export_and_cleaning_change_nothing(copy, folder, pattern):
    names = sorted({p.name for p in (copy/folder).glob(pattern)} | {p.name for p in (ROOT/folder).glob(pattern)})
    _, different, missing = filecmp.cmpfiles(copy/folder, ROOT/folder, names, shallow=False)
    assert not different and not missing, f"run `make export`: {different + missing} in {folder}/ would change"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_shows_no_error(notebook):
    outputs = [o for c in cells(notebook) for o in c["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert sum(len(json.dumps(o)) for o in outputs) < 1_200_000


@pytest.mark.parametrize("notebook", [n for n in NOTEBOOKS if is_section(n)], ids=lambda p: p.stem)
def test_a_section_has_one_parameters_cell_and_shows_its_figures(notebook):
    tagged = [c for c in cells(notebook) if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1 and "#| export" not in source(tagged[0])
    names = re.findall(r"^(\w+)\s*=", source(tagged[0]), re.M)
    assert names[:4] == ["profile", "seed", "device", "out_dir"] and 'profile = "quick"' in re.sub(" +", " ", source(tagged[0]))
    assert all("#" in line for line in source(tagged[0]).splitlines() if line.strip())
    drawn = [c for c in cells(notebook) if "run.figure(" in source(c)]
    shown = [c for c in drawn if any("image/png" in o.get("data", {}) for o in c["outputs"])]
    assert drawn and drawn == shown, "run `make refresh`"


def test_ruff_finds_nothing():
    done = subprocess.run([BIN/"ruff", "check", "--no-cache", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


def test_sources_are_free_of_leftovers():
    "No marks of unfinished work, no absolute path of a machine, no credentials, in anything that git would take."
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode: pytest.skip("not a git checkout")
    bad = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b|/(root|home|work|Users)/\w|BEGIN [A-Z ]*PRIVATE KEY")
    for name in listed.stdout.split():
        path = ROOT/name
        if not path.is_file() or path.suffix in (".png", ".ico") or path.name in ("LICENSE", "test_repository.py"): continue
        text = path.read_text(errors="replace")
        if path.suffix == ".ipynb": text = re.sub(r'"image/png": "[^"]*"', "", text)
        assert not (hit := bad.search(text)), f"{name}: {hit.group()!r}"


def test_constraints_lie_within_the_ranges_of_the_settings():
    "Of the core and of every extra; a package of two extras has one range."
    pins, found = packaged.pins(), packaged.requirements()
    assert {"", "notebooks", "data", "manifold", "compiled", "dev", "pinns", "pretrained", "tasks"} <= set(found)
    ranges: dict[str, set] = {}
    for extra, needs in found.items():
        assert needs, f"the extra {extra} is empty"
        for need in needs:
            name = packaged.canonicalize_name(need.name)
            ranges.setdefault(name, set()).add(str(need.specifier))
            if name in ("setuptools", "wheel"): continue
            assert name in pins, f"{need} of {extra or 'the core'} is not in constraints.txt"
            assert need.specifier.contains(pins[name]), f"{need} is pinned to {pins[name]}"
    assert not {name: r for name, r in ranges.items() if len(r) > 1}


def calls_of_need() -> list[tuple[str, str, str]]:
    "Module of ours, top package and extra of every `need(package, extra, ...)` in the modules and the notebooks."
    texts = {p.stem: p.read_text() for p in (ROOT/"symbreak_nb").glob("*.py") if p.stem != "_modidx"}
    texts |= {n.name: "\n".join(map(source, cells(n))) for n in NOTEBOOKS}
    found = re.compile(r'\bneed\("([\w.]+)", "(\w+)"')
    return [(name, package.split(".")[0], extra) for name, text in texts.items() for package, extra in found.findall(text)
            if not package.startswith(("json", "os.", "no_such"))]


def test_an_extra_that_a_message_names_brings_the_package():
    from importlib.metadata import packages_distributions
    distributions, found = packages_distributions(), packaged.requirements()
    carried = dict(IPython="ipykernel")   # by a requirement that cannot do without it
    assert len(calls_of_need()) > 20
    for module, package, extra in calls_of_need():
        names = {packaged.canonicalize_name(d) for d in [*distributions.get(package, []), carried.get(package, package)]}
        assert names & {packaged.canonicalize_name(r.name) for r in found[extra]}, f"{module}: {extra} does not bring {package}"


def test_what_a_module_imports_plainly_belongs_to_the_core():
    "Packages of an extra go through `need`, but for what runs only after it, or inside a kernel."
    from importlib.metadata import packages_distributions
    distributions = packages_distributions()
    core = {packaged.canonicalize_name(r.name) for r in packaged.requirements()[""]}
    after = {("expansion", "torchvision"), ("pixels", "torchvision"), ("jobs", "jupyter_client"), ("run", "IPython")}
    for path in (ROOT/"symbreak_nb").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level: names = [node.module]
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"symbreak_nb"}:
                if (path.stem, top) in after: continue
                assert {packaged.canonicalize_name(d) for d in distributions[top]} & core, f"{path.name} imports {top}: use need()"
