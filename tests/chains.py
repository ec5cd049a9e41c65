"Small networks of every kind that the distances between orbits can read."
import torch
from symbreak_nb import rd_metric as rd
from torch import nn

SHAPE = (1, 8, 8)


def mlp(activation=nn.ReLU, widths=(5, 7, 6, 3), bias=True) -> nn.Sequential:
    layers = []
    for a, b in zip(widths[:-1], widths[1:], strict=True): layers += [nn.Linear(a, b, bias=bias), activation()]
    return nn.Sequential(*layers[:-1])


def nested() -> nn.Sequential:
    features = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.Flatten())
    return nn.Sequential(features, nn.Sequential(nn.Linear(4*9, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)))


def conv1d() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(1, 5, 3, bias=False), nn.Tanh(), nn.AvgPool1d(2), nn.Conv1d(5, 4, 3), nn.GELU(),
                         nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(4, 2))


BUILDERS = {name: lambda name=name: rd.build_net(name, SHAPE, 4, (3, 5, 8)) for name in rd.NETS}
BUILDERS |= dict(relu=mlp, tanh=lambda: mlp(nn.Tanh), gelu=lambda: mlp(nn.GELU), no_bias=lambda: mlp(bias=False),
                 nested=nested, conv1d=conv1d, one_layer=lambda: nn.Sequential(nn.Linear(4, 3)))
INPUTS = dict.fromkeys(rd.NETS, SHAPE) | dict(nested=(2, 14, 14), conv1d=(1, 20), one_layer=(4,))


def inputs(name: str) -> torch.Tensor:
    return torch.randn(6, *INPUTS.get(name, (5,)), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def made(name: str, seed: int) -> nn.Module:
    "A network whose weights and running statistics are all random."
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BUILDERS[name]().double().eval()
        with torch.no_grad():
            for part in model.modules():
                if not isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)): continue
                for v in (part.weight, part.running_var): v.uniform_(0.5, 2)
                for v in (part.bias, part.running_mean): v.normal_()
    return model
