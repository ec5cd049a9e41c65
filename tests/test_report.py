"The report on broken, hostile, old and large inputs."
import json
import os
import re

import pytest
from symbreak_nb.report import ReportError, agreement, cards, compare, read_metrics, read_results, write_report
from symbreak_nb.run import Claim, Run, RunError

PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489000000"
                      "0d49444154789c636460f8cf500003c0018601a0558d47f50000000049454e44ae426082")


def section(root, name="wells", profile="smoke", value=2.0, **changes):
    "A finished section, written by the run library itself."
    run = Run(name, profile, 0, "cpu", root/name, profiles={profile: dict(L=3)})
    run.metric("value", value, (value - 0.1, value + 0.1))
    run.decide(Claim(f"fok.{name}", "fok2017", "Sec. 2.5", "The value is two.", "value in [1, 3]", 2), value)
    run.figures.append(dict(name="fok_fig01", caption="The value stays where it was put.", exact=True))
    run.finish()
    (root/name/"figures").mkdir(exist_ok=True)
    (root/name/"figures"/"fok_fig01.png").write_bytes(PIXEL)
    path = root/name/"metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def html(root, reference=None): return write_report(root, reference).read_text(encoding="utf-8")


def test_everything_of_a_run_is_on_the_page(tmp_path):
    section(tmp_path, sources=["digits of scikit-learn"], commit="abc123")
    text = html(tmp_path)
    for part in ("The value is two.", "value in [1, 3]", "fok_fig01", "smoke", "digits of scikit-learn", "abc123"):
        assert part in text, part
    assert "data:image/png;base64," in text


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe\x00", b'{"claims": {}}',
                                     b'{"figures": [3]}', b'{"metrics": [1]}', b'{"params": "L"}'])
def test_a_broken_metrics_file_is_a_line_and_the_rest_stays(tmp_path, content):
    section(tmp_path)
    (tmp_path/"broken").mkdir()
    (tmp_path/"broken"/"metrics.json").write_bytes(content)
    text = html(tmp_path)
    assert "could not be read" in text and "The value is two." in text


@pytest.mark.parametrize("cut", [1, 57, 400, 700])
def test_a_truncated_metrics_file(tmp_path, cut):
    path = section(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    assert "could not be read" in html(tmp_path)


def test_keys_of_an_older_version_may_be_missing(tmp_path):
    path = section(tmp_path)
    for key in json.loads(path.read_text()):
        kept = {k: v for k, v in json.loads(path.read_text()).items() if k != key}
        (tmp_path/"old"/key).mkdir(parents=True)
        (tmp_path/"old"/key/"metrics.json").write_text(json.dumps(kept | dict(claims=[dict(id="a"), {}], figures=[{}])))
    assert html(tmp_path/"old").rstrip().endswith("</html>")


def test_odd_values_are_shown_and_not_fatal(tmp_path):
    section(tmp_path, metrics=dict(a=None, b="text", c=[1, 2], d=float("nan"), e=10**40, f=True),
            intervals=dict(a="x", b=[1], c=[None, 2]), wall_s="long", seed=None, units=dict(computed="many"), started=5,
            device=None)
    section(tmp_path/"reference"/"wells", "smoke")
    assert html(tmp_path, tmp_path/"reference").rstrip().endswith("</html>")


@pytest.mark.parametrize("name", ["fok_fig01", "../../secret", "/etc/hostname", "", "a/b", ".."])
def test_a_missing_or_outside_picture_is_said(tmp_path, name):
    section(tmp_path, figures=[dict(name=name, caption="Here.")])
    (tmp_path/"secret.png").write_bytes(PIXEL)
    (tmp_path/"wells"/"figures"/"fok_fig01.png").unlink()
    text = html(tmp_path)
    assert "is missing from wells/figures" in text and "data:image/png" not in text


def test_no_text_of_a_file_becomes_markup(tmp_path):
    bad = "</script><img src=x onerror=alert(1)>'\"&"
    path = section(tmp_path)
    found = json.loads(path.read_text())
    found["claims"][0] = {k: bad for k in found["claims"][0]}
    found["figures"][0]["caption"] = bad
    found |= dict(section=bad, device=bad, started=bad, commit=bad, params={bad: bad}, metrics={bad: 1}, sources=[bad])
    path.write_text(json.dumps(found))
    failed = dict(cell_type="code", source="", outputs=[dict(output_type="error", ename=bad, evalue=bad)])
    heading = dict(cell_type="markdown", source="# " + bad)
    (tmp_path/"wells"/"wells.ipynb").write_text(json.dumps(dict(cells=[heading, failed])))
    text = html(tmp_path)
    assert "onerror=alert(1)&gt;" in text and "<img src=x" not in text
    assert len(re.findall("<script", text)) == len(re.findall("</script", text)) == 1
    assert not re.findall(r'(?:src|href)="(?!data:|#|wells/)', text)


def test_a_failed_last_run_is_said_beside_older_numbers(tmp_path):
    section(tmp_path)
    error = dict(output_type="error", ename="ParameterError", evalue="L = 99: allowed is 2 to 8")
    cell = dict(cell_type="code", source="", outputs=[error])
    (tmp_path/"wells"/"wells.ipynb").write_text(json.dumps(dict(cells=[cell])))
    text = html(tmp_path)
    assert "ended early: ParameterError: L = 99" in text and "stored before it ended" in text


@pytest.mark.parametrize("content", ["", "{}", '{"cells": 3}', '{"cells": [{}]}', '{"cells": [3]}'])
def test_a_broken_executed_notebook_is_no_crash(tmp_path, content):
    section(tmp_path)
    (tmp_path/"wells"/"wells.ipynb").write_text(content)
    assert "The value is two." in html(tmp_path)


def test_the_reference_of_the_same_profile_is_compared(tmp_path):
    section(tmp_path, value=2.0)
    path = section(tmp_path/"stored", value=2.05)
    target = tmp_path/"reference"/"wells"/"smoke"/"metrics.json"
    target.parent.mkdir(parents=True)
    os.replace(path, target)
    text = html(tmp_path, tmp_path/"reference")
    assert "1 within the interval" in text and "1 equal" in text and "3/3" not in text
    assert "holds nothing of these sections" in html(tmp_path, tmp_path/"stored")


def test_a_broken_reference_is_as_none(tmp_path):
    section(tmp_path)
    (tmp_path/"reference"/"wells"/"smoke").mkdir(parents=True)
    (tmp_path/"reference"/"wells"/"smoke"/"metrics.json").write_text("{")
    assert "holds nothing of these sections" in html(tmp_path, tmp_path/"reference")


def test_agreement_is_symmetric():
    cases = [(1.0, 1.05, [0.9, 1.1], None), (1, 1.0, None, None), (None, 1, None, None), ("holds", "fails", None, None),
             (1.0, 3.0, [0, 2], [2, 4])]
    for here, there, a, b in cases: assert agreement(here, there, a, b) == agreement(there, here, b, a)


def test_compare_names_what_is_on_one_side_only(tmp_path):
    record = read_metrics(section(tmp_path))
    rows = compare(record, record | dict(metrics={}, intervals={}))
    assert [r["status"] for r in rows if r["kind"] == "metric"] == ["only here"]
    assert {r["status"] for r in compare(record, record)} == {"equal"}


def test_the_same_results_give_the_same_bytes(tmp_path):
    section(tmp_path)
    assert html(tmp_path) == html(tmp_path)


def test_nothing_to_report_is_one_line(tmp_path):
    for folder in (tmp_path, tmp_path/"nowhere"):
        with pytest.raises(ReportError, match="run `symbreak figures` first") as caught: write_report(folder)
        assert "\n" not in str(caught.value)


def test_an_old_page_survives_a_refused_write(tmp_path):
    section(tmp_path)
    (tmp_path/"index.html").mkdir()
    with pytest.raises(RunError, match="cannot write"): write_report(tmp_path)
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")] == []


def test_pictures_without_a_list_are_found(tmp_path):
    section(tmp_path)
    (tmp_path/"wells"/"metrics.json").write_text("{}")
    assert [c["name"] for c in cards(read_results(tmp_path)[0], tmp_path)] == ["fok_fig01"]
