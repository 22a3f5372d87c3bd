"""Rewriting of ONNX graphs before quantisation."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nightread_models import faster


def norms_to_convolutions(model: onnx.ModelProto) -> int:
    """Replaces each batch normalisation of images that is left by an equal 1x1 depthwise convolution; returns how many.

    DenseNet's pre-activation norms have no convolution before them to be folded into. ONNX Runtime has
    no integer batch normalisation, so that each would put a float island between two integer
    convolutions; an integer depthwise convolution it has. In FP32 nothing is gained: its optimiser
    does the same by itself.
    """
    graph = model.graph
    constants = {initializer.name: initializer for initializer in graph.initializer}
    shapes = _shapes(model)
    nodes = []
    replaced = 0
    for node in graph.node:
        fits = node.op_type == "BatchNormalization" and all(name in constants for name in node.input[1:5])
        # Of vectors or volumes it stays: a convolution of images cannot stand for it.
        if not fits or len(shapes.get(node.input[0], [])) != 4:
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
    """Replaces each plain average pooling of images by an equal depthwise convolution; returns how many.

    Its integer average pooling is several times as slow as its integer depthwise convolution.
    """
    graph = model.graph
    shapes = _shapes(model)
    nodes, replaced = [], 0
    for node in graph.node:
        own, shape = faster.attributes(node), shapes.get(node.input[0] if node.input else "", [])
        unpadded = not any(own.get("pads", [0])) and own.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
        plain = unpadded and not own.get("ceil_mode", 0) and set(own.get("dilations", [1])) == {1}
        if node.op_type != "AveragePool" or not plain or len(shape) != 4 or not shape[1]:
            nodes.append(node)
            continue
        kernel, count, output = list(own["kernel_shape"]), shape[1], node.output[0]
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
    if [node.op_type for node in nodes] != ["Conv", "Relu", "MaxPool"] or nodes[0].input[1] not in constants:
        return []
    if constants[nodes[0].input[1]].dims[1] != 1 or nodes[2].output[0] in {value.name for value in graph.output}:
        return []
    if nodes[1].input[0] != nodes[0].output[0] or nodes[2].input[0] != nodes[1].output[0]:
        return []
    pooled = nodes[2].output[0]
    nodes[2].output[0] = f"{pooled}_raw"
    graph.node.insert(
        3, helper.make_node("AveragePool", [f"{pooled}_raw"], [pooled], name=f"{pooled}_same", kernel_shape=[1, 1])
    )
    return [node.name for node in graph.node[:4]]


# Of several inputs that are computed none is the classifier's alone.
JOINING = ("Add", "Sub", "Mul", "Div", "Concat", "Sum", "Max", "Min", "Mean", "Where")


def head(model: onnx.ModelProto, output: str = "logits") -> list[str]:
    """Names of the nodes from the last norm or convolution before the classifier's map to `output`.

    Walks back from the output to the classifier's convolution or product, and further over a ReLU and a norm (depthwise
    convolution) if these come before it. A small share of the work and a large one of the error. Where several computed
    tensors are joined on the way, the walk ends there.
    """
    producer = {name: node for node in model.graph.node for name in node.output}
    names = []
    node = producer.get(output)
    while node is not None and node.op_type not in ("Conv", "Gemm", "MatMul"):
        names.append(node.name)
        computed = [name for name in node.input if name in producer]
        joins = node.op_type in JOINING and len(computed) > 1
        node = producer[computed[0]] if computed and not joins else None
    if node is None:
        return names
    names.append(node.name)
    before = producer.get(node.input[0])
    norm = producer.get(before.input[0]) if before is not None and before.op_type == "Relu" else None
    if norm is not None and norm.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in norm.attribute):
        names += [before.name, norm.name]
    return names


def shift_logits(model: onnx.ModelProto, shift: NDArray[np.float32], output: str = "logits") -> None:
    """Adds `shift` (labels,) to `output` (batch, labels): to the bias it ends in, or by an addition of its own.

    The bias is that of an addition or of a `Gemm`, where no other node has it too.
    """
    graph = model.graph
    place, last = next((place, node) for place, node in enumerate(graph.node) if output in node.output)
    constants = {initializer.name: initializer for initializer in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    whole = last.op_type == "Add" or (last.op_type == "Gemm" and faster.attributes(last).get("beta", 1.0) == 1.0)
    inputs = last.input[2:] if last.op_type == "Gemm" else last.input
    bias = next((name for name in inputs if name in constants and uses[name] == 1), None)
    values = numpy_helper.to_array(constants[bias]) if whole and bias else None
    if values is not None and values.size == len(shift) == values.shape[-1]:
        constants[bias].CopyFrom(numpy_helper.from_array((values + shift).astype(np.float32), bias))
        return
    raw, own = f"{output}_unshifted", f"{output}_shift"
    last.output[list(last.output).index(output)] = raw
    graph.initializer.append(numpy_helper.from_array(shift.astype(np.float32), own))
    graph.node.insert(place + 1, helper.make_node("Add", [raw, own], [output], name=f"{output}_shifted"))


def merge_norms(model: onnx.ModelProto, work: Path) -> onnx.ModelProto:
    """The model with each batch normalisation that follows a convolution merged into it, by ONNX Runtime.

    Exporters do so by default; where they were told otherwise, a norm would become a convolution of its own. `work`
    takes two temporary files. A model without such norms is given back as it is.
    """
    producer = {name: node for node in model.graph.node for name in node.output}
    norms = (node for node in model.graph.node if node.op_type == "BatchNormalization")
    if not any(producer[norm.input[0]].op_type == "Conv" for norm in norms if norm.input[0] in producer):
        return model
    options = onnxruntime.SessionOptions()
    # The standard's own operators are all that these optimisations leave.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(work / "merged.onnx")
    onnx.save(model, work / "unmerged.onnx")
    onnxruntime.InferenceSession(work / "unmerged.onnx", options, providers=["CPUExecutionProvider"])
    return onnx.load(work / "merged.onnx")


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Sides of the tensors whose rank is known; 0 for a side that may be anything."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }
