"""Symmetry reports of public architectures with random weights: CPU seconds, peak memory, families, gaps.

    python tools/architectures.py                    # all, one process each
    python tools/architectures.py gpt2 swin_t        # some
    python tools/architectures.py --page             # write docs/architectures.md
"""
import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from symbreak_nb.run import RunError, write_atomic

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT/"docs"/"architectures.md"

IMAGES = {  # of torchvision: name -> side of the images
    "alexnet": 64, "vgg11": 32, "resnet18": 64, "resnext50_32x4d": 64, "squeezenet1_1": 64, "densenet121": 32,
    "googlenet": 64, "inception_v3": 75, "shufflenet_v2_x0_5": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64,
    "mnasnet0_5": 64, "efficientnet_b0": 64, "regnet_y_400mf": 64, "convnext_tiny": 64, "swin_t": 64, "vit_b_32": 224,
    "vit_b_16": 224, "maxvit_t": 224,
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
    "bert_base": ("BertConfig", "BertModel", {}),
    "gpt2_small": ("GPT2Config", "GPT2LMHeadModel", {}),
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
    "The report of one architecture, in this process with one thread."
    from symbreak_nb.survey import symmetry_report
    torch.set_num_threads(1)
    model, x = built(name)
    size = sum(p.numel()*p.element_size() for p in model.parameters())
    with torch.no_grad(): model(**x) if isinstance(x, dict) else model(x)
    peak: Callable = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024
    before, clock = peak(), time.process_time()
    report = symmetry_report(model, x)
    return dict(name=name, parameters=report.total, seconds=time.process_time() - clock, memory=(peak() - before)/size,
                families=len(report), unexamined=sum(report.unexamined.values()), why="; ".join(report.unexamined))


def alone(name: str, limit: float) -> dict:
    "The same in a process of its own, so that its peak of memory is its own; RunError if it fails."
    try:
        done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired: return dict(name=name, limit=limit)
    if done.returncode: raise RunError(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


HEAD = """# Reports of public architectures

`symmetry_report` was run on each architecture with random weights, in a process of its own with one thread. The side of the images
is the smallest that the architecture takes well, and texts have two rows of seven words. Seconds are those of the processor. Memory is what
the report took on top of the model and one forward pass, in units of the model in single precision. A small model is less than
what any report takes, so its number is large. A family is a row of the report. Parameters that were not examined are counted with
the reason. A report that had not ended after some time on the clock is named with that time; other programs ran beside it.
`python tools/architectures.py --page` writes this page.

| architecture | parameters | CPU s | memory, models | families | not examined | why |
|---|---:|---:|---:|---:|---:|---|"""


def row(r: dict) -> str:
    "A line of the table."
    if "limit" in r: return f"| `{r['name']}` | | not after {r['limit']:.0f} on the clock | | | | |"
    found = [f"{r['parameters']:,}", f"{r['seconds']:.1f}", f"{r['memory']:.0f}", r["families"], f"{r['unexamined']:,}", r["why"]]
    return f"| `{r['name']}` | " + " | ".join(map(str, found)) + " |"


def rows(names: Iterable[str], limit: float) -> Iterable[str]:
    "Lines of the table, each printed when it is there."
    for name in names:
        line = row(alone(name, limit))
        print(line, flush=True)
        yield line


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("--page", action="store_true", help="write docs/architectures.md")
    parser.add_argument("--seconds", type=float, default=300, help="on the clock; no report runs longer than this")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        print(json.dumps(measured(given.one)))
        return 0
    if unknown := [n for n in given.names if n not in NAMES]: parser.error(f"unknown {unknown[0]}: there are {', '.join(NAMES)}")
    try: found = [*rows(given.names or NAMES, given.seconds)]
    except RunError as error: parser.exit(1, f"{error}\n")
    if given.page: print(write_atomic(PAGE, "\n".join([HEAD, *found]) + "\n"))
    return 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
