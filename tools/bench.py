"""Run the benchmarks and print one table: each ratio beside its baseline and the goal, with the device.

    python tools/bench.py [BENCHMARK ...] [--json FILE] [--against FILE] [--minutes 10]

A benchmark prints lines `name ratio x`, and times its baseline in the same run. `--json` keeps the ratios, so that two versions can
be compared by `--against`.
"""
import argparse
import contextlib
import csv
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from symbreak_nb.run import RunError, write_atomic

ROOT = Path(__file__).resolve().parent.parent
LINE = re.compile(r"^(\w+) ([\d.]+(?:e[+-]?\d+)?) (?:x|ratio|times)\b", re.MULTILINE)


class Goal(NamedTuple):
    "What a ratio is to reach: at least `bound`, or less than it."
    bound: float
    below: bool
    baseline: str

    def met(self, ratio: float) -> bool: return ratio < self.bound if self.below else ratio >= self.bound

    def __str__(self) -> str: return f"{'<' if self.below else '≥'} {self.bound:g}"


def goals(path: Path) -> dict[str, Goal]:
    "Goals by the name of a ratio, from a table name, goal, baseline."
    with path.open(newline="") as file:
        return {row["name"]: Goal(float(row["goal"].lstrip("<")), row["goal"].startswith("<"), row["baseline"])
                for row in csv.DictReader(file)}


def ratios(text: str) -> dict[str, float]:
    "Ratios that a benchmark has printed."
    return {name: float(value) for name, value in LINE.findall(text)}


def run(script: Path, seconds: float) -> tuple[dict[str, float], str]:
    "Ratios of a benchmark, and why there are no more of them; what it has started ends with it."
    piped = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    begun = subprocess.Popen([sys.executable, str(script)], start_new_session=True, **piped)
    try: (text, errors), late = begun.communicate(timeout=seconds), False
    except subprocess.TimeoutExpired: late = True
    finally:
        with contextlib.suppress(ProcessLookupError): os.killpg(begun.pid, signal.SIGKILL)
    if late:
        text, _ = begun.communicate()
        return ratios(text), f"stopped after {seconds:.0f} s"
    last = (errors.strip().splitlines() or ["no message"])[-1]
    return ratios(text), f"failed: {last[:120]}" if begun.returncode else ""


def devices() -> str:
    "Processor, cores, and the GPU if there is one."
    import torch
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else []
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return ", ".join([names[0] if names else platform.processor() or platform.machine(), f"{os.cpu_count()} cores", *gpu])


def read_earlier(path: Path) -> dict[str, float]:
    "Ratios that `--json` has kept."
    try: found = json.loads(path.read_text())["ratios"]
    except (OSError, ValueError, KeyError, TypeError) as error: raise RunError(f"{path} holds no ratios: {type(error).__name__}") from None
    return {str(k): float(v) for k, v in found.items()}


def table(found: dict[str, float], aims: dict[str, Goal], device: str, earlier: dict[str, float]) -> str:
    "A line a ratio, those with a goal first."
    order = [n for n in aims if n in found] + [n for n in found if n not in aims]
    lines = [f"{'name':44} {'ratio':>9} {'goal':>9}  {'then' if earlier else '':>9} baseline"]
    for name in order:
        aim = aims.get(name)
        mark = " " if aim is None or aim.met(found[name]) else "-"
        then = f"{earlier[name]:.3g}" if name in earlier else ""
        lines.append(f"{mark} {name:42} {found[name]:9.4g} {str(aim or ''):>9}  {then:>9} {aim.baseline if aim else ''}".rstrip())
    return "\n".join([*lines, f"device: {device}; - the goal is not reached"])


def measured(scripts: Iterable[Path], minutes: float) -> tuple[dict[str, float], list[str]]:
    "Ratios of all benchmarks, and what went wrong; none begins after the time is up."
    found, wrong, end = {}, [], time.monotonic() + 60*minutes
    for script in scripts:
        left = end - time.monotonic()
        if left <= 0: wrong.append(f"{script.stem}: not begun, time is up"); continue
        print(f"# {script.stem}", file=sys.stderr, flush=True)
        new, why = run(script, left)
        found |= new
        if why: wrong.append(f"{script.stem}: {why}")
    return found, wrong


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("--json", type=Path, help="keep the ratios in this file")
    parser.add_argument("--against", type=Path, help="a file from --json, of another version")
    parser.add_argument("--minutes", type=float, default=10, help="no benchmark runs longer than this in all")
    parser.add_argument("--folder", type=Path, default=ROOT/"benchmarks", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    scripts = {path.stem: path for path in sorted(given.folder.glob("*.py"))}
    if unknown := [n for n in given.names if n not in scripts]: parser.error(f"unknown {unknown[0]}: there are {', '.join(scripts)}")
    try: earlier = read_earlier(given.against) if given.against else {}
    except RunError as error: parser.error(str(error))
    found, wrong = measured([scripts[n] for n in given.names or scripts], given.minutes)
    device = devices()
    print(table(found, goals(given.folder/"goals.csv"), device, earlier))
    for line in wrong: print(line)
    kept = dict(device=device, python=platform.python_version(), ratios=found)
    if given.json: write_atomic(given.json, json.dumps(kept, indent=1) + "\n")
    return int(any("failed" in line for line in wrong))


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
