"Each section at seeds drawn anew, on one thread and on two, with the instructions of an older and of a newer processor."
import importlib.util
import sys

import pytest

from conftest import ROOT
from test_repository import NOTEBOOKS, is_section

spec = importlib.util.spec_from_file_location("seeds", ROOT/"tools"/"seeds.py")
seeds = importlib.util.module_from_spec(spec)
sys.modules["seeds"] = seeds
spec.loader.exec_module(seeds)
SECTIONS = [n.stem.split("_", 1)[1] for n in NOTEBOOKS if is_section(n)]


@pytest.mark.parametrize("setting", [seeds.Setting(1, "default"), seeds.Setting(2, "avx2")], ids=str)
@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_runs_at_a_seed_that_nobody_chose(section, setting):
    seed, = seeds.draw_seeds(1)
    print(f"{section}, seed {seed}, {setting}")
    outcome = seeds.run(seeds.Job(section, seed, setting))
    assert not outcome.error, seeds.line(outcome)
