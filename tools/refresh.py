"""Run the notebooks at quick, keep their outputs in nbs/, the results in reference/, and write what follows from them.

    python tools/refresh.py [SECTION ...]             # default: every section and every layer
    python tools/refresh.py --keep RESULTS/SECTION ...  # the record of a finished run, of any profile
"""
import base64
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image
from symbreak_nb.comparison import _checksum_line

ROOT = Path(__file__).resolve().parent.parent
NBS, RESULTS, REFERENCE = ROOT/"nbs", ROOT/"results"/"refresh", ROOT/"reference"
WIDEST = 900  # columns of a stored picture
BIN = Path(sys.executable).parent
SOURCES = ["symbreak_nb", "nbs", "settings.ini", "setup.py", "constraints.txt"]  # what a number depends on


def refuse_changed_tree() -> None:
    "A reference names the commit that made it, so everything it depends on has to be committed."
    done = subprocess.run(["git", "status", "--porcelain", "--", *SOURCES], cwd=ROOT, capture_output=True, text=True)
    changed = [line[3:] for line in done.stdout.splitlines()]
    if done.returncode: sys.exit(f"refresh: {ROOT} is not a git checkout, so no commit can be named")
    if changed: sys.exit(f"refresh: commit first, {len(changed)} files differ from the commit: {', '.join(changed[:3])}")


def kind(notebook) -> tuple[str, bool]:
    "Module that a notebook exports, and whether it is a section (has a parameters cell)."
    sources = [c.source for c in notebook.cells if c.cell_type == "code"]
    name = next((s.split()[2] for s in sources if s.startswith("#| default_exp")), "")
    return name, any("parameters" in c.metadata.get("tags", []) for c in notebook.cells)


def pictures(name: str) -> list[str]:
    "Figures of a section that are stored: the one that its declaration names, and those that README or the tour show."
    shown = "".join(path.read_text() for path in (ROOT/"README.md", NBS/"index.ipynb") if path.is_file())
    named = importlib.import_module(f"symbreak_nb.{name}").PARAMETERS.picture
    return sorted({named, *re.findall(rf"reference/{name}/quick/(\w+)\.png", shown)} - {""})


def store_picture(source: Path, target: Path) -> None:
    "Store a picture, at most WIDEST columns and 256 colours, with its checksum beside it."
    picture = Image.open(source).convert("RGB")
    if picture.width > WIDEST: picture = picture.resize((WIDEST, round(picture.height*WIDEST/picture.width)), Image.Resampling.LANCZOS)
    picture.quantize(256, dither=Image.Dither.NONE).save(target, "png", optimize=True)
    target.with_name(f"{target.name}.sha256").write_text(_checksum_line(target))


def lighter(png: str) -> str:
    "A picture in 256 colours, base64 as in a notebook, if that is smaller."
    stored = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(stored, "png", optimize=True)
    return min(base64.b64encode(stored.getvalue()).decode(), png, key=len)


def keep_outputs(path: Path, notebook, executed) -> None:
    "Move the outputs of an executed notebook into the source, cell by cell; papermill's injected cell is left out."
    done = [c for c in executed.cells if c.cell_type == "code" and "injected-parameters" not in c.metadata.get("tags", [])]
    code = [c for c in notebook.cells if c.cell_type == "code"]
    for cell, ran in zip(code, done, strict=True):
        cell.outputs = [o for o in ran.outputs if o.output_type != "stream" or o.get("name") != "stderr"]
        for shown in (o.data for o in cell.outputs if "image/png" in o.get("data", {})):
            shown["image/png"] = lighter(shown["image/png"])
    nbformat.write(notebook, path)


def refresh_layer(path: Path, notebook) -> None:
    executed = NotebookClient(nbformat.from_dict(notebook), timeout=600, resources={"metadata": {"path": str(NBS)}}).execute()
    keep_outputs(path, notebook, executed)


def run_sections(names: list[str]) -> None:
    "Run through the command line, all at once, so that the reference is what a user's own run would give."
    for name in names: shutil.rmtree(RESULTS/name, ignore_errors=True)
    if names: subprocess.run([BIN/"symbreak", "figures", *names, "--profile", "quick", "--out", RESULTS], check=True)


def keep_seconds(names: list[str], start: float = 5.0) -> None:
    """How long each section took in this run, with what its kernel takes to start: of one run of all sections, or the ratios mislead.

    Set SYMBREAK_CACHE to an empty folder before: a first run solves the equations of pdes, which later ones find in the cache.
    """
    walls = {name: json.loads((RESULTS/name/"metrics.json").read_text())["wall_s"] for name in sorted(names)}
    table = dict(quick={name: round(wall + start, 1) for name, wall in walls.items()})
    (REFERENCE/"seconds.json").write_text(json.dumps(table, indent=1) + "\n")


def drop_old_variants(target: Path, record: dict) -> None:
    "Verdicts of other settings belong to the code that made the reference: they go where a rule or a measured value has changed."
    said = lambda claims: {c["id"]: (c["rule"], c["value"], c["verdict"]) for c in claims}
    stored = target/"metrics.json"
    if stored.is_file() and said(json.loads(stored.read_text())["claims"]) != said(record.get("claims", [])):
        (target/"variants.json").unlink(missing_ok=True)


def keep_record(folder: Path) -> Path:
    "Store the record of a run; returns the folder of its section and profile."
    record = json.loads((folder/"metrics.json").read_text())
    if not record.get("wall_s"): sys.exit(f"refresh: the run in {folder} has not ended")
    target = REFERENCE/record["section"]/record["profile"]
    target.mkdir(parents=True, exist_ok=True)
    record["params"].pop("out_dir", None)
    drop_old_variants(target, record)
    (target/"metrics.json").write_text(json.dumps(record, indent=1) + "\n")
    (target/"metrics.json.sha256").write_text(_checksum_line(target/"metrics.json"))
    return target


def refresh_section(path: Path, notebook, name: str) -> None:
    "Keep the outputs and the results of a section that has run."
    keep_outputs(path, notebook, nbformat.read(RESULTS/name/f"{name}.ipynb", 4))
    target = keep_record(RESULTS/name)
    for old in target.glob("*.png*"): old.unlink()
    for shown in pictures(name): store_picture(RESULTS/name/"figures"/f"{shown}.png", target/f"{shown}.png")


def rewrite() -> None:
    "What follows from outputs and records."
    subprocess.run([BIN/"nbdev_clean"], cwd=ROOT, check=True)
    for tool in ("claims", "cells"): subprocess.run([sys.executable, ROOT/"tools"/f"{tool}.py"], check=True)


def main(wanted: list[str]) -> None:
    if wanted[:1] == ["--keep"]:
        for folder in wanted[1:]: print(keep_record(Path(folder)).relative_to(ROOT))
        return rewrite()
    refuse_changed_tree()
    os.environ.pop("SYMBREAK_PROFILE", None)
    found = [(path, nbformat.read(path, 4)) for path in sorted(NBS.glob("*.ipynb"))]
    found = [(path, notebook, *kind(notebook)) for path, notebook in found]
    found = [(path, notebook, name, section) for path, notebook, name, section in found if not wanted or (name or path.stem) in wanted]
    run_sections(names := [name for _, _, name, section in found if section])
    if not wanted: keep_seconds(names)
    for path, notebook, name, section in found:
        if section: refresh_section(path, notebook, name)
        else: refresh_layer(path, notebook)
        print(path.name, f"{path.stat().st_size / 1e6:.2f} MB")
    rewrite()


if __name__ == "__main__": main(sys.argv[1:])
