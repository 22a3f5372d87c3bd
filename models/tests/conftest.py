"""Shared pieces: seeded networks whose activations are as tame as a trained network's."""

from pathlib import Path

import pytest
import torch
from quantise_cases import Case, right_case
from torch import nn

from nightread_models import manifest

MODELS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads gain little here, and much is lost when the machine is shared."""
    torch.set_num_threads(1)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """What `quantise.py` is given, and all of it right."""
    return right_case(tmp_path)


def seeded_network(model: str) -> nn.Module:
    """The full architecture of `models/<model>` with seeded random weights, in inference mode.

    Norms get random scales and shifts, and the statistics of one random batch: with fresh ones
    activations would grow from layer to layer, and a wrongly folded norm could go unseen.
    """
    description = manifest.read(MODELS / model)
    torch.manual_seed(58)
    network = manifest.network_for(description)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.momentum = 1.0
    low, high = (float(end) for end in description["input"]["value_range"])
    batch = torch.empty(4, *(int(side) for side in description["input"]["item_shape"])).uniform_(low, high)
    with torch.no_grad():
        network.train()(batch)
    return network.eval()
