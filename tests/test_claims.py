"The ledger: Holm's correction, narrow rows, p of an interval, the coverage of few replicas, three kinds of rows."
import json
import math

import numpy as np
import pytest
from scipy import stats
from symbreak_nb.claims import Ledger, Premise, claim, corrected, decided
from symbreak_nb.run import Declaration, Estimate, Run, percentile


def row_of(name, estimate, rule="value > 0 with 95% interval", **premises):
    found = claim(f"fok.{name}", "Sec. 2", name, rule, premises=tuple(Premise(k, k, "value < 0.5") for k in premises))
    return decided(found, estimate, "smoke", **premises)


def student(p, n=6):
    "An estimate whose p against zero is p."
    error = 1/stats.t.isf(p/2, n - 1)
    half = error*stats.t.isf(0.025, n - 1)
    return Estimate(1.0, (1 - half, 1 + half), n, error=error)


def test_a_section_is_corrected_by_paper_when_it_ends(tmp_path):
    run = Run(Declaration("wells"), dict(profile="smoke", device="cpu", out_dir=tmp_path))
    for name, p in dict(a=0.01, b=0.02, c=0.04).items():
        run.decide(claim(f"fok.{name}", "Sec. 2", name, "value > 0 with 95% interval"), student(p))
    run.decide(claim("zhang.a.b", "Sec. 2", "alone", "value > 0 with 95% interval"), student(0.04))
    run.decide(claim("fok.identity.same", "Sec. 2", "same", "value > 0"), student(1e-9))
    run.decide(claim("fok.exact", "Sec. 2", "exact", "value > 0"), 1)
    rows = {r["id"]: r for r in run.finish()}
    assert [round(rows[f"fok.{k}"]["p_holm"], 6) for k in "abc"] == [0.03, 0.04, 0.04]
    assert rows["zhang.a.b"]["p_holm"] == pytest.approx(0.04) and rows["fok.exact"]["p_holm"] is rows["fok.identity.same"]["p_holm"] is None
    assert {r["verdict_holm"] for r in rows.values()} == {"holds"}
    run.decide(claim("fok.d", "Sec. 2", "d", "value > 0 with 95% interval"), student(0.03))
    rows = {r["id"]: r for r in corrected(run.claims)}
    assert [rows[f"fok.{k}"]["verdict_holm"] for k in "abcd"] == ["holds", *["inconclusive"]*3] and rows["fok.b"]["verdict"] == "holds"
    stored = json.loads((tmp_path/"metrics.json").read_text())["claims"]
    assert all({"p", "p_holm", "verdict_holm", "coverage", "narrow", "reason", "otherwise"} <= set(r) for r in stored)


@pytest.mark.parametrize("p, rule, narrow", [
    (0.005, "value > 0 with 95% interval", False), (0.02, "value > 0 with 95% interval", True), (0.15, "value > 0 with 95% interval", True),
    (0.4, "value > 0 with 95% interval", False), (0.4, "value > 0", True), (0.005, "value > 0", False),
    (0.02, "value > 0 with 95% interval and n >= 20", False)])
def test_a_row_close_to_its_level_is_narrow(p, rule, narrow):
    "A value alone has no room between holds and fails, so that nothing above the level is safe."
    assert row_of("a", student(p), rule)["narrow"] is narrow


def test_a_premise_close_to_its_bound_makes_a_row_narrow():
    near, far = Estimate(0.4, (0.3, 0.5), 6, error=0.05), Estimate(0.1, (0.05, 0.15), 6, error=0.02)
    assert row_of("a", 1.0, "value > 0", solved=near)["narrow"] and not row_of("a", 1.0, "value > 0", solved=far)["narrow"]
    unmet = row_of("a", student(0.03), "value > 0", solved=0.9)
    assert unmet["verdict"] == "inconclusive" and not unmet["narrow"] and corrected([unmet])[0]["p_holm"] is None


def test_p_of_an_interval_alone_and_the_coverage_of_few_replicas():
    assert Estimate(1, (0, 3), 5).p_value(0) == pytest.approx(0.05, abs=1e-4), "the side that faces the bound counts"
    assert Estimate(1, (0, 3), 5).p_value(3) == pytest.approx(0.05, abs=1e-4)
    assert 0 < Estimate(5, (0, 3), 5).p_value(8) < 0.05, "the value of a biased resampling lies outside"
    chance = Estimate(1, (0, 2), 5, method="permutation; the interval is that of chance")
    for odd in (Estimate(1, (-math.inf, math.inf), 5), Estimate(math.nan, (0, 1), 5), chance):
        assert odd.p_value(0) is None
    row = row_of("a", percentile(np.linspace(0.1, 1, 200), 0.5, n=4))
    assert row["coverage"] == 0.8 and row["p"] == pytest.approx(2/201) and row["method"] == "bootstrap, percentiles"
    assert row_of("a", percentile(np.linspace(0.1, 1, 200), 0.5, n=10))["coverage"] is None is row_of("a", student(0.01, 4))["coverage"]


def test_the_ledger_shows_three_kinds_and_its_marks():
    rows = [row_of("a", student(0.03)), row_of("control.b", student(0.03)), row_of("identity.c", 1, "value > 0")]
    shown = Ledger(corrected(rows))._repr_markdown_()
    places = [shown.index(word) for word in ("**Claims**", "fok.a", "**Controls**", "fok.control.b", "**Identities", "fok.identity.c")]
    assert places == sorted(places) and "**holds** (narrow; inconclusive by Holm)" in shown
    old = Ledger([dict(id="fok.a", statement="x", value=1, interval=[1, 1], n=1, rule="value > 0", verdict="holds")])
    assert "| **holds** |" in old._repr_markdown_(), "a row of an older version"
