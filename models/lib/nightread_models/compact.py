"""Smaller ONNX files that still compute in single precision: weights stored as 8-bit or 16-bit constants.

The constants are widened by ordinary operators on constants alone, which ONNX Runtime folds when it loads the model:
an inference does the same arithmetic as with the wide file, on rounded weights.
"""

from collections.abc import Callable

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

# Small tensors (biases, norms) are not worth rounding.
LEAST_ELEMENTS = 4096


def store_int8(model: onnx.ModelProto) -> int:
    """Rounds every large weight to 8 bits with one scale for each output channel; returns how many were stored so.

    weight = cast(stored) * scale, with scale = greatest absolute value of the channel / 127.
    """

    def stored(name: str, values: np.ndarray) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
        # Output channels come first in a convolution, last in a matrix that rows are multiplied with.
        axes = tuple(range(1, values.ndim)) if values.ndim > 2 else (0,)
        scale = np.maximum(np.abs(values).max(axis=axes, keepdims=True), 1e-12) / 127
        rounded = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
        constants = [
            numpy_helper.from_array(rounded, f"{name}_stored"),
            numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"),
        ]
        nodes = [
            helper.make_node("Cast", [f"{name}_stored"], [f"{name}_wide"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_wide", f"{name}_scale"], [name]),
        ]
        return constants, nodes

    return _store(model, stored)


def store_half(model: onnx.ModelProto) -> int:
    """Stores every large weight in 16 bits, to be widened when the model is loaded; returns how many were stored so.

    Nothing is lost of weights that `round_half` has been over.
    """

    def stored(name: str, values: np.ndarray) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
        constant = numpy_helper.from_array(values.astype(np.float16), f"{name}_stored")
        return [constant], [helper.make_node("Cast", [f"{name}_stored"], [name], to=TensorProto.FLOAT)]

    return _store(model, stored)


def _store(
    model: onnx.ModelProto,
    stored: Callable[[str, np.ndarray], tuple[list[onnx.TensorProto], list[onnx.NodeProto]]],
) -> int:
    """Puts constants and the nodes that widen them, which `stored` makes, in the place of every large weight."""
    graph = model.graph
    nodes, kept, count = [], [], 0
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.ndim < 2 or values.size < LEAST_ELEMENTS:
            kept.append(weight)
            continue
        count += 1
        constants, widening = stored(weight.name, values)
        kept.extend(constants)
        nodes.extend(widening)
    nodes.extend(graph.node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    return count


def round_half(network: nn.Module) -> None:
    """Rounds a network's large weights to what 16 bits hold, so that `store_half` changes nothing."""
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim >= 2 and weight.numel() >= LEAST_ELEMENTS:
                weight.copy_(weight.half().float())
