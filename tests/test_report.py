"The report on broken, hostile, old and large inputs."
import json
import math
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from symbreak_nb import files, report
from symbreak_nb.claims import Premise, claim
from symbreak_nb.comparison import _agreement, _checksum_line, compare
from symbreak_nb.files import read_json
from symbreak_nb.records import ReportError, read_metrics, read_results
from symbreak_nb.report import _cards, write_report
from symbreak_nb.run import Declaration, Estimate, Parameter, Run, RunError, paired, percentile, verdict

PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489000000"
                      "0d49444154789c636460f8cf500003c0018601a0558d47f50000000049454e44ae426082")


def opened(folder, name="wells", profile="smoke"):
    "A run that has begun."
    return Run(Declaration(name, L=Parameter("side", None, 3)), dict(profile=profile, device="cpu", out_dir=folder))


def section(root, name="wells", profile="smoke", value=2.0, **changes):
    "A finished section, written by the run library itself."
    run = opened(root/name, name, profile)
    run.metric("value", Estimate(value, (value - 0.1, value + 0.1)))
    run.decide(claim(f"fok.{name}", "Sec. 2.5", "The value is two.", "value in [1, 3]", paper_value=2), value)
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
                                     b'{"figures": [3]}', b'{"metrics": [1]}', b'{"params": "L"}', b'{"section": 3}',
                                     b'{"profile": ["smoke"]}', b"["*100_000, b'{"a":'*990 + b"1" + b"}"*990,
                                     b'{"metrics": {"a": ' + b"["*60 + b"]"*60 + b"}}", b'{"a": "\x00"}', '{"a": 1}'.encode("utf-16"),
                                     b'{"error": "could not be read"}' + b"}"])
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
    text = html(tmp_path, tmp_path/"reference")
    assert "reference/wells/smoke/metrics.json is damaged and not compared: it cannot be read." in text
    assert "agree with the reference" not in text


def test_a_changed_reference_is_said_and_not_compared(tmp_path):
    "Every single flipped bit, also one that leaves the file readable."
    section(tmp_path)
    place = tmp_path/"reference"/"wells"/"smoke"
    shutil.copytree(tmp_path/"wells", place)
    (place/"metrics.json.sha256").write_text(_checksum_line(place/"metrics.json"))
    assert "agree with the reference" in html(tmp_path, tmp_path/"reference")
    good, seen = (place/"metrics.json").read_bytes(), read_results(tmp_path)
    for i in range(0, 8*len(good), 41):
        (place/"metrics.json").write_bytes(good[:i//8] + bytes([good[i//8] ^ 1 << i % 8]) + good[i//8 + 1:])
        shown = report._view(seen[0], tmp_path, tmp_path/"reference")
        assert "is damaged and not compared" in shown["damaged"] and shown["comparison"] == [], i
    text = html(tmp_path, tmp_path/"reference")
    assert text.count("is damaged and not compared") == 1 and "holds nothing" not in text
    (place/"metrics.json").write_bytes(good)
    (place/"metrics.json.sha256").write_bytes(b"\xff")
    assert "its checksum cannot be read" in html(tmp_path, tmp_path/"reference")


def test_agreement_is_symmetric():
    cases = [(1.0, 1.05, [0.9, 1.1], None), (1, 1.0, None, None), (None, 1, None, None), ("holds", "fails", None, None),
             (1.0, 3.0, [0, 2], [2, 4])]
    for here, there, a, b in cases: assert _agreement(here, there, a, b) == _agreement(there, here, b, a)


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
    assert [c["name"] for c in _cards(read_results(tmp_path)[0], tmp_path)] == ["fok_fig01"]


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from(
    [10**400, -10**299, 1e308, math.inf, "../../x", "/etc/hostname", "a/b", "<script>alert(1)</script>", "x"*300, "x"*20_000, "\ud800",
     "\x00", "..", ".", "\ufeff", "\u202e", "holds", "smoke", "wells", "value == 2", "value == 2 with 95% interval"]))
VALUES = st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(
    st.one_of(st.text(max_size=6), st.sampled_from(["a/b", "<b>", "\ud800", "id"])), inner, max_size=4)), max_leaves=12)
NAMED = ("value", "interval", "paper_value", "profile", "verdict", "p", "p_holm", "verdict_holm", "narrow", "coverage", "premises")
CLAIMS = st.dictionaries(st.sampled_from([*report._TEXTS, *NAMED]), VALUES)
FIGURES = st.dictionaries(st.sampled_from(["name", "caption", "exact"]), VALUES)
SETTING = st.dictionaries(st.sampled_from(["seed", "device", "capability", "threads", "measured", "rules"]), VALUES)
SETTINGS = st.fixed_dictionaries(dict(settings=st.dictionaries(st.text(max_size=6), st.tuples(SETTING, st.dictionaries(
    st.sampled_from(["fok.wells", "id"]), VALUES)).map(lambda both: both[0] | dict(verdicts=both[1])), max_size=2)))
KEYS = ("section", "profile", "seed", "device", "params", "versions", "commit", "started", "wall_s", "metrics", "intervals", "units",
        "sources", "error", "pid", "status", "claims", "figures")
RECORDS = st.dictionaries(st.sampled_from(KEYS), VALUES)
SHAPED = st.fixed_dictionaries({}, optional=dict(
    claims=st.lists(CLAIMS, max_size=3), figures=st.lists(FIGURES, max_size=3), section=st.text(max_size=9), status=st.just("running"),
    metrics=st.dictionaries(st.text(max_size=6), VALUES, max_size=3), intervals=st.dictionaries(st.text(max_size=6), VALUES, max_size=3),
    profile=st.sampled_from(["smoke", "../..", "x"*300, "\x00"]), units=st.dictionaries(st.sampled_from(["computed", "reused"]), VALUES),
    params=st.dictionaries(st.text(max_size=6), VALUES, max_size=3), started=VALUES, wall_s=VALUES, seed=VALUES, pid=VALUES,
    sources=st.lists(VALUES, max_size=2)))
HOSTILE = st.one_of(VALUES, RECORDS, SHAPED, st.tuples(RECORDS, SHAPED).map(lambda both: both[0] | both[1]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(HOSTILE, HOSTILE, HOSTILE, VALUES, st.one_of(HOSTILE, SETTINGS))
def test_whatever_the_files_hold_the_page_comes_out(found, stored, begun, cells, variants):
    "A good section stays whole beside a hostile one; nothing of a file becomes markup or leads out of the folder."
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)/"results"
        for path, content in ((root/"bad/metrics.json", found), (root/"first/run.json", begun), (root/"bad/run.json", begun),
                              (root/"bad/bad.ipynb", dict(cells=cells)), (root/"bad/bad.failed.ipynb", cells),
                              (root/"reference/wells/smoke/metrics.json", stored), (root/"reference/wells/smoke/variants.json", variants),
                              (root/"wells/metrics.json", GOOD)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
        text = write_report(root, root/"reference").read_text(encoding="utf-8")
    assert "The value is two." in text and text.rstrip().endswith("</html>") and "alert(1)</script>" not in text
    assert not re.findall(r'(?:src|href)="(?!data:|#|wells/|bad/|first/)', text) and "\x00" not in text


GOOD = dict(section="wells", profile="smoke", claims=[dict(id="fok.wells", statement="The value is two.", rule="value == 2", value=2,
                                                           interval=[1, 3], n=1, verdict="holds")], metrics=dict(value=2.0))


@pytest.mark.parametrize("digits", [20, 300, 400, 5000])
def test_a_huge_number_is_shown_and_compared(tmp_path, digits):
    path = section(tmp_path)
    path.write_text(path.read_text().replace('"wall_s"', f'"seed": {"9"*digits}, "metrics": {{"count": {"9"*digits}}}, "wall_s"'))
    shutil.copytree(tmp_path/"wells", tmp_path/"reference"/"wells"/"smoke")
    assert "agree with the reference" in html(tmp_path, tmp_path/"reference")


def test_odd_files_are_refused_in_one_line(tmp_path):
    "A folder, a device, a file beyond the limit, a byte-order mark."
    (tmp_path/"folder").mkdir()
    os.mkfifo(tmp_path/"pipe")
    with open(tmp_path/"large", "wb") as file: file.truncate(files._MOST_BYTES + 1)
    for name, words in (("folder", "not a plain file"), ("pipe", "not a plain file"), ("large", "larger than 64 MiB")):
        with pytest.raises(ValueError, match=words): read_json(tmp_path/name)
    (tmp_path/"marked").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path/"marked") == {}
    (tmp_path/"bad").mkdir()
    os.rename(tmp_path/"pipe", tmp_path/"bad"/"metrics.json")
    assert "not a plain file" in html(tmp_path)


def test_one_section_that_cannot_be_shown_is_a_card(tmp_path, monkeypatch):
    section(tmp_path)
    section(tmp_path, "walls")
    before = report._provenance
    monkeypatch.setattr(report, "_provenance", lambda s, root: 1/0 if s.record["metrics"] and s.name == "walls" else before(s, root))
    text = html(tmp_path)
    assert "walls/metrics.json could not be shown: ZeroDivisionError" in text
    assert "claim-fok.wells" in text and "claim-fok.walls" not in text


def begun(root, name="wells", **changes):
    (root/name/"units").mkdir(parents=True, exist_ok=True)
    for i in range(3): (root/name/"units"/f"work-{i}.npz").write_bytes(b"")
    state = dict(section=name, profile="quick", seed=5, device="cpu", params=dict(L=7), started="2026-01-05T10:00:00+00:00",
                 pid=os.getpid(), status="running")
    (root/name/"run.json").write_text(json.dumps(state | changes))


def test_a_first_run_says_how_far_it_is(tmp_path):
    begun(tmp_path)
    text = html(tmp_path)
    assert "Running since 2026-01-05 10:00: 3 units stored, figures so far below." in text and "quick profile" in text
    (tmp_path/"wells"/"figures").mkdir()
    (tmp_path/"wells"/"figures"/"fok_fig01.png").write_bytes(PIXEL)
    assert "data:image/png" in html(tmp_path)
    begun(tmp_path, pid=2**22 + 12345)   # beyond what a system hands out
    assert "but its process is gone; the same command goes on from there: 3 units stored" in html(tmp_path)
    begun(tmp_path, earlier="earlier/smoke-seed0-1b6fb2")
    assert "figures so far below; results of other parameters are kept in earlier/smoke-seed0-1b6fb2." in html(tmp_path)
    begun(tmp_path, status="done")
    assert "Running since" not in html(tmp_path)


def test_a_second_run_leaves_the_first_in_sight(tmp_path):
    section(tmp_path)
    begun(tmp_path)
    text = html(tmp_path)
    assert "3 units stored, what is shown is of the run before it." in text and "The value is two." in text and "smoke profile" in text


def test_results_of_earlier_parameters_are_no_sections(tmp_path):
    section(tmp_path)
    shutil.copytree(tmp_path/"wells", tmp_path/"wells"/"earlier"/"wells")
    section(tmp_path, "earlier")
    assert [s.name for s in read_results(tmp_path)] == ["wells"]


def test_a_row_says_whether_the_interval_decided(tmp_path):
    run = opened(tmp_path/"wells")
    for name, rule in (("alone", "value == 0"), ("whole", "value < 1 with 95% interval")):
        run.decide(claim(f"fok.{name}", "Sec. 2", name, rule), Estimate(0.3, (-0.05, 0.64)))
    run.finish()
    text = html(tmp_path)
    rows = dict(re.findall(r'<tr [^>]*id="claim-fok.(\w+)">(.*?)</tr>', text, re.DOTALL))
    assert "decided by the value alone" in rows["alone"] and "by the value alone" not in rows["whole"]
    assert "Of 2 claims 1 has a rule that asks for the value alone" in text and "[−0.05, 0.64]" in rows["alone"]


def test_a_verdict_that_another_setting_changes_is_narrow(tmp_path):
    section(tmp_path)
    place = tmp_path/"reference"/"wells"/"smoke"
    shutil.copytree(tmp_path/"wells", place)
    for first, second, marked in (("holds", "holds", False), ("holds", "fails", True), ("fails", "fails", True)):
        settings = {name: dict(verdicts={"fok.wells": word}) for name, word in (("one", first), ("two", second))}
        (place/"variants.json").write_text(json.dumps(dict(settings=settings)))
        assert (">narrow</span>" in html(tmp_path, tmp_path/"reference")) == marked
    (place/"variants.json").write_text("[")
    assert ">narrow</span>" not in html(tmp_path, tmp_path/"reference")


REFERENCES = sorted((Path(__file__).resolve().parent.parent/"reference").rglob("metrics.json"))
each_reference = pytest.mark.parametrize("path", REFERENCES, ids=lambda p: p.parent.parent.name)


@each_reference
def test_a_reference_is_whole_and_its_verdicts_follow_from_its_numbers(path):
    assert path.with_name("metrics.json.sha256").read_text() == _checksum_line(path)
    record = read_metrics(path)
    assert (record["section"], record["profile"], record["error"]) == (*path.parts[-3:-1], "")
    number = lambda x: math.nan if x is None else x
    for c in record["claims"]:
        own = lambda r: verdict(r["rule"], number(r["value"]), tuple(map(number, r["interval"])), r["n"])
        met = all(own(premise) == premise["verdict"] == "holds" for premise in c.get("premises") or [])
        assert c["verdict"] == (own(c) if met else "inconclusive"), c["id"]


@each_reference
def test_a_reference_was_made_from_a_committed_tree(path):
    assert re.fullmatch(r"[0-9a-f]{40}", read_metrics(path)["commit"])


def test_what_a_row_says_beside_its_verdict(tmp_path):
    "Narrow, Holm's verdict, the failed premise, the coverage of few replicas, what would have made it come out otherwise."
    run = opened(tmp_path/"wells")
    gated = claim("fok.gated", "Sec. 2", "Trained.", "value > 0", premises=(Premise("solved", "the task is solved", "value < 0.5"),))
    run.decide(gated, 1.0, solved=0.9)
    draws = np.linspace(-0.03, 2, 400)
    run.decide(claim("fok.few", "Sec. 2", "Few.", "value > 0 with 95% interval"), percentile(draws, 1.0, n=4))
    run.decide(claim("fok.control.near", "Sec. 2", "Near.", "value > 0 with 95% interval"), paired([1, 2, 0.3, 1.6, 0.4], 0))
    run.decide(claim("fok.identity.same", "Sec. 2", "Same.", "value == 0"), 0)
    run.finish()
    text = html(tmp_path)
    rows = dict(re.findall(r'<tr [^>]*id="claim-fok.([\w.]+)">(.*?)</tr>', text, re.DOTALL))
    assert "premise not met: the task is solved (measured 0.9, asked value &lt; 0.5)" in rows["gated"]
    assert "a 95% interval of 4 replicas covers 80%" in rows["few"] and "Otherwise: fails if" in rows["few"]
    assert ">narrow</span>" in rows["control.near"] and ">control</span>" in rows["control.near"]
    assert "after Holm&#39;s correction" in rows["control.near"] and all("inconclusive by Holm" in rows[k] for k in ("few", "control.near"))
    assert text.index('id="identities"') < text.index("claim-fok.identity.same") and "1 statement of the papers" in text
    assert "3 of 3 claims" in text, "an identity is not counted"


def test_a_run_is_compared_with_its_own_kind_of_processor(tmp_path):
    section(tmp_path, value=2.0, made_with=[dict(device="cpu", processor="AVX2", units=4)])
    stored = tmp_path/"reference"/"wells"/"smoke"
    os.makedirs(stored.parent)
    os.replace(section(tmp_path/"other", value=2.5, made_with=[dict(device="cpu", processor="AVX512", units=4)]).parent, stored)
    assert report._view(read_results(tmp_path)[0], tmp_path, tmp_path/"reference")["beside"] == "reference"
    own = dict(seed=0, device="cpu", capability="AVX2", verdicts={"fok.wells": "holds"}, rules={"fok.wells": "value in [1, 3]"},
               measured={"fok.wells": dict(value=2.0, interval=None)})
    settings = dict(own=own, gpu=own | dict(device="cuda H200"), other_seed=own | dict(seed=1))
    (stored/"variants.json").write_text(json.dumps(dict(settings=settings)))
    seen = report._view(read_results(tmp_path)[0], tmp_path, tmp_path/"reference")
    assert seen["beside"] == "own" and {r["status"] for r in seen["comparison"] if r["kind"] != "metric"} == {"equal"}
    assert "compared with the setting <code>own</code>" in html(tmp_path, tmp_path/"reference")


def test_a_variant_of_an_older_rule_marks_nothing(tmp_path):
    section(tmp_path)
    place = tmp_path/"reference"/"wells"/"smoke"
    shutil.copytree(tmp_path/"wells", place)
    for rule, marked in (("value in [1, 3]", True), ("value in [5, 6]", False)):
        setting = dict(verdicts={"fok.wells": "fails"}, rules={"fok.wells": rule})
        (place/"variants.json").write_text(json.dumps(dict(settings=dict(old=setting))))
        assert (">narrow</span>" in html(tmp_path, tmp_path/"reference")) == marked
