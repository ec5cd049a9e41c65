"What a visitor sees first: README and the files beside it are short, true and of one version."
import csv
import importlib.metadata
import io
import json
import re
import subprocess
import sys
from configparser import ConfigParser
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import symbreak_nb
import yaml
from symbreak_nb import data, texts, weights
from symbreak_nb.claims import PAPERS
from symbreak_nb.sections import find_sections

import packaged
from test_tools import tool

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT/"README.md").read_text()
CITATION = yaml.safe_load((ROOT/"CITATION.cff").read_text())
WORKFLOW = yaml.safe_load((ROOT/".github"/"workflows"/"test.yml").read_text())
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(f"docs/{name}.md" for name in ("use", "findings", "licences", "design"))]


def settings() -> dict:
    found = ConfigParser(delimiters=["="])
    found.read(ROOT/"settings.ini", encoding="utf-8")
    return found["DEFAULT"]


def test_readme_has_at_most_1200_words(): assert len(README.split()) <= 1200


def test_the_first_screen_says_what_it_is_what_came_out_and_how_to_run_and_cite_it():
    "Two sentences, then a picture; code, commands, results and papers in this order."
    body = README[README.index("<!-- end of the badges -->") + 26:]
    first = body.split("![")[0]
    assert len(re.findall(r"\.(?:\s|$)", first)) == 2 and len(first.split()) <= 50
    assert README.count("![") - README.count("[![") == 1, "one picture"
    order = ("![", "<!-- outcome", "CITATION.cff)", "```python", "## Two commands", ".venv/bin/activate", "<!-- sections", "<!-- papers")
    places = list(map(README.index, order))
    assert places == sorted(places)
    screen = re.sub("<!--.*?-->", "", body.split("## Three lines")[0])   # above the first heading: one picture and less than 170 words
    for part in ("For readers", "For sceptics", "For engineers", "What came out", "`make figures`", "`make site`", "**Cite**"):
        assert part in screen
    assert len(screen.split()) < 170 and re.search(r"of \d+ claims \d+ hold, \d+ fail, and \d+ stay open", screen)


def test_the_counts_of_the_first_screen_are_those_of_the_references():
    with open(ROOT/"docs"/"claims.csv", newline="") as file: listed = [row["id"] for row in csv.DictReader(file)]
    paths = [path for profile in ("quick", "paper") for path in sorted((ROOT/"reference").glob(f"*/{profile}/metrics.json"))]
    rows = [row for path in paths for row in json.loads(path.read_text())["claims"]]
    found = {row["id"]: row["verdict"] for row in rows}
    many = [sum(found.get(id) == verdict for id in listed) for verdict in ("holds", "fails")]
    assert f"of {len(listed)} claims {many[0]} hold, {many[1]} fail, and {len(listed) - sum(many)} stay open" in README


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT/page).read_text()):
        if link.startswith(("https://", "http://", "#")): continue
        assert (ROOT/page).parent.joinpath(link.split("#")[0]).exists(), link


def test_the_example_is_three_lines_and_prints_what_stands_below_it():
    "Family by family: the weights are drawn anew, so distances and rounding differ."
    (code, output), = re.findall(r"```python\n(.*?)```\s+```text\n(.*?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) == 3
    with redirect_stdout(io.StringIO()) as said: exec(code, {})
    def kept(text): return [line.split()[:-4] + line.split()[-3:-1] for line in text.strip().splitlines()[2:-1]]   # but delta and error
    assert kept(said.getvalue()) == kept(output) and len(kept(output)) == 2
    assert said.getvalue().splitlines()[:2] == output.splitlines()[:2] and said.getvalue().splitlines()[-1] == output.splitlines()[-1]
    for column in output.splitlines()[1].split()[3:]: assert f"`{column}`" in README, f"{column} is not explained"


def test_the_table_has_a_row_a_section_with_question_finding_command_and_minutes():
    rows = [line.strip("|").split("|") for line in README.splitlines() if line.startswith("|[")]
    assert [re.match(r"\[(\w+)\]", row[0])[1] for row in rows] == list(find_sections())
    for name, question, finding, counts, picture, command, minutes in rows:
        section = re.match(r"\[(\w+)\]", name)[1]
        assert question.endswith("?") and finding.endswith(".") and len(question.split()) <= 12 and len(finding.split()) <= 14
        assert command == f"`symbreak figures {section}`" and int(minutes) >= 1
        assert (ROOT/re.search(r"\((.+)\)", picture)[1]).is_file()
        stored = json.loads((ROOT/"reference"/section/"quick"/"metrics.json").read_text())
        assert abs(int(minutes) - stored["wall_s"]/60) <= 1 and stored["profile"] == "quick"
        with open(ROOT/"docs"/"claims.csv", newline="") as file: papers = {row["id"] for row in csv.DictReader(file)}
        found = [row["verdict"] for row in stored["claims"] if row["id"] in papers]
        assert counts == ("/".join(str(found.count(v)) for v in ("holds", "fails", "inconclusive")) if found else "–")


def test_the_four_papers_are_named_with_authors_and_address():
    assert len(CITATION["references"]) == len(PAPERS) == 4
    for paper, key in zip(CITATION["references"], PAPERS.values(), strict=True):
        assert f"*{paper['title']}*" in README and f"]({paper['url']})" in README and str(paper["year"]) in key
        assert paper["authors"][0]["family-names"].lower() in key
        for author in paper["authors"]: assert author["family-names"] in README
        identifier = paper["identifiers"][0]["value"]
        assert paper["url"].endswith(re.split("[:]", identifier)[1])


def test_one_version_everywhere():
    version = settings()["version"]
    assert version == symbreak_nb.__version__ == CITATION["version"]
    newest = re.search(r"^## (\S+), (\S+)$", (ROOT/"CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest.groups() == (version, str(CITATION["date-released"]))
    assert CITATION["cff-version"] == "1.2.0" and CITATION["license"] == "Apache-2.0" and CITATION["message"] and CITATION["authors"]


def test_the_workflow_runs_every_python_that_the_package_names():
    matrix = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]
    named = re.findall(r'"(3\.\d+)"', re.search(r"Programming Language.*?\n", (ROOT/"setup.py").read_text())[0])
    assert matrix == dict(os=["ubuntu-latest", "macos-latest"], python=named) and named[0] == settings()["min_python"]
    assert any(step.get("run") == "make test" for step in WORKFLOW["jobs"]["test"]["steps"])
    wheel = "\n".join(step.get("run", "") for step in WORKFLOW["jobs"]["wheel"]["steps"])
    assert "build --wheel" in wheel and "symbreak demo" in wheel and "symbreak-nb" in wheel
    assert WORKFLOW["permissions"] == dict(contents="read")


@pytest.mark.parametrize("form", sorted((ROOT/".github"/"ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda p: p.stem)
def test_an_issue_form_asks_for_what_helps(form):
    found = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= set(found) and any(part.get("validations", {}).get("required") for part in found["body"])
    names = [part["id"] for part in found["body"]]
    assert len(set(names)) == len(names) and all(part["attributes"]["label"] for part in found["body"])


def test_the_container_is_short_and_uses_what_the_checkout_has():
    lines = (ROOT/"Dockerfile").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) <= 10
    assert re.search(r"^FROM python:3\.1[123]-slim$", "\n".join(lines), re.MULTILINE) and "RUN make .venv/.ready" in lines
    needs = (ROOT/"binder"/"requirements.txt").read_text().split()
    assert needs == ["-c", "../constraints.txt", ".[all]"] and (ROOT/"binder"/needs[1]).is_file()


def test_the_command_has_the_name_of_the_distribution_too():
    "So that `pipx run` and `uvx` find it."
    pairs = dict(line.split("=") for line in settings()["console_scripts"].split())
    assert set(pairs) == {"symbreak", settings()["lib_name"]} and len(set(pairs.values())) == 1
    for name in ("pipx run --spec . ", "uvx --from . "): assert name + settings()["lib_name"] in README


def test_every_pinned_distribution_and_every_data_set_has_a_licence():
    page = (ROOT/"docs"/"licences.md").read_text()
    rows = {packaged.canonicalize_name(name): (version, said) for name, version, said in
            re.findall(r"^\| ([\w.-]+) \| (\d[\w.]*) \| ([^|]+) \|", page, re.MULTILINE)}
    assert {name: version for name, (version, _) in rows.items()} == packaged.pins(), "run `python tools/licences.py`"
    assert not [name for name, (_, said) in rows.items() if said == "unknown"]
    named = set(re.findall(r"^\| `(\w+)` \| \S", page, re.MULTILINE))
    assert {*data.DATA_SETS, *texts.TEXT_SETS, *weights.WEIGHTS} <= named
    assert {Path(name).name.split(".")[0] for name in data.SHA256 if "hotqcd" in name} <= named
    with open(ROOT/"docs"/"data_licences.csv", newline="") as file:
        for row in csv.DictReader(file): assert row["licence"] and re.match(r"https?://[\w.-]+/?", row["source"]), row["name"]


def test_the_page_of_licences_is_what_the_metadata_say():
    assert tool("licences").page() == (ROOT/"docs"/"licences.md").read_text(), "run `python tools/licences.py`"


def test_the_installed_distribution_offers_both_commands():
    "Of the environment that the tests run in; an older install is told to be renewed."
    found = {e.name for e in importlib.metadata.distribution("symbreak-nb").entry_points}
    assert {"symbreak", "symbreak-nb"} <= found, f"run `{Path(sys.executable).name} -m pip install -e .`"
    done = subprocess.run([Path(sys.executable).parent/"symbreak-nb", "--version"], capture_output=True, text=True)
    assert done.stdout.strip() == f"symbreak, version {symbreak_nb.__version__}"
