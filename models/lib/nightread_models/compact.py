"""Smaller ONNX files that still compute in single precision: weights stored as 8-bit or 16-bit constants.

The constants are widened by ordinary operators on constants alone, which ONNX Runtime folds when it loads the model:
an inference does the same arithmetic as with the wide file, on rounded weights.
"""

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
    graph = model.graph
    nodes, kept, count = [], [], 0
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.ndim < 2 or values.size < LEAST_ELEMENTS:
            kept.append(weight)
            continue
        count += 1
        # Output channels come first in a convolution, last in a matrix that rows are multiplied with.
        axes = tuple(range(1, values.ndim)) if values.ndim > 2 else (0,)
        scale = np.maximum(np.abs(values).max(axis=axes, keepdims=True), 1e-12) / 127
        stored = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
        name = weight.name
        kept.append(numpy_helper.from_array(stored, f"{name}_stored"))
        kept.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
        nodes.append(helper.make_node("Cast", [f"{name}_stored"], [f"{name}_wide"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}_wide", f"{name}_scale"], [name]))
    nodes.extend(graph.node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    return count


def store_half(model: onnx.ModelProto) -> int:
    """Stores every large weight in 16 bits, to be widened when the model is loaded; returns how many were stored so.

    Nothing is lost of weights that `round_half` has been over.
    """
    graph = model.graph
    nodes, kept, count = [], [], 0
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.ndim < 2 or values.size < LEAST_ELEMENTS:
            kept.append(weight)
            continue
        count += 1
        kept.append(numpy_helper.from_array(values.astype(np.float16), f"{weight.name}_stored"))
        nodes.append(helper.make_node("Cast", [f"{weight.name}_stored"], [weight.name], to=TensorProto.FLOAT))
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
