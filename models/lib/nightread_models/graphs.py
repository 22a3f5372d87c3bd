"""Rewriting of ONNX graphs before quantisation."""

import numpy as np
import onnx
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
