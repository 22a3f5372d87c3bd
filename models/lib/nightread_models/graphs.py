"""Rewriting of ONNX graphs before quantisation."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


def norms_to_convolutions(model: onnx.ModelProto) -> int:
    """Replaces each batch normalisation that is left by an equal 1x1 depthwise convolution; returns their number.

    DenseNet's pre-activation norms have no convolution before them to be folded into. ONNX Runtime has
    no integer batch normalisation, so that each would put a float island between two integer
    convolutions; an integer depthwise convolution it has. In FP32 nothing is gained: its optimiser
    does the same by itself.
    """
    graph = model.graph
    constants = {initializer.name: initializer for initializer in graph.initializer}
    nodes = []
    replaced = 0
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            continue
        scale, bias, mean, variance = (numpy_helper.to_array(constants[name]) for name in node.input[1:5])
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        # In double precision: the division is done once here instead of in each inference.
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
        shift = bias - mean * factor
        output = node.output[0]
        weight_name, bias_name = f"{output}_factor", f"{output}_shift"
        graph.initializer.append(numpy_helper.from_array(factor.astype(np.float32).reshape(-1, 1, 1, 1), weight_name))
        graph.initializer.append(numpy_helper.from_array(shift.astype(np.float32), bias_name))
        nodes.append(
            helper.make_node(
                "Conv",
                [node.input[0], weight_name, bias_name],
                [output],
                name=f"{output}_norm",
                kernel_shape=[1, 1],
                group=len(factor),
            )
        )
        replaced += 1
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [initializer for initializer in graph.initializer if initializer.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return replaced


def head(model: onnx.ModelProto, output: str = "logits") -> list[str]:
    """Names of the nodes from the last norm or convolution before the classifier's map to `output`.

    Walks back from the output to the classifier's 1x1 convolution, and further over a ReLU and a norm
    (depthwise convolution) if these come before it. A small share of the work and a large one of the error.
    """
    producer = {name: node for node in model.graph.node for name in node.output}
    names = []
    node = producer.get(output)
    while node is not None and node.op_type != "Conv":
        names.append(node.name)
        node = producer.get(node.input[0])
    if node is None:
        return names
    names.append(node.name)
    before = producer.get(node.input[0])
    norm = producer.get(before.input[0]) if before is not None and before.op_type == "Relu" else None
    if norm is not None and norm.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in norm.attribute):
        names += [before.name, norm.name]
    return names


def shift_logits(model: onnx.ModelProto, shift: NDArray[np.float32], output: str = "logits") -> None:
    """Adds `shift` (labels,) to the bias of the addition that ends in `output`. Raises ValueError without one."""
    constants = {initializer.name: initializer for initializer in model.graph.initializer}
    last = next(node for node in model.graph.node if output in node.output)
    bias = next((name for name in last.input if name in constants), None)
    if last.op_type != "Add" or bias is None:
        raise ValueError(f"{output}: does not end in the addition of a bias")
    values = numpy_helper.to_array(constants[bias])
    constants[bias].CopyFrom(numpy_helper.from_array((values + shift).astype(np.float32), bias))
