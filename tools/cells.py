"""Write what follows from elsewhere: of each section's notebook the parameters and the first screen, and the list of all notebooks.
It also folds, in every notebook, the code that a reader can do without.

    python tools/cells.py [SECTION ...]    # default: every section
    python tools/cells.py --check          # exit status 1, and the names, if a cell would change

The parameters cell comes from the declaration `PARAMETERS` of the section's module. The first screen, a cell with the id `opening`
after the title, comes from `reference/SECTION/quick`: the picture that the declaration names, and the claims with their verdicts. The
list of all notebooks, with the sentence under each title, stands at the end of CONTRIBUTING.md. README.md counts the verdicts. It has a
table of the sections, with the question and the finding from docs/sections.csv, and the papers of CITATION.cff. docs/findings.md has the
first screens on one page.
JupyterLab shows a cell folded if its metadata have `jupyter.source_hidden`; `folds` says which cells are.
"""
import ast
import csv
import importlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from configparser import ConfigParser
from pathlib import Path

import yaml
from symbreak_nb.claims import PAPERS, VERDICTS, Claim, row_kind, verdict_text
from symbreak_nb.comparison import _narrow_claims, _read_variants
from symbreak_nb.parameters import Declaration, cell_source
from symbreak_nb.records import _format_interval, _format_number, read_metrics
from symbreak_nb.run import write_atomic
from symbreak_nb.sections import Notebook, find_sections

ROOT = Path(__file__).resolve().parent.parent
NBS, REFERENCE, LISTED = ROOT/"nbs", ROOT/"reference", ROOT/"docs"/"claims.csv"
GUIDE, README, FINDINGS, SENTENCES = ROOT/"CONTRIBUTING.md", ROOT/"README.md", ROOT/"docs"/"findings.md", ROOT/"docs"/"sections.csv"
OWN = "Sections of other papers"
FINDINGS_HEAD = """# What came out

Written by `tools/cells.py` from the first screens of the notebooks and from `reference/`: profile `quick`, seed 0. The counts are exact.
The trainings are of reduced scale, with networks and data of our own. A verdict speaks of them, and not of the papers' own networks, which
need a GPU and have not been run. Some small sections were run at the papers' size, too: their rows say `paper`. A claim whose
premise the small scale does not reach stays open. [`CLAIMS.md`](../CLAIMS.md) has every
claim with its rule, its interval, and the reason where nothing could be decided. Minutes are wall time on two shared cores."""


def papers_claims() -> set[str]:
    "Identifiers of what the papers say; other claims are controls of ours."
    with open(LISTED, newline="") as file: return {row["id"] for row in csv.DictReader(file)}


def row(claim: Mapping, narrow: bool) -> str:
    measured = f"{_format_number(claim['value'])} {_format_interval(claim['interval'])}".strip()
    statement = " ".join(str(claim["statement"]).split()).replace("|", "\\|")
    reason = re.sub(r" \(measured [^;]*\)(?=;|$)", "", str(claim.get("reason") or ""))   # CLAIMS.md has the numbers
    said = verdict_text(claim | dict(narrow=narrow or claim.get("narrow") is True, reason=reason))
    return f"| {statement} | {measured} | {said} |"


def table(claims: Iterable[Mapping], narrow: set[str]) -> list[str]:
    rows = [row(claim, claim["id"] in narrow) for claim in claims]
    return ["| claim | measured | verdict |", "|---|---|---|", *rows] if rows else []


def folded(title: str, claims: Iterable[Mapping], narrow: set[str]) -> list[str]:
    return ["", "<details>", f"<summary>{title}</summary>", "", *table(claims, narrow), "", "</details>"]


def picture(declared: Declaration, record: Mapping, place: Path) -> list[str]:
    "The main picture with its caption, where it is stored."
    path = place/f"{declared.picture}.png"
    if not declared.picture or not path.is_file(): return []
    captions = {figure["name"]: figure["caption"] for figure in record["figures"]}
    caption = captions.get(declared.picture, declared.picture).replace("[", "(").replace("]", ")")
    return [f"![{caption}](../reference/{declared.section}/quick/{path.name})", "", f"*{caption}*", ""]


def opening(declared: Declaration, known: Mapping[str, Claim] | None, place: Path) -> str:
    "The first screen of a section, from its reference: the main picture, the claims, and the controls folded away."
    record = read_metrics(place/"metrics.json")
    lines, claims = picture(declared, record, place), [c for c in record["claims"] if known is None or c["id"] in known]
    if not claims: return "\n".join([*lines, f"No verdicts are stored yet; `symbreak figures {declared.section}` decides the claims."])
    narrow, papers = _narrow_claims(record, _read_variants(place/"variants.json")), papers_claims()
    same, claims = [c for c in claims if row_kind(c) == "identity"], [c for c in claims if row_kind(c) != "identity"]
    said, controls = [c for c in claims if c["id"] in papers], [c for c in claims if c["id"] not in papers]
    lines += [f"What came out at `{record['profile']}`, seed {record['seed']} ([every claim with its rule](../CLAIMS.md)):", ""]
    if not said or not controls: lines += table(claims, narrow)
    else:
        title = f"{len(controls)} more: controls that the paper lacks, and narrower readings"
        lines += [*table(said, narrow), *folded(title, controls, narrow)]
    if same: lines += folded(f"{len(same)} identities: they cannot come out otherwise, and are not counted", same, narrow)
    return "\n".join(lines)


def folds(source: str) -> bool:
    "Whether a cell only prepares: the module's name, imports, the declaration of the parameters or of claims."
    body = ast.parse(re.sub(r"^\s*[%!].*$", "pass", source, flags=re.MULTILINE)).body
    imports = sum(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body)
    targets = [t for node in body for t in getattr(node, "targets", [getattr(node, "target", None)])]
    declares = any(getattr(target, "id", "") in ("PARAMETERS", "CLAIMS") for target in targets)
    return source.startswith("#| default_exp") and not body or declares or 0 < 2*len(body) <= 3*imports


def in_folds(cell: dict) -> dict:
    "A cell with its code folded, or not, as JupyterLab keeps it."
    if cell["cell_type"] != "code": return cell
    kept = {k: v for k, v in cell["metadata"].items() if k != "jupyter"}
    if folds("".join(cell["source"])): kept["jupyter"] = dict(source_hidden=True)
    return cell | dict(metadata=dict(sorted(kept.items())))


def written(notebook: dict) -> str:
    "The text of a notebook's file."
    return json.dumps(notebook | dict(cells=[in_folds(cell) for cell in notebook["cells"]]), indent=1, ensure_ascii=False) + "\n"


def split(text: str) -> list[str]: return re.findall(r"[^\n]*\n|[^\n]+", text)


def rewritten(notebook: dict, parameters: str, first_screen: str) -> dict:
    "A notebook with both cells as they should be."
    cells = [cell for cell in notebook["cells"] if cell.get("id") != "opening"]
    (tagged,) = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    tagged["source"] = split(parameters)
    screen = dict(cell_type="markdown", id="opening", metadata={}, source=split(first_screen))
    return notebook | dict(cells=[cells[0], screen, *cells[1:]])


def page(path: Path, module: object) -> str:
    "The whole text of a section's notebook."
    declared = module.PARAMETERS
    screen = opening(declared, getattr(module, "CLAIMS", None), REFERENCE/declared.section/"quick")
    found = rewritten(json.loads(path.read_text()), cell_source(declared), screen)
    return written(found)


def filled(page: str, what: str, rows: list[str]) -> str:
    "A page with the rows between its two marks."
    marks = rf"(<!-- {what}: [^\n]* -->\n).*(<!-- end of the {what} -->)"
    return re.sub(marks, lambda m: m[1] + "".join(f"{row}\n" for row in rows) + m[2], page, flags=re.DOTALL)


def guide() -> str:
    "CONTRIBUTING.md with its list of notebooks as they are."
    rows = ["| notebook | in one sentence |", "|---|---|"]
    for path in sorted(NBS.glob("[0-9]*.ipynb")):
        title = "".join(json.loads(path.read_text())["cells"][0]["source"])
        sentence = next((line[1:].strip() for line in title.splitlines() if line.startswith(">")), "")
        rows.append(f"| [`{path.stem}`](nbs/{path.name}) | {sentence} |")
    return filled(GUIDE.read_text(), "rooms", rows)


def sentences() -> dict[str, dict]:
    "Question and finding of each section, a plain sentence each."
    with open(SENTENCES, newline="") as file: found = {row["section"]: row for row in csv.DictReader(file)}
    missing = ", ".join(sorted(set(find_sections(NBS)) - set(found)))
    if missing: sys.exit(f"cells: {SENTENCES.name} has no question and finding of {missing}")
    return found


def verdicts(record: Mapping) -> str:
    "How many claims of the papers hold, fail and are open in the reference of a section."
    papers = papers_claims()
    found = [row["verdict"] for row in record["claims"] if row["id"] in papers]
    return "/".join(str(found.count(verdict)) for verdict in VERDICTS) if found else "–"


def minutes(record: Mapping) -> int: return max(1, round(record["wall_s"]/60))


def shown(section: Notebook, record: Mapping) -> Path:
    "The section's main picture."
    named = importlib.import_module(f"symbreak_nb.{section.name}").PARAMETERS.picture
    return REFERENCE/section.name/record["profile"]/f"{named}.png"


def overview() -> list[str]:
    "README's table of sections."
    rows, said = ["|section|question|finding|holds/fails/open|picture|command|min|", "|---|---|---|---|---|---|--:|"], sentences()
    for section in find_sections(NBS).values():
        record, one = read_metrics(REFERENCE/section.name/"quick"/"metrics.json"), said[section.name]
        picture = shown(section, record).relative_to(REFERENCE.parent).as_posix()
        cells = [f"[{section.name}](nbs/{section.path.name})", one["question"], one["finding"], verdicts(record), f"[see]({picture})",
                 f"`symbreak figures {section.name}`", str(minutes(record))]
        rows.append(f"|{'|'.join(cells)}|")
    return rows


def outcome() -> list[str]:
    "How many of the papers' claims hold, fail and are open, in a sentence; a claim that no section decides is open."
    paths = [path for profile in ("quick", "paper") for path in sorted(REFERENCE.glob(f"*/{profile}/metrics.json"))]
    decided, listed = {row["id"]: row["verdict"] for path in paths for row in read_metrics(path)["claims"]}, papers_claims()
    hold, fail, left = (sum(decided.get(id, VERDICTS[-1]) == verdict for id in listed) for verdict in VERDICTS)
    return [f"**What came out**: of {len(listed)} claims {hold} hold, {fail} fail, and {left} stay open so far."]


def citation() -> dict: return yaml.safe_load((ROOT/"CITATION.cff").read_text(encoding="utf-8"))


def paper_line(paper: Mapping) -> str:
    "Authors, title and address of a paper."
    names = [f"{a['given-names']} {a['family-names']}" for a in paper["authors"]]
    known = paper["identifiers"][0]["value"].replace(":", " ").replace("arXiv ", "arXiv:")
    return f"- {', '.join(names)}: *{paper['title']}*, {paper['year']}, [{known}]({paper['url']})"


def badges() -> list[str]:
    "Binder and Colab, where settings.ini names the public address of the repository on GitHub; else nothing."
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT/"settings.ini", encoding="utf-8")
    address, branch = settings["DEFAULT"].get("public_address", "").strip("/"), settings["DEFAULT"]["branch"]
    if not address: return []
    place = "/".join(address.split("/")[-2:])   # owner/name
    binder = f"https://mybinder.org/v2/gh/{place}/{branch}?urlpath=lab/tree/nbs/index.ipynb"
    colab = f"https://colab.research.google.com/github/{place}/blob/{branch}/nbs/index.ipynb"
    return [f"[![Binder](https://mybinder.org/badge_logo.svg)]({binder})",
            f"[![Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})"]


def front() -> str:
    "README.md with its badges, its papers and its table of sections as they are."
    text = filled(README.read_text(), "badges", badges())
    text = filled(text, "papers", list(map(paper_line, citation()["references"])))
    text = filled(text, "outcome", outcome())
    return filled(text, "sections", overview())


def said_there(section: Notebook) -> list[str]:
    "The paragraphs of question and finding on a section's first screen, with links that work in docs/."
    text = "".join(json.loads(section.path.read_text())["cells"][0]["source"])
    parts = [" ".join(part.split()) for part in text.split("\n\n") if "**Question" in part or "**Finding" in part]
    return ["\n\n".join(re.sub(r"\]\((?!https?:|#|\.\./)", "](../nbs/", part) for part in parts)]


def findings() -> str:
    "docs/findings.md: what every section asked and found, by paper, with its picture, verdicts, command and minutes."
    papers = dict(zip(PAPERS.values(), citation()["references"], strict=True))
    blocks, groups = [FINDINGS_HEAD], {}
    for section in find_sections(NBS).values():
        groups.setdefault(section_paper(section), []).append(section)
    for key, sections in groups.items():
        blocks += [f"## {papers[key]['title']}", paper_line(papers[key]).removeprefix("- ")] if key in papers else [f"## {key}"]
        for section in sections: blocks += block(section)
    return "\n\n".join(blocks) + "\n"


def section_paper(section: Notebook) -> str:
    "The paper of a section's floor, by the first digit of its notebook; of another digit, the first paper that it names."
    floors = {"1": "zhang2024", "2": "zhang2024", "3": "iqbal2025", "4": "ziyin2025", "5": "fok2017"}
    return floors.get(section.path.stem[0]) or next(iter(section.papers), OWN)


def block(section: Notebook) -> list[str]:
    "A section on the page of findings."
    record = read_metrics(REFERENCE/section.name/"quick"/"metrics.json")
    picture = shown(section, record)
    captions = {figure["name"]: figure["caption"] for figure in record["figures"]}
    caption = " ".join(captions.get(picture.stem, picture.stem).replace("[", "(").replace("]", ")").split())
    image = [f"![{caption}](../{picture.relative_to(REFERENCE.parent).as_posix()})", f"*{caption}*"] if picture.is_file() else []
    counts = [f"{n} {word}" for n, word in zip(verdicts(record).split("/"), ("hold", "fail", "open"), strict=False)]
    claims = "no claim of the paper is decided here" if verdicts(record) == "–" else f"claims of the paper: {', '.join(counts)}"
    return [f"### [{section.title}](../nbs/{section.path.name})", *said_there(section), *image,
            f"`symbreak figures {section.name}`, {minutes(record)} min; {claims}."]


def main(arguments: list[str]) -> int:
    check, names = "--check" in arguments, {a for a in arguments if a != "--check"}
    sections = find_sections(NBS)
    if unknown := names - set(sections): sys.exit(f"cells: there is no section {', '.join(sorted(unknown))}")
    chosen = [section for name, section in sections.items() if not names or name in names]
    found = {s.path: page(s.path, importlib.import_module(f"symbreak_nb.{s.name}")) for s in chosen}
    others = set() if names else set(NBS.glob("*.ipynb")) - {section.path for section in sections.values()}
    found |= {path: written(json.loads(path.read_text())) for path in sorted(others)}
    found |= {GUIDE: guide(), README: front(), FINDINGS: findings()}
    changed = {path: text for path, text in found.items() if not path.is_file() or text != path.read_text()}
    for path, text in changed.items() if not check else (): write_atomic(path, text)
    if changed: print(f"{'not as their sources say' if check else 'written'}: {', '.join(p.name for p in changed)}")
    return int(check and bool(changed))


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
