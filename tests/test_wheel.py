"A wheel built from the tree works in a fresh environment, away from the repository."
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = """
import pathlib, sys
import symbreak_nb
assert "site-packages" in symbreak_nb.__file__ and {root!r} not in symbreak_nb.__file__, symbreak_nb.__file__
from symbreak_nb import ising
assert sum(ising.density_of_states(3).counts.ravel()) == 2**9
import torch
from symbreak_nb.expansion import ExpandPixels
expand, x = ExpandPixels(factor=2, fill=.5), torch.rand(2, 3, 4, 4)
assert expand(x).shape == (2, 3, 8, 8) and torch.equal(expand.inverse(expand(x)), x)
print("parts work")
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    "A new environment with the wheel in it, and the dependencies of this one; nothing of the checkout."
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder/"tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "results", "__pycache__", "build", "dist", "*.egg-info"))
    run = dict(check=True, capture_output=True, text=True)
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, tree], **run)
    subprocess.run([sys.executable, "-m", "venv", folder/"env"], **run)
    python = folder/"env"/"bin"/"python"
    subprocess.run([python, "-m", "pip", "install", "--no-deps", "--no-index", *folder.glob("*.whl")], **run)
    packages = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], **run).stdout.strip()
    (Path(packages)/"dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shutil.rmtree(tree)
    return folder


def call(fresh, *command) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run([str(c) for c in command], cwd=fresh, capture_output=True, text=True, env=env)


def test_parts_work_without_the_repository(fresh):
    done = call(fresh, fresh/"env"/"bin"/"python", "-c", PARTS.format(root=str(ROOT)))
    assert done.stdout.strip() == "parts work", done.stderr[-2000:]


def test_the_command_line_runs_a_section_from_the_wheel(fresh):
    done = call(fresh, fresh/"env"/"bin"/"symbreak", "figures", "ising", "--profile", "smoke", "--out", fresh/"results")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (fresh/"results"/"ising"/"metrics.json").exists() and (fresh/"results"/"index.html").exists()
