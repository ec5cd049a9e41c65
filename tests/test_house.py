"How the house is built: what a sitting, a class, a name and a public function may be, counted in every notebook and module."
import ast
import doctest
import importlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from test_repository import NOTEBOOKS, ROOT, is_section, source

MODULES = sorted(p for p in (ROOT/"symbreak_nb").glob("*.py") if p.stem not in ("__init__", "_modidx"))
TREES = {path.stem: ast.parse(path.read_text()) for path in MODULES}
FLOOR = {path.stem.split("_", 1)[1]: path.stem[0] for path in NOTEBOOKS if path.stem[0].isdigit()}  # module -> first digit of its notebook
PUBLIC = {"0": 14, "9": 10}   # most public names of a layer, and of the whole; of a section:
PUBLIC_OF_A_SECTION, PUBLIC_ON_AVERAGE, READING_MINUTES, LONGEST_CELL, BOUND_AGAIN = 12, 3.8, 50, 40, 5


def written(text: str) -> list[str]: return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#|")]


def plain(text: str) -> str: return re.sub(r"^\s*[%!].*$", "pass", text, flags=re.MULTILINE)


def parsed(text: str) -> ast.Module: return ast.parse(plain(text))


def minutes(notebook: Path) -> float:
    "Reading time: 200 words or 20 lines of code a minute."
    cells = json.loads(notebook.read_text())["cells"]
    words = sum(len(source(c).split()) for c in cells if c["cell_type"] == "markdown")
    return words/200 + sum(len(written(source(c))) for c in cells if c["cell_type"] == "code")/20


def bound(text: str) -> set[str]:
    "Names that a cell binds at its top level."
    found = set()
    for node in parsed(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): found.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, (ast.AnnAssign, ast.For)) else []
        found |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return {name for name in found if not name.startswith("_")}


def code_lines(text: str) -> int:
    "Lines of a cell without docstrings; 0 for a cell that is one class, which cannot be cut."
    tree = parsed(text)
    if sum(isinstance(node, ast.ClassDef) for node in tree.body) == 1 == len(tree.body): return 0
    documented = [n.body[0] for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(n)]
    return len(written(text)) - sum(len(written(ast.get_source_segment(plain(text), node))) for node in documented)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_read_in_one_sitting(notebook):
    assert minutes(notebook) <= READING_MINUTES
    cells = [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    assert not {c.get("id"): n for c in cells if (n := code_lines(source(c))) > LONGEST_CELL}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_name_is_bound_once(notebook):
    "So that cells may run again, in any order."
    times = Counter(name for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code" for name in bound(source(c)))
    again = sorted(name for name, count in times.items() if count > 1)
    assert len(again) <= BOUND_AGAIN, again


def test_a_class_stands_on_at_most_one_own_class():
    bases = {(module, node.name): [ast.unparse(b).split(".")[-1] for b in node.bases] for module, tree in TREES.items()
             for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    own = {name for _, name in bases}
    up = {key: [b for b in found if b in own and b != key[1]] for key, found in bases.items()}
    named = {name: found for (_, name), found in up.items()}
    assert not {key: found for key, found in up.items() if len(found) > 1}
    assert not {key: found for key, found in up.items() for base in found if named.get(base)}, "a class on a class on a class"


def imports(tree: ast.Module) -> set[str]:
    "Modules of ours that a module imports, wherever it does."
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom): continue
        home = ".".join(filter(None, ["symbreak_nb" if node.level else "", node.module]))
        if home == "symbreak_nb": found |= {a.name for a in node.names}
        elif home.startswith("symbreak_nb."): found.add(home.split(".")[1])
    return found & set(TREES)


@pytest.mark.parametrize("module", [name for name in TREES if FLOOR[name] in "09"])
def test_layers_know_no_section_and_the_whole_knows_none_either(module):
    allowed = {"0"} if FLOOR[module] == "0" else {"0", "9"}
    assert not {name for name in imports(TREES[module]) if FLOOR[name] not in allowed}


def public(tree: ast.Module) -> list[str]:
    named = [s.value for s in tree.body if isinstance(s, ast.Assign) and getattr(s.targets[0], "id", "") == "__all__"]
    return ast.literal_eval(named[0]) if named else []


def test_what_is_public_is_what_a_user_would_call():
    counts = {module: len(public(tree)) for module, tree in TREES.items()}
    assert not {module: n for module, n in counts.items() if n > PUBLIC.get(FLOOR[module], PUBLIC_OF_A_SECTION)}
    assert sum(counts.values()) <= PUBLIC_ON_AVERAGE*len(counts)


def described(docstring: str) -> set[str]:
    "Names under Parameters, Other Parameters and Attributes of a numpydoc docstring."
    parts = re.split(r"^[ \t]*([A-Z][A-Za-z ]+)\n[ \t]*-{3,}[ \t]*$", docstring or "", flags=re.MULTILINE)
    kept = [text for title, text in zip(parts[1::2], parts[2::2], strict=True) if title in ("Parameters", "Other Parameters", "Attributes")]
    lines = [line.strip() for text in kept for line in text.splitlines() if line.strip()]
    return {name.strip(" *`") for line in lines for name in line.split(" : ")[0].split(",")}


def undescribed(node: ast.AST) -> set[str]:
    "Parameters of a public function or class that its docstring does not name."
    function = node
    if isinstance(node, ast.ClassDef): function = next((f for f in node.body if getattr(f, "name", "") == "__init__"), None)
    if function is None:
        names = {s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)}
    else:
        a = function.args
        given = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, [a.vararg, a.kwarg])]
        names = {arg.arg for arg in given[isinstance(node, ast.ClassDef):]}
    return {n for n in names if not n.startswith("_")} - described(ast.get_docstring(node))


@pytest.mark.parametrize("module", TREES)
def test_a_public_function_says_what_it_takes(module):
    "In a numpydoc section; commands show theirs as help."
    nodes = {n.name: n for n in TREES[module].body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    nodes = {name: node for name, node in nodes.items() if name in public(TREES[module]) and not any(
        "click" in ast.unparse(d) for d in node.decorator_list)}
    assert not [name for name, node in nodes.items() if not ast.get_docstring(node)]
    assert not {name: sorted(left) for name, node in nodes.items() if (left := undescribed(node))}


def examples() -> list[doctest.DocTest]:
    "Every docstring with an example, with what a reader has imported."
    found, finder = [], doctest.DocTestFinder(exclude_empty=True)
    common = vars(importlib.import_module("symbreak_nb.run"))
    for name in TREES:
        if ">>>" not in (ROOT/"symbreak_nb"/f"{name}.py").read_text(): continue
        module = importlib.import_module(f"symbreak_nb.{name}")
        more = dict(np=importlib.import_module("numpy"), torch=importlib.import_module("torch"))
        found += [test for test in finder.find(module, globs=common | vars(module) | more) if test.examples]
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name.removeprefix("symbreak_nb."))
def test_the_example_of_a_docstring_gives_what_it_says(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(example, out=said.append).failed == 0, "".join(said)


def test_the_headline_objects_have_an_example():
    assert len({test.name for test in examples()}) >= 15


def test_a_section_begins_with_its_finding():
    "Title, first screen, parameters; then the code."
    for notebook in filter(is_section, NOTEBOOKS):
        title, screen, knobs, *_ = json.loads(notebook.read_text())["cells"]
        assert re.match(r"# .+\n+> ", source(title)) and screen["id"] == "opening", notebook.name
        assert "parameters" in knobs["metadata"].get("tags", []), notebook.name
