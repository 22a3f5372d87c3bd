"""Model manifests (`models/<name>/manifest.toml`, schema 1) and the folders around them.

Files are edited with tomlkit, so that the comments and the order of a template survive.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import onnx
import tomlkit
from onnx import external_data_helper
from tomlkit import TOMLDocument
from torch import nn

from nightread_models.networks import DenseNet121, ResNet50

MODELS = Path(__file__).resolve().parents[2]
FILE = "manifest.toml"


def read(folder: Path) -> TOMLDocument:
    """The manifest of a model folder, editable. Raises FileNotFoundError where there is none."""
    return tomlkit.parse((folder / FILE).read_text(encoding="utf-8"))


def write(folder: Path, manifest: TOMLDocument) -> None:
    """Writes the manifest back."""
    (folder / FILE).write_text(tomlkit.dumps(manifest), encoding="utf-8")


def network_for(manifest: dict[str, Any]) -> nn.Module:
    """An untrained network for the manifest's task, one output for each label.

    Raises ValueError for a task or an item shape that no network here has.
    """
    outputs = len(manifest["labels"])
    kinds = {("radiograph", (1, 224, 224)): DenseNet121, ("components", (3, 45, 45)): ResNet50}
    key = (str(manifest["task"]), tuple(int(side) for side in manifest["input"]["item_shape"]))
    if key not in kinds:
        raise ValueError(f"no network for task {key[0]!r} with item shape {key[1]}")
    return kinds[key](outputs)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_files(path: Path) -> list[dict[str, str]]:
    """The files beside an ONNX file that hold its tensors ("external data"), with their digests: `weights.*.data`."""
    tensors = external_data_helper._get_all_tensors(onnx.load(path, load_external_data=False))
    outside = filter(external_data_helper.uses_external_data, tensors)
    names = {external_data_helper.ExternalDataInfo(tensor).location for tensor in outside}
    return [{"file": name, "sha256": sha256(path.parent / name)} for name in sorted(names)]


def describe(table: Any, path: Path) -> None:
    """Writes file, digest and external data of an ONNX file into a table of `weights`."""
    table.update({"file": path.name, "sha256": sha256(path)})
    table.pop("data", None)
    if data := data_files(path):
        rows = tomlkit.array().multiline(True)
        for row in data:
            rows.append(tomlkit.inline_table().append("file", row["file"]).append("sha256", row["sha256"]))
        table["data"] = rows


def prepare_folder(template: Path, out: Path) -> Path:
    """Copies a template's manifest and card to `out/<name>` (the same folder is fine); returns that folder."""
    manifest = read(template)
    folder = out / str(manifest["name"])
    folder.mkdir(parents=True, exist_ok=True)
    for name in (FILE, str(manifest["card"])):
        if (template / name).resolve() != (folder / name).resolve():
            shutil.copyfile(template / name, folder / name)
    return folder


def fill_weights(folder: Path) -> str:
    """Writes the digests of the FP32 weights into the manifest, which is then no template any more.

    Returns the ONNX file's digest.
    INT8 weights and the record of bf16 are of the FP32 file before: their tables are dropped when a digest changes.
    """
    manifest = read(folder)
    weights = manifest["weights"]
    fp32 = weights["fp32"]
    before = fp32.unwrap()
    describe(fp32, folder / str(fp32["file"]))
    digest = str(fp32["sha256"])
    if fp32.unwrap() != before:
        weights.pop("int8", None)
        weights.pop("bf16", None)
    manifest.pop("bring_your_own", None)
    write(folder, manifest)
    return digest
