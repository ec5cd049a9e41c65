"Symmetries are removed and added, and a refusal leaves a model as it was."
import copy
import functools

import pytest
import torch
from symbreak_nb import survey
from symbreak_nb.reparametrise import decay_penalty, scale_by_parameter, syre, w_fix
from symbreak_nb.run import ParameterError
from torch import nn

from models import L, X

symmetry_report = functools.partial(survey.symmetry_report, certify=False)  # what the trace finds


def test_control_of_symmetries():
    net = lambda: nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    x = torch.randn(4, 3)
    for change in (syre, w_fix): assert not len(symmetry_report(change(net()), x))
    assert sum(row.symmetry == "rescaling" for row in symmetry_report(scale_by_parameter(net()), x)) > 2
    model = syre(net(), advanced=True)
    decay_penalty(model, 0.1).backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in model.parameters())
    with pytest.raises(ParameterError, match="sigma"): syre(net(), -1.0)
    with pytest.raises(ParameterError, match="fraction"): w_fix(net(), 1.0)


def test_w_fix_leaves_no_neuron_alone():
    for seed in range(3):
        torch.manual_seed(seed)
        net, x = nn.Sequential(L(3, 6), nn.ReLU(), L(6, 2)), 9*X(99, 3)  # every neuron is active somewhere
        w_fix(net, 1e-3, seed=seed)
        for i in (0, 2):
            fixed = net[i].parametrizations.weight[0]
            assert fixed.mask.any(0).all() and fixed.mask.any(1).all() and not fixed.value[~fixed.mask].any()
        assert not len(symmetry_report(net, x))
        for i in range(6):
            scaled, swapped = copy.deepcopy(net), copy.deepcopy(net)
            order = [i, (i + 1) % 6]
            with torch.no_grad():
                a, b = scaled[0].parametrizations.weight.original, scaled[2].parametrizations.weight.original
                a[i], scaled[0].bias[i], b[:, i] = 2*a[i], 2*scaled[0].bias[i], b[:, i]/2
                a, b = swapped[0].parametrizations.weight.original, swapped[2].parametrizations.weight.original
                for t in (a, swapped[0].bias, b.T): t[order] = t[order[::-1]].clone()
            for other in (scaled, swapped): assert not torch.allclose(net(x), other(x), atol=1e-5)


@pytest.mark.parametrize("change", [syre, w_fix, scale_by_parameter])
def test_tied_weights_are_refused_before_anything_changes(change):
    net = nn.Sequential(L(4, 4), nn.ReLU(), L(4, 4))
    net[2].weight = net[0].weight
    names = list(net.state_dict())
    with pytest.raises(ParameterError, match="shared"): change(net)
    assert list(net.state_dict()) == names
