"Walls of oscillator networks: winding numbers, and refusals."
import numpy as np
import pytest
from symbreak_nb import walls
from symbreak_nb.run import ParameterError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_winding_numbers():
    y, x = np.mgrid[:6, :6] - 2.5
    assert walls.winding(np.arctan2(y, x)).sum() == 1 and walls.winding(np.arctan2(-y, x)).sum() == -1
    assert walls.winding(2*np.arctan2(y, x)).sum() == 2 and not walls.winding(0.1*x).any()


def test_depths_that_fall_are_refused():
    with pytest.raises(ParameterError, match="depths") as refused: walls.forgetting(0, [0.0], [5, 3], 16)
    assert "\n" not in str(refused.value)


def test_only_one_slow_turn_is_a_vortex():
    y, x = np.mgrid[:15, :15] - 7.0
    once = np.arctan2(y, x)
    assert walls.turns_smoothly(np.stack([once, -once, once + 1, 2*once, np.zeros_like(once)])).tolist() == [True]*3 + [False]*2
    assert not walls.turns_smoothly(np.where(x > 0, 0, np.pi)) and not walls.turns_smoothly(np.round(once*1.5/np.pi)*np.pi/1.5)
