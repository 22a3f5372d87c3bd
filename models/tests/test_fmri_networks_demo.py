"""The fMRI demonstration: maps and weights belong together, and compact storage changes what it says it does."""

import json
import tomllib
from pathlib import Path

import nibabel
import numpy as np
import onnx
import pytest
import torch
from conftest import MODELS, seeded_network
from onnx import numpy_helper

from nightread_models import compact, evaluation, group_maps, manifest, onnx_export

FOLDER = MODELS / "fmri-networks-demo"


def test_shipped_maps_are_those_of_the_manifest() -> None:
    """Count, grid, affine and the list of what each component is."""
    table = tomllib.loads((FOLDER / "manifest.toml").read_text())["maps"]
    maps = group_maps.read(FOLDER / table["file"], table)
    assert np.allclose(maps.affine, table["affine"])
    assert len(json.loads((FOLDER / "maps.labels.json").read_text())["components"]) == table["count"]


def test_shipped_weights_are_a_classifier_of_any_batch() -> None:
    """Finite logits for every label, the same alone and in a batch."""
    labels = tomllib.loads((FOLDER / "manifest.toml").read_text())["labels"]
    images = np.random.default_rng(0).uniform(0, 1, (3, 3, 45, 45)).astype(np.float32)
    runtime = onnx_export.session(FOLDER / "model.fp32.onnx")
    together = runtime.run(["logits"], {"image": images})[0]
    assert together.shape == (3, len(labels))
    assert np.isfinite(together).all()
    alone = np.concatenate([runtime.run(["logits"], {"image": image[None]})[0] for image in images])
    assert np.allclose(alone, together, atol=1e-4)


def test_int8_names_the_shipped_maps_as_fp32_does() -> None:
    """The projections of the 26 group maps themselves: inputs of the kind that scans give, without simulating one."""
    description = manifest.read(FOLDER).unwrap()
    if "int8" not in description["weights"]:
        pytest.skip("SKIPPED: fmri-networks-demo INT8: the manifest offers none")
    evidence = description["weights"]["int8"]["evidence"]
    assert evidence["agreement"] >= 0.99 and evidence["fp32"][0] - evidence["int8"][0] <= 0.005
    maps = np.asarray(nibabel.load(FOLDER / "maps.nii.gz").dataobj, dtype=np.float32)
    offset = description["preprocessing"]["crop_offset_y"]
    images = []
    for volume in np.moveaxis(maps[:, offset : offset + 45], 3, 0):
        image = np.stack([volume.sum(2), volume.sum(0), volume.sum(1)])
        images.append((image - image.min()) / (image.max() - image.min()))
    logits = {
        name: evaluation.run(FOLDER / weights["file"], np.stack(images), threads=1)
        for name, weights in description["weights"].items()
    }
    fp32, int8 = (evaluation.decisions(description, logits[name]) for name in ("fp32", "int8"))
    assert len(set(fp32)) == len(description["labels"]), (
        "every class is among them, so that the comparison says something"
    )
    assert (fp32 == int8).mean() >= 0.96


def test_eight_bit_storage_computes_on_rounded_weights_at_a_quarter_of_the_size(tmp_path: Path) -> None:
    """The widened constants are the weights to half a step, and the graph computes as if it held them in full width.

    Nothing is said of the logits of the unrounded network: an untrained one magnifies any rounding from layer to layer.
    """
    network = seeded_network("fmri-networks-demo")
    wide, small, rounded = (tmp_path / name for name in ("wide.onnx", "small.onnx", "rounded.onnx"))
    onnx_export.export(network, (3, 45, 45), wide)
    model = onnx.load(wide)
    assert compact.store_int8(model) == 54
    small.write_bytes(model.SerializeToString())
    assert small.stat().st_size < 0.27 * wide.stat().st_size

    reference = onnx.load(wide)
    changed = 0
    for weight in reference.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.ndim < 2 or values.size < compact.LEAST_ELEMENTS:
            continue
        changed += 1
        # Output channels by row: a matrix has them in its columns.
        turned = values.T if values.ndim == 2 else values
        rows = turned.reshape(len(turned), -1)
        steps = (np.abs(rows).max(1) / 127).astype(np.float32)
        integers = np.rint(rows / steps[:, None])
        assert np.abs(integers).max() == 127
        back = integers.astype(np.float32) * steps[:, None]
        assert np.abs(back - rows).max() <= 0.501 * steps.max()
        back = back.T if values.ndim == 2 else back.reshape(values.shape)
        weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(back), weight.name))
    assert changed == 54
    rounded.write_bytes(reference.SerializeToString())
    image = torch.rand(4, 3, 45, 45, generator=torch.Generator().manual_seed(1)).numpy()
    full, of_small, of_rounded = (
        onnx_export.session(path).run(["logits"], {"image": image})[0] for path in (wide, small, rounded)
    )
    assert np.abs(of_small - of_rounded).max() <= 1e-4 * np.abs(of_rounded).max()
    assert np.abs(of_small - full).max() > 1e-3 * np.abs(full).max(), "the rounding is not even there"
