"The rules of operations: each named operation exists in some form, and a rule of labels agrees with the numbers."
import doctest

import pytest
import torch
from symbreak_nb import groups, operations, survey, trace
from symbreak_nb.labels import Facts, Value, _labelled
from symbreak_nb.operations import OPERATIONS, follow

aten = torch.ops.aten


def test_every_name_in_the_table_is_in_one_row_only():
    names = [name for names in OPERATIONS.values() for name in names.split()]
    assert len(names) == len(set(names)) == len(operations._RULES)


def labels(value: Value) -> list[tuple]: return [tuple(axis.of.shape) for axis in value.axes]


W, IMAGE, KERNEL = torch.randn(4, 6), torch.randn(2, 4, 6, 6), torch.randn(3, 4, 3, 3)
FORMS = [  # operation, arguments, axes that keep labels
    (aten.relu.default, (W,), [(4, 1), (1, 6)]), (aten.t.default, (W,), [(1, 4), (6, 1)]), (aten.sum.dim_IntList, (W, [0]), [(6,)]),
    (aten.mean.dim, (W, [1], True), [(4, 1)]), (aten.view.default, (W, [2, 2, 6]), [(2, 2, 1), (1, 1, 6)]),
    (aten.slice.Tensor, (W, 1, 0, 3), [(4, 1), (1, 3)]), (aten.softmax.int, (W, -1), [(4, 1), (1, 6)]),
    (aten.glu.default, (W, -1), [(4, 1), (1, 3)]), (aten.embedding.default, (W, torch.tensor([0, 1])), [(1, 6)]),
    (aten.conv2d.default, (IMAGE, KERNEL), [(1, 3, 1, 1), (2, 1, 1, 1)]), (aten.matmul.default, (W, W.T), [(4, 1), (1, 4)]),
    (aten.max_pool2d.default, (IMAGE, [2, 2]), [(2, 1, 1, 1), (1, 4, 1, 1)]), (aten.cumsum.default, (W, 1), [(4, 1), (1, 6)]),
    (aten.layer_norm.default, (W, [6]), [(4, 1), (1, 6)]),
    (aten.group_norm.default, (IMAGE, 2), [(2, 1, 1, 1), (1, 4, 1, 1), (1, 1, 6, 1), (1, 1, 1, 6)]),
    (aten.constant_pad_nd.default, (W, [0, 2]), [(4, 8), (1, 8)]), (aten.var.correction, (W, [1]), [(4,)]),
    (aten.prelu.default, (W, torch.randn(1)), [(4, 1), (1, 6)]), (aten.einsum.default, ("ij,kj->ik", [W, W]), None),
]


@pytest.mark.parametrize("op, args, axes", FORMS, ids=lambda x: getattr(x, "__name__", ""))
def test_a_rule_gives_labels_of_the_shape_of_the_result(op, args, axes):
    facts = Facts()
    def given(x):
        if not isinstance(x, torch.Tensor): return x
        return _labelled(facts, x) if x.is_floating_point() else Value(tuple(x.shape), data=x)
    values = [[given(x) for x in a] if isinstance(a, list) else given(a) for a in args]
    out = follow(facts, op, (values, {}), (args, {}), op(*args))
    assert out.shape == tuple(op(*args).shape) and out.data is not None
    for axis in out.axes: torch.broadcast_to(axis.of, out.shape)
    if axes is not None: assert sorted(labels(out)) == sorted(axes)
    assert not facts.unknown


def test_an_operation_without_a_rule_freezes_its_labels_under_its_name():
    facts = Facts()
    value = _labelled(facts, W)
    follow(facts, aten.sort.default, ((value,), {}), ((W,), {}), aten.sort.default(W))
    assert facts.unknown == ["sort"] and list(facts.lost) == ["aten.sort"]
    assert sorted(label for part in facts.lost["aten.sort"] for label in part) == list(range(10))


@pytest.mark.parametrize("module", [groups, survey, trace])
def test_the_examples_of_the_docstrings_run(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
