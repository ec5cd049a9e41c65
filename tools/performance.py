"""Write docs/performance.md: where the seconds of a run go, section by section, and the ratios of the benchmarks.

    python tools/performance.py RESULTS_DIR [--bench FILE]     # FILE: kept by `python tools/bench.py --json FILE`
    python tools/performance.py --bench FILE                   # the sections as they stand on the page
"""
import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from symbreak_nb.files import unpack
from symbreak_nb.records import _format_duration, read_metrics
from symbreak_nb.run import RunError, write_atomic

import bench

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT/"docs"/"performance.md"
HEAD = """# Where the time goes

A run is made of units of work: a training, a chain, an enumeration. Each one computes with one thread, and units stand side by side on
the cores. The first table says how long the units of each section took, and which function took most. What is left of a section's
time is its start, its figures and its checks. Times are of one machine with two cores and two sections at a time; their shares say more
than their sums. `python tools/performance.py RESULTS_DIR` writes this page from a folder of results.
"""
RATIOS = "## Ratios to a named baseline\n"


class Share(NamedTuple):
    "What a section took."
    section: str
    profile: str
    wall: float
    units: int
    seconds: Counter   # by function

    @property
    def total(self) -> float: return sum(self.seconds.values())


def shares(folder: Path) -> list[Share]:
    "Sections of a results folder, the longest first."
    found = []
    for path in sorted(folder.glob("*/metrics.json")):
        record, seconds, count = read_metrics(path), Counter(), 0
        for unit in path.parent.glob("units/*.npz"):
            notes = unpack(unit)[1]
            seconds[notes["function"]] += notes["seconds"]
            count += 1
        wall = record.get("wall_s")
        found.append(Share(path.parent.name, str(record.get("profile")), float(wall or 0), count, seconds))
    if not found: raise RunError(f"no results in {folder}")
    return sorted(found, key=lambda s: -s.total)


def rows(found: Iterable[Share]) -> Iterable[str]:
    "Lines of the table."
    found = list(found)
    whole = sum(s.total for s in found)
    yield "| section | units | their time | of all | most of it in | whole section |"
    yield "|---|---:|---:|---:|---|---:|"
    for s in found:
        most = ", ".join(f"`{name}` {seconds/s.total:.0%}" for name, seconds in s.seconds.most_common(2)) if s.total else "–"
        share = f"{s.total/whole:.0%}" if whole else "–"
        yield f"| `{s.section}` | {s.units} | {_format_duration(s.total)} | {share} | {most} | {_format_duration(s.wall)} |"
    yield f"| all | {sum(s.units for s in found)} | {_format_duration(whole)} | 100% | | {_format_duration(sum(s.wall for s in found))} |"


def bench_rows(file: Path) -> Iterable[str]:
    "Lines of the table of ratios."
    found, aims = bench.read_earlier(file), bench.goals(ROOT/"benchmarks"/"goals.csv")
    yield "| ratio | measured | goal | baseline |"
    yield "|---|---:|---:|---|"
    for name in [n for n in aims if n in found] + [n for n in found if n not in aims]:
        aim = aims.get(name)
        yield f"| `{name}` | {found[name]:.3g} | {aim or ''} | {aim.baseline if aim else ''} |"


def span(folder: Path) -> str:
    "From the first start to the last end, and to the first picture."
    records = [read_metrics(path) for path in folder.glob("*/metrics.json")]
    starts = [datetime.fromisoformat(r["started"]).timestamp() for r in records if r.get("started")]
    ends = [datetime.fromisoformat(r["started"]).timestamp() + float(r["wall_s"]) for r in records if r.get("started") and r.get("wall_s")]
    if not ends: return ""
    drawn = [path.stat().st_mtime for path in folder.glob("*/figures/*.png")]
    early = drawn and min(drawn) > min(starts)
    first = f" The first picture was there after {_format_duration(min(drawn) - min(starts))}." if early else ""
    return f"From the first start to the last end it took {(max(ends) - min(starts))/60:.1f} minutes.{first}\n"


def sections(folder: Path) -> str:
    "The part on sections."
    found = shares(folder)
    profiles = ", ".join(sorted({s.profile for s in found}))
    return "\n".join([HEAD, f"## Sections at `{profiles}`\n", span(folder), *rows(found)]) + "\n"


def page(folder: Path | None, file: Path | None) -> str:
    "The whole page; without a folder the part on sections stays as it is."
    text = sections(folder) if folder else PAGE.read_text().partition(f"\n{RATIOS}")[0]
    if not file: return text
    device = json.loads(file.read_text()).get("device", "")
    return "\n".join([text, RATIOS, f"`make bench` measures both in the same run. Here: {device}.\n", *bench_rows(file)]) + "\n"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--bench", type=Path)
    given = parser.parse_args(arguments)
    if not given.folder and not given.bench: parser.error("give a folder of results, or --bench FILE")
    print(write_atomic(PAGE, page(given.folder, given.bench)))


if __name__ == "__main__": main(sys.argv[1:])
