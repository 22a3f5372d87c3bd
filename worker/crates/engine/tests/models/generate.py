#!/usr/bin/env python3
"""Writes the small ONNX models of the engine's tests into this folder. Needs numpy and onnx; the output is deterministic.

Every graph takes `image`, float32 (batch, 1, 4, 4), unless its name says otherwise, and gives `logits` (batch, 3).
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, helper, numpy_helper

HERE = Path(__file__).resolve().parent
SIDE, LABELS = 4, 3


def floats(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def save(name, nodes, constants, inputs=None, outputs=None, data=None):
    inputs = inputs or [floats("image", ["batch", 1, SIDE, SIDE])]
    outputs = outputs or [floats("logits", ["batch", LABELS])]
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model.producer_name = "nightread-tests"
    onnx.checker.check_model(model, full_check=True)
    if data:
        [tensor] = model.graph.initializer
        if "/" not in data:
            (HERE / data).write_bytes(tensor.raw_data)
        external_data_helper.set_external_data(tensor, location=data, offset=0, length=len(tensor.raw_data))
        tensor.ClearField("raw_data")
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


# logits = flatten(image) @ W, W[i, l] = (i + 1) * (l - 1) / 64: easy to compute by hand.
weight = ((np.arange(SIDE * SIDE) + 1)[:, None] * (np.arange(LABELS) - 1)[None, :] / 64).astype(np.float32)
flatten = helper.make_node("Flatten", ["image"], ["flat"], axis=1)
linear = [flatten, helper.make_node("MatMul", ["flat", "weight"], ["logits"])]
save("linear", linear, [constant("weight", weight)])

# The same, with the weights in another file, as exporters write large models.
save("external", linear, [constant("weight", weight)], data="external.onnx.data")
# And in files that a model's folder does not hold, or not plainly.
for name, place in {"escaping": "../outside.data", "absolute": "/tmp/outside.data", "nested": "deeper/inside.data"}.items():
    save(name, linear, [constant("weight", weight)], data=place)

# The same, and cam = image repeated for each label, scaled by the label's number.
scales = np.arange(LABELS, dtype=np.float32).reshape(1, LABELS, 1, 1)
save(
    "cam",
    [*linear, helper.make_node("Mul", ["image", "scales"], ["cam"])],
    [constant("weight", weight), constant("scales", scales)],
    outputs=[floats("logits", ["batch", LABELS]), floats("cam", ["batch", LABELS, SIDE, SIDE])],
)

# Two heads and what they are made of: findings as logits above, view (batch, 2) with weights of its own, and the image's
# values in a row as the embedding (batch, 16).
views = ((np.arange(SIDE * SIDE) % 5)[:, None] * np.array([1, -1])[None, :] / 256).astype(np.float32)
save(
    "heads",
    [
        helper.make_node("Flatten", ["image"], ["embedding"], axis=1),
        helper.make_node("MatMul", ["embedding", "weight"], ["findings"]),
        helper.make_node("MatMul", ["embedding", "views"], ["view"]),
    ],
    [constant("weight", weight), constant("views", views)],
    outputs=[floats("findings", ["batch", LABELS]), floats("view", ["batch", 2]), floats("embedding", ["batch", 16])],
)

# logits / (first pixel - 7): an item whose first pixel is 7 gives infinities or NaN, its neighbours do not.
pick = helper.make_node("Slice", ["flat", "zero", "one", "axis"], ["first"])
save(
    "poison",
    [
        flatten,
        helper.make_node("MatMul", ["flat", "weight"], ["plain"]),
        pick,
        helper.make_node("Sub", ["first", "seven"], ["distance"]),
        helper.make_node("Div", ["plain", "distance"], ["logits"]),
    ],
    [
        constant("weight", weight),
        constant("zero", np.array([0], np.int64)),
        constant("one", np.array([1], np.int64)),
        constant("axis", np.array([1], np.int64)),
        constant("seven", np.array([7.0], np.float32)),
    ],
)

# The first pixel chooses a row of a table of 8: outside it the whole run fails, whoever else is in the batch.
save(
    "gather",
    [
        flatten,
        pick,
        helper.make_node("Cast", ["first"], ["row"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["row", "axis"], ["rows"]),
        helper.make_node("Gather", ["table", "rows"], ["logits"], axis=0),
    ],
    [
        constant("zero", np.array([0], np.int64)),
        constant("one", np.array([1], np.int64)),
        constant("axis", np.array([1], np.int64)),
        constant("table", np.arange(8 * LABELS, dtype=np.float32).reshape(8, LABELS)),
    ],
)

# logits = the mean of an image of any size. A first pixel above 1000 asks for more memory than a machine can address, whoever
# else is in the batch.
save(
    "hungry",
    [
        flatten,
        pick,
        helper.make_node("Sub", ["first", "enough"], ["more"]),
        helper.make_node("Relu", ["more"], ["hunger"]),
        helper.make_node("ReduceSum", ["hunger"], ["all"], keepdims=1),
        helper.make_node("Cast", ["all"], ["steps"], to=TensorProto.INT64),
        helper.make_node("Mul", ["steps", "step"], ["values"]),
        helper.make_node("Reshape", ["values", "axis"], ["size"]),
        helper.make_node("Add", ["size", "axis"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["heap"]),
        helper.make_node("ReduceSum", ["heap"], ["nothing"], keepdims=0),
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["plain"], axis=1),
        helper.make_node("Add", ["plain", "nothing"], ["logits"]),
    ],
    [
        constant("zero", np.array([0], np.int64)),
        constant("one", np.array([1], np.int64)),
        constant("axis", np.array([1], np.int64)),
        constant("enough", np.array([1000.0], np.float32)),
        constant("step", np.array([2**44], np.int64)),
    ],
    inputs=[floats("image", ["batch", 1, "height", "width"])],
    outputs=[floats("logits", ["batch", 1])],
)

# The root of the mean and 512: NaN for images of any size that are darker than that, the only ones it cannot read.
save(
    "dark",
    [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["plain"], axis=1),
        helper.make_node("Add", ["plain", "least"], ["light"]),
        helper.make_node("Sqrt", ["light"], ["logits"]),
    ],
    [constant("least", np.array([512.0], np.float32))],
    inputs=[floats("image", ["batch", 1, "height", "width"])],
    outputs=[floats("logits", ["batch", 1])],
)

# Differs from the manifest in everything that is compared: name, dtype, rank, size, a fixed batch.
save(
    "fixed-batch",
    linear,
    [constant("weight", weight)],
    inputs=[floats("image", [1, 1, SIDE, SIDE])],
    outputs=[floats("logits", [1, LABELS])],
)
save(
    "doubles",
    [flatten, helper.make_node("MatMul", ["flat", "weight"], ["logits"])],
    [constant("weight", weight.astype(np.float64))],
    inputs=[helper.make_tensor_value_info("image", TensorProto.DOUBLE, ["batch", 1, SIDE, SIDE])],
    outputs=[helper.make_tensor_value_info("logits", TensorProto.DOUBLE, ["batch", LABELS])],
)

# A little convolutional network, (batch, 1, 64, 64): enough work to see batching, small enough to keep.
rng = np.random.default_rng(20240917)


def kernel(name, *shape):
    return constant(name, (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))


save(
    "conv",
    [
        helper.make_node("Conv", ["image", "k1"], ["a"], kernel_shape=[5, 5], pads=[2] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "k2"], ["c"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "k3"], ["e"], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("Conv", ["f", "k4"], ["cam"], kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["cam"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"], axis=1),
    ],
    [kernel("k1", 16, 1, 5, 5), kernel("k2", 16, 16, 3, 3), kernel("k3", 32, 16, 3, 3), kernel("k4", LABELS, 32, 1, 1)],
    inputs=[floats("image", ["batch", 1, 64, 64])],
    outputs=[floats("logits", ["batch", LABELS]), floats("cam", ["batch", LABELS, 16, 16])],
)

# A network of volumes, (1, 1, 8, 8, 8): each voxel's class follows from its own value x alone. Logits are 0, 100 x - 50 and
# 200 x - 250, so that the class is 0 up to 0.5, 1 up to 2, and 2 above; a network that shifts or turns its patch is found out.
bands = np.array([0.0, 100.0, 200.0], np.float32).reshape(3, 1, 1, 1, 1)
save(
    "bands",
    [helper.make_node("Conv", ["volume", "bands", "offsets"], ["logits"], kernel_shape=[1, 1, 1])],
    [constant("bands", bands), constant("offsets", np.array([0.0, -50.0, -250.0], np.float32))],
    inputs=[floats("volume", [1, 1, 8, 8, 8])],
    outputs=[floats("logits", [1, LABELS, 8, 8, 8])],
)
