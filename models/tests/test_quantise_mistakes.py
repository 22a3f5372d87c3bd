"""Each mistake that can be made with `quantise.py` ends in one line and exit status 2, before anything is quantised."""

import csv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tomlkit
import torch
from onnx import TensorProto, helper, numpy_helper

import quantise
from nightread_models import manifest

SHAPE = (1, 8, 8)
LABELS = ["Opacity", "Effusion", "Rare"]
HEADER = ["file", "patient", "split", *LABELS]

MANIFEST = """schema = 1
name = "small"
version = "1.0.0"
task = "radiograph"
card = "README.md"

[weights.fp32]
file = "model.fp32.onnx"
sha256 = ""

[input]
name = "image"
item_shape = [1, 8, 8]
value_range = [0.0, 1.0]

[output]
logits = "logits"
activation = "sigmoid"
calibration = "none"
"""


def network(
    *,
    side: int = 8,
    labels: int = 3,
    kind: int = TensorProto.FLOAT,
    batch: str | int = "batch",
    opset: int = 18,
    inputs: tuple[str, ...] = ("image",),
    external: bool = False,
    path: Path | None = None,
) -> onnx.ModelProto:
    """A convolution, the mean over places and a product, as no DenseNet has them."""
    generator = np.random.default_rng(4)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = {
        "kernel": generator.normal(size=(4, 1, 3, 3)),
        "matrix": generator.normal(size=(4, labels)),
        "bias": generator.normal(size=labels),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["map"], pads=[1] * 4),
        helper.make_node("Relu", ["map"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["features"]),
        helper.make_node("Gemm", ["features", "matrix", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, kind, [batch, 1, side, side]) for name in inputs],
        [helper.make_tensor_value_info("logits", kind, [batch, labels])],
        [numpy_helper.from_array(values.astype(dtype), name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    if path:
        onnx.save(model, path, save_as_external_data=external, location="weights.data", size_threshold=0)
    return model


@dataclass
class Case:
    """A folder, an archive and a CSV that are right, until something is done to them."""

    work: Path
    described: dict[str, Any]
    arrays: dict[str, np.ndarray]
    header: list[str]
    rows: list[list[str]]
    arguments: list[str] = field(default_factory=list)
    model: onnx.ModelProto | None = None
    file: bytes | None = None
    is_right_digest: bool = True
    archive: bytes | None = None
    archive_gone: bool = False
    truth: bytes | None = None

    @property
    def folder(self) -> Path:
        """The model's."""
        return self.work / "small"

    def column(self, name: str, values: str | Callable[[int], str]) -> None:
        """Sets a column of the CSV."""
        at = self.header.index(name)
        for number, row in enumerate(self.rows):
            row[at] = values if isinstance(values, str) else values(number)

    def write(self) -> list[str]:
        """Writes all of it; returns the arguments of the command."""
        self.folder.mkdir()
        (self.folder / "README.md").write_text("A card.\n")
        weights = self.folder / "model.fp32.onnx"
        if self.file is not None:
            weights.write_bytes(self.file)
        else:
            onnx.save(self.model or network(), weights)
        fp32 = self.described.get("weights", {}).get("fp32")
        if fp32 and "sha256" in fp32 and self.is_right_digest:
            fp32["sha256"] = manifest.sha256(weights)
        (self.folder / "manifest.toml").write_text(tomlkit.dumps(self.described))
        archive, truth = self.work / "prepared.npz", self.work / "truth.csv"
        if self.archive is not None:
            archive.write_bytes(self.archive)
        elif not self.archive_gone:
            np.savez(archive, **self.arrays)
        if self.truth is not None:
            truth.write_bytes(self.truth)
        else:
            with truth.open("w", newline="") as file:
                csv.writer(file).writerows([self.header, *self.rows])
        return ["--folder", str(self.folder), *(self.arguments or ["--items", str(archive), "--truth", str(truth)])]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """300 items to calibrate on, 100 to judge by, three labels, one of them with two positives."""
    generator = np.random.default_rng(2)
    described = tomlkit.parse(MANIFEST).unwrap()
    described["labels"] = [{"name": name, "threshold": 0.5} for name in LABELS]
    names = [f"/data/xrays/site{number % 2}/{number:04}.png" for number in range(400)]
    rows = []
    for number, name in enumerate(names):
        part = "calibration" if number < 300 else "evaluation"
        truth = [str(number % 2), str(number % 3 % 2), "1" if number in (350, 360) else "0"]
        rows.append([name, f"p{number // 2}", part, *truth])
    arrays = {name: generator.random(SHAPE, np.float32) for name in names}
    return Case(tmp_path, described, arrays, list(HEADER), rows)


def nothing_left(case: Case, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Runs the command, which must end with status 2 and leave the folder as it was; returns the lines it told."""
    arguments = case.write()
    path = case.folder / "manifest.toml"
    before = path.read_bytes() if path.exists() else None
    assert quantise.main(arguments) == 2
    assert not path.exists() or path.read_bytes() == before
    assert not (case.folder / "model.int8.onnx").exists()
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(line.startswith("quantise: ") for line in lines), lines
    return lines


def first(case: Case) -> str:
    """Name of the first array."""
    return next(iter(case.arrays))


# What is done -> what the line says: what, where, and how to mend it.
Mistakes = dict[str, tuple[Callable[[Case], object], list[str]]]


def set_at(*keys: str, value: Any) -> Callable[[Case], None]:
    """Sets a field of the manifest."""

    def change(case: Case) -> None:
        table = case.described
        for key in keys[:-1]:
            table = table[key]
        table[keys[-1]] = value

    return change


def without(*keys: str) -> Callable[[Case], None]:
    """Takes a field out of the manifest."""

    def change(case: Case) -> None:
        table = case.described
        for key in keys[:-1]:
            table = table[key]
        del table[keys[-1]]

    return change


def has(name: str, value: Any) -> Callable[[Case], None]:
    """Sets a field of the case."""
    return lambda case: setattr(case, name, value)


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


def pickled(case: Case) -> None:
    """An object in place of numbers."""
    case.arrays[first(case)] = np.array({"a": 1}, dtype=object)


def damaged(case: Case) -> None:
    """One bit of the first array is wrong."""
    path = case.work / "whole.npz"
    np.savez(path, **case.arrays)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo(archive.namelist()[0]).header_offset
    content[at + 300] ^= 0xFF
    case.archive = bytes(content)


def saved(**arrays: np.ndarray) -> Callable[[Case], None]:
    """In place of both files an archive with these arrays beside those of 300 and 100 items."""

    def change(case: Case) -> None:
        values = np.stack(list(case.arrays.values()))
        truth = np.random.default_rng(0).integers(0, 2, (100, 3))
        whole = {"calibration": values[:300], "evaluation": values[300:], "truth": truth, "groups": np.arange(100)}
        kept = {name: array for name, array in (whole | arrays).items() if array is not None}
        np.savez(case.work / "old.npz", **kept)
        case.arguments = ["--items", str(case.work / "old.npz")]

    return change


def one_array(case: Case) -> None:
    """What `numpy.save` writes."""
    with (case.work / "one.npy").open("wb") as file:
        np.save(file, np.zeros(SHAPE, np.float32))
    case.archive = (case.work / "one.npy").read_bytes()


def change_array(value: Any) -> Callable[[Case], None]:
    """Puts another array in place of the first."""
    return lambda case: case.arrays.update({first(case): value})


def fewer(calibration: int, evaluation: int) -> Callable[[Case], None]:
    """Leaves so many rows in each part."""

    def change(case: Case) -> None:
        parts = {"calibration": calibration, "evaluation": evaluation}
        for row in case.rows:
            parts[row[2]] -= 1
            if parts[row[2]] < 0:
                row[2] = ""

    return change


def scaled(case: Case) -> None:
    """Values from 0 to 255."""
    case.arrays = {name: array * 255 for name, array in case.arrays.items()}


def flat(case: Case) -> None:
    """Values from 0 to 1, for a network that takes 2048 steps."""
    case.described["input"]["value_range"] = [-1024.0, 1024.0]


ITEMS: Mistakes = {
    "no archive": (has("archive_gone", True), ["prepared.npz", "No such file", "whether the path is right"]),
    "archive is words": (has("archive", b"words"), ["prepared.npz: no .npz archive", "nightread prepare"]),
    "archive cut off": (has("archive", b"PK\x03\x04 cut off"), ["no .npz archive", "nightread prepare"]),
    "one array": (one_array, ["one array, where", "nightread prepare"]),
    "no arrays": (lambda case: case.arrays.clear(), ["holds no arrays", "nightread prepare"]),
    "objects": (pickled, ["0000.png: cannot be read", "write the archive anew"]),
    "damaged": (damaged, ["0000.png: cannot be read", "write the archive anew"]),
    "another shape": (change_array(np.zeros((1, 9, 9), np.float32)), ["0000.png (float32 [1, 9, 9])", "[1, 8, 8]"]),
    "another type": (change_array(np.zeros(SHAPE)), ["0000.png (float64 [1, 8, 8])", "prepare them for this model"]),
    "NaN": (change_array(np.full(SHAPE, np.nan, np.float32)), ["NaN or infinite values: /data/xrays/site0/0000.png"]),
    "bytes": (scaled, ["values from 0", "value_range is [0.0, 1.0]", "prepare them for this model"]),
    "another scale": (flat, ["value_range is [-1024.0, 1024.0]", "prepare them for this model"]),
    "no truth": (
        lambda case: case.arguments.extend(["--items", str(case.work / "prepared.npz")]),
        ["no array calibration, evaluation, truth, groups", "--truth"],
    ),
    "truth alone": (lambda case: case.arguments.extend(["--truth", "x.csv"]), ["--truth belongs to --items"]),
    "old form: narrow": (saved(truth=np.zeros((100, 2))), ["2 columns, the manifest 3 labels: add Rare"]),
    "old form: wide": (saved(truth=np.zeros((100, 4))), ["4 columns, the manifest 3 labels", "drop"]),
    "old form: flat": (saved(truth=np.zeros(100)), ["truth is [100], not (items, labels)", "Opacity, Effusion, Rare"]),
    "old form: words": (saved(truth=np.array([["a"]] * 100)), ["truth is <U1 [100, 1]", "write it as float32"]),
    "old form: 2": (saved(truth=np.full((100, 3), 2)), ["truth has values other than 0 and 1", "NaN"]),
    "old form: lengths": (saved(groups=np.arange(99)), ["100, 100 and 99 items", "one of every item"]),
    "old form: no groups": (saved(groups=None), ["no array groups"]),
    "old form: few": (saved(calibration=np.zeros((9, *SHAPE), np.float32)), ["calibration: 9 items, 300 are needed"]),
    "old form: shape": (
        saved(evaluation=np.zeros((100, 1, 9, 9), np.float32)), ["evaluation[0] (float32 [1, 9, 9])", "[1, 8, 8]"]
    ),
    "old form: one patient": (saved(groups=np.zeros(100)), ["all items are of one patient"]),
    "few to calibrate": (fewer(299, 100), ["calibration: 299 items, 300 are needed", "prepare more"]),
    "few to evaluate": (fewer(300, 99), ["evaluation: 99 items, 100 are needed", "prepare more"]),
    "no data set": (
        lambda case: case.arguments.extend(["--data", str(case.work)]), ["to calibrate on", "--items and --truth"]
    ),
}  # fmt: skip


def add_row(*cells: str) -> Callable[[Case], None]:
    """Appends a row to the CSV."""
    return lambda case: case.rows.append(list(cells))


def rename(before: str, after: str) -> Callable[[Case], None]:
    """Gives a column another name."""
    return lambda case: case.header.__setitem__(case.header.index(before), after)


def cell(row: int, column: str, value: str) -> Callable[[Case], None]:
    """Sets a cell."""
    return lambda case: case.rows[row].__setitem__(case.header.index(column), value)


def unknown_truth(case: Case) -> None:
    """Nothing is known of any file."""
    for name in LABELS:
        case.column(name, "")


def one_kind(case: Case) -> None:
    """No label is ever there."""
    for name in LABELS:
        case.column(name, "0")


def short_names(case: Case) -> None:
    """Names that two folders share."""
    case.arrays["/data/xrays/site1/0000.png"] = case.arrays[first(case)]
    case.column("file", lambda number: case.rows[number][0].rsplit("/", 1)[1])
    case.rows.append(["/data/xrays/site1/0000.png", "p0", "calibration", "0", "0", "0"])


def classes(case: Case) -> None:
    """A softmax, whose truth is one column."""
    case.described["output"]["activation"] = "softmax"
    case.header = ["file", "split", "class"]
    case.rows = [[row[0], row[2], LABELS[number % 3]] for number, row in enumerate(case.rows)]


def class_unknown(case: Case) -> None:
    """A class that the manifest does not have."""
    classes(case)
    case.rows[310][2] = "Pneumothorax"


def one_class(case: Case) -> None:
    """Every file is of one class."""
    classes(case)
    case.column("class", LABELS[0])


def no_class(case: Case) -> None:
    """The column of classes under another name."""
    classes(case)
    case.header[2] = "label"


TRUTHS: Mistakes = {
    "no rows": (lambda case: case.rows.clear(), ["truth.csv: has a header and no rows"]),
    "empty CSV": (has("truth", b""), ["no column 'file'", "found: nothing"]),
    "not UTF-8": (has("truth", b"file,Opacit\xe9\n"), ["no CSV in UTF-8", "save it as one"]),
    "a spreadsheet": (has("truth", b"PK\x03\x04\xff\xfe"), ["no CSV in UTF-8"]),
    "semicolons": (has("truth", b"file;Opacity;Effusion;Rare\na;1;0;0\n"), ["no column 'file'", "comma-separated"]),
    "no file": (rename("file", "image"), ["no column 'file'", "found: image, patient"]),
    "narrow truth": (rename("Rare", "Rarer"), ["no column for Rare", "add it"]),
    "twice": (rename("Rare", "Opacity"), ["Opacity more than once", "name of its own"]),
    "short row": (add_row("a.png", "p"), ["line 402 has 2 cells, the header 6"]),
    "a word": (cell(5, "Rare", "yes"), ["truth.csv: line 7: Rare is 'yes'", "write 1, 0, or nothing"]),
    "uncertain": (cell(5, "Opacity", "-1"), ["line 7: Opacity is '-1'", "nothing where it is not known"]),
    "no name": (cell(5, "file", ""), ["line 7: 'file' is empty"]),
    "no patient": (cell(5, "patient", ""), ["line 7: 'patient' is empty"]),
    "unknown part": (cell(5, "split", "train"), ["line 7: split 'train' is neither"]),
    "same file": (cell(5, "file", "/data/xrays/site0/0000.png"), ["line 7", "the file of line 2 already", "no row in"]),
    "a file too many": (add_row("b.png", "p", "", "0", "0", "0"), ["1 files", "no array in", "b.png", "--leave-out"]),
    "a row too few": (lambda case: case.rows.pop(), ["1 arrays", "no row in", "0399.png", "--leave-out"]),
    "other folder": (
        lambda case: case.column("file", lambda number: f"elsewhere/{number}.png"), ["400 files", "400 arrays"]
    ),
    "two ends": (short_names, ["'0000.png' is the end of 2 names", "give more of its path"]),
    "patient in both": (cell(300, "patient", "p3"), ["p3: in calibration and in evaluation", "one of the two"]),
    "no positives at all": (one_kind, ["no label has positives and negatives", "Opacity (no positives)", "add items"]),
    "nothing known": (unknown_truth, ["no label has positives and negatives", "Opacity (no truth)"]),
    "unknown class": (class_unknown, ["line 312: class 'Pneumothorax' is no label", "Opacity, Effusion, Rare"]),
    "one class": (one_class, ["one class or none (Opacity)", "add items of others"]),
    "no class column": (no_class, ["no column for class", "add it"]),
}  # fmt: skip


@pytest.mark.parametrize("name", [*NETWORKS, *MANIFESTS, *ITEMS, *TRUTHS])
def test_a_mistake_ends_in_a_line(
    name: str, case: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 2 and one line with what, where and how to mend it; the quantiser was not reached."""

    def reached(*_: object, **__: object) -> None:
        pytest.fail("quantised in spite of the mistake")

    monkeypatch.setattr(quantise, "quantize_static", reached)
    monkeypatch.setattr(quantise, "quant_pre_process", reached)
    change, words = (NETWORKS | MANIFESTS | ITEMS | TRUTHS)[name]
    change(case)
    lines = nothing_left(case, capsys)
    assert len(lines) <= 3, lines
    assert all(word in " ".join(lines) for word in words), (words, lines)


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


def test_what_is_left_out_is_told(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """A label without positives is named and left out of the mean; `--leave-out` names the files that it leaves out."""
    case.column("Rare", "0")
    case.rows.append(["absent.png", "p", "", "1", "0", "1"])
    case.arrays["/data/xrays/more.png"] = case.arrays[first(case)]
    arguments = case.write()
    assert quantise.main([*arguments, "--leave-out"]) in (0, 1)
    told = capsys.readouterr().out
    assert "left out: 1 files" in told and "absent.png" in told
    assert "left out: 1 arrays" in told and "more.png" in told
    assert "300 items to calibrate on, 100 of 50 patients to judge by" in told
    assert "AUC is the mean over 2 of 3 labels, left out: Rare (no positives)" in told


def test_the_right_files_pass(case: Case) -> None:
    """What every case above begins with is right: nothing but the change was refused."""
    arguments = case.write()
    options = ["--items", arguments[3], "--truth", arguments[5]]
    assert quantise.main(["--folder", str(case.folder), *options]) in (0, 1)
