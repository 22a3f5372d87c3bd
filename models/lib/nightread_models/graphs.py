"""Rewriting of ONNX graphs before quantisation."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nightread_models import faster


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
    faster.replace_nodes(graph, nodes)
    return replaced


def pooling_to_convolutions(model: onnx.ModelProto) -> int:
    """Replaces each average pooling without padding by an equal depthwise convolution; returns how many.

    Its integer average pooling is several times as slow as its integer depthwise convolution.
    """
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph
    channels = {value.name: value.type.tensor_type.shape.dim[1].dim_value for value in inferred.value_info}
    nodes, replaced = [], 0
    for node in graph.node:
        own = faster.attributes(node)
        if node.op_type != "AveragePool" or any(own.get("pads", [0])) or not channels.get(node.input[0]):
            nodes.append(node)
            continue
        kernel, count, output = list(own["kernel_shape"]), channels[node.input[0]], node.output[0]
        weight = np.full((count, 1, *kernel), 1 / np.prod(kernel), np.float32)
        graph.initializer.append(numpy_helper.from_array(weight, f"{output}_mean"))
        strides = list(own.get("strides", [1] * len(kernel)))
        nodes.append(
            helper.make_node(
                "Conv", [node.input[0], f"{output}_mean"], [output], name=f"{output}_pool",
                kernel_shape=kernel, strides=strides, group=count,
            )
        )  # fmt: skip
        replaced += 1
    faster.replace_nodes(graph, nodes)
    return replaced


def stem(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes before the first norm that stay in FP32 when the image has one channel; none otherwise.

    A 7x7 convolution of one channel fills no integer kernel: in FP32 it takes an eighth of the time. The optimiser
    would still draw the rounding of its pooled output before the pooling, which has no fast integer form there: an
    average over 1x1 is put behind it, which changes nothing and stops that.
    """
    graph = model.graph
    constants = {initializer.name: initializer for initializer in graph.initializer}
    nodes = list(graph.node[:3])
    if [node.op_type for node in nodes] != ["Conv", "Relu", "MaxPool"] or constants[nodes[0].input[1]].dims[1] != 1:
        return []
    pooled = nodes[2].output[0]
    nodes[2].output[0] = f"{pooled}_raw"
    graph.node.insert(
        3, helper.make_node("AveragePool", [f"{pooled}_raw"], [pooled], name=f"{pooled}_same", kernel_shape=[1, 1])
    )
    return [node.name for node in graph.node[:4]]


def head(model: onnx.ModelProto, output: str = "logits") -> list[str]:
    """Names of the nodes from the last norm or convolution before the classifier's map to `output`.

    Walks back from the output to the classifier's 1x1 convolution or product, and further over a ReLU and a norm
    (depthwise convolution) if these come before it. A small share of the work and a large one of the error.
    """
    producer = {name: node for node in model.graph.node for name in node.output}
    names = []
    node = producer.get(output)
    while node is not None and node.op_type not in ("Conv", "Gemm", "MatMul"):
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
