"""Properties of the expansion, fairness of the arms, and the statistics that decide the section's claims."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import expansion as ex
from symbreak_nb.run import ParameterError, import_torchvision

import_torchvision()
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

DEVICES = ["cpu"] + ["cuda"]*torch.cuda.is_available()
TINY = dict(dataset="digits", n_train=64, n_test=60, epochs=2, batch_size=32, width=4)
sizes = st.integers(1, 6)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=40, deadline=None)
@given(lead=st.lists(st.integers(1, 3), max_size=2), channels=st.integers(1, 4), height=sizes, width=sizes,
       factor=st.integers(1, 5), fill=st.one_of(st.floats(0, 1), st.sampled_from(ex.FILLS)),
       dtype=st.sampled_from([torch.uint8, torch.float32, torch.float16, torch.float64]), seed=st.integers(0, 99))
def test_expansion_keeps_every_pixel(device, lead, channels, height, width, factor, fill, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(*lead, channels, height, width, generator=generator)*255).to(dtype).to(device)
    transform = ex.ExpandPixels(factor, fill, seed)
    y = transform(x)
    assert y.shape == (*lead, channels, height*factor, width*factor) and y.dtype == dtype and y.device == x.device
    assert torch.equal(transform.inverse(y), x)
    added = torch.ones(height*factor, width*factor, dtype=torch.bool, device=device)
    added[::factor, ::factor] = False
    if not isinstance(fill, str):
        value = math.floor(fill*255 + 0.5) if dtype == torch.uint8 else torch.tensor(fill, dtype=dtype).item()
        assert (y[..., added] == value).all()
    if fill == "random" and added.any(): assert (y[..., added].flatten(-2) == y[..., added].flatten(-2)[..., :1]).all()


def test_fill_may_differ_by_channel():
    y = ex.ExpandPixels(2, [0.1, 0.2, 0.3])(torch.zeros(2, 3, 2, 2))
    assert torch.allclose(y[:, :, 1, 1], torch.tensor([0.1, 0.2, 0.3]).expand(2, 3))
    with pytest.raises(ValueError, match="3 values, the image has 1"): ex.ExpandPixels(2, [0.1, 0.2, 0.3])(torch.zeros(1, 2, 2))


def test_random_fills_repeat_with_a_seed_and_move_on():
    x = torch.zeros(3, 1, 4, 4)
    first, second = ex.ExpandPixels(2, "noise", seed=3), ex.ExpandPixels(2, "noise", seed=3)
    a = first(x)
    assert torch.equal(a, second(x)) and not torch.equal(a, first(x))
    constants = ex.ExpandPixels(2, "random", seed=1)(x)[:, 0, 1, 1]
    assert len(set(constants.tolist())) == 3


def test_types_of_images():
    import PIL.Image
    picture = PIL.Image.new("RGB", (6, 4), (10, 20, 30))
    out = ex.ExpandPixels(2)(picture)
    assert out.size == (12, 8) and out.getpixel((0, 0)) == (10, 20, 30) and out.getpixel((1, 1)) == (128, 128, 128)
    image, label = v2.Compose([ex.ExpandPixels(2), v2.ToDtype(torch.float32, scale=True)])(
        tv_tensors.Image(torch.zeros(3, 4, 4, dtype=torch.uint8)), torch.tensor(3))
    assert isinstance(image, tv_tensors.Image) and image.shape == (3, 8, 8) and label == 3
    boxes = tv_tensors.BoundingBoxes([[0, 0, 1, 1]], format="XYXY", canvas_size=(4, 4))
    with pytest.raises(TypeError, match="BoundingBoxes"): ex.ExpandPixels(2)(image, boxes)


def test_gradients_pass():
    x = torch.rand(1, 1, 3, 3, requires_grad=True)
    ex.ExpandPixels(2)(x).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize("wrong", [dict(factor=0), dict(factor=2.0), dict(factor=True), dict(fill=1.5), dict(fill="grey"),
                                   dict(fill=float("nan")), dict(fill=None), dict(fill=[[0.5]])])
def test_wrong_arguments_are_one_line(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))) as error: ex.ExpandPixels(**wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("x", [torch.zeros(4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)])
def test_wrong_images_are_one_line(x):
    with pytest.raises(TypeError, match="uint8 or float"): ex.ExpandPixels()(x)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(0, 4), features=st.integers(1, 5), pattern=st.sampled_from(ex.PATTERNS), arrays=st.booleans())
def test_features_keep_their_order(rows, features, pattern, arrays):
    x = np.arange(rows*features, dtype=float).reshape(rows, features)
    constants = -1.0 - np.arange(features)
    out = np.asarray(ex.expand_features(x if arrays else torch.tensor(x), constants.tolist(), pattern))
    table = out.reshape(rows, features, len(pattern))
    both = dict(x=x, c=np.broadcast_to(constants, x.shape))
    assert all(np.array_equal(table[..., k], both[letter]) for k, letter in enumerate(pattern))


def test_features_refuse_what_they_cannot_place():
    with pytest.raises(ParameterError, match="pattern"): ex.expand_features(np.zeros((1, 2)), 0.5, "cx")
    with pytest.raises(ParameterError, match="constants"): ex.expand_features(np.zeros((1, 2)), [1, 2, 3])


def test_arms_start_from_the_same_weights_and_images(monkeypatch):
    seen = {}
    step = ex.Trainer.step

    def spy(self, sgd, x, y):
        weights = sum(float(w.detach().double().sum()) for w in self.net.parameters())
        seen.setdefault(self.look["arm"], []).append((weights, y))
        return step(self, sgd, x, y)
    monkeypatch.setattr(ex.Trainer, "step", spy)
    for arm in ex.ARMS: ex.train_one(arm=arm, **TINY | dict(epochs=1))
    for arm, steps in seen.items():
        assert steps[0][0] == seen["raw"][0][0], arm
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(steps, seen["raw"], strict=False)), arm
    assert len(seen["longer"]) == 4*len(seen["raw"])


@pytest.mark.parametrize("arm", list(ex.ARMS))
def test_training_repeats_exactly(arm):
    one, two = ex.train_one(arm=arm, seed=3, **TINY), ex.train_one(arm=arm, seed=3, **TINY)
    assert np.array_equal(one["test_accuracy"], two["test_accuracy"]) and np.array_equal(one["train_loss"], two["train_loss"])
    assert one["n_test"] == 60 and np.allclose(one["test_accuracy"]*60, np.round(one["test_accuracy"]*60))


def test_training_learns():
    found = ex.train_one("digits", "raw", n_train=500, n_test=355, epochs=8, batch_size=32, width=8)
    assert found["test_accuracy"][-1] > 0.7 and found["train_loss"][-1] < found["train_loss"][0]


def test_another_source_is_refused():
    with pytest.raises(ex.data.DataError, match="expected elsewhere"): ex.train_one(source="elsewhere", **TINY)


@pytest.mark.parametrize("n, size, lengths", [(65, 32, [32, 33]), (64, 32, [32, 32]), (1, 32, [1]), (33, 32, [33]), (66, 32, [32, 32, 2])])
def test_no_image_is_lost_and_no_batch_has_one(n, size, lengths):
    parts = ex.batches(n, size, torch.Generator().manual_seed(0))
    assert [len(p) for p in parts] == lengths and torch.equal(torch.cat(parts).sort().values, torch.arange(n))


def test_accuracy_counts_the_last_batch():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2, bias=False))
    with torch.no_grad(): net[1].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]))
    trainer = ex.Trainer(net, "raw", 2, 0.5, "none", (0, 1), "cpu")
    y = torch.arange(7) % 2
    x = torch.zeros(7, 3, 1, 1, dtype=torch.uint8)
    x[torch.arange(7), y] = 200
    assert trainer.accuracy(x, y, batch_size=3) == 1
    assert trainer.accuracy(x, 1 - y, batch_size=3) == 0
    y[6] = 1 - y[6]
    assert trainer.accuracy(x, y, batch_size=3) == pytest.approx(6/7)


def test_augmentation_moves_pixels_as_it_says():
    x = torch.zeros(400, 1, 9, 9, dtype=torch.uint8)
    x[:, :, 4, 4] = 1
    y = ex.augmented(x, torch.Generator().manual_seed(0), shift=2)
    assert (y.sum((1, 2, 3)) == 1).all()
    assert set(y.nonzero()[:, 2].tolist()) == set(y.nonzero()[:, 3].tolist()) == {2, 3, 4, 5, 6}


@pytest.mark.parametrize("model", ex.MODELS)
def test_networks_take_expanded_images(model):
    with torch.device("meta"): net, x = ex.build(model, 7, width=8), torch.empty(2, 3, 64, 64)
    assert net(x).shape == (2, 7)


def test_torchvision_networks_are_untouched():
    from torchvision import models
    torch.manual_seed(5)
    ours, theirs = ex.build("resnet18", 10, seed=5), models.resnet18(num_classes=10)
    assert str(ours) == str(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))


def test_fieller_covers_the_true_ratio():
    rng, hits, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        b = 1 + 0.3*rng.normal(size=5)
        low, high = ex.fieller(0.4*b + 0.1*rng.normal(size=5), b)["interval"]
        hits += low <= 0.4 <= high
    assert 0.92 < hits/trials < 0.98
    assert ex.fieller([1.0], [2.0])["interval"] == (-math.inf, math.inf)


def test_smallest_gain_is_judged_by_its_worst_member():
    rng = np.random.default_rng(1)
    good, bad = 1 + 0.1*rng.normal(size=5), -1 + 0.1*rng.normal(size=5)
    assert ex.smallest([good, good + 1])["interval"][0] > 0
    assert ex.smallest([good, bad])["interval"][1] < 0


def test_plan_lists_every_kind_of_training_once():
    some = dict(datasets=["imagenet_100", "cifar10"], models=["resnet18", "densenet121"])
    units = ex.plan_units(ex.PROFILES["paper"] | some)
    assert len({u["name"] for u in units}) == len(units) > 15
    assert all(u["flops"] > 0 and u["count"] > 0 and u["memory_bytes"] > 0 for u in units)
    assert any("imagenet_100 densenet121 expanded" in u["name"] and "448 px" in u["name"] for u in units)


def test_operations_are_counted_exactly_and_by_image():
    two, six = (ex.step_cost("mobilenet_v3_small", 10, (n, 3, 64, 64)) for n in (2, 6))
    assert 3*two["flops"] == six["flops"] and 3*two["activation_bytes"] == six["activation_bytes"]
    assert ex.step_cost("resnet18", 1000, (1, 3, 224, 224))["flops"] == pytest.approx(3*2*1.814e9, rel=0.03)


def test_limits_of_the_parameters():
    limits = ex.allowed()
    for name, value in [("factor", 1), ("fill", 2), ("datasets", ["cifar"]), ("datasets", ["mnist", "mnist"]),
                        ("epochs", 0), ("n_seeds", 0), ("n_train", 3),
                        ("normalise", "yes"), ("models", []), ("learning_rate", 0), ("batch_size", 1)]:
        with pytest.raises(ParameterError, match=name): limits[name](name, value)
    for profile in ex.PROFILES.values():
        for name, check in limits.items(): check(name, profile[name])


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("fill", [0.5, 1.0, 0])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK", "HSV", "YCbCr", "F", "I", "I;16", "1"])
def test_a_picture_keeps_its_mode_and_its_pixels(mode, fill, factor):
    import PIL.Image
    picture = PIL.Image.fromarray(PIXELS).convert("I" if mode == "I;16" else mode).convert(mode)
    if mode in ("F", "I", "I;16"):   # values that no byte holds
        wide = np.asarray(picture).astype(float)*200 + 0.5
        picture = PIL.Image.fromarray(wide.astype(np.asarray(picture).dtype))
    picture.info["dpi"] = (72, 72)
    out = ex.ExpandPixels(factor, fill)(picture)
    before, after = np.asarray(picture), np.asarray(out)
    assert (out.mode, out.size, out.info) == (mode, (5*factor, 6*factor), picture.info)
    assert after.dtype == before.dtype and np.array_equal(after[::factor, ::factor], before)
    assert np.array_equal(np.asarray(out.convert("RGB"))[::factor, ::factor], np.asarray(picture.convert("RGB")))
    if factor > 1:
        white = np.asarray(out.convert("RGB"))[1::factor].astype(float)/255
        if mode in ("F", "I"): white = after[1::factor]/255
        if mode == "I;16": white = after[1::factor]/65535
        assert np.abs(white - (fill >= 0.5 if mode == "1" else fill)).max() <= (1.5 if mode == "YCbCr" else 0.51)/255


@pytest.mark.parametrize("mode", ["LAB", "PA", "La", "RGBa", "RGBX", "I;16B"])
def test_a_picture_of_another_mode_is_refused_in_one_line(mode):
    import PIL.Image
    with pytest.raises(ParameterError, match=f"mode = '{mode}': allowed is one of L, ") as error:
        ex.ExpandPixels(2)(PIL.Image.new(mode, (5, 6)))
    assert "\n" not in str(error.value)


def indexed(colours: int, used: int, **info):
    "A picture with a palette of so many reds, of which the first so many are used."
    import PIL.Image
    picture = PIL.Image.frombytes("P", (16, 16), bytes(i % used for i in range(256)))
    picture.putpalette([v for i in range(colours) for v in (i, 7, 9)])
    picture.info.update(info)
    return picture


@pytest.mark.parametrize("info", [{}, dict(transparency=1), dict(transparency=bytes([9, 0, 200])),
                                  dict(transparency=bytes(range(256))), dict(transparency=255)],
                         ids=["opaque", "one", "three", "all", "last"])
@pytest.mark.parametrize("colours, used", [(3, 3), (256, 200), (256, 255), (255, 255)])
def test_a_palette_and_its_transparency_are_kept(colours, used, info, tmp_path):
    import PIL.Image
    picture = indexed(colours, used, **info)
    if info == dict(transparency=255) and used == 255:   # the last place is the transparent one
        with pytest.raises(ParameterError, match="no free place"): ex.ExpandPixels(2)(picture)
        return
    ex.ExpandPixels(2)(picture).save(tmp_path/"out.png")
    with PIL.Image.open(tmp_path/"out.png") as out:
        assert out.mode == "P" and ("transparency" in out.info) == bool(info)
        colour = np.asarray(out.convert("RGBA"))
    assert np.array_equal(colour[::2, ::2], np.asarray(picture.convert("RGBA")))
    assert (colour[1::2] == (128, 128, 128, 255)).all()
    assert picture.palette.palette == indexed(colours, used).palette.palette   # the caller's is as it was


@pytest.mark.parametrize("picture, fill", [(indexed(256, 256), 0.5), (indexed(3, 3), "noise"), (indexed(3, 3), "random"),
                                           (indexed(3, 5), 0.5)])
def test_a_palette_without_room_is_refused_in_one_line(picture, fill):
    with pytest.raises(ParameterError, match="convert (it|the image) to RGB first"): ex.ExpandPixels(2, fill)(picture)


def test_a_fill_that_is_in_the_palette_needs_no_room():
    out = ex.ExpandPixels(2, [5/255, 7/255, 9/255])(indexed(256, 256))
    assert (np.asarray(out)[1::2] == 5).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 2), (6, 5, 3), (6, 5, 4)])
def test_arrays_of_numpy_have_their_channels_last(shape, dtype):
    x = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    expand = ex.ExpandPixels(2, 0.5)
    out, label = expand(x, np.int64(3))
    assert out.shape == (12, 10, *shape[2:]) and out.dtype == dtype and label == 3
    assert np.array_equal(out[::2, ::2], x) and np.array_equal(expand.inverse(out), x)
    assert (out[1::2] == (128 if dtype == np.uint8 else 0.5)).all()


@pytest.mark.parametrize("x", [np.zeros((3, 6, 5), np.uint8), np.zeros((2, 6, 5, 3), np.uint8), np.zeros((6, 5), int),
                               np.zeros((6, 5), bool), np.zeros((6, 5), np.uint16), np.zeros((6, 5), complex)])
def test_other_arrays_are_refused_in_one_line(x):
    with pytest.raises(TypeError, match=r"arrays \(H, W\) or \(H, W, C\)"): ex.ExpandPixels(2)(x)


def test_an_array_beside_an_image_is_refused():
    import PIL.Image
    mask = np.zeros((6, 5), np.uint8)
    for image in (PIL.Image.fromarray(PIXELS), torch.zeros(3, 6, 5), PIXELS):
        with pytest.raises(TypeError, match="may be a mask"): ex.ExpandPixels(2)(image, mask)


@pytest.mark.parametrize("x", [torch.zeros(5, 5), torch.zeros(1, 3, 4, 5), np.zeros((5, 4, 3)), torch.zeros(4), 3, None])
def test_what_the_expansion_cannot_have_made_has_no_inverse(x):
    with pytest.raises(ParameterError, match="x = .*multiples of 2"): ex.ExpandPixels(2).inverse(x)
