"A first picture, and a new section: it runs at smoke, its test passes, it becomes a module, and nothing is overwritten."
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from symbreak_nb import cli, first_steps
from symbreak_nb.cli import _guarded
from symbreak_nb.parameters import cell_source
from symbreak_nb.run import RunError

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def test_the_demo_draws_a_picture_and_says_where_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.click, "launch", lambda place: pytest.fail("nobody asked to open it"))
    assert _guarded(["demo"]) == 0
    out = capsys.readouterr().out
    assert f"picture: {tmp_path/'symbreak_demo.png'}\n" in out and "All 33,554,432 states" in out and "none of the 2 states" in out
    with Image.open("symbreak_demo.png") as picture: assert picture.width > 1200 and len(picture.convert("RGB").getcolors(10**6)) > 20
    assert [p.name for p in tmp_path.iterdir()] == ["symbreak_demo.png"]


def test_the_demo_opens_its_picture_when_asked_and_refuses_other_endings(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(cli.click, "launch", opened.append)
    assert _guarded(["demo", "--out", str(tmp_path/"a.svg"), "--open"]) == 0 and opened == [str(tmp_path/"a.svg")]
    assert (tmp_path/"a.svg").read_text().lstrip().startswith("<?xml")
    capsys.readouterr()
    assert _guarded(["demo", "--out", str(tmp_path/"a.txt")]) == 2 and capsys.readouterr().err.count("\n") == 1


def test_the_demo_counts_every_state():
    "Its numbers are those of the whole lattice: the free one is symmetric under a flip, a field splits the ground states."
    free, held = first_steps._landscape(), first_steps._landscape(0.45)
    assert free["states"].sum() == held["states"].sum() == 2**25
    assert (free["states"] % 2 == 0).all() and (free["states"][0], held["states"][0]) == (2, 1)


@pytest.fixture
def hills(tmp_path) -> Path:
    done = subprocess.run([BIN/"symbreak", "new", "hills"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and f"wrote {tmp_path/'60_hills.ipynb'}\n" in done.stdout, done.stderr
    return tmp_path


def test_the_test_of_a_new_section_passes(hills):
    "As a user would start it, which runs the section at smoke."
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_hills.py"]
    done = subprocess.run(call, cwd=hills, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout[-3000:]


def test_a_new_section_has_claims_a_unit_and_a_figure_and_becomes_a_module(hills):
    cells = ["".join(c["source"]) for c in json.loads((hills/"60_hills.ipynb").read_text())["cells"]]
    whole = "\n".join(cells)
    for part in ("run.unit(", "run.figure(", "run.decide(", "run.finish()", "**Question.**", "**Finding.**"): assert part in whole
    assert "newsection" not in whole and "newsection" not in (hills/"test_hills.py").read_text()
    project = hills/"project"
    (project/"nbs").mkdir(parents=True)
    (project/"symbreak_nb").mkdir()
    shutil.copy(ROOT/"settings.ini", project)
    shutil.copy(hills/"60_hills.ipynb", project/"nbs")
    for command in ("nbdev_export", "nbdev_clean"): subprocess.run([BIN/command], cwd=project, check=True, capture_output=True)
    assert (project/"nbs"/"60_hills.ipynb").read_bytes() == (hills/"60_hills.ipynb").read_bytes(), "it is clean as it is written"
    found: dict = {}
    exec(compile((project/"symbreak_nb"/"hills.py").read_text(), "hills.py", "exec"), found)
    assert set(found["CLAIMS"]) == {"hills.ends", "hills.side"} and found["PARAMETERS"].section == "hills"
    assert cell_source(found["PARAMETERS"]) in cells, "the parameters cell is that of the declaration"
    ruff = subprocess.run([BIN/"ruff", "check", "--no-cache", "--config", ROOT/"ruff.toml", project/"nbs"], capture_output=True, text=True)
    assert "F8" not in ruff.stdout and "F4" not in ruff.stdout, ruff.stdout


WRONG = ["", "x", "Hills", "two-hills", "../hills", "class", "9hills", "h"*500, "ising", "run", "newsection", "hügel"]


@pytest.mark.parametrize("name", WRONG, ids=lambda name: name[:10] or "empty")
def test_a_bad_name_is_one_line_and_writes_nothing(tmp_path, capsys, name):
    assert _guarded(["new", "--folder", str(tmp_path), "--", name]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and ("cannot be the name" in err or "choose another name" in err) and len(err) < 300
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["60_hills.ipynb", "12_hills.ipynb", "hills.ipynb", "test_hills.py"])
def test_nothing_is_overwritten(tmp_path, capsys, there):
    (tmp_path/there).write_text("kept")
    assert _guarded(["new", "hills", "--folder", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"{there} exists already" in err
    assert [p.name for p in tmp_path.iterdir()] == [there] and (tmp_path/there).read_text() == "kept"


def test_in_a_checkout_the_notebook_and_its_test_go_where_they_belong(tmp_path):
    for name in ("nbs", "tests"): (tmp_path/name).mkdir()
    for name in ("00_run.ipynb", "60_dunes.ipynb"): (tmp_path/"nbs"/name).write_text("{}")
    notebook, test = first_steps._write_section("hills", tmp_path)
    assert (notebook, test) == (tmp_path/"nbs"/"61_hills.ipynb", tmp_path/"tests"/"test_hills.py")
    assert 'parent/"../nbs"' in test.read_text()


def test_a_second_file_that_cannot_be_written_takes_the_first_with_it(tmp_path, monkeypatch):
    write = first_steps.write_atomic

    def only_notebooks(path, text):
        if path.suffix == ".py": raise RunError("the disk is full")
        return write(path, text)
    monkeypatch.setattr(first_steps, "write_atomic", only_notebooks)
    with pytest.raises(RunError, match="the disk is full"): first_steps._write_section("hills", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_refuses_is_one_line(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert _guarded(["new", "hills", "--folder", str(tmp_path)]) == 2 and capsys.readouterr().err.count("\n") == 1
