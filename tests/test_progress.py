"How long a run still takes: exact where every section is as many times slower, and near where each differs."
import heapq
import json
import random
import sys
from pathlib import Path

import pytest
from symbreak_nb import cli, jobs
from symbreak_nb.jobs import Job, _seconds_left, _TimeLeft
from symbreak_nb.run import RunError, write_atomic
from symbreak_nb.sections import Notebook

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = {p.parent.parent.name: json.loads(p.read_text())["wall_s"] for p in sorted((ROOT/"reference").glob("*/quick/metrics.json"))}


def estimates(walls: dict, took: dict, width: int) -> list[tuple[float, float]]:
    "A run replayed: at the end of each section what is said, and what it then takes. The longest by the reference start first."
    order = sorted(took, key=lambda name: walls.get(name) or 1e9, reverse=True)
    waiting, running, ended, found, now = list(order), [], [], [], 0.0
    while waiting or running:
        while waiting and len(running) < width: heapq.heappush(running, (now + took[waiting[0]], now, waiting.pop(0)))
        now, _, name = heapq.heappop(running)
        ended.append((took[name], walls.get(name)))
        while waiting and len(running) < width: heapq.heappush(running, (now + took[waiting[0]], now, waiting.pop(0)))
        going = [(now - began, walls.get(other)) for _, began, other in running]
        found.append((_seconds_left(ended, going, [walls.get(other) for other in waiting], width), now))
    return [(said, now - at) for said, at in found[:-1]]


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("factor", [0.2, 1, 7.5])
def test_what_is_left_is_exact_where_all_sections_are_as_many_times_slower(width, factor):
    found = estimates(REFERENCE, {name: factor*wall for name, wall in REFERENCE.items()}, width)
    assert len(found) == len(REFERENCE) - 1
    for said, left in found: assert said == pytest.approx(left, rel=1e-9, abs=1e-6)


def test_what_is_left_is_near_where_each_section_differs():
    "Each section is slower by a factor of its own, as between two kinds of processor: one in three by more than a fifth."
    draw, near = random.Random(0), []
    for _ in range(40):
        speed = draw.choice([0.3, 1, 4])
        took = {name: speed*wall*draw.lognormvariate(0, 0.2) for name, wall in REFERENCE.items()}
        rows = estimates(REFERENCE, took, draw.choice([1, 2, 4]))
        near += [abs(said/left - 1) <= 0.3 for said, left in rows if left > 0.1*sum(took.values())/4]
    assert len(near) > 500 and sum(near) > 0.9*len(near)


# A recorded run of all sections at quick, two at once: start and end in seconds. And what each took in a second run, on a machine that did
# much else (1.1 to 3.5 times longer), where the equations of pdes had been solved before.
RECORDED = dict(
    fields=(0.5, 174, 187),
    expansion=(0.5, 214.3, 327),
    collapse=(174, 330.1, 227),
    rd_metric=(214.3, 365.4, 226),
    alignment=(330.1, 429.8, 186),
    qcd=(365.4, 462.1, 162),
    pinns=(429.8, 870, 615),
    coloring=(462.1, 760.3, 492),
    sentiment=(760.3, 1082.4, 728),
    dynamics=(870, 972.2, 234),
    kuramoto=(972.2, 1083.3, 385),
    ising=(1082.4, 1165, 94),
    noise=(1083.3, 1196.6, 145),
    adaptation=(1165, 1237.1, 98),
    capacity=(1196.6, 1253.8, 81),
    training=(1237.1, 1282.2, 73),
    field_theory=(1253.8, 1314.8, 109),
    restoration=(1282.2, 1336.3, 88),
    saddles=(1314.8, 1360.6, 84),
    symmetries=(1336.3, 1363.4, 45),
    designs=(1360.6, 1406.7, 87),
    pdes=(1363.4, 1484.3, 24),
    landscape=(1406.7, 1426.3, 28),
    equilibrium=(1426.3, 1441.4, 23),
    explorer=(1441.4, 1451.3, 15),
    convnets=(1451.3, 1457.6, 6),
)
FIRST, SECOND = ({name: taken(*row) for name, row in RECORDED.items()}
                 for taken in (lambda start, end, _: end - start, lambda start, end, again: again))


def said_at_each_end(walls: dict, width: int = 2) -> list[tuple[float, float]]:
    "The recorded run: at the end of each section what is said, and what it then took; starts and ends are the real ones."
    last, found = max(end for _, end, _ in RECORDED.values()), []
    for now in sorted(end for _, end, _ in RECORDED.values())[:-1]:
        ended = [(end - start, walls.get(name)) for name, (start, end, _) in RECORDED.items() if end <= now]
        running = [(now - start, walls.get(name)) for name, (start, end, _) in RECORDED.items() if start <= now < end]
        waiting = [walls.get(name) for name, (start, *_) in RECORDED.items() if start > now]
        found.append((_seconds_left(ended, running, waiting, width), last - now))
    return found


def test_the_end_of_a_recorded_run_is_known_from_its_own_seconds():
    "Two places are filled as the run filled them. The stored seconds are those of such a run, and order it the same way."
    for said, left in said_at_each_end(FIRST): assert said == pytest.approx(left, abs=2)
    stored = json.loads((ROOT/"reference"/"seconds.json").read_text())["quick"]
    assert set(stored) == set(REFERENCE) and all(1 <= seconds < 3600 for seconds in stored.values())


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("factor", [0.3, 1, 5])
def test_a_second_run_is_told_within_thirty_per_cent_by_the_seconds_of_the_first(width, factor):
    "At the end of every section with more than a minute left; on a machine that is slower by a factor, and with more places."
    took = {name: factor*seconds for name, seconds in SECOND.items()}
    rows = [(said, left) for said, left in estimates(FIRST, took, width) if left > 60*factor]
    assert len(rows) >= 16 and max(abs(said/left - 1) for said, left in rows) < 0.3


def test_walls_that_were_measured_apart_mislead():
    "Why the seconds come from one run: with four sections timed on an idle machine, the others on a busy one, a third is missed."
    apart = {name: took*(1 if name in ("pinns", "coloring", "sentiment", "pdes") else 2.6) for name, took in FIRST.items()}
    assert min(said/left for said, left in said_at_each_end(apart)[:6]) < 0.7


@pytest.mark.parametrize("text", ["", "[]", "{", '{"quick": 3}', '{"quick": {"a": "long"}}', '{"quick": {"a": -1}}',
                                  '{"quick": {"a": 1e99}}'])
def test_a_damaged_table_of_seconds_is_as_none(tmp_path, text):
    job = Job(Notebook(tmp_path/"a.ipynb", "a", "", {}, [], [], 9), tmp_path/"a")
    write_atomic(tmp_path/"a"/"quick"/"metrics.json", json.dumps(dict(wall_s=7)))
    write_atomic(tmp_path/"seconds.json", text)
    assert jobs._reference_seconds(job, tmp_path, "quick") == 7
    write_atomic(tmp_path/"seconds.json", '{"quick": {"a": 9}, "smoke": {"b": 2}}')
    assert (jobs._reference_seconds(job, tmp_path, "quick"), jobs._reference_seconds(job, tmp_path, "smoke")) == (9, None)


def test_a_section_without_a_reference_takes_what_the_others_took():
    assert _seconds_left([(10, 5), (20, 10)], [], [None, 5], 1) == 15 + 10
    assert _seconds_left([(10, None), (20, None)], [(5, None)], [7], 2) == 15, "nothing says how much slower this machine is"
    assert _seconds_left([], [(5, 3)], [7], 2) is None


def test_a_section_that_runs_too_long_says_so_before_it_ends():
    "A run that is three times slower than the first section showed, and one that is overdue for any reason."
    assert _seconds_left([(10, 10)], [(30, 10)], [10], 1) == pytest.approx(3 + 20)
    assert _seconds_left([(10, 10)], [(5, 10)], [10], 1) == 5 + 10


def some_jobs(folder: Path, reused: int) -> list[Job]:
    found = [Job(Notebook(folder/f"{name}.ipynb", name, "", {}, [], [], 9), folder/name) for name in ("a", "b", "c")]
    for job in found: write_atomic(folder/"reference"/job.section.name/"smoke"/"metrics.json", json.dumps(dict(wall_s=100)))
    found[0].status, found[0].seconds = "done", 200.0
    write_atomic(found[0].folder/"metrics.json", json.dumps(dict(units=dict(computed=3, reused=reused))))
    return found


@pytest.mark.parametrize("reused, said", [(0, "about 7 min left"), (3, "about 7 min left"), (9, "")])
def test_a_section_read_from_stored_units_teaches_nothing(tmp_path, reused, said):
    assert _TimeLeft(some_jobs(tmp_path, reused), 1, "smoke", tmp_path/"reference")() == said


def test_the_end_is_said_in_words(tmp_path):
    work = some_jobs(tmp_path, 0)
    left = _TimeLeft(work, 2, "smoke", tmp_path/"reference")
    assert left() == "about 3 min left"
    work[0].seconds = 12.0
    assert left() == "less than a minute left"
    for job in work: job.status = "done"
    assert left() == ""
    assert _TimeLeft(work, 2, "paper", tmp_path/"reference").walls == dict.fromkeys(map(id, work)), "quick says nothing about paper"


def test_the_page_is_written_after_a_section_while_that_is_cheap(tmp_path, monkeypatch):
    clock, written = [0.0], []

    def write(out, reference):
        written.append(clock[0])
        clock[0] += 2.0
        return out/"index.html"
    monkeypatch.setattr(cli, "write_report", write)
    monkeypatch.setattr(cli.time, "perf_counter", lambda: clock[0])
    page, job = cli._page_writer(tmp_path, None), some_jobs(tmp_path, 0)[0]
    for now in (10, 20, 60, 70, 100): clock[0] = now; assert page(job) == f"{tmp_path}/index.html#section-a"
    assert written == [10, 60, 100], "two seconds of each forty"
    for error in (RunError("no"), OSError("full"), KeyError("a fault of the report")):
        monkeypatch.setattr(cli, "write_report", lambda *a: (_ for _ in ()).throw(error))   # noqa: B023
        clock[0] += 1000
        assert page(job) == "", "no page is worth a run, and its end says what is wrong"


def test_lines_say_the_page_and_the_time_that_is_left(tmp_path, capsys):
    work = some_jobs(tmp_path, 0)
    left = _TimeLeft(work, 2, "smoke", tmp_path/"reference")
    show = jobs._Lines(work, sys.stdout, left, lambda job: f"results/index.html#section-{job.section.name}")
    work[1].status = "running"
    work[1].started = jobs.time.perf_counter()
    show()
    assert capsys.readouterr().out.splitlines() == [
        "a: done after 3 min (1 of 3 sections ended, about 3 min left)", "a: results/index.html#section-a",
        "b: running (1 of 3 sections ended)"]
