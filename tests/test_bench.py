"The table of benchmarks: what it reads, what it marks, what it keeps."
import importlib.util
import json
import sys
import time
from pathlib import Path

import pytest
from symbreak_nb.run import Declaration, Run, RunError

from conftest import ROOT


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT/"tools"/f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bench, performance, architectures = tool("bench"), tool("performance"), tool("architectures")


@pytest.fixture
def folder(tmp_path):
    (tmp_path/"good.py").write_text("print('fast 3.5 x   (baseline slow)\\nfast_plain 12 ms\\nshare 0.2 ratio\\nother 1e3 times')")
    (tmp_path/"bad.py").write_text("print('half 1.5 ratio', flush=True)\nraise SystemExit('no device')")
    (tmp_path/"slow.py").write_text("import time\nprint('first 2 x', flush=True)\ntime.sleep(60)")
    (tmp_path/"goals.csv").write_text("name,goal,baseline\nfast,4,a loop\nshare,<0.3,a step\nmissing,1,nothing\n")
    return tmp_path


def test_ratios_goals_and_failures_stand_in_one_table(folder, capsys):
    assert bench.main(["bad", "good", "--folder", str(folder), "--json", str(folder/"now.json")]) == 1
    shown = capsys.readouterr().out
    rows = {line.lstrip("- ").split()[0]: line for line in shown.splitlines()}
    assert rows["fast"].startswith("-") and "≥ 4" in rows["fast"] and rows["fast"].endswith("a loop")
    assert rows["share"].startswith(" ") and "< 0.3" in rows["share"]
    assert "half" in rows and "missing" not in rows and "fast_plain" not in rows and "bad: failed: no device" in shown
    assert json.loads((folder/"now.json").read_text())["ratios"] == dict(half=1.5, fast=3.5, share=0.2, other=1000.0)
    assert bench.main(["good", "--folder", str(folder), "--against", str(folder/"now.json")]) == 0
    assert next(line for line in capsys.readouterr().out.splitlines() if " fast " in line).split()[-3] == "3.5"


def test_a_benchmark_ends_when_time_is_up_and_keeps_what_it_has(folder, capsys):
    assert bench.main(["slow", "good", "--folder", str(folder), "--minutes", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert "first" in shown and "slow: stopped" in shown and "good: not begun, time is up" in shown


def test_what_a_stopped_benchmark_has_started_ends_with_it(folder):
    (folder/"deep.py").write_text("import subprocess, sys\n"
                                  "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
                                  f"open({str(folder/'pid')!r}, 'w').write(str(child.pid))\n"
                                  "print('deep 2 x', flush=True)\nchild.wait()")
    bench.main(["deep", "--folder", str(folder), "--minutes", "0.05"])
    def running(pid):
        try: return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] not in "ZX"
        except OSError: return False
    pid, end = int((folder/"pid").read_text()), time.monotonic() + 10
    while running(pid) and time.monotonic() < end: time.sleep(0.05)
    assert not running(pid)


@pytest.mark.parametrize("arguments, words", [(["nothing"], "unknown nothing: there are bad, good, slow"),
                                              (["good", "--against", "none.json"], "none.json holds no ratios")])
def test_wrong_use_is_one_line(folder, capsys, arguments, words):
    with pytest.raises(SystemExit) as ended: bench.main([*arguments, "--folder", str(folder)])
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_every_goal_belongs_to_a_benchmark():
    stems = {path.stem.split("_")[0] for path in (ROOT/"benchmarks").glob("*.py")}
    aims = bench.goals(ROOT/"benchmarks"/"goals.csv")
    assert len(aims) > 15 and {name.split("_")[0] for name in aims} <= stems and all(aim.baseline for aim in aims.values())


def double(n): return dict(y=2*n)


def test_the_page_says_where_the_time_of_a_folder_went(folder, tmp_path):
    run = Run(Declaration("demo"), dict(profile="smoke", out_dir=tmp_path/"results"/"demo"))
    run.units(double, [dict(n=n) for n in range(3)])
    run.finish()
    bench.main(["good", "--folder", str(folder), "--json", str(tmp_path/"now.json")])
    text = performance.page(tmp_path/"results", tmp_path/"now.json")
    assert "| `demo` | 3 |" in text and "`double` 100%" in text and "| `fast` | 3.5 |" in text
    assert "From the first start to the last end it took " in text
    with pytest.raises(RunError, match="no results"): performance.page(folder, None)


def test_ratios_are_written_anew_and_sections_stay(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(performance, "PAGE", tmp_path/"performance.md")
    performance.PAGE.write_text("# Where the time goes\n\n| `demo` | 3 |\n\n## Ratios to a named baseline\n\n| `old` | 1 |\n")
    bench.main(["good", "--folder", str(folder), "--json", str(tmp_path/"now.json")])
    for _ in range(2): performance.main(["--bench", str(tmp_path/"now.json")])
    text = performance.PAGE.read_text()
    assert text.count("| `demo` | 3 |") == text.count("## Ratios") == text.count("| `fast` | 3.5 |") == 1 and "`old`" not in text
    with pytest.raises(SystemExit): performance.main([])
    assert "give a folder of results" in capsys.readouterr().err


def test_reports_of_architectures_make_a_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    monkeypatch.setattr(architectures, "PAGE", tmp_path/"architectures.md")
    assert architectures.main(["gpt2", "--page"]) == 0
    (line,) = (x for x in architectures.PAGE.read_text().splitlines() if x.startswith("| `gpt2`"))
    cells = [x.strip() for x in line.split("|")[1:-1]]
    made, _ = architectures.built("gpt2")
    assert cells[1] == f"{sum(p.numel() for p in made.parameters()):,}" and float(cells[2]) > 0 and int(cells[4]) > 20
    assert architectures.row(architectures.alone("gpt2", 0.2)) == "| `gpt2` | | not after 0 on the clock | | | | |"
    with pytest.raises(SystemExit): architectures.main(["none"])
    assert "unknown none: there are alexnet" in capsys.readouterr().err
