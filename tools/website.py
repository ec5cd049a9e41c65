"""Gather the pages of the site, and build it with Sphinx, without network: home, gallery, claims, sections, how-tos, API, design.

    python tools/website.py [--out FOLDER] [--jobs N]

The pages are laid out as the repository is, so that a link of a notebook or of a page leads to the same place on the site. Notebooks
are copied without the directives of nbdev; the gallery, the claims and the sections come from `reference/`, the API from the modules.
Everything is written below `build/site`, the site itself to `build/site/html`.
"""
import argparse
import ast
import csv
import functools
import html
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import files
from pathlib import Path
from types import ModuleType

from symbreak_nb.claims import VERDICTS, row_kind, verdict_marks
from symbreak_nb.records import _format_interval, _format_number, read_metrics
from symbreak_nb.report import _PAPER_TITLES
from symbreak_nb.sections import Notebook, find_sections

import cells
import claims

ROOT = Path(__file__).resolve().parent.parent
NBS, REFERENCE, DOCS = ROOT/"nbs", ROOT/"reference", ROOT/"docs"
MOVED = {"README.md": "index.md", "nbs": "sections.md", "reference": "gallery.md", "docs/howto": "docs/howto/index.md"}
FLOORS = {"1": "Zhang et al. 2024", "2": "Zhang et al. 2024, physics", "3": "Iqbal and Welling 2025", "4": "Ziyin et al. 2025",
          "5": "Fok, An and Wang 2017", "0": "Layers that the sections share", "9": "The report and the command line"}
WIDE = "---\nhtml_theme.sidebar_secondary.remove: true\n---"   # a page without a list of its headings
MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2/", "input/tex/extensions/", "a11y/assistive-mml.js")


def told(path: Path) -> tuple[str, str]:
    "Title of a notebook, and the sentence under it."
    text = "".join(json.loads(path.read_text())["cells"][0]["source"])
    lines = text.splitlines()
    return lines[0].removeprefix("# "), next((line[1:].strip() for line in lines if line.startswith(">")), "")


def toctree(entries: list[str], caption: str = "") -> str:
    return "\n".join(["```{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else []), "", *entries, "```", ""])


def grid(cards: list[str], columns: str = "1 1 2 2") -> str:
    return "\n".join([f":::::{{grid}} {columns}", ":gutter: 3", "", *cards, ":::::", ""])


def count(found: list[str]) -> str:
    "Verdicts of a section's claims, in words."
    many, words = Counter(found), dict(holds="hold", fails="fail", inconclusive="open")
    return ", ".join(f"{many[v]} {words[v]}" for v in VERDICTS if many[v])


# Notebooks

def folds(source: str) -> bool:
    "Whether a cell only imports, or only declares parameters and claims."
    try: body = ast.parse(source).body
    except SyntaxError: return False
    declares = lambda n: isinstance(n, ast.Assign) and re.search(r"\b(claim|Declaration)\(", ast.unparse(n.value))
    brings = lambda n: isinstance(n, (ast.Import, ast.ImportFrom))
    named = lambda n: isinstance(n, (ast.Assign, ast.Expr)) and len(ast.unparse(n)) < 200
    only_imports = bool(body) and brings(body[0]) and all(brings(n) or named(n) for n in body)
    return only_imports or any(declares(n) for n in body) and not any(isinstance(n, ast.FunctionDef) for n in body)


def cell_shown(cell: dict, captions: dict, heading: str = "") -> dict | None:
    "A cell without directives, with words for its pictures; None if nothing is left of it."
    source = "".join(cell["source"])
    if cell["cell_type"] != "code": return cell
    plain = re.sub(r"^[ \t]*#\|.*\n?", "", source, flags=re.M).strip("\n")
    if not plain.strip() and not cell["outputs"]: return None
    metadata = dict(cell["metadata"], tags=list(cell["metadata"].get("tags", [])))
    hidden = re.search(r"^#\|\s*hide\b", source, re.M) or cell["metadata"].get("jupyter", {}).get("source_hidden")
    if hidden or folds(plain): metadata["tags"].append("hide-input")
    drawn = [captions[name] for name in re.findall(r"\"(\w+)\"", plain) if name in captions]
    metadata["mystnb"] = dict(image=dict(alt=" ".join(drawn) or f"Picture under the heading: {heading}"))
    return cell | dict(source=plain, metadata=metadata)


def notebook(path: Path) -> str:
    "A notebook as the site shows it."
    read = json.loads(path.read_text())
    record = REFERENCE/path.stem.split("_", 1)[-1]/"quick"/"metrics.json"
    captions = {f["name"]: f["caption"] for f in read_metrics(record)["figures"]} if record.is_file() else {}
    kept, heading = [], ""
    for cell in read["cells"]:
        if cell["cell_type"] == "markdown": heading = (re.findall(r"^#+ (.*)", "".join(cell["source"]), re.M) or [heading])[-1]
        if (shown := cell_shown(cell, captions, heading)) is not None: kept.append(shown)
    for cell in kept:
        if cell["cell_type"] == "markdown": cell["source"] = relinked("".join(cell["source"]), f"nbs/{path.name}")
    return json.dumps(read | dict(cells=kept), ensure_ascii=False)


def relinked(text: str, page: str) -> str:
    "The text of a page, with links to what has another place on the site."
    def target(found: re.Match) -> str:
        path, mark, rest = found[1].partition("#")
        place = os.path.normpath(os.path.join(os.path.dirname(page), path))
        if not path or re.match(r"\w+:", path) or place not in MOVED: return found[0]
        return f"]({os.path.relpath(MOVED[place], os.path.dirname(page) or '.')}{mark}{rest})"
    return re.sub(r"\]\(([^()\s]+)\)", target, text)


def linked_files(pages: dict[str, str]) -> set[str]:
    "Files of the repository that pages link to or show, and that are no pages themselves."
    found = set()
    for page, text in pages.items():
        if page.endswith(".ipynb"):
            text = "\n".join("".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")
        for link in re.findall(r"\]\(([^()\s#]+)|:img-top: (\S+)", text):
            found.add(os.path.normpath(os.path.join(os.path.dirname(page), link[0] or link[1])))
    return {name for name in found - set(pages) if (ROOT/name).is_file()}


# Pages from the references

def records() -> dict[str, tuple[Notebook, dict]]:
    "Section -> its notebook and what its reference says."
    places = {name: (section, REFERENCE/name/"quick"/"metrics.json") for name, section in find_sections(NBS).items()}
    empty = dict(claims=[], figures=[])
    return {name: (section, read_metrics(path) if path.is_file() else empty) for name, (section, path) in places.items()}


@functools.cache
def plainly(name: str) -> tuple[str, str]:
    "The question of a section and its answer, in a plain sentence each."
    with open(DOCS/"sections.csv", newline="") as file: rows = {row["section"]: row for row in csv.DictReader(file)}
    return (rows[name]["question"], rows[name]["finding"]) if name in rows else ("", "")


def paper_verdicts(record: dict) -> list[str]:
    listed = cells.papers_claims()
    return [row["verdict"] for row in record["claims"] if row["id"] in listed]


def picture_card(section: Notebook, record: dict, picture: Path) -> list[str]:
    "A picture with what its section found, the question and the answer in plain words, and how the claims came out."
    captions, (question, answer) = {f["name"]: f["caption"] for f in record["figures"]}, plainly(section.name)
    caption = re.sub(r"\s*\(quick profile[^)]*\)", "", captions.get(picture.stem, ""))
    end = "; ".join(t for t in (f"section {section.name}", count(paper_verdicts(record))) if t)
    return [f"::::{{grid-item-card}} {section.title}", ":class-card: gallery-card", f":link: nbs/{section.path.stem}", ":link-type: doc",
            f":img-top: {picture.relative_to(ROOT).as_posix()}", f":img-alt: {caption or section.title}",
            "", f"*{question}* {answer}" if question else caption, "", ":::{card-footer}", end, ":::", "::::", ""]


def gallery() -> str:
    "Each picture of the references with its section and what the section found."
    text = [WIDE, "# Gallery", "", "The title of a card is what its section found. A click opens the section. "
            "The pictures come from a run at the `quick` profile, so sizes and seeds are reduced.", ""]
    found = records().values()
    for digit, name in FLOORS.items():
        cards = [line for section, record in found if section.path.stem[0] == digit
                 for picture in sorted((REFERENCE/section.name).glob("quick/*.png")) for line in picture_card(section, record, picture)]
        if cards: text += [f"## {name}", "", grid(cards)]
    return "\n".join(text)


def claim_rows() -> list[dict]:
    "Claims of the papers in the order of the papers, then controls and identities; what no section decided is open."
    decided, notebooks = claims.decided(), claims.sections()
    with open(claims.LISTED, newline="") as file: listed = list(csv.DictReader(file))
    known, rows = {row["id"] for row in listed}, []
    for paper in _PAPER_TITLES:
        mine = [row for row in listed if row["paper"] == paper]
        unmeasured = dict(paper=paper, verdict="inconclusive", reason="no section measures it yet")
        rows += [decided.get(r["id"], dict(unmeasured, id=r["id"], where=r["where"], statement=r["claim"]))
                 | dict(said=r["paper_value"], kind="claim") for r in mine]
        more = [row for key, row in sorted(decided.items()) if row["paper"] == paper and key not in known]
        kind = lambda row: "identity" if row_kind(row) == "identity" else "control"
        rows += [dict(row, said=row["paper_value"] or "", kind=kind(row)) for row in sorted(more, key=kind)]
    return [dict(row, page=f"nbs/{notebooks[row['section']][:-6]}.html" if "section" in row else "") for row in rows]


def claim_row(row: dict) -> str:
    "One row of the table of claims, as HTML."
    esc = lambda text: html.escape(" ".join(str(text).split()))
    found = f"{_format_number(row['value'])} {_format_interval(row['interval'])}" if "value" in row else "–"
    marks = [m for m in verdict_marks(row) if m] if "value" in row else [row["reason"]]
    rule = [f"<p>Rule: <code>{esc(row['rule'])}</code></p>"] if "rule" in row else []
    facts = dict(Measured=row.get("measure"), Otherwise=row.get("otherwise"), Marks="; ".join(marks), Method=row.get("method"))
    more = [f"<p>{name}: {esc(text)}</p>" for name, text in facts.items() if text]
    where = f'<a href="{row["page"]}">{esc(row["section"])}</a>' if row["page"] else "–"
    narrow = ' <span class="narrow-mark">narrow</span>' if row.get("narrow") else ""
    words = " ".join([row["verdict"], *(["narrow"] if row.get("narrow") else [])])
    return (f'<tr id="{esc(row["id"])}" data-paper="{row["paper"]}" data-verdict="{words}" data-kind="{row["kind"]}">'
            f'<td>{esc(row["statement"])}<p class="narrow-mark">{_PAPER_TITLES[row["paper"]].split(",")[0]}, {esc(row["where"])}</p>'
            f'<details><summary>rule and reasons</summary><p><code>{esc(row["id"])}</code></p>{"".join(rule + more)}</details></td>'
            f'<td data-title="the paper says">{esc(row["said"]) or "–"}</td><td data-title="measured">{esc(found)}</td>'
            f'<td data-title="verdict"><span class="verdict {row["verdict"]}">{row["verdict"]}</span>{narrow}</td>'
            f'<td data-title="section">{where}</td></tr>')


def claims_page() -> str:
    "Every claim with its verdict, and filters."
    rows = claim_rows()
    option = lambda value, text: f'<option value="{value}">{html.escape(text)}</option>'
    papers = "".join(option(p, t.rsplit(",", 1)[0]) for p, t in _PAPER_TITLES.items())
    verdicts, kinds = (*VERDICTS, "narrow"), dict(claim="claims of the papers", control="our controls", identity="identities")
    intro = claims.HEAD.split("\n", 1)[1].rsplit("This page is made by", 1)[0]
    select = lambda name, label, options: f'<label>{label}<select name="{name}">{option("", "all")}{options}</select></label>'
    choices = (select("paper", "Paper", papers) + select("verdict", "Verdict", "".join(option(v, v) for v in verdicts))
               + select("kind", "Kind", "".join(option(k, t) for k, t in kinds.items())))
    table = ['<table class="claims table"><thead><tr><th>claim</th><th>the paper says</th><th>measured</th><th>verdict</th><th>section</th>'
             "</tr></thead><tbody>", *map(claim_row, rows), "</tbody></table>"]
    counts = [(p, Counter(r["verdict"] for r in rows if r["paper"] == p and r["kind"] == "claim")) for p in _PAPER_TITLES]
    summary = ["| paper | hold | fail | inconclusive |", "|---|---|---|---|",
               *(f"| {_PAPER_TITLES[p]} | {' | '.join(str(found[v]) for v in VERDICTS)} |" for p, found in counts)]
    words = '<label>Words<input name="words" type="search" size="18"></label>'
    form = f'<form class="claims-filter" hidden>{words}{choices}<output></output></form>'
    return "\n".join([WIDE, "# The claims of the four papers", "", *summary, "", ":::{dropdown} How to read the table", intro, ":::", "",
                      "```{raw} html", form, *table, '<script src="_static/claims.js" defer></script>', "```", ""])


def sections_page() -> str:
    "What each section found, by paper, and the layers below."
    text = ["# Sections", "", "Each section is a notebook: one phenomenon, the code, the figures, and the claims that it decides. "
            "[The tour](nbs/index.ipynb) has one picture and one sentence a section. "
            "The [layers](#layers-that-the-sections-share) are the library that the sections share.", ""]
    trees, decided = [toctree(["A tour <nbs/index>"])], {section.path: paper_verdicts(record) for section, record in records().values()}
    for digit, name in FLOORS.items():
        paths = sorted(NBS.glob(f"{digit}*.ipynb"))
        link = {path: f"[{path.stem.split('_', 1)[1]}](nbs/{path.name})" for path in paths}
        if digit in "12345":
            asked = {path: "|".join(plainly(path.stem.split("_", 1)[1])) for path in paths}
            rows = [f"| {link[path]} | {asked[path]} | {count(decided.get(path, [])) or '–'} |" for path in paths]
            rows = ["| section | question | what came out | claims |", "|---|---|---|---|", *rows]
        else: rows = ["| notebook | what it does |", "|---|---|", *(f"| {link[path]} | {told(path)[1]} |" for path in paths)]
        text += [f"## {name}", "", *rows, ""]
        trees.append(toctree([f"{p.stem.split('_', 1)[1].replace('_', ' ')} <nbs/{p.stem}>" for p in paths], name))
    return "\n".join([*text, *trees])


# How-tos, API, home and the rest

def heading(path: Path) -> tuple[str, str]:
    "Title and first paragraph of a page."
    title, _, rest = path.read_text().partition("\n")
    return title.removeprefix("# "), " ".join(rest.strip().split("\n\n")[0].split())


def howto_index() -> str:
    "The how-tos, in the order that the home page promises."
    order = ["symmetries", "training", "replicas", "expansion", "collapse", "landscape", "pde", "cluster", "own_section"]
    paths = sorted((DOCS/"howto").glob("*.md"), key=lambda p: (order.index(p.stem) if p.stem in order else len(order), p.stem))
    card = lambda title, said, name: [f":::{{grid-item-card}} {title}", f":link: {name}", ":link-type: doc", "", said, ":::", ""]
    cards = [line for path in paths for line in card(*heading(path), path.stem)]
    return "\n".join(["# How-tos", "", "Each page solves one task on a model or a machine of your own, in under 40 lines. "
                      "The tests run every block.", "", grid(cards), toctree([path.stem for path in paths])])


def modules() -> dict[str, tuple[Path, ModuleType]]:
    "Module -> the notebook that defines it, and the module."
    found = {}
    for path in sorted(NBS.glob("[0-9]*.ipynb")):
        name = path.stem.split("_", 1)[1]
        if (ROOT/"symbreak_nb"/f"{name}.py").is_file(): found[name] = path, importlib.import_module(f"symbreak_nb.{name}")
    return found


def public(module: ModuleType) -> list[str]:
    "Names for users; the declarations of a section stand in its notebook."
    return [n for n in module.__all__ if not n.startswith("_") and n not in ("PARAMETERS", "CLAIMS")]


def directive(module: ModuleType, name: str) -> list[str]:
    "How Sphinx documents a public name."
    value = getattr(module, name)
    if isinstance(value, type): return [f".. autoclass:: {name}", "   :members:", ""]
    if callable(value): return [f".. autofunction:: {name}", ""]
    shown = ", ".join(map(str, value)) if isinstance(value, (dict, tuple, list)) else repr(value)
    return [f".. py:data:: {name}", "", f"   {type(value).__name__}: {shown[:300].replace('*', chr(92) + '*')}", ""]


def api_page(path: Path, module: ModuleType) -> str:
    "The public names of a module, with their documentation."
    short, names = module.__name__.split(".")[1], public(module)
    home_of = lambda value: getattr(value, "__module__", "") if callable(value) else module.__name__
    own = [n for n in names if home_of(getattr(module, n)) == module.__name__]
    lent = [f"[`{n}`]({getattr(module, n).__module__.split('.')[1]}.md)" for n in names if n not in own]
    source = f"Defined and tested in the notebook [{path.stem}](../nbs/{path.name})."
    text = [f"# {short}", "", (module.__doc__ or "").strip(), "", source, ""]
    if lent: text += [f"It also offers {', '.join(lent)}.", ""]
    if not own: return "\n".join([*text, "It has no public names beside its declarations.", ""])
    documented = [n for n in own if callable(getattr(module, n))]
    summary = [".. autosummary::", "   :nosignatures:", "", *(f"   {n}" for n in documented), ""] if documented else []
    body = [line for n in own for line in directive(module, n)]
    return "\n".join([*text, "```{eval-rst}", f".. currentmodule:: {module.__name__}", "", *summary, *body, "```", ""])


def api_index(found: dict[str, tuple[Path, ModuleType]]) -> str:
    "All modules with their public names, by floor."
    text = ["# API", "", "The public names of each module: `from symbreak_nb.MODULE import NAME`. Other names may change. "
            "The [how-tos](../docs/howto/index.md) show the parts that most users need.", ""]
    trees = []
    for digits, title in (("0", "Layers"), ("12345", "Sections"), ("9", "Report and command line")):
        mine = {name: module for name, (path, module) in found.items() if path.stem[0] in digits}
        text += [f"## {title}", "", "| module | what it does | public names |", "|---|---|---|"]
        for name, module in mine.items():
            sentence = " ".join((module.__doc__ or "").split()).replace("|", "\\|")
            text.append(f"| [{name}]({name}.md) | {sentence} | {', '.join(f'`{n}`' for n in public(module)) or '–'} |")
        text.append("")
        trees.append(toctree(list(mine), title))
    return "\n".join([*text, *trees])


def performance() -> str:
    "Where there is no page on performance: what each section takes, and which ratios are timed."
    text = ["# Performance", "", "## What a section takes", "", "Seconds of the run that made the reference: profile `quick`, two cores. "
            "`symbreak plan SECTION --profile paper --check` times a step of each unit on your machine and estimates the whole.", "",
            "| section | seconds |", "|---|---|"]
    timed = {name: (section, record["wall_s"]) for name, (section, record) in records().items() if "wall_s" in record}
    text += [f"| [{name}](../nbs/{section.path.name}) | {seconds:.0f} |" for name, (section, seconds) in timed.items()]
    text += ["", "## Which ratios are timed", "", "`make bench` runs these scripts. Each times its baseline beside what it praises, "
             "and prints `name ratio unit`.", "", "| script | what is compared |", "|---|---|"]
    for path in sorted((ROOT/"benchmarks").glob("*.py")):
        said = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
        text.append(f"| [{path.stem}](../benchmarks/{path.name}) | {' '.join(said.split())} |")
    goals = ROOT/"benchmarks"/"goals.csv"
    if goals.is_file():
        with goals.open(newline="") as file: rows = list(csv.DictReader(file))
        text += ["", "## What they are to reach", "", "A ratio is how many times faster than its baseline; `<` marks a share of time that "
                 "should stay small.", "", "| ratio | goal | baseline |", "|---|---|---|"]
        text += [f"| `{row['name']}` | {row['goal']} | {row['baseline']} |" for row in rows]
    return "\n".join([*text, ""])


def papers() -> str:
    "The list of the papers as README has it."
    found = re.search(r"<!-- papers: [^\n]* -->\n(.*?)<!-- end of the papers -->", (ROOT/"README.md").read_text(), re.DOTALL)
    return found[1].strip() if found else "\n".join(f"- {title}" for title in _PAPER_TITLES.values())


def example() -> str:
    "The three lines of README, which its tests run, and what they print."
    return re.search(r"```python\n.*?```\s+```text\n.*?```", (ROOT/"README.md").read_text(), re.DOTALL)[0]


def home(pages: list[str]) -> str:
    "The first page, with what changes from reference to reference filled in."
    found = Counter(row["verdict"] for row in claim_rows() if row["kind"] == "claim")
    values = dict(sections=len(records()), claims=sum(found.values()), papers=papers(), example=example(), **found)
    return "\n".join([re.sub(r"\{\{(\w+)\}\}", lambda m: str(values[m[1]]), (DOCS/"site"/"home.md").read_text()), toctree(pages)])


def gathered() -> dict[str, str]:
    "Every page of the site: place -> text."
    found, pages = modules(), {}
    for path in sorted(NBS.glob("*.ipynb")): pages[f"nbs/{path.name}"] = notebook(path)
    changes = [p for p in [ROOT/"CHANGELOG.md"] if p.is_file()]
    for path in [*sorted(DOCS.glob("*.md")), ROOT/"CONTRIBUTING.md", *changes, *sorted((DOCS/"howto").glob("*.md"))]:
        place = path.relative_to(ROOT).as_posix()
        pages[place] = relinked(path.read_text(), place)
    pages.setdefault("docs/performance.md", performance())
    pages |= {f"api/{name}.md": api_page(path, module) for name, (path, module) in found.items()} | {"api/index.md": api_index(found)}
    pages |= {"gallery.md": gallery(), "CLAIMS.md": claims_page(), "sections.md": sections_page(), "docs/howto/index.md": howto_index()}
    first = {"Gallery": "gallery", "Claims": "CLAIMS", "Sections": "sections", "How-tos": "docs/howto/index", "API": "api/index",
             "Design": "docs/design", "Performance": "docs/performance", "More": "more"}
    rest = [p for p in pages if re.fullmatch(r"docs/\w+\.md|[A-Z]+\.md", p) and p != "CLAIMS.md" and p[:-3] not in first.values()]
    listed = [f"- [{pages[p].splitlines()[0].removeprefix('# ')}]({p})" for p in rest]
    pages["more.md"] = "\n".join(["# More", "", *listed, "", toctree([p[:-3] for p in rest])])
    return pages | {"index.md": home([f"{name} <{place}>" for name, place in first.items()])}


def mathjax(folder: Path) -> None:
    "MathJax with its fonts, out of the installed package."
    for file in files("django-static-mathjax") or ():
        place = str(file).partition("/es5/")[2]
        if place.startswith(MATHJAX):
            (folder/place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), folder/place)
    if not (folder/MATHJAX[0]).is_file(): sys.exit("website: MathJax is not installed: pip install -c constraints.txt '.[site]'")


def write(folder: Path) -> None:
    "The pages, what they show, and the settings of Sphinx, into a folder."
    pages = gathered()
    for place, text in pages.items():
        (folder/place).parent.mkdir(parents=True, exist_ok=True)
        (folder/place).write_text(text, encoding="utf-8")
    for place in sorted(linked_files(pages)):
        (folder/place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT/place, folder/place)
    shutil.copytree(DOCS/"site"/"static", folder/"static")
    shutil.copy(DOCS/"site"/"conf.py", folder)
    shutil.copy(ROOT/"settings.ini", folder)
    mathjax(folder/"static"/"mathjax")


def build(out: Path, jobs: str) -> int:
    "Sphinx, with every warning an error."
    flags = ["-b", "html", "-q", "-W", "--keep-going", "-j", jobs, "-d", out/"doctrees"]
    return subprocess.run(list(map(str, [sys.executable, "-m", "sphinx", *flags, out/"pages", out/"html"]))).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT/"build"/"site")
    parser.add_argument("--jobs", default="auto")
    wanted, clock = parser.parse_args(), time.perf_counter()
    shutil.rmtree(wanted.out, ignore_errors=True)
    write(wanted.out/"pages")
    failed = build(wanted.out, wanted.jobs)
    pages = len(list((wanted.out/"html").rglob("*.html")))
    print(f"{wanted.out/'html'/'index.html'}: {pages} pages in {time.perf_counter() - clock:.0f} s")
    return failed


if __name__ == "__main__": sys.exit(main())
