"Networks that carry their data train as they would alone, and refuse parts of whole batches."
import numpy as np
import pytest
import torch
from symbreak_nb import adaptation as ad
from symbreak_nb import tasks as ta
from symbreak_nb.replicas import train_one
from symbreak_nb.run import ParameterError
from torch import nn

pytestmark = pytest.mark.usefixtures("one_thread")


def student() -> nn.Module: return ad._student_task(6, 3, 20, 0.5, 1.0, 1.0, 0.5, 4, True)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_networks_with_their_data_train_as_they_would_alone(optimizer):
    how = dict(lr=1e-2, weight_decay=0.1, optimizer=optimizer)
    nets = ta.train_own_data(student, [7, 8], 20, 20, 6, **how)
    alone, losses = train_one(student, 8, torch.arange(20), torch.zeros(20, 1), epochs=6, batch_size=20, loss="mse", **how)
    ours = nets.module(1)
    assert torch.allclose(ours.net[0].weight, alone.net[0].weight, atol=1e-5) and np.allclose(nets.losses[1], losses, rtol=1e-4)
    assert torch.equal(ours.inputs, alone.inputs) and not torch.equal(ours.inputs, nets.module(0).inputs)


def test_a_network_of_whole_batches_refuses_parts():
    with pytest.raises(ParameterError, match="all rows"): ta.train_own_data(student, [0], 20, 5, 4, lr=1e-2)
