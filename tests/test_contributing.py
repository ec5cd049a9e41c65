"The recipes of CONTRIBUTING.md, followed to the letter."
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT/"CONTRIBUTING.md").read_text()
SYMBREAK = Path(sys.executable).parent/"symbreak"


def recipe(title: str) -> str:
    "The one block of code below a heading."
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## )", TEXT, re.DOTALL | re.MULTILINE)
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return snippet


@pytest.fixture
def wells(tmp_path) -> Path:
    "The notebook that the recipe for a section writes."
    command = re.search(r"^symbreak (new wells)", TEXT, re.MULTILINE)[1]
    subprocess.run([SYMBREAK, *command.split()], cwd=tmp_path, check=True)
    return tmp_path/"60_wells.ipynb"


def figures(notebook: Path, *more: str) -> subprocess.CompletedProcess:
    call = [SYMBREAK, "figures", "wells", "--profile", "smoke", "--notebooks", notebook.parent, "--out", notebook.parent/"out", *more]
    return subprocess.run(list(map(str, call)), capture_output=True, text=True)


def claims(notebook: Path) -> dict[str, dict]:
    record = json.loads((notebook.parent/"out"/"wells"/"metrics.json").read_text())
    assert record["figures"][0]["name"] == "wells_ends"
    return {row["id"]: row for row in record["claims"]}


def test_the_section_of_the_recipe_runs(wells):
    done = figures(wells)
    assert done.returncode == 0, done.stderr
    assert claims(wells)["wells.ends"]["verdict"] == "holds" and len(claims(wells)) == 2
    again = figures(wells, "-p", "starts", "5")
    assert again.returncode != 0 and "starts = 5: allowed is an integer from 10" in again.stderr


def test_the_section_of_the_recipe_is_listed(wells):
    done = subprocess.run([SYMBREAK, "list", "wells", "--notebooks", wells.parent], capture_output=True, text=True)
    assert done.returncode == 0 and "starts" in done.stdout and "two wells, one chosen" in done.stdout


def test_the_claim_of_the_recipe_is_decided(wells):
    notebook = nbformat.read(wells, 4)
    notebook.cells.insert(-1, nbformat.v4.new_code_cell(recipe("Add a claim")))
    nbformat.write(notebook, wells)
    done = figures(wells)
    assert done.returncode == 0, done.stderr
    row = claims(wells)["fok.wells.middle"]
    assert (row["paper"], row["n"]) == ("fok2017", 20) and row["interval"][0] < row["value"] < row["interval"][1]


def test_the_data_set_of_the_recipe_loads(tmp_path):
    alone = os.environ | dict(SYMBREAK_CACHE=str(tmp_path)) | dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = subprocess.run([sys.executable, "-c", recipe("Add a data set")], capture_output=True, text=True, env=alone)
    assert done.stdout == "lfw_subset of scikit-image 40\n", done.stderr


def test_what_the_recipes_name_is_there():
    from symbreak_nb import data
    assert {"DATA_SETS", "SHA256", "SHIPPED"} <= set(vars(data))
    for name in re.findall(r"`(\d\d_\w+)`", TEXT): assert (ROOT/"nbs"/f"{name}.ipynb").is_file()
    for link in re.findall(r"\]\(([^)]+)\)", TEXT): assert (ROOT/link).is_file()
    assert {f"`{p.stem}`" for p in (ROOT/"nbs").glob("[0-9]*.ipynb")} <= set(re.findall(r"`\d\d_\w+`", TEXT))


def test_a_recipe_has_about_ten_lines():
    for title in ("Add a claim", "Add a data set"): assert len(recipe(title).splitlines()) <= 15
