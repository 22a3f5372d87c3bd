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

from nightread_models import onnx_export

# Operators that a positive factor by channel passes through.
PASSING = ("Relu", "MaxPool", "AveragePool")
SUFFIX = "/greatest"


class _Graph:
    """Nodes by output and by input, and constants, of a model with depthwise norms."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.producer = {output: node for node in model.graph.node for output in node.output}
        self.constants = {constant.name: constant for constant in model.graph.initializer}
        self.consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self.consumers[name].append(node)

    def group(self, node: onnx.NodeProto) -> int:
        return next((a.i for a in node.attribute if a.name == "group"), 1)

    def is_norm(self, node: onnx.NodeProto) -> bool:
        """A 1x1 depthwise convolution, as `graphs.norms_to_convolutions` makes them."""
        return node.op_type == "Conv" and self.group(node) > 1 and self.constants[node.input[1]].dims[1:] == [1, 1, 1]

    def array(self, name: str) -> NDArray[np.float32]:
        return numpy_helper.to_array(self.constants[name]).copy()

    def replace(self, name: str, values: NDArray[np.float32]) -> None:
        self.constants[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))

    def sources(self, tensor: str) -> list[str]:
        """Outputs of the convolutions that a tensor's channels come from, in channel order."""
        node = self.producer[tensor]
        if node.op_type == "Concat":
            return [source for name in node.input for source in self.sources(name)]
        if node.op_type in PASSING:
            return self.sources(node.input[0])
        if node.op_type != "Conv":
            raise ValueError(f"{node.op_type} between a convolution and a norm")
        return [tensor]

    def only_norms_follow(self, tensor: str) -> bool:
        """True when every way from the tensor leads into norms."""
        return all(
            self.is_norm(node) or (node.op_type in (*PASSING, "Concat") and self.only_norms_follow(node.output[0]))
            for node in self.consumers[tensor]
        ) and bool(self.consumers[tensor])


def greatest_magnitudes(
    model: onnx.ModelProto, tensors: list[str], images: NDArray[np.float32], work: Path, batch: int = 8
) -> dict[str, NDArray[np.float32]]:
    """Greatest |value| by channel of each tensor over the images: {tensor: (channels,)}."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    axes = numpy_helper.from_array(np.array([0, 2, 3], dtype=np.int64), "equalise_axes")
    probe.graph.initializer.append(axes)
    del probe.graph.output[:]
    for tensor in tensors:
        probe.graph.node.append(helper.make_node("Abs", [tensor], [f"{tensor}/magnitude"]))
        probe.graph.node.append(
            helper.make_node("ReduceMax", [f"{tensor}/magnitude", axes.name], [tensor + SUFFIX], keepdims=0)
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


def equalise_features(model: onnx.ModelProto, images: NDArray[np.float32], work: Path) -> int:
    """Rescales the channels that only feed norms, in place; returns the number of convolutions changed.

    `images` (n, *item_shape) are calibration items; `work` takes a temporary file. Opset 18 or later.
    """
    graph = _Graph(model)
    norms = [node for node in model.graph.node if graph.is_norm(node)]
    fed = {norm.output[0]: graph.sources(norm.input[0]) for norm in norms}
    tensors = sorted({s for sources in fed.values() for s in sources if graph.only_norms_follow(s)})
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
