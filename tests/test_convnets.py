"""ConvNets against torch, dropout against its masks, and refusals."""
import doctest
import itertools
import json
import math

import numpy as np
import papermill
import pytest
from symbreak_nb import convnets as cn
from symbreak_nb.run import ParameterError


def naive_convnet(images, labels, tie=None, mask=None, batchnorm=False):
    "Cross-entropies of all combinations, in torch, one filter at a time."
    import torch
    torch.set_num_threads(1)
    x, y = torch.tensor(images)[:, None], torch.tensor(labels)
    free = [list(v) for v in itertools.product((-1.0, 1.0), repeat=9)]
    if tie: free = [v for v in free if all(torch.equal(m(torch.tensor(v).reshape(3, 3)), torch.tensor(v).reshape(3, 3)) for m in tie)]
    losses = []
    for v in free:
        h = torch.nn.functional.conv2d(x, torch.tensor(v, dtype=torch.float64).reshape(1, 1, 3, 3), padding=1)
        if batchnorm: h = torch.nn.functional.batch_norm(h, None, None, training=True, eps=1e-5)
        h = torch.relu(h).flatten(1)
        h = h if mask is None else h*torch.tensor(mask)/0.7
        for w in itertools.product((-1.0, 1.0), repeat=4):
            u = torch.relu(h@torch.tensor(w, dtype=torch.float64))
            losses += [torch.nn.functional.cross_entropy(u[:, None]*torch.tensor(o, dtype=torch.float64), y).item()
                       for o in itertools.product((-1.0, 1.0), repeat=2)]
    return np.sort(losses)


def test_convnets_against_torch():
    import torch
    images, labels = cn.pattern_images()
    flips = (lambda f: f.flip(0), lambda f: f.flip(1))
    rotation = (lambda f: torch.rot90(f, 1, (0, 1)),)
    mask = np.random.default_rng(5).integers(0, 2, (12, 4)).astype(float)
    for name, options in (("equivariant", dict(tie=flips)), ("wrong_equivariant", dict(tie=rotation))):
        np.testing.assert_allclose(np.sort(cn.convnet_losses(name)), naive_convnet(images, labels, **options), atol=1e-12)
        masked = cn.convnet_losses(name, mask=mask)
        np.testing.assert_allclose(np.sort(masked), naive_convnet(images, labels, mask=mask, **options), atol=1e-12)
        normed = cn.convnet_losses(name, batchnorm=True)
        np.testing.assert_allclose(np.sort(normed), naive_convnet(images, labels, batchnorm=True, **options), atol=1e-12)


def torch_loss(code: int, net: cn.ConvNet, mask: np.ndarray | None) -> float:
    "The loss of one combination, from its weights."
    import torch
    from torch import nn
    images, labels = cn.pattern_images()
    w = {k: torch.tensor(v) for k, v in cn.convnet_weights(code, net).items()}
    act = dict(relu=nn.ReLU, tanh=nn.Tanh)[net.activation]()
    front = nn.Sequential(nn.Conv2d(1, net.channels, net.kernel, padding=net.padding, bias=False),
                          nn.BatchNorm2d(net.channels) if net.batchnorm else nn.Identity(), act, nn.Flatten()).double()
    back = nn.Sequential(nn.Linear(w["hidden"].shape[1], net.hidden, bias=False), act, nn.Linear(net.hidden, 2, bias=False)).double()
    for layer, name in ((front[0], "filter"), (back[0], "hidden"), (back[2], "readout")):
        layer.weight.data = w[name].reshape(layer.weight.shape)
    x = front(torch.tensor(images)[:, None])*(1 if mask is None else torch.tensor(mask)/0.7)
    return nn.functional.cross_entropy(back(x), torch.tensor(labels)).item()


@pytest.mark.parametrize("net", [*(cn.CONVNETS[k] for k in ("baseline", "batchnorm", "equivariant", "wrong_equivariant")),
    cn.ConvNet(dropout="fixed"), cn.ConvNet(hidden=2, tie="flips", activation="tanh"), cn.ConvNet(kernel=2),
    cn.ConvNet(kernel=2, padding=0, channels=2, hidden=2, batchnorm=True)])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_combinations_against_torch(net, seed):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2, (12, 4)).astype(float) if net.dropout == "fixed" else None
    fast = cn.convnet_losses(net, *cn.pattern_images(), mask=mask)
    codes = rng.integers(0, fast.size, 20)
    np.testing.assert_allclose(fast[codes], [torch_loss(int(c), net, mask) for c in codes], atol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_fresh_masks_average_to_the_expectation(shared):
    mean = cn.convnet_losses("dropout_mean", tie="flips")
    fresh = np.array([cn.convnet_losses("dropout_fresh", tie="flips", share_masks=shared, seed=s) for s in range(200)])
    assert np.abs(fresh.mean(0) - mean).max() <= 6*fresh.std(0).max()/np.sqrt(len(fresh))
    np.testing.assert_allclose(cn.convnet_losses("dropout_mean", tie="flips", share_masks=shared), mean, atol=1e-14)


def test_dropout_mean_is_the_sum_over_masks():
    rate, total = 0.3, 0
    for mask in itertools.product((0.0, 1.0), repeat=4):
        weight = math.prod(1 - rate if kept else rate for kept in mask)
        total = total + weight*cn.convnet_losses("equivariant", mask=np.array([mask]))
    np.testing.assert_allclose(cn.convnet_losses("dropout_mean", tie="flips"), total, atol=1e-13)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: cn.convnet_losses("baseline", hidden=3), "at most 24"),
    (lambda: cn.convnet_losses("baseline", mask=np.full((12, 4), 2)), "zeros and ones"),
    (lambda: cn.convnet_losses("baseline", images=np.full((2, 2, 2), np.nan), labels=[0, 1]), "finite numbers"),
    (lambda: cn.pattern_images(values=(0,)), "two or more different numbers"),
    (lambda: cn.convnet_losses(seed="x"), "seed = 'x'"),
    (lambda: cn.convnet_losses(images=[[1], [2, 3]], labels=[0]), "images = .*real numbers"),
])
def test_bad_input_is_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as error: call()
    assert "\n" not in str(error.value)


def test_a_plan_can_be_tried():
    (unit,) = cn.plan_units(cn.PARAMETERS["smoke"])
    assert unit.count > 0 and unit.flops > 0 and unit.memory_bytes > 0 and unit.step().shape == (2**15,)


def test_examples_of_the_docstrings(): assert doctest.testmod(cn).failed == 0 < doctest.testmod(cn).attempted


@pytest.mark.parametrize(("changed", "words"), [(dict(conv_channels=2, conv_hidden=2), "at most 24 weights; this network has 38"),
                                                (dict(conv_padding=0), "conv_kernel = 3: allowed is an integer from 1 to 2")])
def test_networks_with_too_many_weights_are_refused(changed, words):
    with pytest.raises(ParameterError, match=words): cn.check_parameters(cn.PARAMETERS["quick"] | changed)


def test_notebook_with_another_activation(tmp_path):
    papermill.execute_notebook("nbs/16_convnets.ipynb", str(tmp_path/"x.ipynb"), progress_bar=False,
                               parameters=dict(profile="smoke", out_dir=str(tmp_path/"r"), conv_activation="tanh"))
    metrics = json.loads((tmp_path/"r"/"metrics.json").read_text())["metrics"]
    assert metrics["baseline.n_levels"] != 185


def test_the_wrong_tie_is_judged_only_beside_a_right_one_that_reaches_the_minimum():
    from symbreak_nb.claims import decided
    claim = cn.CLAIMS["zhang.fig7.wrong_symmetry"]
    assert decided(claim, 0.2, "smoke", right=0.0)["verdict"] == "holds"
    row = decided(claim, 0.2, "smoke", right=0.1)
    assert row["verdict"] == "inconclusive" and "right equivariance" in row["reason"]


def test_identities_are_told_from_claims():
    kinds = {name: c.kind for name, c in cn.CLAIMS.items()}
    assert kinds["zhang.fig7.plateau"] == "claim" and kinds["zhang.fig7.identity.plateau"] == "identity"
    assert all(c.otherwise for c in cn.CLAIMS.values())
