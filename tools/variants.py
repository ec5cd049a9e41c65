"""Keep the verdicts of the same run at another seed and on other processors beside the reference, and write docs/processors.md from them.

    python tools/variants.py run [SECTION ...] [--only SETTING] [--out DIR]
                       # quick at seed 1, with two threads, and with AVX2 instructions; then collect and table
    python tools/variants.py collect RESULTS_DIR NAME [--capability C] [--threads T] [--cpu TEXT]
    python tools/variants.py table
"""
import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from symbreak_nb.comparison import _narrow_claims, _processor, _read_variants, _unlike
from symbreak_nb.rates import _processor as cpu_name
from symbreak_nb.records import _format_interval, _format_number, read_metrics, read_results
from symbreak_nb.run import write_atomic

from seeds import CAPABILITIES, KERNELS

ROOT = Path(__file__).resolve().parent.parent
REFERENCE, PAGE = ROOT/"reference", ROOT/"docs"/"processors.md"
HEAD = """# Verdicts at another seed and on other processors

The same run, with the same parameters, was repeated on other settings: another seed, another instruction set of the same
processor, another number of threads, another processor. Nothing else was changed. The last digits of a sum depend on the
processor, and a training amplifies them. So numbers differ, and with them now and then a verdict.

A claim is **narrow** if its verdict is not the same on all settings. A narrow verdict says little: another seed or another
machine may give the other one. The claims below are narrow in this way. All others have the same verdict everywhere that was
tried. The ledger also marks rows whose p lies close to its level. Each cell has the verdict, the value and its 95% interval.
`reference` is the run that is stored with the code.

On a GPU (one H200) six verdicts were other than on a CPU: four of `expansion`, `ziyin.fig6.alignment` and
`capacity.control.without_last`. The numbers of that run are not stored here, so they stand in no table.
"""


SETTINGS = dict(seed1=dict(seed=1, threads=1, kernels="own"), two_threads=dict(seed=0, threads=2, kernels="own"),
                avx2=dict(seed=0, threads=1, kernels="avx2"))   # what `run` runs, beside the reference
SYMBREAK = Path(sys.executable).parent/"symbreak"


def run(name: str, sections: list[str], out: Path) -> Path:
    "Run sections at quick on one setting; finished units are kept, so that a run that was stopped goes on."
    seed, threads, kernels = (SETTINGS[name][key] for key in ("seed", "threads", "kernels"))
    env = os.environ | {f"{word}_NUM_THREADS": str(threads) for word in ("OMP", "MKL", "OPENBLAS", "NUMBA")} | \
        dict(zip(KERNELS, CAPABILITIES[kernels], strict=False))
    jobs = max(1, (os.cpu_count() or 1)//threads)
    command = [SYMBREAK, "figures", *sections, "--profile", "quick", "--seed", str(seed), "--jobs", str(jobs), "--out", out/name]
    if subprocess.run(command, env=env).returncode: print(f"{name}: not every section ended; the same command goes on from there")
    return out/name


def measured(record: dict) -> dict[str, dict]:
    "Value and interval of each claim; all are kept, because a later setting may be the one that differs."
    return {c["id"]: dict(value=c["value"], interval=c["interval"]) for c in record["claims"]}


def setting(record: dict, capability: str, threads: int | None, cpu: str) -> dict:
    "What is kept of one section on one setting; what could not be measured there says nothing."
    verdicts = {c["id"]: c["verdict"] for c in record["claims"] if c["value"] is not None}
    device, processor = _processor(record)
    return dict(seed=record.get("seed"), device=device, capability=capability or processor.upper() or "native", threads=threads, cpu=cpu,
                commit=record.get("commit"), torch=record["versions"].get("torch"), verdicts=verdicts,
                rules={c["id"]: c["rule"] for c in record["claims"]}, measured=measured(record))


def collect(folder: Path, name: str, capability: str, threads: int | None, cpu: str) -> Iterable[str]:
    "Merge the verdicts of every section below a folder into variants.json beside its reference; a line a section. Those without rules go."
    for section in read_results(folder):
        record, place = section.record, REFERENCE/section.name/str(section.record.get("profile"))
        stored = read_metrics(place/"metrics.json")
        why = record["error"] or (not record["claims"] and "it decided nothing") or \
            (not stored["claims"] and "it has no reference at this profile") or _unlike(comparable(record), comparable(stored)) or \
            (read_from(record) != read_from(stored) and f"data ({listing(record)}, reference {listing(stored)})")
        if why: yield f"{section.name}: left out, {why}"; continue
        kept = {k: v for k, v in _read_variants(place/"variants.json").items() if "rules" in v}
        settings = kept | {name: setting(record, capability, threads, cpu)}
        write_atomic(place/"variants.json", json.dumps(dict(settings=dict(sorted(settings.items()))), indent=1) + "\n")
        yield f"{section.name}: {len(record['claims'])} verdicts kept as {name}"


def comparable(record: dict) -> dict:
    "Without what may differ: the folder and the seed."
    return record | dict(seed=None, params={k: v for k, v in record["params"].items() if k != "out_dir"})


def read_from(record: dict) -> list[str]:
    "The data that a run read, without the place where they lay."
    return sorted(source.split(" in ")[0] for source in record.get("sources") or [])


def listing(record: dict) -> str: return "; ".join(read_from(record)) or "none"


def differing(place: Path) -> tuple[dict, dict[str, dict]]:
    "(settings with the reference first, claim -> setting -> verdict, value and interval) of the narrow claims."
    stored = read_metrics(place/"metrics.json")
    settings = dict(reference=setting(stored, "", None, "")) | _read_variants(place/"variants.json")
    claims = {id: {name: dict(s.get("measured", {}).get(id, {}), verdict=s["verdicts"][id])
                   for name, s in settings.items() if id in s["verdicts"]} for id in settings["reference"]["verdicts"]}
    return settings, {id: seen for id, seen in claims.items() if id in _narrow_claims(stored, settings)}


def cell(seen: dict) -> str:
    return f"{seen['verdict']}<br>{_format_number(seen.get('value'))} {_format_interval(seen.get('interval'))}".rstrip()


def table() -> str:
    "The page: what was run, then the narrow claims, a column a setting."
    places = sorted(p.parent for p in REFERENCE.glob("*/*/variants.json"))
    found = [(place, *differing(place)) for place in places]
    settings = {name: s for _, known, _ in found for name, s in known.items()}
    total = sum(len(known["reference"]["verdicts"]) for _, known, _ in found)
    lines = [HEAD, f"{len(found)} sections with {total} claims were run; {sum(len(claims) for *_, claims in found)} of them are narrow.\n",
             "| setting | seed | instruction set | threads | processor |", "|---|---|---|---|---|"]
    described = {name: [_format_number(s.get("seed")), s.get("capability") or "–", _format_number(s.get("threads")),
                        str(s.get("cpu") or "–").replace("|", "/")]
                 for name, s in settings.items() if name != "reference"}
    lines += ["| " + " | ".join([name, *words]) + " |" for name, words in described.items()]
    rows = [f"| `{id}` | " + " | ".join(cell(seen[name]) if name in seen else "not run" for name in settings) + " |"
            for *_, claims in found for id, seen in claims.items()]
    if rows: lines += ["", "| claim | " + " | ".join(settings) + " |", "|---|" + "---|"*len(settings), *rows]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    gather = commands.add_parser("collect", help="merge the verdicts of a results folder into reference/")
    gather.add_argument("folder", type=Path)
    gather.add_argument("name", help="of the setting: letters, digits, '-', '_' and '.'")
    gather.add_argument("--capability", default="", help="instruction set; default: what the run says")
    gather.add_argument("--threads", type=int, help="of each section's process")
    gather.add_argument("--cpu", default=cpu_name(), help="default: this machine's")
    commands.add_parser("table", help="write docs/processors.md")
    runs = commands.add_parser("run", help=f"run quick at {', '.join(SETTINGS)}, collect both, write the table")
    runs.add_argument("sections", nargs="*", help="default: every section")
    runs.add_argument("--only", action="append", choices=list(SETTINGS), help="of the settings; may be repeated")
    runs.add_argument("--out", type=Path, default=ROOT/"results"/"variants", help="default: results/variants")
    given = parser.parse_args(arguments)
    if given.command == "run":
        for name in given.only or SETTINGS:
            folder, threads = run(name, given.sections, given.out), SETTINGS[name]["threads"]
            for line in collect(folder, name, "", threads, cpu_name()): print(line, flush=True)
        return print(write_atomic(PAGE, table()))
    if given.command == "table": return print(write_atomic(PAGE, table()))
    if not re.fullmatch(r"[\w.-]+", given.name) or given.name == "reference": parser.error(f"name {given.name!r} is not allowed")
    for line in collect(given.folder, given.name, given.capability, given.threads, given.cpu): print(line)


if __name__ == "__main__": main(sys.argv[1:])
