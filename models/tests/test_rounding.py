"""Whose rounding a difference is: the tool finds an error that was planted, and takes the images that it says."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from rounding import Seen, chosen, exact_logits, off, sigmoid, told


def one(name: str, difference: float) -> Seen:
    """An image of that name which differs by so much."""
    return Seen(name, difference, np.zeros(1), np.zeros(1), np.zeros(1))


def linear(weights: list[float], bias: float) -> nn.Linear:
    """One layer with one logit."""
    layer = nn.Linear(len(weights), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weights]))
        layer.bias.fill_(bias)
    return layer


def test_half_differ_most_and_half_are_spaced_over_the_others() -> None:
    """The order of the others is that of their names."""
    seen = [one(str(number), difference) for number, difference in enumerate([0.1, 0.9, 0.2, 0.3, 0.8, 0.4])]
    assert [image.path for image in chosen(seen, 4)] == ["1", "4", "0", "3"]
    assert len(chosen(seen, 100)) == 6
    assert chosen(seen, 0) == []


def test_double_precision_keeps_what_single_precision_loses() -> None:
    """1e8 + 1 - 1e8 is 1, and 0 in single precision; the network given stays in single precision."""
    layer = linear([1e8, 1.0, -1e8], 0.0)
    assert exact_logits(layer, [np.ones(3, np.float32)])[0, 0] == 1.0
    assert layer.weight.dtype == torch.float32


def test_an_error_is_told_as_logits_and_as_probability() -> None:
    """The largest and the root mean square of what is off."""
    assert off(np.array([[0.0, 0.5]]), np.zeros((1, 2))) == "logits 5.0e-01 (rms 3.5e-01), probabilities 1.2e-01"


def test_a_planted_error_is_told_as_that_of_its_program(tmp_path: Path) -> None:
    """Nightread's logit is 0.25 off, its probability a further 0.125 off; the others are right."""
    layer = linear([1.0, 2.0], 0.5)
    nodes = [helper.make_node("Gemm", ["image", "weight", "bias"], ["logits"], transB=1)]
    held = [
        numpy_helper.from_array(layer.weight.detach().numpy(), "weight"),
        numpy_helper.from_array(layer.bias.detach().numpy(), "bias"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in [("image", 2), ("logits", 1)]
    ]
    graph = helper.make_graph(nodes, "one", ends[:1], ends[1:], held)
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    logits = np.array([-0.25], np.float32)
    image = Seen("a", 0.0, logits, sigmoid(logits) + 0.125, np.array([-0.5], np.float32))
    ours, runtime, torch_line, _, _, own, sums = told(layer, layer, file, [image], [np.array([1.0, -1.0], np.float32)])
    assert ours.startswith("Nightread logits 2.5e-01")
    assert runtime.startswith("ONNX Runtime in Python logits 0.0e+00")
    assert torch_line.startswith("PyTorch logits 0.0e+00")
    assert own.endswith("apart: 1.2e-01")
    assert sums.startswith("sums of the last layer reach 1 ")
