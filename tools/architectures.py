"""Symmetry reports of thirty public architectures with random weights: CPU seconds, peak memory, families, gaps.

    python benchmarks/architectures.py                       # all, one process each
    python benchmarks/architectures.py gpt2 swin_t --table   # some, as a table for docs
"""
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch

IMAGES = {  # of torchvision: name -> side of the images
    "alexnet": 64, "vgg11": 32, "resnet18": 64, "resnext50_32x4d": 64, "squeezenet1_1": 64, "densenet121": 32,
    "googlenet": 64, "inception_v3": 75, "shufflenet_v2_x0_5": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64,
    "mnasnet0_5": 64, "efficientnet_b0": 64, "regnet_y_400mf": 64, "convnext_tiny": 64, "swin_t": 64, "vit_b_32": 224,
    "maxvit_t": 224,
}
TINY = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=50)
GROUPED = TINY | dict(num_key_value_heads=2, max_position_embeddings=32)
SMALL = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=50, max_position_embeddings=32)
TEXTS = {  # of transformers: name -> (class of the configuration, class of the model, sizes)
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", dict(n_embd=32, n_layer=2, n_head=4, vocab_size=50, n_positions=32)),
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", TINY),
    "opt": ("OPTConfig", "OPTForCausalLM", SMALL | dict(ffn_dim=48, word_embed_proj_dim=32)),
    "llama": ("LlamaConfig", "LlamaForCausalLM", GROUPED),
    "mistral": ("MistralConfig", "MistralForCausalLM", GROUPED),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", GROUPED),
    "gemma": ("GemmaConfig", "GemmaForCausalLM", GROUPED | dict(head_dim=8)),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", GROUPED | dict(num_local_experts=3)),
    "bert": ("BertConfig", "BertModel", TINY),
    "electra": ("ElectraConfig", "ElectraModel", TINY | dict(embedding_size=16)),
    "albert": ("AlbertConfig", "AlbertModel", TINY | dict(embedding_size=16)),
    "distilbert": ("DistilBertConfig", "DistilBertModel",
                   dict(dim=32, n_layers=2, n_heads=4, hidden_dim=48, vocab_size=50)),
}
NAMES = [*IMAGES, *TEXTS]


def built(name: str) -> tuple[torch.nn.Module, object]:
    "A model and an example of its input."
    from symbreak_nb.run import import_torchvision
    torch.manual_seed(0)
    import_torchvision()  # transformers imports it, too
    if name in IMAGES:
        from torchvision import models
        more = dict(aux_logits=False, init_weights=False) if name in ("googlenet", "inception_v3") else {}
        more |= dict(input_size=(224, 224)) if name == "maxvit_t" else {}
        return getattr(models, name)(**more).eval(), torch.randn(1, 3, IMAGES[name], IMAGES[name])
    import transformers
    config, model, sizes = TEXTS[name]
    made = getattr(transformers, model)(getattr(transformers, config)(**sizes))
    return made.eval(), dict(input_ids=torch.randint(50, (2, 7)))


def measured(name: str) -> dict:
    "The report of one architecture, in this process."
    from symbreak_nb.survey import symmetry_report
    model, x = built(name)
    size = sum(p.numel()*p.element_size() for p in model.parameters())
    with torch.no_grad(): model(**x) if isinstance(x, dict) else model(x)
    peak: Callable = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024
    before, clock = peak(), time.process_time()
    report = symmetry_report(model, x)
    return dict(name=name, parameters=report.total, seconds=time.process_time() - clock, memory=(peak() - before)/size,
                families=len(report), unexamined=sum(report.unexamined.values()), why="; ".join(report.unexamined),
                notes=report.notes)


HEAD = ("| architecture | parameters | CPU s | memory, models | families | not examined | why |\n"
        "|---|---|---|---|---|---|---|")


def main(arguments: list[str]) -> None:
    "One process an architecture, so that peaks of memory are its own."
    if arguments[:1] == ["--one"]: return print(json.dumps(measured(arguments[1])))
    table = "--table" in arguments
    if table: print(HEAD)
    for name in [a for a in arguments if a != "--table"] or NAMES:
        done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True)
        if done.returncode: raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
        r = json.loads(done.stdout.splitlines()[-1])
        found = [f"{r['parameters']:,}", f"{r['seconds']:.1f}", f"{r['memory']:.1f}", r["families"],
                 f"{r['unexamined']:,}", r["why"]]
        if table: print("|", " | ".join(map(str, [name, *found])), "|", flush=True)
        else: print(f"architectures_{name} {found[1]} s   ({found[0]} parameters, {found[3]} families)", flush=True)


if __name__ == "__main__": main(sys.argv[1:])
