"Texts with a label, and trainings that go on: known values, then faults in one line."
import gzip
import os

import numpy as np
import pytest
import torch
from symbreak_nb import texts
from symbreak_nb.checkpoints import resume_training, training_state
from symbreak_nb.checks import ParameterError
from symbreak_nb.data import DataError
from symbreak_nb.texts import load_texts, read_csv
from torch import nn

HAS_DATA = bool(os.environ.get("SYMBREAK_DATA"))


def test_the_lexicon_has_each_word_once_and_both_splits_share_none():
    train, test = (load_texts("vader", split) for split in ("train", "test"))
    assert len(set(train.texts)) == len(train) and not set(train.texts) & set(test.texts)
    assert 7000 < len(train) + len(test) < 8000 and 0.4 < train.labels.mean() < 0.5
    polarity = dict(zip(train.texts + test.texts, np.concatenate([train.labels, test.labels]), strict=True))
    assert polarity["wonderful"] == 1 and polarity["horrible"] == 0 and polarity[":)"] == 1


def test_first_is_a_fixed_sample_of_both_classes():
    train = load_texts("vader")
    assert train.first(100).texts == train.first(200).texts[:100]
    assert 0.2 < train.first(100).labels.mean() < 0.7    # 100 draws of 0.44: 5 standard deviations
    assert len(train.first(10**6)) == len(train)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_csv_file_of_ones_own(tmp_path, ending):
    path = tmp_path/f"own{ending}"
    content = 'label,text\n1,"good, really\ngood"\n0,\n1,süß\n' + "".join(f"0,row {k}\n" for k in range(60))
    path.write_bytes(gzip.compress(content.encode()) if ending.endswith("gz") else content.encode())
    rows = read_csv(path)
    assert rows[0]["text"] == "good, really\ngood" and rows[1]["text"] == "" and rows[2]["text"] == "süß"
    both = [load_texts(str(path), split) for split in ("train", "test")]
    assert sum(map(len, both)) == 63 and min(map(len, both)) > 0


@pytest.mark.parametrize(("content", "says"), [
    (b"text,label\n\xff\xfe,1\n", "is not UTF-8"), (b"text,label\n", "has no rows"), (b"", "has no rows"),
    (b"review,label\na,1\n", "no column 'text'"), (b"text,label\na,pos\n", "row 2: label 'pos'"),
    (b"text,label\na,1\nb\n", "row 3: label None")])
def test_what_is_wrong_with_a_csv_file_is_said_in_one_line(tmp_path, content, says):
    path = tmp_path/"own.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught: read_csv(path)
    assert says in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_cut_gzip_file_is_refused(tmp_path):
    path = tmp_path/"own.csv.gz"
    path.write_bytes(gzip.compress(b"text,label\n" + b"good,1\n"*1000)[:40])
    with pytest.raises(DataError, match="cannot read"): read_csv(path)


def test_an_unknown_set_and_a_missing_file_say_what_to_do(monkeypatch, tmp_path):
    with pytest.raises(ParameterError, match="'vader'"): load_texts("tweets")
    monkeypatch.delenv("SYMBREAK_DATA", raising=False)
    with pytest.raises(DataError, match="SYMBREAK_DATA"): load_texts("rt_polarity")
    monkeypatch.setattr(texts, "_cache_dir", lambda: tmp_path)
    with pytest.raises(DataError, match="imdb_subset"): load_texts("imdb")
    with pytest.raises(ParameterError): load_texts("vader", "validation")


@pytest.mark.skipif(not HAS_DATA, reason="needs SYMBREAK_DATA")
def test_the_reviews_are_balanced():
    for name, sizes in dict(imdb_subset=(10_000, 4_000)).items():
        for split, size in zip(("train", "test"), sizes, strict=True):
            found = load_texts(name, split)
            assert len(found) == size and found.labels.mean() == 0.5
    sentences = [load_texts("rt_polarity", split) for split in ("train", "test")]
    assert sum(map(len, sentences)) == 10_662


def trained(count, state, optimizer=torch.optim.Adam, **options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 1))
    made = optimizer(net.parameters(), lr=0.01, **options)
    resume_training(state, net, made)
    for _ in range(count):
        made.zero_grad()
        net(torch.randn(8, 3)).square().mean().backward()
        made.step()
    return training_state(net, made)


@pytest.mark.parametrize(("optimizer", "options"), [(torch.optim.Adam, {}), (torch.optim.AdamW, {}),
                                                     (torch.optim.SGD, dict(momentum=0.9))])
def test_a_training_in_two_pieces_is_one_training(optimizer, options):
    whole, half = trained(7, {}, optimizer, **options), trained(3, {}, optimizer, **options)
    torch.randn(100)
    rest = trained(4, half, optimizer, **options)
    assert set(rest) == set(whole) and all(np.array_equal(rest[k], whole[k]) for k in whole)
    assert not np.array_equal(half["weight.0.weight"], whole["weight.0.weight"])


def test_the_state_of_another_network_is_refused():
    state, net = trained(1, {}), nn.Linear(2, 2)
    with pytest.raises(ParameterError, match="weights of the same network"):
        resume_training(state, net, torch.optim.Adam(net.parameters()))
