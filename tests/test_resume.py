"A section that is killed at a random moment and started again ends with the numbers of an undisturbed run."
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SYMBREAK = Path(sys.executable).parent/"symbreak"


def command(section: str, out: Path) -> list[str]:
    return [str(SYMBREAK), "figures", section, "--profile", "smoke", "--seed", "2", "--device", "cpu", "--out", str(out)]


def measured(out: Path, section: str) -> dict:
    record = json.loads((out/section/"metrics.json").read_text())
    return dict(metrics=record["metrics"], claims=record["claims"], params=record["params"])


def kill_after(section: str, out: Path, units: int, delay: float) -> int:
    "Start a run, kill its whole process group once it has stored some units; how many it had stored."
    process = subprocess.Popen(command(section, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    folder = out/section/"units"
    while process.poll() is None and len(list(folder.glob("*.npz"))) < units: time.sleep(.01)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(3)  # the kernel notices within a second that its parent is gone
    return len(list(folder.glob("*.npz")))


@pytest.mark.parametrize("section", ["ising", "expansion", "rd_metric", "qcd", "kuramoto"])
def test_a_killed_section_loses_nothing_and_repeats_nothing(section, tmp_path):
    whole, broken = tmp_path/"whole", tmp_path/"broken"
    subprocess.run(command(section, whole), check=True, capture_output=True)
    total = len(list((whole/section/"units").glob("*.npz")))
    stored = kill_after(section, broken, random.Random(section).randint(1, max(1, total - 2)), .05)
    assert not (broken/section/"metrics.json").exists() or stored == total
    subprocess.run(command(section, broken), check=True, capture_output=True)
    units = json.loads((broken/section/"metrics.json").read_text())["units"]
    assert units["computed"] == total - stored and units["reused"] >= stored and units["damaged"] == 0
    assert measured(broken, section) == measured(whole, section)
