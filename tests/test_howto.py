"Every block of the how-tos runs, is short, and the commands of the cluster page are commands."
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from symbreak_nb import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT/"docs"/"howto").glob("*.md"))
BIN = Path(sys.executable).parent
ALONE = {"PYTHONPATH", "SYMBREAK_DATA", "SYMBREAK_OUT", "SYMBREAK_PROFILE"}   # what a user's environment does not have


def blocks(page: Path, language: str) -> list[str]: return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


PYTHON = [(page, code) for page in PAGES for code in blocks(page, "python")]


def test_each_task_has_a_page():
    code = {"symmetries", "training", "replicas", "expansion", "collapse", "landscape", "pde"}
    assert code | {"cluster", "own_section"} <= {page.stem for page in PAGES} and code <= {page.stem for page, _ in PYTHON}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_block_is_short_and_a_page_begins_with_its_task(page):
    lines = page.read_text().splitlines()
    assert lines[0].startswith("# ") and not lines[1] and lines[2] and lines[2][0] not in "`#|-"
    for code in [code for language in ("python", "bash", "slurm") for code in blocks(page, language)]:
        assert len(code.splitlines()) < 40 and max(map(len, code.splitlines())) <= 100
    assert len(re.sub(r"^```text.*?^```\n", "", page.read_text(), flags=re.M | re.S).splitlines()) < 40, "but for what it prints"
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)#]+)", prose): assert (page.parent/link).is_file(), link


def shape(text: str) -> list[str]:
    "The words of each line, without numbers and spaces, which depend on the processor."
    return [re.sub(r"[-+]?\d[\d.e+-]*|\s+", "", line) for line in text.strip().splitlines()]


@pytest.mark.parametrize("page, code", PYTHON, ids=[page.stem for page, _ in PYTHON])
def test_a_block_runs_and_says_what_the_page_shows(page, code, tmp_path, monkeypatch, capsys, one_thread):
    "In a namespace of its own and an empty folder; of the output the words, not the digits."
    import matplotlib.pyplot as plt
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page.name, "exec"), {"__name__": "__main__"})
    plt.close("all")
    for name in re.findall(r"savefig\(\"(\w+\.png)\"", code): assert (tmp_path/name).stat().st_size > 5000
    shown = blocks(page, "text")
    if shown: assert shape(capsys.readouterr().out) == shape(shown[0])


@pytest.mark.parametrize("page, section", [("cluster", "explorer"), ("own_section", "wells")])
def test_the_commands_of_a_page_run(page, section, tmp_path):
    (commands,) = blocks(ROOT/"docs"/"howto"/f"{page}.md", "bash")
    env = {k: v for k, v in os.environ.items() if k not in ALONE} | dict(PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(["bash", "-euc", commands], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path/"results"/"index.html").is_file() and (tmp_path/"results"/section/"metrics.json").is_file()


def test_the_job_of_the_cluster_page_asks_for_what_there_is(tmp_path):
    "The script, with a stand-in that writes down what it is asked for."
    (script,) = blocks(ROOT/"docs"/"howto"/"cluster.md", "slurm")
    (tmp_path/"symbreak").write_text('#!/bin/sh\necho "$SYMBREAK_CORES" "$@"\n')
    (tmp_path/"symbreak").chmod(0o755)
    env = dict(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", SLURM_ARRAY_TASK_ID="1", SLURM_CPUS_PER_TASK="8", SCRATCH="/scratch")
    said = subprocess.run(["bash", "-euc", script], env=env, capture_output=True, text=True, check=True).stdout.split()
    assert said == ["8", "figures", "rd_metric", "--profile", "paper", "--device", "cuda", "--out", "/scratch/results"]
    text = (ROOT/"docs"/"howto"/"cluster.md").read_text()
    offered = {name: CliRunner().invoke(cli.command, [name, "--help"]).output for name in ("figures", "data", "plan", "units")}
    for name, option in (("figures", "--jobs"), ("figures", "--reuse"), ("figures", "--minutes"), ("plan", "--check"),
                         ("data", "--download"), ("units", "export"), ("units", "import")):
        assert option in text and option in offered[name]
    from symbreak_nb.sections import find_sections
    assert set(re.search(r"sections=\(([^)]*)\)", script)[1].split()) <= set(find_sections())
