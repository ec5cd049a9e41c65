"The recipes of CONTRIBUTING.md, followed to the letter."
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT/"CONTRIBUTING.md").read_text()
SYMBREAK = Path(sys.executable).parent/"symbreak"


def test_the_section_of_the_recipe_runs(tmp_path):
    (snippet,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, check=True)
    call = [SYMBREAK, "figures", "wells", "--profile", "smoke", "--notebooks", tmp_path, "--out", tmp_path/"out"]
    done = subprocess.run(list(map(str, call)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path/"out"/"wells"/"metrics.json").read_text())
    assert [c["verdict"] for c in record["claims"]] == ["holds"] and record["figures"][0]["name"] == "wells_ends"
    again = subprocess.run(list(map(str, [*call, "-p", "starts", "5"])), capture_output=True, text=True)
    assert again.returncode != 0 and "starts = 5: allowed is an integer from 10" in again.stderr


def test_what_the_recipes_name_is_there():
    from symbreak_nb import data
    assert {"DATA_SETS", "SHA256", "SHIPPED"} <= set(vars(data))
    for name in re.findall(r"`(\d\d_\w+)`", TEXT): assert name == "99_wells" or (ROOT/"nbs"/f"{name}.ipynb").is_file()
    for link in re.findall(r"\]\(([^)]+)\)", TEXT): assert (ROOT/link).is_file()
    assert {f"`{p.stem}`" for p in (ROOT/"nbs").glob("0*.ipynb")} <= set(re.findall(r"`\d\d_\w+`", TEXT))
