"""Write docs/licences.md: the licence of every distribution that constraints.txt pins, as its metadata say, and of every data set.

    python tools/licences.py            # run it in an environment with all extras and `dev`
    python tools/licences.py --check    # exit status 1 if the page would change

A distribution that is not installed here at the pinned version keeps its row. Licences of data sets stand in docs/data_licences.csv.
"""
import csv
import re
import sys
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from symbreak_nb.files import write_atomic

ROOT = Path(__file__).resolve().parent.parent
PAGE, DATA, PINS, SETTINGS = (ROOT/name for name in ("docs/licences.md", "docs/data_licences.csv", "constraints.txt", "settings.ini"))
HEAD = """# Licences

symbreak_nb is under the [Apache License 2.0](../LICENSE). This page is written by `tools/licences.py`.

## What it is built on

Versions are those of `constraints.txt`. The licence is what the distribution's own metadata say. *for* names the extras of symbreak_nb that
ask for it; the rest comes along with these."""
DATA_HEAD = """## Data sets and weights

None of them is part of this package. They come from your own folder, from their publishers when you ask for a download, or with a
dependency. *source* leads to the publisher, whose words count. *none stated* means that we found no licence there: ask before you pass
such data on."""
NAMES = {"bsd license": "BSD", "mit license": "MIT", "apache software license": "Apache-2.0", "apache license 2.0": "Apache-2.0",
         "apache 2.0": "Apache-2.0", "bsd": "BSD", "python software foundation license": "PSF-2.0"}


def pins() -> dict[str, tuple[str, str]]:
    "Canonical name -> name and version."
    lines = [line for line in PINS.read_text().splitlines() if "==" in line]
    return {canonicalize_name(name): (name, version) for name, version in (line.split("==") for line in lines)}


def wanted() -> dict[str, list[str]]:
    "Canonical name -> extras that ask for it; the core is `core`."
    settings = ConfigParser(delimiters=["="])
    settings.read(SETTINGS, encoding="utf-8")
    found: dict[str, list[str]] = {}
    for key, value in settings["DEFAULT"].items():
        if not key.endswith("requirements"): continue
        extra = key.removesuffix("requirements").rstrip("_") or "core"
        for line in value.split(): found.setdefault(canonicalize_name(Requirement(line).name), []).append(extra)
    return found


def licence(name: str, version: str) -> str:
    "What the metadata of an installed distribution say, or nothing where it is not installed at that version."
    try: about = metadata.metadata(name)
    except metadata.PackageNotFoundError: return ""
    if about["Version"].split("+")[0] != version: return ""
    if said := about.get("License-Expression"): return said
    classes = [c.rsplit(" :: ", 1)[-1] for c in about.get_all("Classifier", []) if c.startswith("License :: ") and c.count("::") > 1]
    text = " ".join(str(about.get("License") or "").split())
    said = text if 0 < len(text) <= 60 and "UNKNOWN" not in text else ", ".join(classes)
    return NAMES.get(said.lower(), said) or "not stated in its metadata"


def kept() -> dict[tuple[str, str], str]:
    "Rows of the page as it is: (name, version) -> licence."
    text = PAGE.read_text() if PAGE.is_file() else ""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]* \|$", text, re.MULTILINE)
    return {(name, version): said for name, version, said in rows}


def page() -> str:
    before, extras = kept(), wanted()
    rows = ["| distribution | version | licence | for |", "|---|---|---|---|"]
    for key, (name, version) in sorted(pins().items()):
        said = licence(name, version) or before.get((name, version), "unknown")
        rows.append(f"| {name} | {version} | {said.replace('|', '/')} | {', '.join(sorted(set(extras.get(key, []))))} |")
    with open(DATA, newline="") as file: found = list(csv.DictReader(file))
    data = ["| name | licence | what is asked | source |", "|---|---|---|---|",
            *(f"| `{r['name']}` | {r['licence']} | {r['asked']} | [{urlsplit(r['source']).netloc}]({r['source']}) |" for r in found)]
    return "\n\n".join([HEAD, "\n".join(rows), DATA_HEAD, "\n".join(data)]) + "\n"


def main(arguments: list[str]) -> int:
    text = page()
    unknown = re.findall(r"^\| ([^|]+) \| [^|]+ \| unknown \|", text, re.MULTILINE)
    if unknown: print(f"licences: not installed here, and not on the page: {', '.join(unknown)}")
    if not PAGE.is_file() or text != PAGE.read_text():
        print(f"{'not as the metadata say' if '--check' in arguments else 'written'}: {PAGE.name}")
        if "--check" in arguments: return 1
        write_atomic(PAGE, text)
    return int(bool(unknown))


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
