"Optimisers that keep rows apart."
import pytest
import torch
from symbreak_nb import descent

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lbfgs_rows_are_independent_and_find_minima(seed):
    g = torch.Generator().manual_seed(seed)
    scale = torch.logspace(0, 2, 12, dtype=torch.float64)
    target = torch.randn(5, 12, dtype=torch.float64, generator=g)
    function = lambda x: (((x - target[:len(x)])**2*scale).sum(1) + ((x - target[:len(x)])**4).sum(1),
                          2*(x - target[:len(x)])*scale + 4*(x - target[:len(x)])**3)
    start = torch.randn(5, 12, dtype=torch.float64, generator=g)*3
    together, alone = descent.LBFGS(function, start), descent.LBFGS(function, start[:1])
    for _ in range(120):
        before = together.loss
        assert (together.step() <= before).all()
        alone.step()
    assert together.loss.max() < 1e-12 and torch.allclose(together.x[:1], alone.x, atol=1e-6)


def test_lbfgs_solves_a_curved_valley_for_every_row():
    def rosenbrock(x):
        a, b = x[:, 1:] - x[:, :-1]**2, 1 - x[:, :-1]
        gradient = torch.zeros_like(x)
        gradient[:, 1:] += 200*a
        gradient[:, :-1] += -400*a*x[:, :-1] - 2*b
        return (100*a**2 + b**2).sum(1), gradient
    start = torch.tensor([[-1.2, 1, -1.2, 1], [2, 2, 2, 2], [0, 0, 0, 0]], dtype=torch.float64)
    rows = descent.LBFGS(rosenbrock, start)
    for _ in range(400): rows.step()
    assert (rows.loss < 1e-10).sum() >= 2 and torch.isfinite(rows.x).all()
