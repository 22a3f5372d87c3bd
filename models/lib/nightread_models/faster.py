"""Rewrites an exported graph into an equal one that costs ONNX Runtime less: same sums, other order.

`pool_before_projection`: DenseNet's transitions project to half the channels and then average 2x2 positions.
Both are linear and the one knows nothing of the other's axes, so that they may change places: a quarter of the
multiplications is left.

`small_maps_to_matrices`: where a map has few positions (ResNet's last stages on 45x45 inputs: 3x3 and 2x2),
convolution kernels go through one image after the other and fetch megabytes of weights for each. As one matrix
(batch * positions, channels) the whole batch meets each weight once.
"""

from collections import Counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

# Height times width from which on convolutions are left as they are.
MOST_POSITIONS = 16
LEAST_CHANNELS = 128


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attribute values by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def fold_constants(model: onnx.ModelProto) -> int:
    """Computes casts, products, copies and reshapings of constants; returns the number of nodes.

    `compact` widens weights by them, and exporters copy equal constants.
    """
    graph = model.graph
    constants = {initializer.name: initializer for initializer in graph.initializer}
    kept, folded = [], 0
    for node in graph.node:
        if node.op_type not in ("Cast", "Identity", "Mul", "Unsqueeze") or not all(
            name in constants for name in node.input
        ):
            kept.append(node)
            continue
        values = [numpy_helper.to_array(constants[name]) for name in node.input]
        if node.op_type == "Cast":
            result = values[0].astype(helper.tensor_dtype_to_np_dtype(attributes(node)["to"]))
        elif node.op_type == "Identity":
            result = values[0]
        elif node.op_type == "Mul":
            result = values[0] * values[1]
        else:
            # Axes were an attribute before opset 13.
            axes = values[1] if len(values) > 1 else attributes(node)["axes"]
            result = np.expand_dims(values[0], tuple(int(axis) for axis in axes))
        constants[node.output[0]] = numpy_helper.from_array(result, node.output[0])
        graph.initializer.append(constants[node.output[0]])
        folded += 1
    replace_nodes(graph, kept)
    return folded


def rewrite(model: onnx.ModelProto) -> None:
    """All of it, in place; shapes are inferred anew."""
    fold_constants(model)
    pool_before_projection(model)
    small_maps_to_matrices(model)
    onnx.checker.check_model(model, full_check=True)


def pool_before_projection(model: onnx.ModelProto) -> int:
    """Swaps each 1x1 convolution and the average pooling that alone follows it; returns how many."""
    graph = model.graph
    uses = Counter(name for node in graph.node for name in node.input)
    weights = {initializer.name: initializer for initializer in graph.initializer}
    producer = {output: node for node in graph.node for output in node.output}
    swapped = 0
    for pool in graph.node:
        convolution = producer.get(pool.input[0]) if pool.op_type == "AveragePool" else None
        if convolution is None or convolution.op_type != "Conv" or uses[convolution.output[0]] != 1:
            continue
        weight = weights.get(convolution.input[1])
        plain = {**{"strides": [1, 1], "pads": [0] * 4, "group": 1}, **attributes(convolution)}
        # Zero padding would be averaged in as zeros on one side and as the bias on the other.
        unpadded = not any(attributes(pool).get("pads", [0])) and not any(plain["pads"])
        if weight is None or list(weight.dims[2:]) != [1, 1] or plain["group"] != 1 or not unpadded:
            continue
        if list(plain["strides"]) != [1, 1]:
            continue
        inner, outer = convolution.input[0], pool.output[0]
        between = f"{outer}_pooled"
        # The nodes keep their places in the list, and take each other's work.
        first, second = onnx.NodeProto(), onnx.NodeProto()
        first.CopyFrom(pool)
        second.CopyFrom(convolution)
        first.input[0], first.output[0] = inner, between
        second.input[0], second.output[0] = between, outer
        convolution.CopyFrom(first)
        pool.CopyFrom(second)
        swapped += 1
    return swapped


def small_maps_to_matrices(model: onnx.ModelProto) -> int:
    """Turns convolutions on small maps, with what lies between them, into matrix products; returns how many.

    Tensors there are (batch * height * width, channels); a convolution of more than one tap gathers its taps from
    a map with one row of zeros behind it. Outside, tensors keep their names and layout.
    """
    rewriter = _Matrices(model)
    for node in list(model.graph.node):
        rewriter.take(node)
    replace_nodes(model.graph, rewriter.nodes)
    return rewriter.count


def replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Sets the nodes and drops constants that none of them uses."""
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in graph.node for name in node.input}
    constants = [initializer for initializer in graph.initializer if initializer.name in used]
    del graph.initializer[:]
    graph.initializer.extend(constants)


class _Matrices:
    """Walks the nodes in order and keeps, for each tensor that has one, its form as a matrix."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants = {initializer.name: initializer for initializer in self.graph.initializer}
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*inferred.input, *inferred.value_info, *inferred.output)
        }
        self.matrices: set[str] = set()
        self.maps = {value.name for value in self.graph.input}
        self.nodes: list[onnx.NodeProto] = []
        self.count = 0

    def take(self, node: onnx.NodeProto) -> None:
        """Adds the node, or what stands for it."""
        if node.op_type == "Conv" and self.fits(node):
            self.convolve(node)
        elif node.op_type in ("Relu", "Add") and all(name in self.matrices for name in node.input):
            self.emit(node.op_type, [f"{name}/m" for name in node.input], node.output[0])
        else:
            for name in node.input:
                self.need_map(name)
            self.nodes.append(node)
            self.maps.update(node.output)
            return
        self.matrices.add(node.output[0])
        if node.output[0] in {value.name for value in self.graph.output}:
            self.need_map(node.output[0])

    def fits(self, node: onnx.NodeProto) -> bool:
        """A plain convolution onto a small map with many channels, all shapes known."""
        weight, shape = self.constants.get(node.input[1]), self.shapes.get(node.output[0], [])
        own = attributes(node)
        return (
            weight is not None
            and weight.dims[1] >= LEAST_CHANNELS
            and len(shape) == 4
            and 0 < shape[2] * shape[3] <= MOST_POSITIONS
            and own.get("group", 1) == 1
            and list(own.get("dilations", [1, 1])) == [1, 1]
            and own.get("auto_pad", b"NOTSET") == b"NOTSET"
        )

    def emit(self, operator: str, inputs: list[str], tensor: str, **attributes: object) -> None:
        """A node that makes the matrix form of `tensor`."""
        self.nodes.append(helper.make_node(operator, inputs, [f"{tensor}/m"], name=f"{tensor}/m", **attributes))

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(values, name)
            self.graph.initializer.append(self.constants[name])
        return name

    def step(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def rows(self, tensor: str) -> str:
        """The tensor as (batch, positions, channels)."""
        channels, height, width = self.shapes[tensor][1:]
        shape = self.constant(f"rows_{height * width}_{channels}", np.array([-1, height * width, channels]))
        if tensor in self.matrices:
            return self.step("Reshape", [f"{tensor}/m", shape], f"{tensor}/rows")
        last = self.step("Transpose", [tensor], f"{tensor}/last", perm=[0, 2, 3, 1])
        return self.step("Reshape", [last, shape], f"{tensor}/rows")

    def need_map(self, tensor: str) -> None:
        """Makes (batch, channels, height, width) of a tensor that is a matrix only."""
        if tensor not in self.matrices or tensor in self.maps:
            return
        channels, height, width = self.shapes[tensor][1:]
        shape = self.constant(f"map_{height}_{width}_{channels}", np.array([-1, height, width, channels]))
        last = self.step("Reshape", [f"{tensor}/m", shape], f"{tensor}/last")
        self.step("Transpose", [last], tensor, perm=[0, 3, 1, 2])
        self.maps.add(tensor)

    def convolve(self, node: onnx.NodeProto) -> None:
        """Gathers the taps where there is more than each position itself, and multiplies."""
        source, output = node.input[0], node.output[0]
        own, weight = attributes(node), numpy_helper.to_array(self.constants[node.input[1]])
        channels, (height, width), kernel = weight.shape[1], self.shapes[source][2:], weight.shape[2:]
        taps = _taps(
            (height, width),
            kernel,
            list(own.get("strides", [1, 1])),
            list(own.get("pads", [0] * 4)),
            self.shapes[output],
        )
        flat = self.constant(
            f"flat_{channels * kernel[0] * kernel[1]}", np.array([-1, channels * kernel[0] * kernel[1]])
        )
        if taps.size == height * width and (taps == np.arange(height * width)).all():
            if source in self.matrices:
                gathered = f"{source}/m"
            else:
                gathered = self.step("Reshape", [self.rows(source), flat], f"{output}/flat")
        else:
            rows = self.rows(source) if not self.made(f"{source}/rows") else f"{source}/rows"
            if (taps == height * width).any():
                ends = self.constant("zeros_behind", np.array([0, 0, 0, 0, 1, 0]))
                if not self.made(f"{source}/padded"):
                    self.step("Pad", [rows, ends], f"{source}/padded")
                rows = f"{source}/padded"
            indices = self.constant(f"taps_{'_'.join(map(str, (height, width, *kernel, len(taps))))}", taps)
            gathered = self.step("Gather", [rows, indices], f"{output}/taps", axis=1)
            gathered = self.step("Reshape", [gathered, flat], f"{output}/flat")
        matrix = self.constant(
            f"{node.input[1]}/m", np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(-1, len(weight))
        )
        if len(node.input) > 2 and node.input[2]:
            self.emit("Gemm", [gathered, matrix, node.input[2]], output)
        else:
            self.emit("MatMul", [gathered, matrix], output)
        self.count += 1

    def made(self, name: str) -> bool:
        return any(name in node.output for node in self.nodes)


def _taps(
    sides: tuple[int, int], kernel: tuple[int, ...], strides: list[int], pads: list[int], out: list[int]
) -> NDArray[np.int64]:
    """Flat input position of each tap of each output position, row-major; `height * width` means zero padding."""
    height, width = sides
    y = np.arange(out[2])[:, None, None, None] * strides[0] - pads[0] + np.arange(kernel[0])[:, None]
    x = np.arange(out[3])[:, None, None] * strides[1] - pads[1] + np.arange(kernel[1])
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return np.where(inside, y * width + x, height * width).astype(np.int64).ravel()
