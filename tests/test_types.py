"What a type checker makes of the public surface: the examples are without fault, a wrong call is found, nothing public is untyped."
import json
import subprocess
import sys
from pathlib import Path

import pytest

import packaged

CHECKER = Path(sys.executable).parent/"basedpyright"


@pytest.fixture
def home(tmp_path) -> Path:
    "A folder that holds the package plainly: an editable install hides it from type checkers."
    (tmp_path/"symbreak_nb").symlink_to(packaged.ROOT/"symbreak_nb")
    return tmp_path


def faults(home: Path, *sources: str) -> list[str]:
    "What the checker says of some scripts, as a user's editor would."
    settings = dict(extraPaths=[str(home)], typeCheckingMode="standard", include=["scripts"])
    (home/"pyrightconfig.json").write_text(json.dumps(settings))
    (home/"scripts").mkdir()
    for number, source in enumerate(sources): (home/"scripts"/f"example_{number}.py").write_text(source)
    call = [CHECKER, "-p", home, "--pythonpath", sys.executable, "--outputjson"]
    found = json.loads(subprocess.run(list(map(str, call)), capture_output=True, text=True).stdout)
    assert found["summary"]["filesAnalyzed"] == len(sources)
    wrong = [f for f in found["generalDiagnostics"] if f["severity"] == "error"]
    return [f"{Path(f['file']).name}:{f['range']['start']['line'] + 1}: {f['message']}" for f in wrong]


WRONG = """from symbreak_nb.pixels import ExpandPixels
from symbreak_nb.replicas import Replicas
from symbreak_nb.symmetries import symmetry_report
symmetry_report("no model", 3)
ExpandPixels(factor="two")
Replicas(build=3, seeds=range(2))
report: int = symmetry_report
"""


def test_the_examples_have_no_fault_and_a_wrong_call_is_found(home):
    found = faults(home, *(code for _, code in packaged.examples()), WRONG)
    last = f"example_{len(packaged.examples())}.py"
    assert not [line for line in found if not line.startswith(last)]
    assert {line.split(":")[1] for line in found} == {"4", "5", "6", "7"}


def test_nothing_public_is_without_a_type(home):
    "Every parameter and every return of what `__all__` names; a dict may leave open what it holds."
    call = [CHECKER, "--pythonpath", sys.executable, "--verifytypes", "symbreak_nb", "--ignoreexternal", "--outputjson"]
    done = subprocess.run(list(map(str, call)), capture_output=True, text=True, cwd=home, env=dict(PYTHONPATH=str(home)))
    found = json.loads(done.stdout)["typeCompleteness"]
    assert found["pyTypedPath"] == str(home/"symbreak_nb"/"py.typed") and len(found["symbols"]) > 1000
    said = [(s["name"], d["message"].splitlines()[0]) for s in found["symbols"] for d in s.get("diagnostics", []) if s["isExported"]]
    untyped = [(name, text) for name, text in said if "annotation" in text and text.endswith("is missing") and "._" not in name]
    assert not untyped
