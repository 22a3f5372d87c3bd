"""An ONNX file as its owner brought it: opened, held against its manifest, or refused in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from nightread_models import description, faster, manifest, onnx_export
from nightread_models.description import Head
from nightread_models.mistakes import Mistake, first_line, listed

# Static quantisation by channel needs them.
LEAST_OPSET = 13
EXPORT = 'torch.onnx.export(network, (image,), "model.onnx", input_names=..., output_names=..., dynamic_shapes=...)'
# First bytes of what is taken for ONNX files.
OTHERS = {
    b"PK\x03\x04": f"is a PyTorch archive (TorchScript or a checkpoint), no ONNX file: export the network by {EXPORT}",
    b"\x80\x02": f"is a Python pickle (a checkpoint), no ONNX file: export the network by {EXPORT}",
    b"version https://git-lfs": "is a pointer of Git LFS, not the weights: run `git lfs pull`",
    b"\x89HDF": "is an HDF5 file (Keras), no ONNX file: convert the network by tf2onnx",
}
QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "MatMulInteger")
WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")
HALF = {onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.BFLOAT16: "bfloat16", onnx.TensorProto.DOUBLE: "float64"}


def load(path: Path) -> onnx.ModelProto:
    """A network with its constants widened, no nodes but those that compute, each with a name. Raises Mistake."""
    with path.open("rb") as file:
        first = file.read(32)
    if other := next((what for start, what in OTHERS.items() if first.startswith(start)), None):
        raise Mistake(f"{path}: {other}")
    try:
        model = onnx.load(path)
    except DecodeError:
        raise Mistake(f"{path}: is no ONNX file: export the network by {EXPORT}") from None
    except (OSError, onnx.checker.ValidationError) as error:
        what = "keep the files with its tensors beside it, and list them in weights.fp32.data"
        raise Mistake(f"{path}: its tensors cannot be read ({first_line(error)}): {what}") from None
    if not model.graph.node or not model.graph.output:
        raise Mistake(f"{path}: has no network in it: export it by {EXPORT}")
    constants_to_initializers(model)
    faster.fold_constants(model)
    name_nodes(model)
    return model


def check(folder: Path, described: Mapping[str, Any]) -> None:
    """Holds the FP32 weights of a model folder against its manifest. Raises Mistake for what cannot be quantised."""
    path = weights_path(folder, described)
    model = load(path)
    if problems := [*_entry_problems(model, described), *_graph_problems(model), *_output_problems(model, described)]:
        raise Mistake(*(f"{path}: {problem}" for problem in problems))
    _try(path, described)


def weights_path(folder: Path, described: Mapping[str, Any]) -> Path:
    """The FP32 weights, all of whose files have the manifest's digests. Raises Mistake where one has not."""
    fp32 = described["weights"]["fp32"]
    for entry in [fp32, *fp32.get("data", [])]:
        path = folder / entry["file"]
        if not path.is_file():
            raise Mistake(f"{path}: is not there: put the file that {manifest.FILE} names into the folder")
        if manifest.sha256(path) != entry["sha256"]:
            what = "put the right file there, or its sha256 into the manifest under a new version"
            raise Mistake(f"{path}: not the file whose digest the manifest holds: {what}")
    return folder / fp32["file"]


def constants_to_initializers(model: onnx.ModelProto) -> int:
    """Takes tensors out of `Constant` nodes, where the rewriting looks for none; returns their number."""
    kept, taken = [], []
    given = {value.name for value in model.graph.output}
    for node in model.graph.node:
        value = faster.attributes(node).get("value") if node.op_type == "Constant" else None
        if value is None or node.output[0] in given:
            kept.append(node)
            continue
        taken.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
    model.graph.initializer.extend(taken)
    if taken:
        del model.graph.node[:]
        model.graph.node.extend(kept)
    return len(taken)


def name_nodes(model: onnx.ModelProto) -> int:
    """Gives a name to nodes without one or with that of another: they are left out of quantising by it."""
    seen: set[str] = set()
    named = 0
    for place, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{place}_{node.output[0]}"
            named += 1
        seen.add(node.name)
    return named


def _entry_problems(model: onnx.ModelProto, described: Mapping[str, Any]) -> list[str]:
    """Of the one input, against the manifest."""
    held = {initializer.name for initializer in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in held]
    if len(inputs) != 1:
        names = listed([value.name for value in inputs], 6) or "none"
        return [f"has {len(inputs)} inputs ({names}): export a network that takes the image alone"]
    (value,) = inputs
    wanted = described["input"]
    kind, dims = value.type.tensor_type.elem_type, value.type.tensor_type.shape.dim
    lines = []
    if value.name != wanted["name"]:
        lines.append(f"its input is {value.name!r}, the manifest's input.name {wanted['name']!r}: mend the manifest")
    if kind != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind).lower()
        lines.append(f"its input is {name}: export it in float32 (network.float())")
    # A side that may be anything has no value, and serves.
    sides = [dim.dim_value for dim in dims[1:]]
    fits = len(sides) == len(wanted["item_shape"])
    if dims and not (fits and all(a in (0, b) for a, b in zip(sides, wanted["item_shape"], strict=True))):
        lines.append(f"takes items of {sides}, input.item_shape is {wanted['item_shape']}: mend the manifest")
    if dims and dims[0].dim_value:
        what = "export it with a dynamic first dimension (dynamic_shapes)"
        lines.append(f"takes {dims[0].dim_value} items at a time and no other number: {what}")
    return lines


def _graph_problems(model: onnx.ModelProto) -> list[str]:
    """Of what is computed."""
    kinds = {node.op_type for node in model.graph.node}
    if found := kinds & set(QUANTISED):
        return [f"is quantised already ({listed(sorted(found))}): INT8 is made of FP32 weights"]
    lines = []
    used = {name for node in model.graph.node for name in node.input}
    types = {initializer.data_type for initializer in model.graph.initializer if initializer.name in used}
    types |= {faster.attributes(node).get("to") for node in model.graph.node if node.op_type == "Cast"}
    if narrow := sorted(HALF[kind] for kind in types if kind in HALF):
        lines.append(f"computes in {listed(narrow)}: export it in float32 (network.float())")
    opset = opset_of(model)
    if opset < LEAST_OPSET:
        what = f"export it with opset_version=18, or convert it by onnx.version_converter to {LEAST_OPSET} or later"
        lines.append(f"has opset {opset}, in which weights have no range by channel: {what}")
    constants = {initializer.name for initializer in model.graph.initializer}
    if not any(node.op_type in WEIGHTED and constants & set(node.input[1:]) for node in model.graph.node):
        lines.append("has no convolution and no product with constant weights: there is nothing to quantise")
    return lines


def _output_problems(model: onnx.ModelProto, described: Mapping[str, Any]) -> list[str]:
    """Of the outputs that have labels."""
    names = [value.name for value in model.graph.output]
    heads = description.heads(described)
    lacking = [head.logits for head in heads if head.logits not in names]
    if not lacking:
        return []
    return [f"has no output {listed(lacking)} (it has {listed(names, 6)}): mend output.logits in the manifest"]


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _try(path: Path, described: Mapping[str, Any]) -> None:
    """Runs three items of noise. Raises Mistake for what fails, or gives what the manifest does not say."""
    heads: Sequence[Head] = description.heads(described)
    low, high = (float(end) for end in described["input"]["value_range"])
    noise = np.random.default_rng(0).uniform(low, high, (3, *described["input"]["item_shape"])).astype(np.float32)
    try:
        given = onnx_export.session(path).run([head.logits for head in heads], {described["input"]["name"]: noise})
    except Exception as error:  # ONNX Runtime's errors have no class in common but this one.
        what = "`nightread models check` tells which export mends it"
        raise Mistake(f"{path}: ONNX Runtime does not run it on three items ({first_line(error)}): {what}") from None
    for head, array in zip(heads, given, strict=True):
        wanted = (len(noise), len(head.columns))
        if array.shape != wanted:
            what = f"for {len(noise)} items and {len(head.columns)} labels it must be {list(wanted)}"
            found = f"output {head.logits!r} is {list(array.shape)}"
            raise Mistake(f"{path}: {found}, {what}: mend [[labels]] or the export")
        if not np.isfinite(array).all():
            what = "is not finite on noise within value_range: look at the export"
            raise Mistake(f"{path}: output {head.logits!r} {what}")


def check_initializer(path: Path, model: onnx.ModelProto, name: str) -> None:
    """Raises Mistake where `model`, made of `path`, lost or changed the constant that a heatmap is made of."""
    before = {constant.name: constant for constant in onnx.load(path).graph.initializer}
    after = {constant.name: constant for constant in model.graph.initializer}
    kept = name in before and name in after
    if not kept or not np.array_equal(*(numpy_helper.to_array(graph[name]) for graph in (before, after))):
        what = "give the weights as a file beside the manifest (output.cam.weights_file)"
        raise Mistake(f"{path}: output.cam.weights {name!r} is not left as it is in INT8: {what}")
