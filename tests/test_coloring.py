"Colouring: what is expanded, which pixels the loss sees, the diffusion, a resumed run, and bad input in one line."
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import coloring as co
from symbreak_nb.checks import ParameterError
from symbreak_nb.pixels import ExpandPixels
from symbreak_nb.run import Run
from symbreak_nb.statistics import paired

TINY = dict(data_set="photographs", size=8, n_train=8, n_test=2, steps=4, batch=2, lr=1e-3, channels=[8, 16], timesteps=20,
            schedule="squaredcos_cap_v2", decay=True, inference=3, samples=2, factor=2, fill=0.5, download=False, prediction="epsilon")


def batch(n=2, height=8, width=8, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, height, width, generator=draw), torch.randn(n, 1, height, width, generator=draw), \
        torch.tensor([3]*n), torch.tensor([0.4]*n)


@pytest.mark.parametrize("fill", [0.0, 0.5, 1.0])
def test_the_expanded_input_is_that_of_image_classification(fill):
    "The same pixels as `ExpandPixels`, on the scale from -1 to 1."
    net = co.Colouriser("expanded", (8,), fill=fill)
    x = torch.rand(2, 4, 5, 6)
    assert torch.allclose(co._spread(2*x - 1, net, None), 2*ExpandPixels(2, fill)(x) - 1, atol=1e-6)


@pytest.mark.parametrize("arm", ["expanded", "zero", "nearest", "noisy"])
def test_added_pixels_get_no_gradient_of_the_loss(arm):
    net, (x, grey, t, share) = co.Colouriser(arm, (8, 16)), batch()
    answer = net.wide(x, grey, t, share)
    answer.retain_grad()
    answer[..., ::2, ::2].square().mean().backward()
    added = torch.ones(16, 16, dtype=torch.bool)
    added[::2, ::2] = False
    assert answer.grad[..., added].abs().max() == 0 < answer.grad[..., ~added].abs().min()


def test_the_answer_is_that_of_the_original_pixels():
    net, (x, grey, t, share) = co.Colouriser("expanded", (8, 16)).eval(), batch()
    with torch.no_grad(): assert torch.equal(net(x, grey, t, share), net.wide(x, grey, t, share)[..., ::2, ::2])


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(co.ARMS))
def test_any_size_comes_back(height, width, arm):
    "Also sides that the U-Net cannot halve twice."
    net, (x, grey, t, share) = co.Colouriser(arm, (8, 8, 8)).eval(), batch(1, height, width)
    with torch.no_grad(): assert net(x, grey, t, share).shape == x.shape


def test_noise_on_the_added_pixels_has_the_strength_of_the_step():
    "Mean and deviation of the added pixels over 3 x 3 x 64 x 64 draws, within 6 standard errors."
    net = co.Colouriser("noisy", (8,), fill=1.0)
    share = torch.tensor([0.3])
    made = co._spread(torch.zeros(1, 4, 64, 64), net, share)[0, :3]
    added = torch.ones(128, 128, dtype=torch.bool)
    added[::2, ::2] = False
    values = made[:, added]
    error = 6*0.7**0.5/values.numel()**0.5
    assert abs(float(values.mean()) - 0.3**0.5) < error and abs(float(values.std()) - 0.7**0.5) < error


@pytest.mark.parametrize("seed", range(7))
def test_the_photograph_of_the_test_is_not_among_those_of_training(seed):
    out = co.PHOTOGRAPHS[seed % 7]
    train, test = (co.images_of("photographs", split, 40, 12, seed) for split in ("train", "test"))
    whole = co._photographs()[out].transpose(2, 0, 1)
    windows = np.lib.stride_tricks.sliding_window_view(whole, (3, 12, 12))[0].reshape(-1, 3*12*12)
    inside = lambda crop: (np.abs(windows - crop.reshape(1, -1)).max(1) < 1e-7).any()
    assert all(inside(c) or inside(c[..., ::-1]) for c in test[:5])
    assert not any(inside(c) or inside(c[..., ::-1]) for c in train[:5])


def test_a_network_that_knows_the_noise_returns_the_truth():
    truth = 2*torch.as_tensor(co.images_of("photographs", "test", 3, 8, 1)) - 1
    def oracle(x, grey, t, share):
        s = share[:, None, None, None]
        return (x - s.sqrt()*truth)/(1 - s).sqrt()
    drawn = co.colour(oracle, co._grey_of(truth), co._scheduler(TINY), 20, seed=4)
    assert (drawn - truth).abs().max() < 1e-3


def test_colouring_belongs_to_its_seed():
    net, grey = co.Colouriser("raw", (8, 16)).eval(), torch.zeros(1, 1, 8, 8)
    one, same, other = (co.colour(net, grey, co._scheduler(TINY), 3, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other) and one.abs().max() <= 1


def test_a_training_in_two_pieces_is_one_training():
    whole = co._train_piece("noisy", 2, TINY, {}, 0, 4, "cpu")
    rest = co._train_piece("noisy", 2, TINY, co._train_piece("noisy", 2, TINY, {}, 0, 2, "cpu"), 2, 4, "cpu")
    assert np.allclose(rest["losses"], whole["losses"][2:], atol=1e-6)


def test_a_run_that_is_repeated_computes_nothing_anew(tmp_path):
    "The units note what they have read, and what they have read can be asked for again."
    for reused in (0, 1):
        run = Run(co.PARAMETERS, dict(profile="smoke", out_dir=tmp_path))
        run.units(co._train_piece, [dict(arm="raw", seed=0, setting=TINY, state={}, start=0, stop=2, device="cpu")])
        assert run.counts["reused"] == reused and run.counts["computed"] == 1 - reused
        run.finish()


def test_longer_has_the_computation_of_expanded():
    p = co.PARAMETERS["quick"]
    assert co._setting(p, "longer")["steps"] == 4*co._setting(p, "expanded")["steps"]


def test_a_faultless_run_on_photographs_leaves_the_claim_about_faces_open(tmp_path):
    run = Run(co.PARAMETERS, dict(profile="smoke", out_dir=tmp_path))
    better = paired([.1, .11, .1], [.2, .21, .2])
    row = run.decide(co.CLAIMS["zhang.color.mae"], better, faces=0, learnt=better)
    assert row["verdict"] == "inconclusive" and "CelebA" in row["reason"]
    row = run.decide(co.CLAIMS["zhang.coloring.control.these_images"], paired([.1]*5 + [.11], [.2]*6), learnt=paired([.3, .3], [.2, .21]))
    assert row["verdict"] == "inconclusive" and "follows the light" in row["reason"]


@pytest.mark.parametrize(("images", "grey"), [((2, 1, 8, 8), (2, 1, 8, 8)), ((2, 3, 8, 8), (2, 1, 8, 4)), ((3, 8, 8), (1, 8, 8))])
def test_images_of_another_shape_are_refused_in_one_line(images, grey):
    with pytest.raises(ParameterError, match=r"\(n, 3, H, W\)"):
        co.Colouriser("raw", (8,))(torch.zeros(images), torch.zeros(grey), torch.tensor([1, 1]))


def test_grey_images_have_nothing_to_learn():
    with pytest.raises(ParameterError, match="grey has no colour"): co._resized(np.zeros((1, 8, 8, 1), np.uint8), 8)


@pytest.mark.parametrize(("changed", "says"), [
    (dict(data_set="faces"), "data_set = 'faces'"), (dict(n_seeds=0), "n_seeds = 0"), (dict(inference=50), "inference = 50"),
    (dict(fill=2), "fill = 2"), (dict(size=100), "crop of the photographs = 100"), (dict(steps=0), "steps = 0")])
def test_bad_parameters_are_refused_in_one_line(tmp_path, changed, says):
    with pytest.raises(ParameterError, match=says) as caught:
        co.check_parameters(Run(co.PARAMETERS, dict(profile="smoke", out_dir=tmp_path, **changed)).params.as_dict())
    assert "\n" not in str(caught.value)


def test_celeba_that_is_not_there_is_one_line(monkeypatch, tmp_path):
    from symbreak_nb import data
    monkeypatch.setattr(data, "_cache_dir", lambda: tmp_path)
    with pytest.raises(data.DataError, match="use photographs"): co.images_of("celeba", "test", 2, 16, 0)


def test_the_paper_trains_as_ddpm_does():
    paper = co.PARAMETERS["paper"]
    betas = co._scheduler(TINY | dict(schedule=paper["schedule"])).betas
    assert torch.allclose(betas.diff(), betas.diff()[0], rtol=1e-3) and not paper["decay"] and paper["prediction"] == "epsilon"
    first, last = ([co._train_piece("raw", 1, TINY | dict(decay=decay), {}, 0, 4, "cpu")["weight.unet.conv_in.weight"] for decay in pair]
                   for pair in ((True, True), (True, False)))
    assert np.array_equal(*first) and not np.array_equal(*last)   # the rate falls over the second half only where it is asked for
