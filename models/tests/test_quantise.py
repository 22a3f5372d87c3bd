"""Graph rewriting, quantisation of a full architecture, and the gate in both directions."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import MODELS, seeded_network

import quantise
from nightread_models import equalise, evaluation, graphs, manifest, onnx_export
from nightread_models.evaluation import Items
from nightread_models.mistakes import Mistake


def test_norms_become_equal_convolutions(tmp_path: Path) -> None:
    """DenseNet's 62 remaining norms, replaced, give the same numbers."""
    network = seeded_network("xrv-padchest-18")
    onnx_export.export(network, (1, 224, 224), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    assert graphs.norms_to_convolutions(model) == 62
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "model.onnx")
    onnx_export.check_parity(network, tmp_path / "model.onnx", (1, 224, 224), (-1024.0, 1024.0), batches=(2,))


def test_equal_ranges_change_nothing(tmp_path: Path) -> None:
    """Every convolution that feeds norms is rescaled to a greatest value of 1, and the network computes the same."""
    network = seeded_network("xrv-padchest-18")
    path = tmp_path / "model.onnx"
    onnx_export.export(network, (1, 224, 224), path)
    model = onnx.load(path)
    graphs.norms_to_convolutions(model)
    images = np.random.default_rng(5).uniform(-1024, 1024, (2, 1, 224, 224)).astype(np.float32)
    # The first convolution, 58 dense layers, three transitions.
    assert equalise.equalise_features(model, images, tmp_path) == 62
    onnx.save(model, path)
    onnx_export.check_parity(network, path, (1, 224, 224), (-1024.0, 1024.0), batches=(1,))
    again = onnx.load(path)
    last = next(node for node in reversed(again.graph.node) if node.op_type == "Concat").input[1]
    greatest = equalise.greatest_magnitudes(again, [last], images, tmp_path)[last]
    np.testing.assert_allclose(greatest, 1.0, rtol=1e-3)


@pytest.fixture(scope="module")
def fmri(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Items]:
    """A ResNet-50 folder with seeded weights, and items whose truth is what FP32 says."""
    folder = tmp_path_factory.mktemp("models") / "fmri-jhu-58"
    manifest.prepare_folder(MODELS / "fmri-jhu-58", folder.parent)
    onnx_export.export(seeded_network("fmri-jhu-58"), (3, 45, 45), folder / "model.fp32.onnx")
    manifest.fill_weights(folder)
    images = np.random.default_rng(1).random((64, 3, 45, 45), dtype=np.float32)
    logits = evaluation.run(folder / "model.fp32.onnx", images[32:], threads=1)
    return folder, Items(images[:32], "0" * 64, images[32:], logits.argmax(1), np.arange(32))


def test_quantise_a_network(fmri: tuple[Path, Items], tmp_path: Path) -> None:
    """Convolutions carry 8-bit weights, the named ones do not, and the logits stay close."""
    folder, items = fmri
    source = folder / "model.fp32.onnx"
    first = next(node for node in onnx.load(source).graph.node if node.op_type == "Conv")
    kept = quantise.quantise(source, tmp_path / "int8.onnx", items.calibration, [first.name])
    assert kept[-1] == first.name
    model = onnx.load(tmp_path / "int8.onnx")
    eight_bits = [i for i in model.graph.initializer if i.data_type == onnx.TensorProto.INT8 and len(i.dims) >= 2]
    # 53 convolutions, 28 of them as products, less the one that was kept; the classifier's map stays in FP32.
    assert len(eight_bits) == 52
    assert max(int(np.abs(onnx.numpy_helper.to_array(i).astype(int)).max()) for i in eight_bits) <= 64
    assert (tmp_path / "int8.onnx").stat().st_size < source.stat().st_size / 3.5
    fp32 = evaluation.run(source, items.evaluation, threads=1)
    int8 = evaluation.run(tmp_path / "int8.onnx", items.evaluation, threads=1)
    # Untrained weights amplify rounding; a wrong scale or a lost norm would leave nothing at all.
    assert np.corrcoef(fp32.ravel(), int8.ravel())[0, 1] > 0.8
    with pytest.raises(ValueError, match="no node nowhere"):
        quantise.quantise(source, tmp_path / "int8.onnx", items.calibration, ["nowhere"])


def test_the_gate_refuses_and_accepts(fmri: tuple[Path, Items]) -> None:
    """Too few calibration items, flipped decisions and lost accuracy are reasons; without any, it passes."""
    folder, items = fmri
    description = manifest.read(folder).unwrap()
    logits = evaluation.run(folder / "model.fp32.onnx", items.evaluation, threads=1)
    enough = Items(np.zeros((300, 1), np.float32), "0" * 64, items.evaluation, items.truth, items.groups)
    evidence, reasons = quantise.judge(description, logits, logits, enough)
    assert reasons == []
    assert evidence["agreement"] == 1.0 and evidence["metric"] == "accuracy" and evidence["int8"] == [1.0, 1.0, 1.0]
    _, reasons = quantise.judge(description, logits, np.roll(logits, 1, axis=1), items)
    assert [reason.split()[0] for reason in reasons] == ["agreement", "accuracy", "32"]
    _, reasons = quantise.judge(description, logits, np.full_like(logits, np.nan), enough)
    assert reasons


def test_a_refused_candidate_leaves_no_trace(fmri: tuple[Path, Items]) -> None:
    """32 calibration items are too few: the folder stays as it was."""
    folder, items = fmri
    before = (folder / "manifest.toml").read_bytes()
    assert quantise.quantise_folder(folder, items, [], threads=1)
    assert (folder / "manifest.toml").read_bytes() == before
    assert not (folder / "model.int8.onnx").exists()


def test_installed_weights_are_in_the_manifest(fmri: tuple[Path, Items], tmp_path: Path) -> None:
    """`[weights.int8]` with digest, scheme and evidence; new FP32 weights would drop it."""
    folder, items = fmri
    judged = manifest.read(folder).unwrap()
    evidence, _ = quantise.judge(judged, np.eye(32, 58), np.eye(32, 58), Items(*vars(items).values()))
    (tmp_path / "candidate.onnx").write_bytes(b"weights")
    quantise.install(folder, tmp_path / "candidate.onnx", evidence, judged)
    table = manifest.read(folder)["weights"]["int8"]
    assert table["sha256"] == manifest.sha256(folder / "model.int8.onnx")
    assert (table["target"], table["evidence"]["calibration_items"]) == ("u8s8-reduce-range", 32)
    other = onnx.load(folder / "model.fp32.onnx")
    other.doc_string = "another file"
    onnx.save(other, folder / "model.fp32.onnx")
    manifest.fill_weights(folder)
    assert "int8" not in manifest.read(folder)["weights"]
    # What was judged is another network than lies there now.
    (tmp_path / "candidate.onnx").write_bytes(b"weights")
    with pytest.raises(Mistake, match="changed while"):
        quantise.install(folder, tmp_path / "candidate.onnx", evidence, judged)
    assert "int8" not in manifest.read(folder)["weights"]


def test_decisions_follow_the_manifest() -> None:
    """Operating points of `xrv-op-norm`, suppressed outputs, and the class of a softmax."""
    xrv = manifest.read(MODELS / "xrv-padchest-18").unwrap()
    points = [label.get("op_threshold", 0.5) for label in xrv["labels"]]
    logits = np.log(np.array(points) / (1 - np.array(points)))[None].astype(np.float32)
    assert evaluation.decisions(xrv, logits + 1e-3).all() and not evaluation.decisions(xrv, logits - 1e-3).any()
    assert evaluation.decisions(xrv, logits).shape == (1, 15)
    networks = manifest.read(MODELS / "fmri-jhu-58").unwrap()
    assert evaluation.decisions(networks, np.eye(58, dtype=np.float32)).tolist() == list(range(58))
