"The written gradient against autograd, in both layouts and for every activation."
import pytest
import torch
from symbreak_nb import perceptrons as st


@pytest.mark.parametrize("activation", list(st.ACTIVATIONS))
@pytest.mark.parametrize("layers", [1, 2, 5])
def test_gradient_is_that_of_autograd(activation, layers):
    sizes = st.layer_shapes(10, 4, layers)
    flat = (0.4*torch.randn(3, sum(a*b for a, b in sizes), dtype=torch.float64)).requires_grad_()
    x, y = torch.randn(3, 6, 10, dtype=torch.float64), torch.randn(3, 6, 1, dtype=torch.float64)
    views = st.layer_views(flat, sizes)
    loss, grads = st.loss_and_gradient(views, x, y, activation)
    plain = ((st.forward(views, x, activation)[-1] - y)**2).mean((1, 2))
    torch.testing.assert_close(loss, plain)
    automatic, = torch.autograd.grad(plain.sum(), flat)
    torch.testing.assert_close(torch.cat([g.flatten(1) for g in grads], 1), automatic)


def test_the_transposed_layout_is_that_of_linear_modules():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5, bias=False), torch.nn.Tanh(), torch.nn.Linear(5, 2, bias=False)).double()
    x, y = torch.randn(9, 4, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    loss = (net(x) - y).pow(2).sum(1).mean()
    loss.backward()
    ours, grads = st.loss_and_gradient([m.weight.detach().T[None] for m in net[::2]], x[None], y[None], "tanh", transposed=True)
    torch.testing.assert_close(ours[0], loss.detach())
    for m, g in zip(net[::2], grads, strict=True): torch.testing.assert_close(g[0], m.weight.grad)
    plain = st.loss_and_gradient([m.weight.detach().T[None] for m in net[::2]], x[None], y[None], "tanh")[1]
    for g, other in zip(grads, plain, strict=True): torch.testing.assert_close(g, other.mT)
