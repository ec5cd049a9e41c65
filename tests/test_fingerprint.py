"A fingerprint changes with any constant or code that a function reaches, by whatever route, and with nothing else."
import ast
import importlib
import json
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
from symbreak_nb.fingerprint import Memo, Unhashable, code_fingerprint

from test_repository import NOTEBOOKS, is_section

MADE = []


def load(source: str, name: str | None = None) -> types.ModuleType:
    "A module made of a text, as if it had been imported."
    name = name or f"made{len(MADE)}"
    MADE.append(name)
    module = types.ModuleType(name)
    module.np, module.Memo = np, Memo
    sys.modules[name] = module
    exec(compile(textwrap.dedent(source), f"{name}.py", "exec"), module.__dict__)
    return module


helper = load("C = 1", "helper_of_fingerprints")

ROUTES = {  # name: (what stands in the module, what the unit computes; after a line break, more of the module)
    "scalar": ("A = {v}", "A + x"),
    "array": ("A = np.array([{v}, 2.])", "A + x"),
    'object_array': ("A = np.array([{v}, 'a'], dtype=object)", 'A'),
    "list": ("A = [1, [{v}]]", "A"),
    "set": ("A = {{1, {v}}}", "A"),
    'frozen': ("A = frozenset(['a', {v}])", 'A'),
    'dict': ('A = dict(a=dict(b={v}))', "A['a']"),
    'dict_of_arrays': ("A = {{'k': np.eye(2)*{v}}}", 'A'),
    'dict_of_sets': ("A = {{'k': {{{v}}}}}", 'A'),
    "key": ("A = {{{v}: 1}}", "A"),
    "partial": ("import functools\ndef g(a, b): return a*b\nA = functools.partial(g, {v})", "A(x)"),
    "partial_kw": ("import functools\ndef g(a, b): return a*b\nA = functools.partial(g, b={v})", "A(x)"),
    "partial_inner": ("import functools\nC = {v}\ndef g(a, b): return a*b*C\nA = functools.partial(g, 1)", "A(x)"),
    "helper": ("C = {v}\ndef g(a): return a*C", "g(x)"),
    "const_in_helper": ("def g(a): return a*{v}", "g(x)"),
    "lambda": ("A = lambda a: a*{v}", "A(x)"),
    'lambda_in_dict': ('A = dict(f=lambda a: a*{v})', "A['f'](x)"),
    "default": ("def g(a, b={v}): return a*b", "g(x)"),
    "kwdefault": ("def g(a, *, b={v}): return a*b", "g(x)"),
    "closure": ("def make(c):\n    def g(a): return a*c\n    return g\nA = make({v})", "A(x)"),
    "class_attr": ("class K:\n    c = {v}\n    def m(self, a): return a*self.c", "K().m(x)"),
    "method": ("class K:\n    def m(self, a): return a*{v}", "K().m(x)"),
    "base": ("class B:\n    c = {v}\nclass K(B):\n    def m(self, a): return a*self.c", "K().m(x)"),
    "property": ("class K:\n    @property\n    def m(self): return {v}", "K().m"),
    "static": ("class K:\n    @staticmethod\n    def m(a): return a*{v}", "K.m(x)"),
    "classmethod": ("class K:\n    @classmethod\n    def m(cls, a): return a*{v}", "K.m(x)"),
    "instance": ("class K:\n    def __init__(self, c): self.c = c\nA = K({v})", "A.c"),
    'slots': ("class K:\n    __slots__ = ('c',)\n    def __init__(self, c): self.c = c\nA = K({v})", 'A.c'),
    "bound": ("class K:\n    def __init__(self, c): self.c = c\n    def m(self, a): return a*self.c\nA = K({v}).m", "A(x)"),
    "dataclass": ("from dataclasses import dataclass\n@dataclass(frozen=True)\nclass D:\n    c: int = 0\nA = D({v})", "A.c"),
    "dataclass_default": ("from dataclasses import dataclass\n@dataclass\nclass D:\n    c: int = {v}", "D().c"),
    "factory": (
        'from dataclasses import dataclass, field\n@dataclass\nclass D:\n    c: list = field(default_factory=lambda: [{v}])',
        'D().c'),
    'namedtuple': ("from collections import namedtuple\nP = namedtuple('P', 'a b')\nA = P(1, {v})", 'A.b'),
    "enum": ("import enum\nclass E(enum.Enum):\n    a = {v}", "E.a.value"),
    "enum_member": ("import enum\nclass E(enum.Enum):\n    a = {v}\nA = E.a", "A.value"),
    "decorated": (
        'import functools\ndef deco(k):\n    def wrap(f):\n        @functools.wraps(f)\n        def g(*a): return f(*a)*k\n        return g\n    return wrap\n@deco({v})\ndef g(a): return a',  # noqa: E501
        'g(x)'),
    "cached": ("import functools\n@functools.lru_cache\ndef g(a): return a*{v}", "g(x)"),
    "cached2": ("import functools\nC = {v}\n@functools.cache\ndef g(a): return a*C", "g(x)"),
    "vectorize": ("A = np.vectorize(lambda a: a*{v})", "A(x)"),
    "comprehension": ("C = {v}", "[C*i for i in range(3)]"),
    "shadow": ("i = {v}", "[i for i in range(3)] + [i]"),
    "inner_function": ("C = {v}", "(lambda: (lambda: C)())()"),
    'import_inside': (
        'import helper_of_fingerprints\nhelper_of_fingerprints.C = {v}',
        "__import__('helper_of_fingerprints') and inner(x)\ndef inner(x):\n    from helper_of_fingerprints import C\n    return C"),
    "import_as": (
        'import helper_of_fingerprints\nhelper_of_fingerprints.C = {v}',
        'inner(x)\ndef inner(x):\n    import helper_of_fingerprints as h\n    return h.C'),
    "module_attr": ("import helper_of_fingerprints as h\nh.C = {v}", "h.C*x"),
    'module_passed': ('import helper_of_fingerprints as h\nh.C = {v}', "getattr(h, 'C')*x"),
    'module_in_dict': ('import helper_of_fingerprints as h\nh.C = {v}\nA = dict(h=h)', "A['h'].C"),
    "singledispatch": ("import functools\n@functools.singledispatch\ndef g(a): return 0\n@g.register\ndef _(a: int): return a*{v}", "g(x)"),
    "complexes": ("A = {v}j", "A"),
    'bytes': ("A = b'{v}'", 'A'),
    "slice": ("A = slice(0, {v})", "A"),
    "range": ("A = range({v})", "A"),
    "function_attr": ("def g(a): return a*g.c\ng.c = {v}", "g(x)"),
    "deque": ("import collections\nA = collections.deque([{v}])", "A"),
    "counter": ("import collections\nA = collections.Counter(a={v})", "A"),
    "defaultdict": ("import collections\nA = collections.defaultdict(list, a={v})", "A"),
    "fraction": ("from fractions import Fraction\nA = Fraction(1, {v} + 7)", "A"),
    'path': ("from pathlib import Path\nA = Path('/x/{v}')", 'A'),
    'regex': ("import re\nA = re.compile('a{v}')", 'A'),
    "namespace": ("import types\nA = types.SimpleNamespace(c={v})", "A.c"),
    'proxy': ('import types\nA = types.MappingProxyType(dict(c={v}))', "A['c']"),
    'dtype': ("A = np.dtype('f{v}')", 'A'),
    "scalar_np": ("A = np.float64({v})", "A"),
    "datetime": ("import datetime\nA = datetime.timedelta({v})", "A"),
    "itemgetter": ("import operator\nA = operator.itemgetter({v})", "A"),
    "poly": ("A = np.polynomial.Polynomial([1, {v}])", "A(x)"),
    "dict_subclass": ("class M(dict):\n    pass\nA = M(c={v})", "A"),
    "list_subclass_attr": ("class M(list):\n    pass\nA = M()\nA.c = {v}", "A.c"),
    'getattr_class': ("class K:\n    c = {v}\nA = {{'k': K}}", "A['k'].c"),
    "metaclass": ("class M(type):\n    c = {v}\nclass K(metaclass=M): pass", "K.c"),
    "nested_class": ("class K:\n    class I:\n        c = {v}", "K.I.c"),
    "cachedprop": ("import functools\nclass K:\n    @functools.cached_property\n    def c(self): return {v}\nA = K()", "A.c"),
    "set_of_tuples": ("A = {{(1, {v}), (2, 3)}}", "A"),
    "rng": ("A = np.random.default_rng({v})", "A"),
    "assertless": ("", "x*{v}"),
    'string_choice': ("A = 'mode{v}'", 'A'),
    "starred": ("A = dict(a={v})", "dict(**A)"),
    "global_stmt": ("C = {v}\ndef g():\n    global C\n    return C", "g()"),
    "try_except": ("C = {v}\ndef g():\n    try: return 1/0\n    except ZeroDivisionError: return C", "g()"),
    "generator": ("C = {v}\ndef g():\n    yield C", "list(g())"),
    "default_array": ("def g(a, b=np.array([{v}])): return b", "g(x)"),
    "wrapped_partialmethod": (
        'import functools\nclass K:\n    def m(self, a): return a\n    n = functools.partialmethod(m, {v})',
        'K().n()'),
    "walrus": ("C = {v}", "(y := C)"),
}

ROUTES |= {  # less common ones
    "frompyfunc": ('A = np.frompyfunc(lambda a: a*{v}, 1, 1)', 'A(x)'),
    "enum_prop": ('import enum\nclass E(enum.Enum):\n    a=1\n    @property\n    def m(self): return {v}', 'E.a.m'),
    "enum_static": ('import enum\nclass E(enum.Enum):\n    a=1\n    @staticmethod\n    def m(): return {v}', 'E.m()'),
    "enum_cls": ('import enum\nclass E(enum.Enum):\n    a=1\n    @classmethod\n    def m(cls): return {v}', 'E.m()'),
    "enum_base": ('import enum\nclass B:\n    c={v}\nclass E(B, enum.Enum):\n    a=1', 'E.a.c'),
    "enum_nonmember": ('import enum\nclass E(enum.Enum):\n    a=1\n    b=enum.nonmember({v})', 'E.b'),
    "enum_init": ('import enum\nclass E(enum.Enum):\n    a=1\n    def __init__(self, v): self.k = v*{v}', 'E.a.k'),
    "flag": ('import enum\nclass E(enum.Flag):\n    a={v}\n    b=16', '(E.a|E.b).value'),
    "contextvar": ("import contextvars\nA = contextvars.ContextVar('A', default={v})", 'A.get()'),
    "mod_tensor": ('import torch, helper_of_fingerprints as h\nh.C = torch.tensor({v})', "getattr(h,'C')*x"),
    "mod_partial": ('import functools, helper_of_fingerprints as h\nh.C = functools.partial(pow,{v})', "getattr(h,'C')*x"),
    "mod_path": ("import pathlib, helper_of_fingerprints as h\nh.C = pathlib.Path('{v}')", "getattr(h,'C')*x"),
    "mod_inst": ('import helper_of_fingerprints as h\nclass K:\n    def __init__(s,c): s.c=c\nh.C = K({v})', "getattr(h,'C').c*x"),
    "mod_func": ('import helper_of_fingerprints as h\ndef g(): return {v}\nh.C = g', "getattr(h,'C')()*x"),
    "mod_cls": ('import helper_of_fingerprints as h\nclass K:\n    c={v}\nh.C = K', "getattr(h,'C').c*x"),
    "mod_mod": ("import helper_of_fingerprints as h, types\nh.C = types.ModuleType('helper_sub'); h.C.c={v}; import sys; sys.modules['helper_sub']=h.C", "getattr(h,'C').c*x"),  # noqa: E501
    "import_module": ('import importlib, helper_of_fingerprints as h\nh.C = {v}', "importlib.import_module('helper_of_fingerprints').C"),
    "import_module2": ('from importlib import import_module\nimport helper_of_fingerprints as h\nh.C = {v}', "import_module('helper_of_fingerprints').C"),  # noqa: E501
    "dunder_import": ('import helper_of_fingerprints as h\nh.C = {v}', "__import__('helper_of_fingerprints').C"),
    "sysmod": ('import sys, helper_of_fingerprints as h\nh.C = {v}', "sys.modules['helper_of_fingerprints'].C"),
    "sysmodname": ('import sys\nC = {v}', "getattr(sys.modules[__name__], 'C')"),
    "vars": ('import helper_of_fingerprints as h\nh.C = {v}', "vars(h)['C']"),
    "torch_attr": ('import torch\nA = torch.ones(2)\nA.c={v}', 'A.c'),
    "torch_grad": ('import torch\nA = torch.ones(2, requires_grad={v}==4)', 'A'),
    "torch_sparse": ('import torch\nA = torch.eye(2).mul({v}).to_sparse()', 'A'),
    "torch_module": ('import torch\nA = torch.nn.Linear(2,2)\ntorch.nn.init.constant_(A.weight, {v})\ntorch.nn.init.constant_(A.bias, 1)', 'A(x)'),  # noqa: E501
    "torch_mod_own": ('import torch\nclass M(torch.nn.Module):\n    def forward(self, x): return x*{v}\nA = M()', 'A(x)'),
    "torch_mod_buf": ("import torch\nclass M(torch.nn.Module):\n    def __init__(s):\n        super().__init__(); s.register_buffer('b', torch.tensor({v}.))\nA = M()", 'A(x)'),  # noqa: E501
    "torch_vmap": ('import torch\nA = torch.vmap(lambda a: a*{v})', 'A(x)'),
    "torch_nograd": ('import torch\n@torch.no_grad()\ndef A(a): return a*{v}', 'A(x)'),
    "exitstack": ('import contextlib\nclass D(contextlib.ContextDecorator):\n    def __init__(s,c): s.c=c\n    def __enter__(s): return s.c\n    def __exit__(s,*a): pass\n@D({v})\ndef g(): return 1', 'g()'),  # noqa: E501
    "defaultdict_factory": ('import collections\nA=collections.defaultdict(lambda: {v})', "A['q']"),
    "int_sub_val": ('class T(int): pass\nA=T({v})', 'A'),
    "str_sub": ("class T(str): pass\nA=T('{v}')", 'A'),
    "tensor_sub": ('import torch\nclass T(torch.Tensor):\n    c={v}\nA=torch.zeros(2).as_subclass(T)', 'A.c'),
    "dyn_func": ('import types\nG=dict(C={v})\ndef g0(): return C\nA=types.FunctionType(g0.__code__, G)', 'A()'),
    "exec_func": ("G=dict()\nexec('C={v}\\ndef g(): return C', G)\nA=G['g']", 'A()'),
    "set_of_frozen": ('A={{frozenset([1,{v}])}}', 'A'),
    "set_inst": ('class K:\n    def __init__(s,c): s.c=c\n    def __hash__(s): return 1\nA={{K({v})}}', 'A'),
    "set_funcs": ('A={{lambda: {v}}}', 'A'),
    "ndarray_sub": ('class T(np.ndarray):\n    c={v}\nA=np.zeros(2).view(T)', 'A.c'),
    "singledispatchmethod": ('import functools\nclass K:\n    @functools.singledispatchmethod\n    def m(self, a): return 0\n    @m.register\n    def _(self, a: int): return a*{v}', 'K().m(x)'),  # noqa: E501
    "weird_descriptor": ('class D:\n    def __init__(s,c): s.c=c\n    def __get__(s,i,o): return s.c\nclass K:\n    a=D({v})', 'K().a'),
    "init_subclass": ('class B:\n    def __init_subclass__(cls, **k): cls.k=k\nclass K(B, c={v}): pass', 'K.k'),
    "numba_vec_sig": ("import numba\n@numba.vectorize(['f8(f8)'])\ndef A(a): return a*{v}", 'A(x)'),
    "contextmanager": ('import contextlib\n@contextlib.contextmanager\ndef A():\n    yield {v}', 'A()'),
    "decorator_class": ('class Deco:\n    def __init__(s,f): s.f=f\n    def __call__(s,*a): return s.f(*a)\n@Deco\ndef g(a): return a*{v}', 'g(x)'),  # noqa: E501
    "registry_list": ('R = []\nreg = lambda f: R.append(f) or f\n@reg\ndef one(a): return a*{v}', 'R[0](x)'),
    "mapping_cls": ("import collections.abc\nclass M(collections.abc.Mapping):\n    def __init__(s,c): s.c=c\n    def __getitem__(s,k): return s.c\n    def __iter__(s): return iter('a')\n    def __len__(s): return 1\nA=M({v})", "A['a']"),  # noqa: E501
    "torch_seq": ('import torch\nA = torch.nn.Sequential(torch.nn.LeakyReLU({v}))', 'A(x)'),
}


def unit(setup: str, body: str, value: int):
    body, _, extra = body.partition("\n")
    return load(setup.format(v=value) + f"\ndef unit(x, seed=0):\n    return {body.format(v=value)}\n{extra}\n").unit


@pytest.mark.parametrize("route", ROUTES)
def test_a_constant_changes_it(route):
    one, other, again = (code_fingerprint(unit(*ROUTES[route], v)) for v in (4, 8, 4))
    assert one == again != other


SAME = {
    "locals and comments": (
        "def unit(x):\n    total = 0\n    for k in range(3): total += k*x\n    return [total for a in (1, 2)]",
        "def unit(x):\n    'A word.'\n    # a comment\n    s = 0\n\n    for j in range(3): s += j*x  # here\n    return [s for b in (1, 2)]"),  # noqa: E501
    "closures and classes": (
        "def unit(x):\n    a, b = 1, 2\n    def f(t): return a - b + t\n    class K:\n        'doc'\n        z = 3\n        def m(self): return b\n    return f(x), K",  # noqa: E501
        "def unit(x):\n    y, b = 1, 2\n    def f(t):\n        'doc'\n        return y - b + t\n    class K:\n        z = 3\n        # c\n        def m(self): return b\n    return f(x), K",  # noqa: E501
        "def unit(x):\n    z, y = 1, 2\n    def f(t): return z - y + t\n    class K:\n        z = 3\n        def m(self): return y\n    return f(x), K"),  # noqa: E501
    "one object or two": ("A = (1, 2, [3])\nB = A\ndef unit(): return A, B", "A = (1, 2, [3])\nB = (1, 2, [3])\ndef unit(): return A, B"),
    "line breaks": (
        "def unit(x):\n    try: y = np.abs(x).sum()\n    except ValueError: y = [a for a in x]\n    return y",
        "def unit(x):\n\n    try:\n        y = (np\n             .abs(\n             x)\n             .sum())\n    except ValueError:\n        y = [a\n             for a in x]\n    return y"),  # noqa: E501
    "where a module is imported": ("import math\ndef unit(x): return math.sin(x)", "math = __import__('math')\ndef unit(x): return math.sin(x)"),  # noqa: E501
    "names that it does not reach": ("def unit(i): return [i for i in range(3)]", "i = 7\nrange_ = 3\ndef unit(i): return [i for i in range(3)]"),  # noqa: E501
    "what a memo holds": ("M = Memo()\ndef unit(): return M", "M = Memo(a=1)\ndef unit(): return M"),
}


@pytest.mark.parametrize("kind", SAME)
def test_what_changes_no_result_does_not_change_it(kind):
    assert len({code_fingerprint(load(source).unit) for source in SAME[kind]}) == 1


DIFFERENT = [
    "def unit(a, b): return a - b",
    "def unit(b, a): return a - b",
    "def unit(a, b): return b - a",
    "def unit(a, b): return -0.0",
    "def unit(a, b):\n    def f(): return a - b\n    return f()",
    "def unit(a, b):\n    def f(): return b - a\n    return f()",
    "def unit(a, b):\n    try: a\n    finally: return b",
    "def unit(a, b):\n    return a < b",
    "def unit(a, b):\n    return a <= b",
    "def unit(a, b): return 0.0",
    "def unit(a, b): return 0",
    "def unit(a, b): return a in {1, 2}",
    "def unit(a, b): return a in {1, 3}",
]


def test_what_is_computed_does(): assert len({code_fingerprint(load(source).unit) for source in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize("source, words", [
    ("A = (i for i in range(3))\ndef unit(): return A", "A is a builtins.generator"),
    ("A = dict(k=[open('/dev/null')])\ndef unit(): return A", "A['k'][0]"),
    ("def g(): return eval('A')\ndef unit(): return g()", "g calls eval()"),
    ("def g(): pass\ndef unit(): return g.__globals__['A']", "unit reads __globals__"),
    ("class B: pass\ndef unit(): return B.__subclasses__()", "unit reads __subclasses__"),
    ("import importlib\ndef unit(n): return importlib.import_module('symbreak_nb.' + n)", "whose name it computes"),
    ("import torch\nA = torch.empty(2, device='meta')\ndef unit(): return A", "unit -> A is a torch.Tensor"),
    ("A = []\nfor _ in range(10**5): A = [A]\ndef unit(): return A", "whose content cannot be told")])
def test_what_cannot_be_told_is_named(source, words):
    with pytest.raises(Unhashable) as caught: code_fingerprint(load(source).unit)
    assert words in str(caught.value) and "\n" not in str(caught.value)


MEMBERS = """
from symbreak_nb.fingerprint import code_fingerprint
class K:
    def __init__(self, c): self.c = c
A, B = {lambda: 1, lambda: 2, lambda: 3}, {K(k) for k in range(5)}
pads = [object() for _ in range(%d)]
C = {K(k) for k in range(5, 10)}
def unit(): return A, B, C
print(code_fingerprint(unit))
"""


def test_members_of_a_set_have_no_order():
    "Addresses and hashes differ between processes, also those of functions of one name and of instances."
    shown = {subprocess.run([sys.executable, "-c", MEMBERS % n], capture_output=True, text=True, check=True).stdout
             for n in (0, 1000, 54321)}
    assert len(shown) == 1


DISABLED = """
import torch
from symbreak_nb.fingerprint import code_fingerprint
pads = [object() for _ in range(%d)]
def leaves(x): return x
def unit(x): return leaves(x)
def other(x): return never(x)
before = code_fingerprint(unit)
never = torch.compiler.disable(leaves)
assert code_fingerprint(unit) == before
print(code_fingerprint(other))
"""


def test_what_torch_leaves_on_a_function_does_not_count():
    shown = {subprocess.run([sys.executable, "-c", DISABLED % n], capture_output=True, text=True, check=True).stdout
             for n in (0, 54321)}
    assert len(shown) == 1


def test_loops_of_references_end():
    loop = load("A = []\nA.append(A)\nB = {'a': A}\ndef unit(): return A, B, unit")
    assert code_fingerprint(loop.unit) == code_fingerprint(loop.unit)


def units(notebook: Path) -> list[tuple[str, str]]:
    "Module and name of every function that a section's notebook gives to `run.unit` or `run.units`."
    sources = ["".join(c["source"]) for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    trees, home = [ast.parse(re.sub("^%.*", "", text, flags=re.MULTILINE)) for text in sources], notebook.stem.split("_", 1)[1]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    places = {a.asname or a.name: (node.module.split(".")[1], a.name) for node in nodes if isinstance(node, ast.ImportFrom)
              for a in node.names if (node.module or "").startswith("symbreak_nb.")}
    calls = [n for n in nodes if isinstance(n, ast.Call) and getattr(n.func, "attr", "") in ("unit", "units") and n.args]
    names = dict.fromkeys(n.args[0].id for n in calls if isinstance(n.args[0], ast.Name))
    found = [places.get(name, (home, name)) for name in names]
    return [(module, name) for module, name in found if hasattr(importlib.import_module(f"symbreak_nb.{module}"), name)]


THROUGH_A_LAYER = [("dynamics", "_advance"), ("transmogrification", "_train_piece")]   # a function of the package asks the run
ALL = sorted({found for notebook in NOTEBOOKS if is_section(notebook) for found in units(notebook)} | set(THROUGH_A_LAYER))
SHOW = """
import importlib
from symbreak_nb.fingerprint import code_fingerprint
for section, name in {all}: print(section, name, code_fingerprint(getattr(importlib.import_module("symbreak_nb." + section), name)))
"""


def test_the_units_of_the_sections_are_found():
    found = {module for module, _ in ALL}
    assert {"adaptation", "alignment", "capacity", "dynamics", "equilibrium", "expansion", "ising", "landscape", "noise_curves", "qcd",
            "rd_metric", "restoration", "saddles", "symmetries", "transmogrification", "walls"} <= found and len(ALL) > 36


def test_every_unit_of_every_section_has_one_that_no_process_changes():
    shown = [subprocess.run([sys.executable, "-c", SHOW.format(all=ALL)], env=dict(PYTHONHASHSEED=str(k)), capture_output=True, text=True)
             for k in (1, 2)]
    assert shown[0].stdout == shown[1].stdout and len(set(shown[0].stdout.splitlines())) == len(ALL), shown[0].stderr[-2000:]


@pytest.mark.parametrize("section, name, module, constant", [
    ("qcd", "fit", "qcd", "_DEGENERACY"), ("qcd", "fit", "quasiparticles", "_POWER"), ("capacity", "_train_width", "steps", "OPTIMIZERS"),
    ("rd_metric", "_train_replicas", "data", "_DIGITS"), ("transmogrification", "_train_piece", "transmogrification", "ARMS")])
def test_constants_of_other_modules_count(monkeypatch, section, name, module, constant):
    home = importlib.import_module(f"symbreak_nb.{module}")
    function = getattr(importlib.import_module(f"symbreak_nb.{section}"), name)
    before, value = code_fingerprint(function), getattr(home, constant)
    changed = type(value)((*value, 0)) if isinstance(value, (list, tuple)) else {**value, "new": 1} if isinstance(value, dict) else value*2
    monkeypatch.setattr(home, constant, changed)
    assert code_fingerprint(function) != before
    monkeypatch.undo()
    assert code_fingerprint(function) == before
