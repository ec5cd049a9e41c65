"""Write CLAIMS.md: every claim of the four papers with its rule, verdict and section, from docs/claims.csv and reference/.

    python tools/claims.py            # write CLAIMS.md
    python tools/claims.py --check    # exit status 1 if it would change
"""
import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path

from symbreak_nb.claims import _opposite, row_kind, verdict_text
from symbreak_nb.comparison import _narrow_claims, _read_variants
from symbreak_nb.records import _format_interval, _format_number, read_metrics
from symbreak_nb.report import _PAPER_TITLES
from symbreak_nb.run import write_atomic

ROOT = Path(__file__).resolve().parent.parent
PAGE, LISTED = ROOT/"CLAIMS.md", ROOT/"docs"/"claims.csv"
HEAD = """# The claims of the four papers

Each row is something that a paper says, the rule that decides it, and what came out. A rule is written before its measurement.
`holds` and `fails` need the whole 95% interval on one side where the rule asks for an interval; between the two a claim is `inconclusive`.
A verdict at `quick` speaks of reduced networks and data, one at `paper` of the paper's own scale. *Open* claims have no section yet.
A claim about trained networks names a premise, such as that they are trained. Where the premise fails, the claim is `inconclusive` and
says so. *Narrow* rows are close to their bound, or another seed or processor gave another verdict. *By Holm* stands where the correction
for the number of rows of a paper in a section gives another verdict than the row alone.
Controls are experiments of this companion that a paper lacks. Identities cannot come out otherwise, so no count includes them.
This page is made by `python tools/claims.py`; a test compares it with the references.
"""


def sections() -> dict[str, str]:
    "Section -> its notebook."
    found = {}
    for path in sorted((ROOT/"nbs").glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            match = re.match(r"#\|\s*default_exp\s+(\w+)", "".join(cell["source"])) if cell["cell_type"] == "code" else None
            if match: found[match[1]] = path.name
    return found


def decided() -> dict[str, dict]:
    "Claim -> its row in the reference of the largest profile that there is, with the section."
    rows = {}
    for profile in ("quick", "paper"):
        for path in sorted((ROOT/"reference").glob(f"*/{profile}/metrics.json")):
            record = read_metrics(path)
            turned = _narrow_claims(record, _read_variants(path.with_name("variants.json")))
            for row in record["claims"]:
                narrow = row.get("narrow") is True or row["id"] in turned
                rows[row["id"]] = row | dict(section=path.parts[-3], profile=profile, narrow=narrow)
    return rows


def cell(text: object) -> str: return " ".join(str(text).split()).replace("|", "\\|")


def measured(row: dict) -> str:
    return f"{_format_number(row['value'])} {_format_interval(row['interval'])}".strip()


def rule(row: dict) -> str:
    "The rule, and what would have made it come out otherwise where the rule alone does not tell."
    told = row.get("otherwise") or ""
    return f"`{row['rule']}`" + ("" if told in ("", _opposite(row["rule"], row["verdict"])) else f"<br>otherwise: {told}")


def line(row: dict, notebooks: dict[str, str], paper_value: str) -> str:
    link = f"[{row['section']}](nbs/{notebooks[row['section']]})"
    cells = [f"`{row['id']}`", row["where"], row["statement"], paper_value, rule(row), measured(row),
             verdict_text(row), row["profile"], link]
    return "| " + " | ".join(map(cell, cells)) + " |"


def table(rows: list[str]) -> list[str]:
    titles = ["id", "where", "claim", "paper's value", "rule", "measured", "verdict", "profile", "section"]
    return ["| " + " | ".join(titles) + " |", "|" + "---|"*len(titles), *rows, ""]


def page() -> str:
    "The whole of CLAIMS.md."
    notebooks, rows = sections(), decided()
    with open(LISTED, newline="") as file: listed = list(csv.DictReader(file))
    text, known = [HEAD], {row["id"] for row in listed}
    for paper, title in _PAPER_TITLES.items():
        mine = [row for row in listed if row["paper"] == paper]
        ours = [rows[row["id"]] | dict(value_of_paper=row["paper_value"]) for row in mine if row["id"] in rows]
        more = [row for key, row in sorted(rows.items()) if row["paper"] == paper and key not in known and row_kind(row) != "identity"]
        same = [row for key, row in sorted(rows.items()) if row["paper"] == paper and row_kind(row) == "identity"]
        counts, narrow = Counter(row["verdict"] for row in ours), sum(row["narrow"] for row in ours)
        count = ", ".join(f"{counts[v]} {v}" for v in ("holds", "fails", "inconclusive"))
        marked = f"{narrow} of the verdicts {'is' if narrow == 1 else 'are'} narrow"
        text += [f"## {title}", "", f"{count}, {len(mine) - len(ours)} open, of {len(mine)} claims; {marked}.", ""]
        text += table([line(row, notebooks, row["value_of_paper"]) for row in ours]) if ours else []
        controls = table([line(row, notebooks, row["paper_value"] or "–") for row in more])
        if more: text += ["Controls, and claims read more narrowly:", "", *controls]
        identities = table([line(row, notebooks, row["paper_value"] or "–") for row in same])
        if same: text += ["Identities, which cannot come out otherwise and are not counted:", "", *identities]
        if left := [row for row in mine if row["id"] not in rows]:
            text += ["Open:", "", "| id | where | claim | paper's value |", "|---|---|---|---|"]
            text += ["| " + " | ".join(cell(r[k]) for k in ("id", "where", "claim", "paper_value")) + " |" for r in left] + [""]
    return "\n".join(text).rstrip("\n") + "\n"


def main(arguments: list[str]) -> int:
    text = page()
    if arguments == ["--check"]: return int(not PAGE.is_file() or PAGE.read_text() != text)
    write_atomic(PAGE, text)
    return 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
