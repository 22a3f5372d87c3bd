"""A model folder, an archive and a CSV that are right, and what is done to them to make mistakes."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tomlkit
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


def right_case(work: Path) -> Case:
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
    return Case(work, described, arrays, list(HEADER), rows)


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


def ends_in_a_line(
    case: Case,
    mistake: tuple[Callable[[Case], object], list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Status 2 and one line with what, where and how to mend it; the quantiser was not reached."""

    def reached(*_: object, **__: object) -> None:
        pytest.fail("quantised in spite of the mistake")

    monkeypatch.setattr(quantise, "quantize_static", reached)
    monkeypatch.setattr(quantise, "quant_pre_process", reached)
    change, words = mistake
    change(case)
    lines = nothing_left(case, capsys)
    assert len(lines) <= 3, lines
    assert all(word in " ".join(lines) for word in words), (words, lines)


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
