"A wheel in an empty environment: how it is built, installed with what it declares, and called."
import glob
import json
import os
import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def requirements() -> dict[str, list[Requirement]]:
    "Extra -> what settings.ini says it needs; the core has the name ''."
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT/"settings.ini")
    found = {k.removesuffix("requirements").rstrip("_"): v for k, v in settings["DEFAULT"].items() if k.endswith("requirements")}
    return {extra: [Requirement(line) for line in lines.split()] for extra, lines in found.items()}


def pins() -> dict[str, str]:
    "Distribution -> version in constraints.txt."
    lines = [line for line in (ROOT/"constraints.txt").read_text().splitlines() if "==" in line]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def told() -> str:
    "What a user reads first: README, and the page on how to use it."
    return "\n".join((ROOT/name).read_text() for name in ("README.md", "docs/use.md"))


def examples() -> list[tuple[str, str]]:
    "Their python blocks, each with the extra that the line above it names, or nothing."
    blocks = re.findall(r"([^\n]*)\n\n```python\n(.*?)```", told(), re.S)
    return [("".join(re.findall(r"\(extra `(\w+)`\)", lead)), code) for lead, code in blocks]


def commands() -> list[str]:
    "Their lines that call an installed command."
    found, language = [], None
    for line in told().splitlines():
        if line.startswith("```"): language = line[3:].strip() if language is None else None
        elif language == "" and line.startswith(("symbreak ", "papermill ")): found.append(line)
    return found


def build(folder: Path, python: str) -> Path:
    "The wheel of the tree as it stands, built away from it."
    tree = folder/"tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "results", "__pycache__", "build", "dist", "*.egg-info"))
    _checked(python, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, tree)
    shutil.rmtree(tree)
    return next(folder.glob("*.whl"))


def empty(folder: Path, python: str) -> Path:
    "A new environment without packages; its folder of commands."
    _checked(python, "-m", "venv", folder/"env")
    return folder/"env"/"bin"


def install(bin: Path, wheel: Path, extra: str = "") -> None:
    "The wheel and what it declares, at the versions of constraints.txt."
    name = f"{wheel}[{extra}]" if extra else wheel
    quietly = ("--quiet", "--disable-pip-version-check", "--no-compile")
    _checked(bin/"python", "-m", "pip", "install", *quietly, "-c", ROOT/"constraints.txt", name)


def remove(folder: Path) -> None:
    "Delete an environment, which pytest would keep for three runs; several GB are not waited for."
    subprocess.Popen(["rm", "-rf", str(folder)])


def installed(bin: Path) -> dict[str, str]:
    "Distribution -> version, without the wheel itself and what every environment has."
    listed = json.loads(_checked(bin/"python", "-m", "pip", "list", "--format", "json", "--disable-pip-version-check").stdout)
    found = {canonicalize_name(p["name"]): p["version"].split("+")[0] for p in listed}
    return {k: v for k, v in found.items() if k not in ("symbreak-nb", "pip", "setuptools", "wheel")}


def call(bin: Path, *command, folder: Path | None = None) -> subprocess.CompletedProcess:
    "Run something as a user of that environment would, at the smallest profile, away from the checkout."
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "SYMBREAK_DATA", "MPLBACKEND")}
    env |= dict(PATH=f"{bin}{os.pathsep}{env['PATH']}", SYMBREAK_PROFILE="smoke", MPLBACKEND="agg")
    return subprocess.run([str(c) for c in command], cwd=folder or bin.parent.parent, capture_output=True, text=True, env=env)


def newer_python() -> str:
    "A Python above 3.11 that starts, the newest of those that the settings name, or nothing."
    homes = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    for version in ("3.13", "3.12"):
        for python in (f"python{version}", *glob.glob(f"{homes}/versions/{version}.*/bin/python")):
            try: done = subprocess.run([python, "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"],
                                       capture_output=True, text=True)
            except OSError: continue
            if done.stdout.strip() == version: return python
    return ""


def _checked(*command) -> subprocess.CompletedProcess:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {(done.stdout + done.stderr)[-3000:]}"
    return done
