"Training of oscillator networks: what is read off it, and the plan."
import numpy as np
import pytest
from symbreak_nb import kuramoto as K

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
