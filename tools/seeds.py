"""Run sections at smoke with seeds drawn anew, on one thread and on two, as different processors would round.

With two threads the units are also computed in two processes.

    python tools/seeds.py [SECTION ...]              # 12 seeds a section, spread over the 6 settings
    python tools/seeds.py kuramoto --seeds 5 77      # these seeds
    python tools/seeds.py --count 6 --all            # every seed at every setting
"""
import argparse
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from symbreak_nb.sections import _choose_sections, find_sections

SYMBREAK = Path(sys.executable).parent/"symbreak"
THREADS = (1, 2)
POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
KERNELS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE")
CAPABILITIES = {"default": ("default", "SSE41", "SSE4_2", "Nehalem"), "avx2": ("avx2", "AVX2", "AVX2", "Haswell"), "own": ()}


class Setting(NamedTuple):
    "How a run is computed."
    threads: int       # of every pool
    capability: str    # instructions that torch and the linear algebra may use; own: all that the machine has

    def __str__(self) -> str: return f"{self.threads} thread{'s' if self.threads > 1 else ''}, {self.capability}"

    def environment(self) -> dict[str, str]:
        "The caller's environment with these threads and instructions."
        plain = {k: v for k, v in os.environ.items() if k not in KERNELS} | dict(OMP_WAIT_POLICY="PASSIVE")
        if self.threads > 1: plain |= dict(SYMBREAK_EXECUTOR="processes", SYMBREAK_CORES=str(self.threads))
        return plain | dict.fromkeys(POOLS, str(self.threads)) | dict(zip(KERNELS, CAPABILITIES[self.capability], strict=False))


SETTINGS = [Setting(*pair) for pair in itertools.product(THREADS, CAPABILITIES)]


class Job(NamedTuple):
    section: str
    seed: int
    setting: Setting


class Outcome(NamedTuple):
    job: Job
    error: str         # one line, empty if the run passed
    seconds: float


def draw_seeds(count: int) -> list[int]:
    "Different seeds that nobody chose: every other one small, the rest from all that are allowed."
    rng, seeds = random.SystemRandom(), {}
    while len(seeds) < count: seeds[rng.randrange(1000 if len(seeds) % 2 else 2**32)] = None
    return list(seeds)


def plan(section: str, seeds: Sequence[int], every: bool = False) -> list[Job]:
    "The seeds of a section in turn over the settings, or with `every` each of them at all settings."
    if every: return [Job(section, seed, setting) for seed in seeds for setting in SETTINGS]
    return [Job(section, seed, SETTINGS[k % len(SETTINGS)]) for k, seed in enumerate(seeds)]


def failure(folder: Path, done: subprocess.CompletedProcess) -> str:
    "What went wrong, in one line: the error and the line of the notebook, or the last line that was printed."
    for path in folder.glob("*/*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        for error in (o for c in cells for o in c.get("outputs", []) if o["output_type"] == "error"):
            lines = [line for line in plain_text("\n".join(error["traceback"])).splitlines() if line.startswith("-")]
            place = next((line.lstrip("-> 0123456789") for line in lines if "> " in line), "")
            return " ".join(f"{error['ename']}: {error['evalue']} in `{place}`".split())[:400]
    return ((done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"])[-1][:400]


def refused(folder: Path) -> str:
    "Whether processes could not take the units of a notebook."
    said = any("are computed one by one" in str(c.get("outputs")) for path in folder.glob("*/*.ipynb")
               for c in json.loads(path.read_text())["cells"])
    return "processes cannot read its units" if said else ""


def plain_text(colored: str) -> str:
    "Without the colours of a terminal."
    return re.sub(r"\x1b\[[0-9;]*m", "", colored)


def run(job: Job) -> Outcome:
    "One run in a folder of its own, which is removed."
    clock = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="seeds-") as folder:
        command = [SYMBREAK, "figures", job.section, "--profile", "smoke", "--seed", str(job.seed), "--device", "cpu", "--out", folder]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=job.setting.environment())
        error = failure(Path(folder), done) if done.returncode else refused(Path(folder))
    return Outcome(job, error, time.perf_counter() - clock)


def run_all(jobs: Sequence[Job], cores: int) -> Iterable[Outcome]:
    "The outcomes as they come; as many runs at once as their threads fit the cores."
    for threads in THREADS:
        with ThreadPoolExecutor(max(1, cores//threads)) as pool:
            for done in as_completed([pool.submit(run, job) for job in jobs if job.setting.threads == threads]): yield done.result()


def line(outcome: Outcome) -> str:
    job = outcome.job
    return f"{job.section}, seed {job.seed}, {job.setting}: {outcome.error or 'passed'} ({outcome.seconds:.0f} s)"


def table(outcomes: Sequence[Outcome]) -> str:
    "Runs that passed of those made, a row a section and a column a setting."
    rows = [["section", *map(str, SETTINGS), "seconds a run"]]
    for section in dict.fromkeys(o.job.section for o in outcomes):
        own = [o for o in outcomes if o.job.section == section]
        cells = [[not o.error for o in own if o.job.setting == setting] for setting in SETTINGS]
        rows.append([section, *(f"{sum(c)} of {len(c)}" if c else "-" for c in cells), f"{sum(o.seconds for o in own)/len(own):.0f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", help="default: every section")
    parser.add_argument("--count", type=int, default=12, help="seeds that are drawn for each section (default: 12)")
    parser.add_argument("--seeds", type=int, nargs="+", help="these seeds, none is drawn")
    parser.add_argument("--all", action="store_true", help="every seed at every setting")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="threads at once (default: all cores)")
    given = parser.parse_args()
    if not given.seeds and given.count < 1: parser.error(f"--count {given.count}: allowed is an integer of at least 1")
    if bad := [s for s in given.seeds or [] if not 0 <= s < 2**32]: parser.error(f"--seeds {bad[0]}: allowed is 0 to {2**32 - 1}")
    jobs = []
    for section in _choose_sections(given.sections, find_sections()):
        seeds = given.seeds or draw_seeds(given.count)
        print(f"{section.name}: seeds {' '.join(map(str, seeds))}", flush=True)
        jobs += plan(section.name, seeds, given.all)
    outcomes = []
    for outcome in run_all(jobs, given.cores):
        outcomes.append(outcome)
        print(line(outcome), flush=True)
    failed = [outcome for outcome in outcomes if outcome.error]
    print("", table(outcomes), "", f"{len(outcomes) - len(failed)} of {len(outcomes)} runs passed", *map(line, failed), sep="\n")
    return int(bool(failed))


if __name__ == "__main__": sys.exit(main())
