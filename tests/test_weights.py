"Pretrained weights: places, digests, downloads, and files that would run code."
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from symbreak_nb import data, weights
from symbreak_nb.checks import ParameterError


@pytest.fixture
def alone(monkeypatch, tmp_path):
    "No places but empty ones, and one row with a small file: its bytes."
    monkeypatch.setenv("SYMBREAK_CACHE", str(tmp_path/"cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path/"torch"))
    monkeypatch.delenv("SYMBREAK_DATA", raising=False)
    torch.save({"layer.in_proj_weight": torch.arange(24.).reshape(12, 2)}, tmp_path/"made.pth")
    content = (tmp_path/"made.pth").read_bytes()
    url = f"https://nowhere.invalid/tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setitem(weights.WEIGHTS, "tiny", weights.Weights("tiny", "a test", url, 2))
    return content


def put(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder/weights.WEIGHTS["tiny"].file).write_bytes(content)
    return folder/weights.WEIGHTS["tiny"].file


@pytest.mark.parametrize("place", ["own", "cache/weights", "torch/hub/checkpoints"])
def test_a_file_is_found_in_each_place_and_checked(alone, tmp_path, monkeypatch, place):
    assert weights.find("tiny") is None and weights.attention_heads("tiny") == []
    if place == "own": (tmp_path/"own").mkdir(), monkeypatch.setenv("SYMBREAK_DATA", str(tmp_path/"own"))
    path = put(tmp_path/place, alone)
    assert weights.find("tiny") == path == weights.fetch("tiny") and weights.sources(["tiny"])["tiny"]["source"]
    ((query, key),) = weights.attention_heads("tiny")
    assert query.shape == (2, 2, 2) and np.array_equal(key[0, 0], [8, 9])
    assert weights.verify(["tiny"]) == [dict(file=str(path), problem="")]
    path.write_bytes(alone[:-1])
    with pytest.raises(data.DataError, match="truncated or altered"): weights.find("tiny")
    assert "truncated" in weights.verify()[0]["problem"]


@pytest.mark.parametrize("right", [True, False])
def test_a_download_is_kept_only_if_its_digest_is_right(alone, monkeypatch, right):
    import pooch
    def retrieve(url, known, name, folder, progressbar): return put(Path(folder), alone if right else alone[:-1])
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    if right: assert weights.fetch("tiny") == weights.find("tiny")
    else:
        with pytest.raises(data.DataError, match="truncated or altered"): weights.fetch("tiny")
        assert weights.find("tiny") is None
    assert len(list((data._cache_dir()/"weights").iterdir())) == right


def test_a_network_that_fails_ends_in_one_line(alone, monkeypatch):
    import pooch
    def fails(*_, **__): raise OSError("no route")
    monkeypatch.setattr(pooch, "retrieve", fails)
    with pytest.raises(data.DataError, match="cannot download tiny.*no route.*SYMBREAK_DATA") as caught: weights.fetch("tiny")
    assert "\n" not in str(caught.value)


class Runs:
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [lambda bad, path: path.write_bytes(pickle.dumps(bad)),
                                   lambda bad, path: torch.save(dict(w=bad), path),
                                   lambda bad, path: torch.save([torch.ones(2)], path),
                                   lambda bad, path: path.write_bytes(b"no file of weights")])
def test_no_code_of_a_file_is_run(tmp_path, write):
    write(Runs(tmp_path/"ran"), tmp_path/"bad.pth")
    with pytest.raises(data.DataError, match="cannot be read as tensors"): weights.tensors(tmp_path/"bad.pth")
    assert not (tmp_path/"ran").exists()


def test_unknown_names_are_refused():
    for call in (weights.find, weights.fetch):
        with pytest.raises(ParameterError, match="weights = 'vit_h'"): call("vit_h")


def test_svhn_is_decoded_as_torchvision_gives_it(monkeypatch):
    "Channels first, classes under the name labels, no names of the classes."
    from types import SimpleNamespace
    pixels = np.arange(2*3*4*4, dtype=np.uint8).reshape(2, 3, 4, 4)
    make = lambda **options: SimpleNamespace(data=pixels, labels=np.array([3, 0]))
    x, y, names = data._decoded(data.DATA_SETS["svhn"], "train", make)
    assert np.array_equal(x, pixels.transpose(0, 2, 3, 1)) and y.tolist() == [3, 0] and names[3] == "3"
