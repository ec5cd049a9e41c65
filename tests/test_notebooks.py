"Each notebook once, at smoke: layers as nbdev runs them, sections as papermill runs them."
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from test_repository import NOTEBOOKS, is_section
from test_seeds import seeds

LAYERS = [n for n in NOTEBOOKS if not is_section(n)]
SECTIONS = [n for n in NOTEBOOKS if is_section(n)]
BIN = Path(sys.executable).parent


def call(*command, **environment) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONWARNINGS": "ignore"} | {k: str(v) for k, v in environment.items()}
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env)


@pytest.mark.parametrize("notebook", LAYERS, ids=lambda p: p.stem)
def test_a_layer_passes_its_own_checks(notebook, tmp_path):
    done = call(BIN/"nbdev_test", "--path", notebook, SYMBREAK_PROFILE="smoke", SYMBREAK_OUT=tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.mark.parametrize("notebook", SECTIONS, ids=lambda p: p.stem)
def test_a_section_runs_under_papermill_and_keeps_the_contract(notebook, tmp_path):
    (seed,), setting = seeds.draw_seeds(1), seeds.Setting(1, "default")
    done = call(BIN/"papermill", notebook, tmp_path/"out.ipynb", "-p", "profile", "smoke", "-p", "seed", seed,
                "-p", "out_dir", tmp_path/"out", "--no-progress-bar", **setting.environment())
    assert done.returncode == 0, f"seed {seed}, {setting}: {done.stderr[-3000:]}"
    record = json.loads((tmp_path/"out"/"metrics.json").read_text())
    assert record["profile"] == "smoke" and record["seed"] == seed and record["metrics"] and record["claims"] and record["figures"]
    assert {"section", "device", "params", "versions", "commit", "started", "wall_s"} <= set(record)
    for figure in record["figures"]:
        for ending in ("png", "svg"): assert (tmp_path/"out"/"figures"/f"{figure['name']}.{ending}").stat().st_size > 1000
        assert (tmp_path/"out"/"data"/f"{figure['name']}.npz").exists(), f"{figure['name']} was not drawn from stored data"
    assert not {f["name"]: f["faults"] for f in record["figures"] if f["faults"]}, "see symbreak_nb.figures.figure_faults"
    for claim in record["claims"]: assert claim["verdict"] in ("holds", "fails", "inconclusive") and claim["rule"]


@pytest.mark.parametrize("notebook", SECTIONS, ids=lambda p: p.stem)
def test_an_undeclared_parameter_stops_plain_papermill_too(notebook, tmp_path):
    done = call(BIN/"papermill", notebook, tmp_path/"out.ipynb", "-p", "profile", "smoke", "-p", "no_such_knob", "1",
                "-p", "out_dir", tmp_path/"out", "--no-progress-bar")
    assert done.returncode != 0 and "unknown parameter no_such_knob" in done.stderr
    assert not (tmp_path/"out"/"metrics.json").exists()
