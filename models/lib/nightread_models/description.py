"""What `quantise.py` must know of a model's manifest, and which manifests it cannot serve."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightread_models import manifest
from nightread_models.mistakes import Mistake, listed

ACTIVATIONS = ("sigmoid", "softmax", "none")
CALIBRATIONS = ("none", "xrv-op-norm")
# A number of a table or of a list, wherever TOML allows both.
NUMBER = (int, float)


@dataclass(frozen=True)
class Head:
    """One output of labels: its name, what makes probabilities of it, and the places of its labels among all."""

    logits: str
    activation: str
    calibration: str
    columns: tuple[int, ...]


def heads(described: Mapping[str, Any]) -> list[Head]:
    """The outputs of a manifest in its order, whether it lists `[[output.heads]]` or has one."""
    labels = described["labels"]
    if "heads" not in described["output"]:
        return [_head(described["output"], range(len(labels)))]
    return [
        _head(row, (index for index, label in enumerate(labels) if label.get("head") == row["logits"]))
        for row in output_tables(described)
    ]


def output_tables(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tables of the outputs: `[[output.heads]]`, or `[output]` itself."""
    return described["output"].get("heads", [described["output"]])


def reported_columns(described: Mapping[str, Any]) -> list[int]:
    """Indices of the labels that are not suppressed."""
    return [index for index, label in enumerate(described["labels"]) if not label.get("suppressed", False)]


def by_class(described: Mapping[str, Any]) -> bool:
    """Whether the truth of an item is one class: the only head is a softmax."""
    return [head.activation for head in heads(described)] == ["softmax"]


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a model folder. Raises Mistake for one that is broken, or of a kind that has no INT8 here."""
    path = folder / manifest.FILE
    try:
        described = manifest.read(folder).unwrap()
    except (FileNotFoundError, NotADirectoryError):
        raise Mistake(f"{folder}: no {manifest.FILE} there: `nightread models new` begins one") from None
    except ValueError as error:
        raise Mistake(f"{path}: no TOML ({error}): mend it there") from None
    if kinds := _not_served(described):
        raise Mistake(*(f"{path}: {line}" for line in kinds))
    if problems := _problems(described):
        raise Mistake(*(f"{path}: {line}; `nightread models check` tells all that is wrong" for line in problems))
    return described


def _head(table: Mapping[str, Any], columns: Any) -> Head:
    return Head(table["logits"], table["activation"], table["calibration"], tuple(columns))


def _not_served(described: Mapping[str, Any]) -> list[str]:
    """Why a manifest that may be quite right is of no use here."""
    lines = []
    if described.get("task") == "segmentation":
        lines.append('task "segmentation" has no INT8: the evidence is of findings. Leave it in fp32')
    if "ensemble" in described:
        lines.append("[ensemble]: INT8 is of one network. Quantise the folder of each, and let the ensemble name those")
    if "measurements" in described:
        lines.append("[[measurements]]: the evidence is of decisions, and a number has none. Leave it in fp32")
    return lines


def _problems(described: Mapping[str, Any]) -> list[str]:
    """Everything needed here that is missing or of an unknown kind."""
    lines = []
    fp32 = _table(described, "weights").get("fp32")
    if not isinstance(fp32, dict) or not isinstance(fp32.get("file"), str):
        lines.append("no [weights.fp32] with a file: INT8 is made of the FP32 weights")
    elif "sha256" not in fp32:
        lines.append(f"weights.fp32 has no sha256, so {fp32['file']!r} is not there yet: export the weights first")
    elif not all({"file", "sha256"} <= set(row) for row in fp32.get("data", [])):
        lines.append("weights.fp32.data must be tables with file and sha256")
    entry = _table(described, "input")
    shape, ends = entry.get("item_shape"), entry.get("value_range")
    if not isinstance(entry.get("name"), str):
        lines.append("input.name is missing: say what the ONNX input is called")
    if not (isinstance(shape, list) and shape and all(isinstance(side, int) and side > 0 for side in shape)):
        lines.append("input.item_shape must list the sides of one item, without the batch")
    if not (isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, NUMBER) for end in ends)):
        lines.append("input.value_range must be [lowest, highest]")
    return lines + _output_problems(described)


def _output_problems(described: Mapping[str, Any]) -> list[str]:
    """Of outputs and labels."""
    labels, output = described.get("labels"), _table(described, "output")
    if not isinstance(labels, list) or not labels or not all(isinstance(label, dict) for label in labels):
        return ["no [[labels]]: say what the outputs mean, in their order"]
    rows = output.get("heads", [output])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return ["output.heads must be tables, [[output.heads]]"]
    lines = []
    for row in rows:
        if not isinstance(row.get("logits"), str):
            lines.append("output.logits is missing: name the ONNX output of the labels")
        for key, known in (("activation", ACTIVATIONS), ("calibration", CALIBRATIONS)):
            if row.get(key) not in known:
                lines.append(f"output.{key} {row.get(key)!r} is not known here ({', '.join(known)}): leave it in fp32")
    if "heads" in output:
        names = {row.get("logits") for row in rows}
        astray = [label.get("name") for label in labels if label.get("head") not in names]
        if astray:
            lines.append(f"labels without a head that is listed: {listed(astray)}. Give each the logits of its head")
    if lines:
        return lines
    reported = reported_columns(described)
    if not reported:
        lines.append("every label is suppressed: nothing is decided, so nothing can be held against FP32")
    for index in reported:
        label = labels[index]
        lines += [f"labels[{index}].{key} is missing" for key in ("name", "threshold") if key not in label]
    for head in heads(described):
        if head.calibration == "xrv-op-norm":
            lacking = [labels[i].get("name") for i in head.columns if i in reported and "op_threshold" not in labels[i]]
            lines += [f"op_threshold is missing (xrv-op-norm needs it): {listed(lacking)}"] if lacking else []
    return lines


def _table(described: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = described.get(key)
    return found if isinstance(found, dict) else {}
