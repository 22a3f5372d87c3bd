"""Gives every channel of DenseNet's shared features the same range, which costs nothing and saves INT8 accuracy.

A dense block concatenates raw convolution outputs whose ranges differ by orders of magnitude, and integers
have one scale for all of them: small channels lose their bits. Each channel goes on only into pre-activation
norms, one factor for each channel, so that it can be multiplied at its convolution and divided at the norms:
both sides are quantised by channel, the product is unchanged. (Cross-layer equalisation, Nagel et al. 2019.)
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nightread_models import faster, network_file, onnx_export
from nightread_models.evaluation import Images

# Operators that a positive factor by channel passes through.
PASSING = ("Relu", "MaxPool", "AveragePool")
SUFFIX = "/greatest"


class _Graph:
    """Nodes by output and by input, and constants, of a model with depthwise norms."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.producer = {output: node for node in model.graph.node for output in node.output}
        self.constants = {constant.name: constant for constant in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self.consumers[name].append(node)

    def group(self, node: onnx.NodeProto) -> int:
        return next((a.i for a in node.attribute if a.name == "group"), 1)

    def is_norm(self, node: onnx.NodeProto) -> bool:
        """A 1x1 depthwise convolution, as `graphs.norms_to_convolutions` makes them, with weights of its own."""
        if node.op_type != "Conv" or not self.owns(node, 1):
            return False
        return list(self.constants[node.input[1]].dims) == [self.group(node), 1, 1, 1] and self.group(node) > 1

    def owns(self, node: onnx.NodeProto, *places: int) -> bool:
        """Whether these inputs are constants that no other node takes."""
        names = [node.input[place] for place in places if len(node.input) > place and node.input[place]]
        return all(name in self.constants and len(self.consumers[name]) == 1 for name in names)

    def array(self, name: str) -> NDArray[np.float32]:
        return numpy_helper.to_array(self.constants[name]).copy()

    def replace(self, name: str, values: NDArray[np.float32]) -> None:
        self.constants[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))

    def sources(self, tensor: str) -> list[str] | None:
        """Outputs of the convolutions that a tensor's channels come from, in channel order; None where others do."""
        node = self.producer.get(tensor)
        if node is None:
            return None
        if node.op_type == "Concat" and faster.attributes(node)["axis"] == 1:
            parts = [self.sources(name) for name in node.input]
            return None if None in parts else [source for part in parts if part for source in part]
        if node.op_type in PASSING:
            return self.sources(node.input[0])
        return [tensor] if node.op_type == "Conv" and node.input[1] in self.constants else None

    def only_norms_follow(self, tensor: str, norms: set[str]) -> bool:
        """True when every way from the tensor leads into these norms (by output), and none out of the network."""
        if tensor in self.outputs or not self.consumers[tensor]:
            return False
        return all(
            node.output[0] in norms
            or (node.op_type in (*PASSING, "Concat") and self.only_norms_follow(node.output[0], norms))
            for node in self.consumers[tensor]
        )


def greatest_magnitudes(
    model: onnx.ModelProto, tensors: list[str], images: Images, work: Path, batch: int = 8
) -> dict[str, NDArray[np.float32]]:
    """Greatest |value| by channel of each tensor over the images: {tensor: (channels,)}."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    axes = numpy_helper.from_array(np.array([0, 2, 3], dtype=np.int64), "equalise_axes")
    # Axes were an attribute before opset 18.
    listed = network_file.opset_of(model) < 18
    own = {"axes": [0, 2, 3]} if listed else {}
    if not listed:
        probe.graph.initializer.append(axes)
    del probe.graph.output[:]
    for tensor in tensors:
        probe.graph.node.append(helper.make_node("Abs", [tensor], [f"{tensor}/magnitude"]))
        probe.graph.node.append(
            helper.make_node(
                "ReduceMax",
                [f"{tensor}/magnitude"] if listed else [f"{tensor}/magnitude", axes.name],
                [tensor + SUFFIX],
                keepdims=0,
                **own,
            )
        )
        probe.graph.output.append(helper.make_tensor_value_info(tensor + SUFFIX, onnx.TensorProto.FLOAT, None))
    path = work / "probe.onnx"
    onnx.save(probe, path)
    session = onnx_export.session(path)
    name = session.get_inputs()[0].name
    found: dict[str, NDArray[np.float32]] = {}
    for at in range(0, len(images), batch):
        values = session.run([tensor + SUFFIX for tensor in tensors], {name: images[at : at + batch]})
        for tensor, value in zip(tensors, values, strict=True):
            found[tensor] = np.maximum(found[tensor], value) if tensor in found else value
    return found


def equalise_features(model: onnx.ModelProto, images: Images, work: Path) -> int:
    """Rescales the channels that only feed norms, in place; returns the number of convolutions changed.

    `images` (n, *item_shape) are calibration items; `work` takes a temporary file. Networks without such norms, as
    most but DenseNets are, stay as they are.
    """
    graph = _Graph(model)
    fed = {}
    for node in model.graph.node:
        if graph.is_norm(node) and (sources := graph.sources(node.input[0])):
            fed[node.output[0]] = sources
    norms = [graph.producer[output] for output in fed]
    tensors = sorted(
        source
        for source in {s for sources in fed.values() for s in sources}
        if graph.only_norms_follow(source, set(fed)) and graph.owns(graph.producer[source], 1, 2)
    )
    if not tensors:
        return 0
    factors = {}
    for tensor, greatest in greatest_magnitudes(model, tensors, images, work).items():
        # A channel that never fires keeps its scale.
        factor = np.where(greatest > 0, 1.0 / np.maximum(greatest, 1e-12), 1.0)
        factors[tensor] = factor
        convolution = graph.producer[tensor]
        weight = graph.array(convolution.input[1])
        graph.replace(convolution.input[1], weight * factor[:, None, None, None])
        if len(convolution.input) > 2 and convolution.input[2]:
            graph.replace(convolution.input[2], graph.array(convolution.input[2]) * factor)
    for norm in norms:
        weight = graph.array(norm.input[1])
        parts = []
        for source in fed[norm.output[0]]:
            channels = graph.constants[graph.producer[source].input[1]].dims[0]
            parts.append(1.0 / factors[source] if source in factors else np.ones(channels))
        graph.replace(norm.input[1], weight * np.concatenate(parts)[:, None, None, None])
    return len(tensors)
