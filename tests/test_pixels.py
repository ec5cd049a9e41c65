"Properties of the expansion, of images of every kind and of feature vectors."
import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import pixels
from symbreak_nb.run import ParameterError, import_torchvision

import_torchvision()
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

DEVICES = ["cpu"] + ["cuda"]*torch.cuda.is_available()
sizes = st.integers(1, 6)


def test_the_example_runs():
    found = doctest.testmod(pixels)
    assert found.attempted >= 2 and not found.failed


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=40, deadline=None)
@given(lead=st.lists(st.integers(1, 3), max_size=2), channels=st.integers(1, 4), height=sizes, width=sizes,
       factor=st.integers(1, 5), fill=st.one_of(st.floats(0, 1), st.sampled_from(pixels.FILLS)),
       dtype=st.sampled_from([torch.uint8, torch.float32, torch.float16, torch.float64]), seed=st.integers(0, 99))
def test_expansion_keeps_every_pixel(device, lead, channels, height, width, factor, fill, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(*lead, channels, height, width, generator=generator)*255).to(dtype).to(device)
    transform = pixels.ExpandPixels(factor, fill, seed)
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
    y = pixels.ExpandPixels(2, [0.1, 0.2, 0.3])(torch.zeros(2, 3, 2, 2))
    assert torch.allclose(y[:, :, 1, 1], torch.tensor([0.1, 0.2, 0.3]).expand(2, 3))
    with pytest.raises(ValueError, match="3 values, the image has 1"): pixels.ExpandPixels(2, [0.1, 0.2, 0.3])(torch.zeros(1, 2, 2))


def test_random_fills_repeat_with_a_seed_and_move_on():
    x = torch.zeros(3, 1, 4, 4)
    first, second = pixels.ExpandPixels(2, "noise", seed=3), pixels.ExpandPixels(2, "noise", seed=3)
    a = first(x)
    assert torch.equal(a, second(x)) and not torch.equal(a, first(x))
    constants = pixels.ExpandPixels(2, "random", seed=1)(x)[:, 0, 1, 1]
    assert len(set(constants.tolist())) == 3


def test_types_of_images():
    import PIL.Image
    picture = PIL.Image.new("RGB", (6, 4), (10, 20, 30))
    out = pixels.ExpandPixels(2)(picture)
    assert out.size == (12, 8) and out.getpixel((0, 0)) == (10, 20, 30) and out.getpixel((1, 1)) == (128, 128, 128)
    image, label = v2.Compose([pixels.ExpandPixels(2), v2.ToDtype(torch.float32, scale=True)])(
        tv_tensors.Image(torch.zeros(3, 4, 4, dtype=torch.uint8)), torch.tensor(3))
    assert isinstance(image, tv_tensors.Image) and image.shape == (3, 8, 8) and label == 3
    boxes = tv_tensors.BoundingBoxes([[0, 0, 1, 1]], format="XYXY", canvas_size=(4, 4))
    with pytest.raises(TypeError, match="BoundingBoxes"): pixels.ExpandPixels(2)(image, boxes)


def test_gradients_pass():
    x = torch.rand(1, 1, 3, 3, requires_grad=True)
    pixels.ExpandPixels(2)(x).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize("wrong", [dict(factor=0), dict(factor=2.0), dict(factor=True), dict(fill=1.5), dict(fill="grey"),
                                   dict(fill=float("nan")), dict(fill=None), dict(fill=[[0.5]])])
def test_wrong_arguments_are_one_line(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))) as error: pixels.ExpandPixels(**wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("x", [torch.zeros(4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)])
def test_wrong_images_are_one_line(x):
    with pytest.raises(TypeError, match="uint8 or float"): pixels.ExpandPixels()(x)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(0, 4), features=st.integers(1, 5), pattern=st.sampled_from(pixels.PATTERNS), arrays=st.booleans())
def test_features_keep_their_order(rows, features, pattern, arrays):
    x = np.arange(rows*features, dtype=float).reshape(rows, features)
    constants = -1.0 - np.arange(features)
    out = np.asarray(pixels.expand_features(x if arrays else torch.tensor(x), constants.tolist(), pattern))
    table = out.reshape(rows, features, len(pattern))
    both = dict(x=x, c=np.broadcast_to(constants, x.shape))
    assert all(np.array_equal(table[..., k], both[letter]) for k, letter in enumerate(pattern))


def test_features_refuse_what_they_cannot_place():
    with pytest.raises(ParameterError, match="pattern"): pixels.expand_features(np.zeros((1, 2)), 0.5, "cx")
    with pytest.raises(ParameterError, match="constants"): pixels.expand_features(np.zeros((1, 2)), [1, 2, 3])


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
    out = pixels.ExpandPixels(factor, fill)(picture)
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
        pixels.ExpandPixels(2)(PIL.Image.new(mode, (5, 6)))
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
        with pytest.raises(ParameterError, match="no free place"): pixels.ExpandPixels(2)(picture)
        return
    pixels.ExpandPixels(2)(picture).save(tmp_path/"out.png")
    with PIL.Image.open(tmp_path/"out.png") as out:
        assert out.mode == "P" and ("transparency" in out.info) == bool(info)
        colour = np.asarray(out.convert("RGBA"))
    assert np.array_equal(colour[::2, ::2], np.asarray(picture.convert("RGBA")))
    assert (colour[1::2] == (128, 128, 128, 255)).all()
    assert picture.palette.palette == indexed(colours, used).palette.palette   # the caller's is as it was


@pytest.mark.parametrize("picture, fill", [(indexed(256, 256), 0.5), (indexed(3, 3), "noise"), (indexed(3, 3), "random"),
                                           (indexed(3, 5), 0.5)])
def test_a_palette_without_room_is_refused_in_one_line(picture, fill):
    with pytest.raises(ParameterError, match="convert (it|the image) to RGB first"): pixels.ExpandPixels(2, fill)(picture)


def test_a_fill_that_is_in_the_palette_needs_no_room():
    out = pixels.ExpandPixels(2, [5/255, 7/255, 9/255])(indexed(256, 256))
    assert (np.asarray(out)[1::2] == 5).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 2), (6, 5, 3), (6, 5, 4)])
def test_arrays_of_numpy_have_their_channels_last(shape, dtype):
    x = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    expand = pixels.ExpandPixels(2, 0.5)
    out, label = expand(x, np.int64(3))
    assert out.shape == (12, 10, *shape[2:]) and out.dtype == dtype and label == 3
    assert np.array_equal(out[::2, ::2], x) and np.array_equal(expand.inverse(out), x)
    assert (out[1::2] == (128 if dtype == np.uint8 else 0.5)).all()


@pytest.mark.parametrize("x", [np.zeros((3, 6, 5), np.uint8), np.zeros((2, 6, 5, 3), np.uint8), np.zeros((6, 5), int),
                               np.zeros((6, 5), bool), np.zeros((6, 5), np.uint16), np.zeros((6, 5), complex)])
def test_other_arrays_are_refused_in_one_line(x):
    with pytest.raises(TypeError, match=r"arrays \(H, W\) or \(H, W, C\)"): pixels.ExpandPixels(2)(x)


def test_an_array_beside_an_image_is_refused():
    import PIL.Image
    mask = np.zeros((6, 5), np.uint8)
    for image in (PIL.Image.fromarray(PIXELS), torch.zeros(3, 6, 5), PIXELS):
        with pytest.raises(TypeError, match="may be a mask"): pixels.ExpandPixels(2)(image, mask)


@pytest.mark.parametrize("x", [torch.zeros(5, 5), torch.zeros(1, 3, 4, 5), np.zeros((5, 4, 3)), torch.zeros(4), 3, None])
def test_what_the_expansion_cannot_have_made_has_no_inverse(x):
    with pytest.raises(ParameterError, match="x = .*multiples of 2"): pixels.ExpandPixels(2).inverse(x)
