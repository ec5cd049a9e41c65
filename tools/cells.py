"""Write what follows from elsewhere: of each section's notebook the parameters and the first screen, and the list of all notebooks.

    python tools/cells.py [SECTION ...]    # default: every section
    python tools/cells.py --check          # exit status 1, and the names, if a cell would change

The parameters cell comes from the declaration `PARAMETERS` of the section's module. The first screen, a cell with the id `opening`
after the title, comes from `reference/SECTION/quick`: the picture that the declaration names, and the claims with their verdicts. The
list of all notebooks, with the sentence under each title, stands at the end of CONTRIBUTING.md, and a table of the sections in README.md.
"""
import csv
import importlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from symbreak_nb.claims import VERDICTS, Claim, row_kind, verdict_text
from symbreak_nb.parameters import Declaration, cell_source
from symbreak_nb.comparison import _narrow_claims, _read_variants
from symbreak_nb.records import _format_interval, _format_number, read_metrics
from symbreak_nb.report import _PAPER_TITLES
from symbreak_nb.run import write_atomic
from symbreak_nb.sections import Notebook, find_sections

ROOT = Path(__file__).resolve().parent.parent
NBS, REFERENCE, LISTED = ROOT/"nbs", ROOT/"reference", ROOT/"docs"/"claims.csv"
GUIDE, README = ROOT/"CONTRIBUTING.md", ROOT/"README.md"


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
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def filled(path: Path, what: str, rows: list[str]) -> str:
    "A page with the rows between its two marks."
    marks = rf"(<!-- {what}: [^\n]* -->\n).*(<!-- end of the {what} -->)"
    return re.sub(marks, lambda m: m[1] + "\n".join(rows) + "\n" + m[2], path.read_text(), flags=re.DOTALL)


def guide() -> str:
    "CONTRIBUTING.md with its list of notebooks as they are."
    rows = ["| notebook | in one sentence |", "|---|---|"]
    for path in sorted(NBS.glob("[0-9]*.ipynb")):
        title = "".join(json.loads(path.read_text())["cells"][0]["source"])
        sentence = next((line[1:].strip() for line in title.splitlines() if line.startswith(">")), "")
        rows.append(f"| [`{path.stem}`](nbs/{path.name}) | {sentence} |")
    return filled(GUIDE, "rooms", rows)


def figures(section: Notebook) -> str:
    "Numbers of the papers' figures that a section draws."
    named = [re.match(r"([a-z]+)_fig0*(\d+)", name) for name in section.figures]
    found = sorted({(m[1], int(m[2])) for m in named if m})
    return "; ".join(f"{word} {', '.join(str(n) for w, n in found if w == word)}" for word in dict.fromkeys(w for w, _ in found))


def verdicts(section: Notebook) -> str:
    "How many claims of the papers hold, fail and are open in the reference of a section."
    rows, papers = read_metrics(REFERENCE/section.name/"quick"/"metrics.json")["claims"], papers_claims()
    found = [row["verdict"] for row in rows if row["id"] in papers]
    return " / ".join(str(found.count(verdict)) for verdict in VERDICTS) if found else ""


def overview() -> str:
    "README.md with its table of sections as they are."
    rows = ["| what the section found | notebook | paper | figures | hold / fail / open |", "|---|---|---|---|---|"]
    for section in find_sections(NBS).values():
        papers = "; ".join(_PAPER_TITLES[paper].rsplit(", ", 1)[0] for paper in section.papers)
        place = f"[`{section.path.stem}`](nbs/{section.path.name})"
        rows.append(f"| {section.title} | {place} | {papers} | {figures(section)} | {verdicts(section)} |")
    return filled(README, "sections", rows)


def main(arguments: list[str]) -> int:
    check, names = "--check" in arguments, {a for a in arguments if a != "--check"}
    sections = find_sections(NBS)
    if unknown := names - set(sections): sys.exit(f"cells: there is no section {', '.join(sorted(unknown))}")
    chosen = [section for name, section in sections.items() if not names or name in names]
    found = {s.path: page(s.path, importlib.import_module(f"symbreak_nb.{s.name}")) for s in chosen} | {GUIDE: guide(), README: overview()}
    changed = {path: text for path, text in found.items() if text != path.read_text()}
    for path, text in changed.items() if not check else (): write_atomic(path, text)
    if changed: print(f"{'not as their sources say' if check else 'written'}: {', '.join(p.name for p in changed)}")
    return int(check and bool(changed))


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
