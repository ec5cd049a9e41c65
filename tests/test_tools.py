"The tools that write what is stored with the code: they refuse a changed tree and keep what other processors decided."
import csv
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from symbreak_nb.claims import claim
from symbreak_nb.comparison import _narrow_claims, _read_variants
from symbreak_nb.records import read_metrics
from symbreak_nb.run import Declaration, Estimate, Parameter, Run
from symbreak_nb.sections import find_sections

from test_repository import NOTEBOOKS

TOOLS = Path(__file__).resolve().parent.parent/"tools"


def tool(name):
    if str(TOOLS) not in sys.path: sys.path.append(str(TOOLS))   # tools import each other
    spec = importlib.util.spec_from_file_location(f"tool_{name}", TOOLS/f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results(folder, value, section="wells", seed=0, side=3, identity=False):
    "A finished run whose one claim is decided by the value, and another that always holds."
    declared = Declaration(section, L=Parameter("side", None, side))
    run = Run(declared, dict(profile=folder.name if folder.name == "quick" else "smoke", seed=seed, device="cpu", out_dir=folder))
    if identity: run.decide(claim("fok.identity.same", "Sec. 2", "Same.", "value == 0", otherwise="nothing could"), 0)
    run.decide(claim("fok.near", "Sec. 2", "Positive.", "value > 0 with 95% interval"), Estimate(value, (value - 1, value + 1), 5))
    run.decide(claim("fok.far", "Sec. 2", "Two.", "value == 2"), 2)
    run.finish()


@pytest.fixture
def variants(tmp_path, monkeypatch):
    module = tool("variants")
    monkeypatch.setattr(module, "REFERENCE", tmp_path/"reference")
    monkeypatch.setattr(module, "PAGE", tmp_path/"docs"/"processors.md")
    results(tmp_path/"reference"/"wells"/"smoke", 1.5)
    return module


def test_verdicts_of_other_settings_are_merged_and_the_narrow_ones_are_listed(variants, tmp_path, capsys):
    for name, value in (("one", 1.5), ("two", 0.5), ("two", 0.75)):
        results(tmp_path/name/"wells", value)
        variants.main(["collect", str(tmp_path/name), name, "--capability", "avx2", "--threads", "2", "--cpu", "a | b"])
    place = tmp_path/"reference"/"wells"/"smoke"
    found = _read_variants(place/"variants.json")
    assert [(v["capability"], v["threads"], v["cpu"]) for v in found.values()] == [("avx2", 2, "a | b")]*2
    assert found["two"]["verdicts"] == {"fok.near": "inconclusive", "fok.far": "holds"}
    assert found["two"]["measured"]["fok.near"] == dict(value=0.75, interval=[-0.25, 1.75]), "the second collection replaces the first"
    assert _narrow_claims(read_metrics(place/"metrics.json"), found) == {"fok.near"}
    variants.main(["table"])
    page = (tmp_path/"docs"/"processors.md").read_text()
    assert "1 sections with 2 claims were run; 1 of them are narrow." in page
    row = "| `fok.near` | holds<br>1.5 [0.5, 2.5] | holds<br>1.5 [0.5, 2.5] | inconclusive<br>0.75 [−0.25, 1.75] |"
    assert row in page and "`fok.far`" not in page
    assert {line.count("|") for line in page.splitlines() if line.startswith("|")} == {5, 6}, "a name does not break the table"
    assert found["one"]["rules"] == {"fok.near": "value > 0 with 95% interval", "fok.far": "value == 2"} and found["one"]["seed"] == 0


def test_another_question_is_no_variant(variants, tmp_path, capsys):
    results(tmp_path/"other"/"wells", 1.5, side=4)
    results(tmp_path/"other"/"walls", 1.5, section="walls")
    variants.main(["collect", str(tmp_path/"other"), "other"])
    out = capsys.readouterr().out
    assert "wells: left out, L (4, reference 3)" in out and "walls: left out, it has no reference at this profile" in out
    assert not (tmp_path/"reference"/"wells"/"smoke"/"variants.json").exists()
    for name in ("reference", "a b", "../x"):
        with pytest.raises(SystemExit): variants.main(["collect", str(tmp_path/"other"), name])
    variants.main(["table"])
    assert "0 sections with 0 claims were run; 0 of them are narrow." in (tmp_path/"docs"/"processors.md").read_text()


def test_a_run_on_other_data_is_no_variant(variants, tmp_path, capsys):
    results(tmp_path/"other"/"wells", 1.5)
    path = tmp_path/"other"/"wells"/"metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(sources=["table.csv in the cache"])))
    variants.main(["collect", str(tmp_path/"other"), "other"])
    assert "wells: left out, data (table.csv, reference none)" in capsys.readouterr().out
    assert not (tmp_path/"reference"/"wells"/"smoke"/"variants.json").exists()


def test_another_seed_is_a_variant_and_what_has_no_rules_goes(variants, tmp_path):
    place = tmp_path/"reference"/"wells"/"smoke"
    (place/"variants.json").write_text(json.dumps(dict(settings=dict(old=dict(verdicts={"fok.near": "fails"})))))
    results(tmp_path/"other"/"wells", 0.5, seed=3)
    variants.main(["collect", str(tmp_path/"other"), "seed3", "--threads", "1"])
    found = _read_variants(place/"variants.json")
    assert list(found) == ["seed3"] and found["seed3"]["seed"] == 3
    assert _narrow_claims(read_metrics(place/"metrics.json"), found) == {"fok.near"}
    variants.main(["table"])
    assert re.search(r"^\| seed3 \| 3 \| \w+ \| 1 \|", (tmp_path/"docs"/"processors.md").read_text(), re.MULTILINE)


def test_one_command_runs_every_setting_and_collects_them(variants, tmp_path, monkeypatch, capsys):
    asked = []

    def run(command, env):
        out, seed = Path(command[-1]), int(command[command.index("--seed") + 1])
        asked.append((command[2:command.index("--profile")], seed, env["OMP_NUM_THREADS"], env.get("ATEN_CPU_CAPABILITY")))
        results(out/"wells", 0.5 if seed else 1.5, seed=seed)
        return SimpleNamespace(returncode=0)
    monkeypatch.setattr(variants, "subprocess", SimpleNamespace(run=run))
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    variants.main(["run", "wells", "--out", str(tmp_path/"out")])
    assert asked == [(["wells"], 1, "1", None), (["wells"], 0, "2", None), (["wells"], 0, "1", "avx2")]
    found = _read_variants(tmp_path/"reference"/"wells"/"smoke"/"variants.json")
    assert {k: (v["seed"], v["threads"]) for k, v in found.items()} == dict(seed1=(1, 1), two_threads=(0, 2), avx2=(0, 1))
    assert "| `fok.near` |" in (tmp_path/"docs"/"processors.md").read_text()
    asked.clear()
    variants.main(["run", "wells", "--only", "avx2", "--out", str(tmp_path/"out")])
    assert asked == [(["wells"], 0, "1", "avx2")]


def test_a_new_reference_drops_the_verdicts_of_another_rule_or_value(tmp_path):
    refresh = tool("refresh")
    row = dict(id="fok.a", rule="value > 0", value=1.5, verdict="holds")
    (tmp_path/"metrics.json").write_text(json.dumps(dict(claims=[row])))
    for change, kept in ((dict(where="Sec. 3"), True), (dict(value=1.6), False), (dict(rule="value > 1"), False)):
        (tmp_path/"variants.json").write_text("{}")
        refresh.drop_old_variants(tmp_path, dict(claims=[row | change]))
        assert (tmp_path/"variants.json").exists() is kept


def test_a_changed_tree_gets_no_reference(tmp_path, monkeypatch):
    refresh = tool("refresh")
    monkeypatch.setattr(refresh, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="is not a git checkout"): refresh.main([])
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    (tmp_path/"nbs").mkdir()
    for name in ("nbs/10_a.ipynb", "settings.ini"): (tmp_path/name).write_text("{}")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]): subprocess.run([*git, *words], check=True)
    refresh.refuse_changed_tree()
    (tmp_path/"other.txt").write_text("a file that no number depends on")
    refresh.refuse_changed_tree()
    (tmp_path/"nbs"/"10_a.ipynb").write_text("{ }")
    with pytest.raises(SystemExit) as refused: refresh.main([])
    assert re.fullmatch(r"refresh: commit first, 1 files differ from the commit: nbs/10_a.ipynb", str(refused.value))


def test_a_checksum_is_written_with_each_reference(tmp_path, monkeypatch):
    "As `sha256sum --check` reads it."
    refresh = tool("refresh")
    for name in ("RESULTS", "REFERENCE"): monkeypatch.setattr(refresh, name, tmp_path/name)
    monkeypatch.setattr(refresh, "keep_outputs", lambda *a: None)
    monkeypatch.setattr(refresh, "pictures", lambda name: [])
    monkeypatch.setattr(refresh.nbformat, "read", lambda *a: None)

    def run(*a, **named):
        (tmp_path/"RESULTS"/"wells").mkdir(parents=True)
        (tmp_path/"RESULTS"/"wells"/"metrics.json").write_text(json.dumps(record))
    record = dict(section="wells", profile="quick", params=dict(L=3, out_dir="x"), wall_s=2.04)
    monkeypatch.setattr(refresh.subprocess, "run", run)
    refresh.run_sections(["wells"])
    refresh.refresh_section(tmp_path/"x.ipynb", None, "wells")
    refresh.keep_seconds(["wells"])
    assert json.loads((tmp_path/"REFERENCE"/"seconds.json").read_text()) == dict(quick=dict(wells=7.0)), "with five of the kernel"
    monkeypatch.undo()
    done = subprocess.run(["sha256sum", "--check", "metrics.json.sha256"], cwd=tmp_path/"REFERENCE"/"wells"/"quick", capture_output=True)
    assert done.returncode == 0


def test_the_record_of_a_finished_run_is_kept_under_its_profile(tmp_path, monkeypatch):
    refresh, record = tool("refresh"), dict(section="wells", profile="paper", params=dict(L=64, out_dir="x"), wall_s=7200.0)
    for name in ("ROOT", "REFERENCE"): monkeypatch.setattr(refresh, name, tmp_path)
    monkeypatch.setattr(refresh, "rewrite", lambda: None)
    (tmp_path/"metrics.json").write_text(json.dumps(record))
    refresh.main(["--keep", str(tmp_path)])
    kept = json.loads((tmp_path/"wells"/"paper"/"metrics.json").read_text())
    assert kept == record | dict(params=dict(L=64)) and (tmp_path/"wells"/"paper"/"metrics.json.sha256").is_file()
    (tmp_path/"metrics.json").write_text(json.dumps(record | dict(profile="quick", wall_s=None)))
    with pytest.raises(SystemExit, match="has not ended"): refresh.main(["--keep", str(tmp_path)])
    assert not (tmp_path/"wells"/"quick").exists()


def test_a_stored_picture_is_small_and_has_a_checksum(tmp_path):
    refresh = tool("refresh")
    Image.effect_noise((1500, 300), 80).convert("RGB").save(tmp_path/"large.png")
    refresh.store_picture(tmp_path/"large.png", tmp_path/"small.png")
    with Image.open(tmp_path/"small.png") as stored: assert stored.size == (900, 180) and stored.mode == "P"
    done = subprocess.run(["sha256sum", "--check", "small.png.sha256"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0 and (tmp_path/"small.png").stat().st_size < (tmp_path/"large.png").stat().st_size


def small_section(tmp_path, monkeypatch):
    "A section with a reference, and the tool that writes its cells."
    cells = tool("cells")
    places = dict(NBS="nbs", REFERENCE="reference", LISTED="claims.csv", GUIDE="guide.md", README="readme.md",
                  FINDINGS="findings.md", SENTENCES="sections.csv")
    for name, value in {name: tmp_path/place for name, place in places.items()}.items():
        monkeypatch.setattr(cells, name, value)
    cells.LISTED.write_text("paper,id\nfok2017,fok.near\n")
    cells.GUIDE.write_text("<!-- rooms: x -->\n<!-- end of the rooms -->\n")
    marks = ("badges", "outcome", "sections", "papers")
    cells.README.write_text("".join(f"<!-- {what}: x -->\n<!-- end of the {what} -->\n" for what in marks))
    cells.SENTENCES.write_text("section,question,finding\nwells,Which one?,\"The left, or the right.\"\n")
    results(tmp_path/"reference"/"wells"/"quick", 1.5, identity=True)
    title = dict(cell_type="markdown", id="title", metadata={}, source=["# Two wells\n", "> The seed decides."])
    knobs = dict(cell_type="code", id="knobs", metadata=dict(tags=["parameters"]), outputs=[], execution_count=None, source=["L = None"])
    cells.NBS.mkdir()
    whole = dict(cells=[title, knobs], metadata={}, nbformat=4, nbformat_minor=5)
    (cells.NBS/"10_wells.ipynb").write_text(json.dumps(whole))
    declared = Declaration("wells", "wells_ends", L=Parameter("side of the lattice", None, 3))
    monkeypatch.setitem(sys.modules, "symbreak_nb.wells", SimpleNamespace(PARAMETERS=declared))
    return cells


def test_the_parameters_and_the_first_screen_are_written_from_their_sources(tmp_path, monkeypatch, capsys):
    cells = small_section(tmp_path, monkeypatch)
    assert cells.main(["--check"]) == 1 and capsys.readouterr().out == (
        "not as their sources say: 10_wells.ipynb, guide.md, readme.md, findings.md\n")
    assert cells.main(["wells"]) == 0 and cells.main(["--check"]) == 0
    title, screen, knobs = json.loads((cells.NBS/"10_wells.ipynb").read_text())["cells"]
    assert (title["id"], screen["id"], knobs["metadata"]) == ("title", "opening", dict(tags=["parameters"]))
    assert re.search(r"^profile += \"quick\" .*\n(.*\n)*L += None +# side of the lattice$", "".join(knobs["source"]), re.MULTILINE)
    text = "".join(screen["source"])
    assert "| Positive. | 1.5 [0.5, 2.5] | **holds** |" in text and text.index("Positive") < text.index("<details>") < text.index("Two.")
    assert text.index("Two.") < text.index("1 identities: they cannot come out otherwise, and are not counted") < text.index("Same.")
    assert "![" not in text, "there is no picture yet"
    assert "| [`10_wells`](nbs/10_wells.ipynb) | The seed decides. |" in cells.GUIDE.read_text()
    assert "|[wells](nbs/10_wells.ipynb)|Which one?|The left, or the right.|1/0/0|" in cells.README.read_text()
    assert "**What came out**: of 1 claims 1 hold, 0 fail, and 0 stay open so far." in cells.README.read_text()
    assert "|`symbreak figures wells`|1|" in cells.README.read_text() and "arXiv:1710.06096" in cells.README.read_text()
    assert "### [Two wells](../nbs/10_wells.ipynb)" in cells.FINDINGS.read_text() and "![" not in cells.FINDINGS.read_text()
    assert "`symbreak figures wells`, 1 min; claims of the paper: 1 hold, 0 fail, 0 open." in cells.FINDINGS.read_text()
    (tmp_path/"reference"/"wells"/"quick"/"wells_ends.png").write_bytes(b"x")
    assert cells.main(["--check"]) == 1 and cells.main([]) == 0
    assert "![wells_ends](../reference/wells/quick/wells_ends.png)" in (cells.NBS/"10_wells.ipynb").read_text()
    assert "![wells_ends](../reference/wells/quick/wells_ends.png)" in cells.FINDINGS.read_text()
    with pytest.raises(SystemExit, match="there is no section well"): cells.main(["well"])
    cells.SENTENCES.write_text("section,question,finding\n")
    with pytest.raises(SystemExit, match="sections.csv has no question and finding of wells"): cells.main([])


@pytest.mark.parametrize("address, shown", [("", 0), ("https://github.com/someone/symbreak_nb", 2), ("github.com/someone/symbreak_nb/", 2)])
def test_badges_are_shown_where_there_is_a_public_address(tmp_path, monkeypatch, address, shown):
    cells = tool("cells")
    monkeypatch.setattr(cells, "ROOT", tmp_path)
    (tmp_path/"settings.ini").write_text(f"[DEFAULT]\nbranch = main\npublic_address = {address}\n")
    found = cells.badges()
    assert len(found) == shown and all("/someone/symbreak_nb/" in line and "main" in line for line in found)


@pytest.mark.parametrize("name", find_sections())
def test_the_cells_of_a_section_are_those_of_its_declaration_and_its_reference(name):
    cells, path = tool("cells"), find_sections()[name].path
    assert cells.page(path, importlib.import_module(f"symbreak_nb.{name}")) == path.read_text(), "run `python tools/cells.py`"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_what_only_prepares_is_folded(notebook):
    "JupyterLab shows neither a wall of imports nor a page of rules before the first picture; nothing else is folded."
    cells = tool("cells")
    assert cells.written(json.loads(notebook.read_text())) == notebook.read_text(), "run `python tools/cells.py`"


def test_which_cells_are_folded():
    folds = tool("cells").folds
    assert folds("#| default_exp wells") and folds("#| export\nimport os\nfrom math import pi")
    assert folds("import os\nimport sys\nos.getcwd()") and folds("PARAMETERS = 1") and folds("_MORE = 2\nCLAIMS |= 3")
    assert not any(map(folds, ["", "# a word", "x = 1", "import os\nprint(os.getcwd())", "profile = 'quick'  # smoke | quick | paper"]))


def test_the_lists_of_notebooks_are_complete():
    cells = tool("cells")
    for path, text in ((cells.GUIDE, cells.guide()), (cells.README, cells.front()), (cells.FINDINGS, cells.findings())):
        assert text == path.read_text(), "run `python tools/cells.py`"


def test_the_page_of_claims_is_that_of_the_references():
    claims = tool("claims")
    assert claims.PAGE.read_text() == claims.page(), "run `python tools/claims.py`"


def test_the_page_of_claims_has_three_kinds_of_rows(tmp_path, monkeypatch):
    claims = tool("claims")
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    monkeypatch.setattr(claims, "LISTED", tmp_path/"claims.csv")
    monkeypatch.setattr(claims, "sections", lambda: dict(wells="10_wells.ipynb"))
    claims.LISTED.write_text("paper,id,where,claim,paper_value\nfok2017,fok.near,2,Positive.,-\n")
    results(tmp_path/"reference"/"wells"/"quick", 0.5, identity=True)
    text = claims.page()
    near, far, same = (text.index(f"| `{name}` |") for name in ("fok.near", "fok.far", "fok.identity.same"))
    assert near < text.index("Controls, and claims read more narrowly:") < far < text.index("Identities, which cannot come out") < same
    assert "0 holds, 0 fails, 1 inconclusive, 0 open, of 1 claims; 0 of the verdicts are narrow." in text
    assert "`value == 0`<br>otherwise: nothing could" in text and "**inconclusive** |" in text


def test_the_page_of_claims_leaves_none_out():
    claims = tool("claims")
    with open(claims.LISTED, newline="") as file: listed = [row["id"] for row in csv.DictReader(file)]
    shown = re.findall(r"^\| `?([a-z0-9_.]+)`? \|", claims.PAGE.read_text(), re.MULTILINE)
    shown = [name for name in shown if name != "id"]
    assert len(listed) == len(set(listed)) and Counter(shown) == Counter({*listed, *claims.decided()})
