"Training of oscillator networks: what is read off it, and the plan."
import numpy as np
import pytest
from symbreak_nb import kuramoto as K
from symbreak_nb.claims import decided
from symbreak_nb.statistics import Estimate

pytestmark = pytest.mark.usefixtures("one_thread")


def test_leaving_the_plateau():
    curve = np.r_[np.ones(40), np.full(60, 0.5)]
    assert 40 < K.leaving_time(curve, 1.0) < 51 and K.leaving_time(np.ones(30), 1.0) == 30
    assert K.leaving_time(np.zeros(30), 1.0) == 0


def test_the_plan_counts_the_papers_training():
    units = K.plan_units(K.PARAMETERS["paper"])
    two_arms = 2/3*sum(u.count*u.flops for u in units if u.name == "training steps")
    assert 2.4e16 < two_arms < 2.8e16  # two arms of five models
    assert all(u.count > 0 and u.flops > 0 and u.memory_bytes > 0 for u in units)
    smoke = K.plan_units(K.PARAMETERS["smoke"])
    for unit in (smoke[0], smoke[-1]): unit.step()


def trained(value, n=6): return Estimate(value, (value - 0.01, value + 0.01), n, error=0.005)


@pytest.mark.parametrize("id", ["fig6.early_advantage", "fig9.trained_walls", "fig9.control.outlines", "a1.zero_bias_lift"])
def test_networks_that_do_not_solve_the_task_decide_nothing(id):
    claim = K.CLAIMS[f"iqbal.{id}"]
    others = {p.name: trained(-5.0) for p in claim.premises if p.name != "solved"}
    judged = [decided(claim, trained(0.9), "quick", solved=trained(ratio), **others) for ratio in (0.1, 0.9)]
    assert [row["verdict"] for row in judged] == ["holds", "inconclusive"]
    assert "solve the task" in judged[1]["reason"] and not judged[1]["narrow"]


def test_what_survives_must_be_able_to_be_lost():
    for id in ("iqbal.fig1.survives", "iqbal.sec4.unshared_layers"):
        rows = [decided(K.CLAIMS[id], trained(0.2, 12), "quick", lost=trained(left, 12)) for left in (-5.0, 0.0)]
        assert [row["verdict"] for row in rows] == ["holds", "inconclusive"]
    vortices = decided(K.CLAIMS["iqbal.sec4.vortices"], trained(0.9, 12), "quick", contrast=trained(0.9, 12))
    assert vortices["verdict"] == "inconclusive"


def test_the_rows_that_cannot_come_out_otherwise_are_identities():
    kinds = {id: claim.kind for id, claim in K.CLAIMS.items() if ".eq6." in id}
    assert sorted(id.split(".")[-1] for id, kind in kinds.items() if kind == "identity") == ["bound", "continuous", "untrained"]
    assert kinds["iqbal.eq6.lyapunov"] == "claim" and kinds["iqbal.eq6.control.steps"] == "control"
