"""Each mistake in a network or its manifest ends `quantise.py` in one line, before anything is quantised."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from quantise_cases import Case, Mistakes, ends_in_a_line, has, network, set_at, without

import quantise


def torch_script(case: Case) -> None:
    """What `torch.jit.save` writes."""
    path = case.work / "script.pt"
    torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(1, 3)).save(str(path))
    case.file = path.read_bytes()


def tensors_gone(case: Case) -> None:
    """The graph without the file that has its tensors."""
    network(external=True, path=case.work / "outside.onnx")
    case.file = (case.work / "outside.onnx").read_bytes()


def other_output(case: Case) -> None:
    """The logits under another name."""
    case.model = network()
    case.model.graph.output[0].name = case.model.graph.node[-1].output[0] = "scores"


def only_means(case: Case) -> None:
    """No weights at all."""
    case.model = network(labels=1)
    del case.model.graph.node[4], case.model.graph.node[:2]
    del case.model.graph.initializer[:]
    case.model.graph.node[0].input[0] = "image"
    case.model.graph.node[1].output[0] = "logits"
    case.described["labels"] = case.described["labels"][:1]
    case.header = case.header[:4]
    case.rows = [row[:4] for row in case.rows]


def quantised(case: Case) -> None:
    """The image is rounded in the graph already."""
    case.model = network()
    for name, values in (("scale", np.float32(0.1)), ("zero", np.uint8(0))):
        case.model.graph.initializer.append(numpy_helper.from_array(values, name))
    rounding = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["rounded", "scale", "zero"], ["widened"]),
    ]
    case.model.graph.node[0].input[0] = "widened"
    for node in reversed(rounding):
        case.model.graph.node.insert(0, node)


def fixed_inside(case: Case) -> None:
    """A reshape to one item, behind a batch that claims to be any."""
    case.model = network()
    case.model.graph.initializer.append(numpy_helper.from_array(np.array([1, 4]), "one"))
    case.model.graph.node[3].CopyFrom(helper.make_node("Reshape", ["mean", "one"], ["features"]))


def not_finite(case: Case) -> None:
    """A bias that is NaN."""
    case.model = network()
    bias = next(tensor for tensor in case.model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(np.array([0, np.nan, 0], np.float32), "bias"))


def unknown_operator(case: Case) -> None:
    """An operator that nobody knows."""
    case.model = network()
    case.model.graph.node[1].op_type = "Telescope"


NETWORKS: Mistakes = {
    "garbage": (has("file", b"\x00\x01garbage" * 50), ["model.fp32.onnx", "is no ONNX file", "torch.onnx.export"]),
    "words": (has("file", b"weights will follow\n"), ["is no ONNX file", "torch.onnx.export"]),
    "empty": (has("file", b""), ["has no network in it", "torch.onnx.export"]),
    "TorchScript": (torch_script, ["is a PyTorch archive (TorchScript", "torch.onnx.export"]),
    "pickle": (has("file", b"\x80\x02}q\x00."), ["Python pickle", "torch.onnx.export"]),
    "Keras": (has("file", b"\x89HDF\r\n\x1a\n"), ["HDF5", "tf2onnx"]),
    "LFS pointer": (has("file", b"version https://git-lfs.github.com/spec/v1\n"), ["Git LFS", "git lfs pull"]),
    "truncated": (lambda case: has("file", network().SerializeToString()[:200])(case), ["is no ONNX file"]),
    "tensors gone": (tensors_gone, ["tensors cannot be read", "weights.data", "weights.fp32.data"]),
    "several inputs": (has("model", network(inputs=("image", "age"))), ["2 inputs (image, age)", "the image alone"]),
    "float16": (has("model", network(kind=TensorProto.FLOAT16)), ["float16", "network.float()"]),
    "float64": (has("model", network(kind=TensorProto.DOUBLE)), ["input is double", "network.float()"]),
    "fixed batch": (has("model", network(batch=1)), ["takes 1 items at a time", "dynamic_shapes"]),
    "fixed inside": (fixed_inside, ["does not run it on three items", "models check"]),
    "other size": (has("model", network(side=16)), ["items of [1, 16, 16]", "is [1, 8, 8]", "mend the manifest"]),
    "other input": (set_at("input", "name", value="x"), ["its input is 'image'", "input.name 'x'", "mend the"]),
    "other output": (other_output, ["no output logits (it has scores)", "mend output.logits"]),
    "more labels": (has("model", network(labels=5)), ["'logits' is [3, 5]", "it must be [3, 3]", "mend [[labels]]"]),
    "old opset": (has("model", network(opset=12)), ["opset 12", "opset_version=18"]),
    "nothing to quantise": (only_means, ["nothing to quantise"]),
    "quantised": (quantised, ["quantised already (DequantizeLinear, QuantizeLinear)", "FP32 weights"]),
    "not finite": (not_finite, ["'logits' is not finite", "look at the export"]),
    "unknown operator": (unknown_operator, ["does not run it", "Telescope"]),
    "another file": (has("is_right_digest", False), ["model.fp32.onnx", "not the file whose digest", "new version"]),
}

MANIFESTS: Mistakes = {
    "no weights yet": (without("weights", "fp32", "sha256"), ["no sha256", "export the weights first"]),
    "file gone": (set_at("weights", "fp32", "file", value="x.onnx"), ["x.onnx: is not there", "into the folder"]),
    "no fp32": (set_at("weights", value={}), ["no [weights.fp32]"]),
    "segmentation": (set_at("task", value="segmentation"), ['"segmentation" has no INT8', "Leave it in fp32"]),
    "measurements": (set_at("measurements", value=[{"name": "age"}]), ["[[measurements]]", "Leave it in fp32"]),
    "ensemble": (set_at("ensemble", value={"models": ["a"]}), ["[ensemble]", "Quantise the folder of each"]),
    "ordinal": (set_at("output", "activation", value="ordinal"), ["output.activation 'ordinal'", "leave it in fp32"]),
    "no activation": (without("output", "activation"), ["output.activation None", "models check"]),
    "calibration": (set_at("output", "calibration", value="platt"), ["output.calibration 'platt'", "models check"]),
    "no threshold": (without("labels", 1, "threshold"), ["labels[1].threshold is missing", "models check"]),
    "no labels": (without("labels"), ["no [[labels]]", "models check"]),
    "all suppressed": (
        set_at("labels", value=[{"name": "", "suppressed": True}] * 3), ["every label is suppressed", "models check"]
    ),
    "no operating point": (
        set_at("output", "calibration", value="xrv-op-norm"), ["op_threshold is missing", "Opacity, Effusion, Rare"]
    ),
    "stray head": (
        set_at("output", value={"heads": [{"logits": "logits", "activation": "none", "calibration": "none"}]}),
        ["without a head that is listed: Opacity, Effusion, Rare", "Give each"],
    ),
    "no shape": (set_at("input", "item_shape", value=[]), ["input.item_shape"]),
    "range": (set_at("input", "value_range", value=[1.0]), ["input.value_range must be [lowest, highest]"]),
}  # fmt: skip


@pytest.mark.parametrize("name", [*NETWORKS, *MANIFESTS])
def test_a_mistake_ends_in_a_line(
    name: str, case: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the tables above: what is done, and what the line says."""
    ends_in_a_line(case, (NETWORKS | MANIFESTS)[name], capsys, monkeypatch)


def test_a_node_that_is_not_there_and_a_quantiser_that_gives_up(
    case: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What shows only on the way ends in a line as well."""
    arguments = case.write()
    assert quantise.main([*arguments, "--keep-fp32", "nowhere"]) == 2
    assert "--keep-fp32: no node nowhere" in capsys.readouterr().err

    def gives_up(*_: object, **__: object) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED\nmore")

    monkeypatch.setattr(quantise, "quantize_static", gives_up)
    assert quantise.main(arguments) == 2
    told = capsys.readouterr().err
    assert "cannot be quantised (RuntimeError: [ONNXRuntimeError] : 9 : NOT_IMPLEMENTED)" in told
    assert len(told.splitlines()) == 1 and "leave it in fp32" in told


def test_heatmaps_keep_their_weights_or_are_told(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """The classifier's weights stay as they are; those of a convolution do not, and are refused by name."""
    case.described["output"]["cam"] = {"features": "positive", "weights": "matrix"}
    arguments = case.write()
    assert quantise.main(arguments) in (0, 1)
    path = case.folder / "manifest.toml"
    path.write_text(path.read_text().replace('weights = "matrix"', 'weights = "kernel"'))
    capsys.readouterr()
    assert quantise.main(arguments) == 2
    told = capsys.readouterr().err
    assert "output.cam.weights 'kernel' is not left as it is" in told and "weights_file" in told


def test_the_right_files_pass(case: Case) -> None:
    """What every case above begins with is right: nothing but the change was refused."""
    arguments = case.write()
    options = ["--items", arguments[3], "--truth", arguments[5]]
    assert quantise.main(["--folder", str(case.folder), *options]) in (0, 1)
