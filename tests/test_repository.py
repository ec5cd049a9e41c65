"The tree agrees with itself: exported code, clean notebooks, no error outputs, lint, and nothing private in it."
import filecmp
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    from configparser import ConfigParser

    from packaging.requirements import Requirement
    pins = dict(line.split("==") for line in (ROOT/"constraints.txt").read_text().splitlines() if "==" in line)
    pins = {k.lower().replace("_", "-"): v for k, v in pins.items()}
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT/"settings.ini")
    for line in " ".join(settings["DEFAULT"][k] for k in ("requirements", "dev_requirements")).split():
        need = Requirement(line)
        if need.name in ("setuptools", "wheel"): continue
        assert need.specifier.contains(pins[need.name.lower()]), f"{line} is pinned to {pins[need.name.lower()]}"
