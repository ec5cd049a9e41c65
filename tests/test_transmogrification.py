"The task of oscillator networks, and training that goes on bit for bit."
import numpy as np
import pytest
import torch
from symbreak_nb import transmogrification as T
from symbreak_nb.parameters import Declaration
from symbreak_nb.run import ParameterError, Run

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- shapes

@pytest.mark.parametrize("size", [12, 31, 32, 64, 97])
@pytest.mark.parametrize("filled", [False, True])
def test_shapes_lie_inside_and_change_kind(size, filled):
    inputs, targets = T.shapes(20, size, seed=size, filled=filled)
    assert inputs.shape == targets.shape == (20, 1, size, size) and inputs.dtype == torch.float32
    assert set(inputs.unique().tolist()) == set(targets.unique().tolist()) == {-0.5, 0.5}
    assert torch.equal(inputs, T.shapes(20, size, seed=size, filled=filled)[0]) and not torch.equal(inputs, targets)
    listed = T.random_shapes(20, size, seed=size)
    assert np.bincount(listed["image"], minlength=20).max() <= T.most_shapes(size)
    assert (np.minimum(listed["y"], listed["x"]) > listed["radius"]).all()
    assert T._transmogrify(T._transmogrify(T._transmogrify(listed)))["kind"].tolist() == listed["kind"].tolist()


def test_the_number_of_shapes_follows_the_area():
    assert [T.most_shapes(s) for s in (16, 32, 64, 128)] == [1, 2, 8, 32]
    for wrong in (dict(n=0), dict(n=2, size=8), dict(n=2, max_shapes=0)):
        with pytest.raises(ParameterError): T.shapes(**wrong)


def test_a_smaller_scale_shrinks_the_shapes_and_keeps_their_density():
    assert [T.most_shapes(s, 40) for s in (16, 40, 80)] == [1, 8, 32] and T._radii(64) == (5, 7)
    listed = T.random_shapes(200, 20, seed=0, scale=40)
    assert set(listed["radius"]) == {3, 4} and np.bincount(listed["image"]).max() == 2
    with pytest.raises(ParameterError, match="17 or more"): T.shapes(2, 16, scale=64)


# ---- training

TINY = dict(size=16, batch=8, images=20, steps=2, channels=4)


def test_the_learning_rate_ends_at_zero_and_goes_on_where_it_was():
    whole = T.train_network(3, updates=6, length=6, **TINY)
    half = T.train_network(3, updates=3, length=6, **TINY)
    rest = T.train_network(3, updates=6, start=3, state=half, length=6, **TINY)
    assert np.array_equal(rest["weights.kernel"], whole["weights.kernel"])
    kept = T.train_network(3, updates=6, **TINY)
    assert np.array_equal(kept["losses"][:3], whole["losses"][:3])
    assert not np.array_equal(kept["weights.kernel"], whole["weights.kernel"])


run_in = lambda folder: Run(Declaration("training"), dict(out_dir=folder))


@pytest.mark.parametrize("arm", list(T.ARMS))
def test_training_goes_on_bit_for_bit(arm):
    straight, half = T.train_network(3, arm, updates=4, **TINY), T.train_network(3, arm, updates=1, **TINY)
    rest = T.train_network(3, arm, updates=4, start=1, state=half, **TINY)
    assert np.array_equal(np.concatenate([half["losses"], rest["losses"]]), straight["losses"])
    for key in straight.keys() - {"losses"}: assert np.array_equal(rest[key], straight[key]), key
    net = T.trained_network(straight, arm, steps=2, channels=4)
    assert torch.isfinite(net(T.shapes(2, 16)[0])).all()


def test_a_killed_run_repeats_only_the_piece_it_lost(tmp_path, monkeypatch):
    monkeypatch.delenv("SYMBREAK_OUT", raising=False)
    seeds, arms = [0, 10], ["z2", "broken_matched"]
    whole = T.train_arms(run_in(tmp_path/"a"), seeds, arms, 5, 2, **TINY)
    first = run_in(tmp_path/"b")
    T.train_arms(first, seeds, arms, 4, 2, **TINY)
    assert first.counts["computed"] == 8
    again = run_in(tmp_path/"b")
    found = T.train_arms(again, seeds, arms, 5, 2, **TINY)
    assert again.counts == dict(computed=4, reused=8, damaged=0)
    for arm in arms:
        for seed, one, other in zip(seeds, found[arm], whole[arm], strict=True):
            assert len(one["losses"]) == 5 and one.keys() == other.keys()
            for key, value in other.items(): assert np.allclose(one[key], value, rtol=1e-4, atol=1e-5)
            alone = T.train_network(seed, arm, updates=5, **TINY)
            assert np.allclose(one["losses"], alone["losses"], rtol=1e-4)


def test_an_epoch_shows_every_image_once():
    rows = torch.cat(T._rows(0, 12, 5, 0, 12))
    assert torch.equal(rows[:12].sort()[0], torch.arange(12)) and torch.equal(rows[12:24].sort()[0], torch.arange(12))
    assert torch.equal(torch.cat(T._rows(0, 12, 5, 7, 12)), rows[35:])


@pytest.mark.parametrize("call, words", [
    (lambda: T.train_network(0, updates=0), "updates = 0"), (lambda: T.train_network(0, lr=0.0), "lr"),
    (lambda: T.shapes(2, 16, seed=-1), "seed = -1")])
def test_what_makes_no_sense_is_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as refused: call()
    assert "\n" not in str(refused.value)
