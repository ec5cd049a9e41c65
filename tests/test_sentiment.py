"Sentiment: zeros add no function, the import guard, the statistics, a resumed run, and bad input in one line."
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import sentiment as se
from symbreak_nb.checks import ParameterError
from symbreak_nb.run import Run
from symbreak_nb.texts import load_texts
from torch import nn

TINY = dict(data_set="vader", tokenizer="wordpiece", vocabulary=100, n_train=24, n_test=10, epochs=2, lr=1e-3, batch=8, length=8,
            hidden=8, layers=1, heads=2, intermediate=8, download=False)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.sampled_from(["zeros", "constants"]))
def test_a_layer_with_a_fill_is_a_layer_without(seed, hidden, fill):
    torch.manual_seed(seed)
    layer = se.ExpandedEmbedding(nn.Embedding(7, hidden), hidden, fill).double()
    if fill == "constants": nn.init.normal_(layer.constants)
    plain, x = se.fold(layer), torch.arange(7)
    assert torch.allclose(layer(x), plain(x), rtol=1e-12, atol=1e-12)
    assert plain.linear.weight.shape == (hidden, hidden)


def test_interleaving_puts_the_fill_after_each_number():
    layer = se.ExpandedEmbedding(nn.Identity(), 3)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.arange(18.).reshape(3, 6))
        layer.linear.bias.zero_()
    x = torch.tensor([[1., 10., 100.]])
    by_hand = x @ torch.arange(18.).reshape(3, 6)[:, [0, 2, 4]].T
    assert torch.equal(layer(x), by_hand)


def test_idle_weights_get_no_gradient_and_a_frozen_embedding_none():
    net = se.build_classifier("expanded", 50, hidden=8, layers=1, heads=2, intermediate=8)
    net(input_ids=torch.randint(5, 50, (4, 6))).logits.square().sum().backward()
    embedding = net.bert.embeddings
    assert embedding.linear.weight.grad[:, 1::2].abs().max() == 0 < embedding.linear.weight.grad[:, ::2].abs().max()
    assert all(w.grad is None for w in embedding.embeddings.parameters())


def test_the_arms_differ_only_where_they_say():
    nets = {arm: se.build_classifier(arm, 50, hidden=8, layers=2, heads=2, intermediate=8) for arm in se.ARMS}
    free = {arm: sum(w.numel() for w in net.parameters() if w.requires_grad) for arm, net in nets.items()}
    embedding = 50*8 + 512*8 + 2*8 + 2*8
    assert free["baseline"] - free["frozen"] == embedding
    assert free["linear"] - free["frozen"] == 8*8 + 8
    assert free["expanded"] - free["linear"] == 8*8 and free["constants"] - free["expanded"] == 8
    assert free["unfrozen"] - free["expanded"] == embedding


def test_the_paper_sizes_stand_in_the_profile():
    paper = se.PARAMETERS["paper"]
    assert [paper[k] for k in ("hidden", "layers", "heads", "intermediate", "length", "batch", "epochs", "lr")] == \
        [48, 4, 4, 3072, 256, 32, 30, 2e-5]
    net = se.build_classifier("baseline", 100)
    assert net.config.max_position_embeddings == 512 and net.config.type_vocab_size == 2


@pytest.mark.parametrize("first", ["import symbreak_nb.sentiment", "import symbreak_nb.coloring"])
def test_transformers_and_diffusers_import_after_the_section(first):
    script = f"{first}\nimport transformers, diffusers\nfrom transformers import BertModel, BertConfig\n" \
             "from diffusers import UNet2DModel\nprint(BertModel.__name__, UNet2DModel.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split() == ["BertModel", "UNet2DModel"], done.stderr[-500:]


def test_encode_marks_cuts_and_fills():
    tokenizer, source = se._tokenizer("wordpiece", ("good good bad", "bad", "fine"), 60, False)
    found = se.encode(tokenizer, ["", "good", "good "*50, "😀 ☃"], 6)
    assert found.shape == (4, 6) and found[0].tolist() == [2, 3, 0, 0, 0, 0]
    assert found[1, 0] == 2 and found[2, -1] == 3 and (found[2] > 0).all() and "wordpiece" in source
    with pytest.raises(ParameterError, match="length"): se.encode(tokenizer, ["good"], 2)


def test_the_pieces_are_the_same_in_every_run():
    texts = load_texts("vader").first(500).texts
    one, other = (se._wordpiece(texts, 300) for _ in range(2))
    assert one.get_vocab() == other.get_vocab() and one.get_vocab_size() == 300
    assert one.encode("goodness ##a").tokens == other.encode("goodness ##a").tokens
    script = "from symbreak_nb import sentiment as se; from symbreak_nb.texts import load_texts\n" \
             "print(sorted(se._wordpiece(load_texts('vader').first(500).texts, 300).get_vocab().items()) == eval(input()))"
    told = repr(sorted(one.get_vocab().items())) + "\n"
    done = subprocess.run([sys.executable, "-c", script], input=told, capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr[-300:]


def test_the_tokenizer_of_distilbert_falls_back_offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _, source = se._tokenizer("distilbert", ("good", "bad"), 45, False)
    assert "tokenizer of distilbert" in source or "cannot be had" in source


def test_padding_and_cutting_change_no_answer():
    torch.manual_seed(0)
    net = se.build_classifier("unfrozen", 50, hidden=8, layers=2, heads=2, intermediate=8).eval()
    ids = torch.randint(5, 50, (3, 5))
    padded = torch.cat([ids, torch.zeros(3, 9, dtype=ids.dtype)], 1)
    with torch.no_grad(): assert torch.allclose(se._logits(net, padded), se._logits(net, ids), atol=1e-6)


def test_a_network_in_two_pieces_is_one_network():
    whole = se._train_piece("constants", 5, TINY, {}, 0, 2, "cpu")
    half = se._train_piece("constants", 5, TINY, {}, 0, 1, "cpu")
    rest = se._train_piece("constants", 5, TINY, {k: v for k, v in half.items() if "." in k}, 1, 2, "cpu")
    assert np.allclose(rest["losses"], whole["losses"][1:], atol=1e-6) and np.array_equal(rest["right"], whole["right"][1:])


def test_a_run_that_is_repeated_computes_nothing_anew(tmp_path):
    "With other texts in the file everything is computed again."
    own = tmp_path/"own.csv"
    for reused, word in ((0, "good"), (1, "good"), (0, "fine")):
        own.write_text("text,label\n" + "".join(f"{word} {k},{k % 2}\n" for k in range(60)))
        run = Run(se.PARAMETERS, dict(profile="smoke", out_dir=tmp_path/"out"))
        setting = TINY | dict(data_set=str(own))
        run.units(se._train_piece, [dict(arm="frozen", seed=0, setting=setting, state={}, start=0, stop=1, device="cpu")])
        assert run.counts["reused"] == reused and run.counts["computed"] == 1 - reused
        run.finish()


@pytest.mark.parametrize(("changed", "says"), [
    (dict(data_set="tweets"), "data_set = 'tweets'"), (dict(n_seeds=0), "n_seeds = 0"), (dict(length=2), "length = 2"),
    (dict(hidden=10), "multiple of heads"), (dict(lr=0), "lr = 0"), (dict(tokenizer="bpe"), "tokenizer = 'bpe'")])
def test_bad_parameters_are_refused_in_one_line(tmp_path, changed, says):
    with pytest.raises(ParameterError, match=says) as caught:
        se.check_parameters(Run(se.PARAMETERS, dict(profile="smoke", out_dir=tmp_path, **changed)).params.as_dict())
    assert "\n" not in str(caught.value)


def test_a_table_of_other_reviews_leaves_the_claim_open(tmp_path):
    "The claim of the paper is about IMDB: whatever other texts say, it is inconclusive."
    run = Run(se.PARAMETERS, dict(profile="smoke", out_dir=tmp_path))
    from symbreak_nb.statistics import over_seeds, paired
    row = run.decide(se.CLAIMS["zhang.imdb.accuracy"], paired([.9]*3 + [.91], [.5]*4), reviews=0, learns=over_seeds([.3, .31, .3]))
    assert row["verdict"] == "inconclusive" and "50,000 reviews" in row["reason"]
