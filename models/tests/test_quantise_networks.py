"""Networks that are no DenseNets, exported as their owners would, from `nightread prepare` to INT8 weights."""

import csv
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import onnx
import pytest
import tomlkit
import torch
from conftest import MODELS
from monai.networks.nets import DenseNet121, EfficientNetBN, ViT, resnet18
from onnx import numpy_helper
from PIL import Image
from torch import nn

import quantise
from nightread_models import description, equalise, evaluation, graphs, manifest, network_file, onnx_export
from nightread_models.description import Head
from nightread_models.evaluation import Items

SIDE = 64
LABELS = ["Bright", "Striped", "Unknown"]


class Classifier(nn.Module):
    """MONAI's transformer, of whose two results the first is what it decides by."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ViT(
            3, (SIDE, SIDE), 16, hidden_size=96, mlp_dim=192, num_layers=2, num_heads=4, classification=True,
            num_classes=3, spatial_dims=2, post_activation="",
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.network(image)[0]


def seeded(kind: str) -> nn.Module:
    """A network of full architecture with seeded weights, whose norms have the statistics of one batch."""
    torch.manual_seed(11)
    network = {
        "resnet18": lambda: resnet18(spatial_dims=2, n_input_channels=3, num_classes=3),
        "efficientnet": lambda: EfficientNetBN("efficientnet-b0", False, spatial_dims=2, in_channels=3, num_classes=3),
        "vit": Classifier,
        "densenet": lambda: DenseNet121(spatial_dims=2, in_channels=3, out_channels=3),
    }[kind]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(noise(32, seed=5)))
    return network.eval()


def noise(count: int, seed: int = 1) -> np.ndarray:
    """Smooth images, so that they differ as a whole."""
    coarse = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear").numpy()


def export(network: nn.Module, path: Path, way: str = "dynamo") -> None:
    """By PyTorch's exporters, as they come; with weights inside the file, or `outside`."""
    image = torch.zeros(2, 3, SIDE, SIDE)
    names = {"input_names": ["image"], "output_names": ["logits"]}
    if way == "trace":
        torch.onnx.export(
            network, (image,), str(path), dynamo=False, opset_version=17, dynamic_axes={"image": {0: "batch"}}, **names
        )
        return
    program = torch.onnx.export(
        network, (image,), dynamo=True, verbose=False, dynamic_shapes=({0: torch.export.Dim("batch")},),
        **names,
    )  # fmt: skip
    program.save(str(path), external_data=way == "outside")


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("resnet18", "dynamo"), ("resnet18", "trace"), ("efficientnet", "outside"), ("vit", "dynamo"),
        ("densenet", "trace"),
    ],
)  # fmt: skip
def test_other_networks_become_integers(kind: str, way: str, tmp_path: Path) -> None:
    """The rewritten graph computes the same; 8-bit weights; logits that go along; no mean error is left."""
    source, target = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    export(seeded(kind), source, way)
    images = noise(48)
    fp32 = evaluation.run(source, images, threads=1)
    rewritten, _ = quantise._rewritten(source, images, tmp_path)
    onnx.save(rewritten, tmp_path / "rewritten.onnx")
    assert not [node for node in rewritten.graph.node if node.op_type == "BatchNormalization"]
    same = evaluation.run(tmp_path / "rewritten.onnx", images, threads=1)
    np.testing.assert_allclose(same, fp32, atol=1e-4 * np.abs(fp32).max())
    kept = quantise.quantise(source, target, images, [], heads=[Head("logits", "sigmoid", "none", (0, 1, 2))])
    assert kept
    model = onnx.load(target)
    eight = [i for i in model.graph.initializer if i.data_type == onnx.TensorProto.INT8 and len(i.dims) >= 2]
    assert len(eight) >= {"resnet18": 19, "efficientnet": 80, "vit": 8, "densenet": 119}[kind]
    int8 = evaluation.run(target, images, threads=1)
    # Untrained weights amplify rounding; a wrong scale or a lost norm would leave nothing at all.
    least = 0.5 if kind == "efficientnet" else 0.9
    likeness = [np.corrcoef(fp32[:, column], int8[:, column])[0, 1] for column in range(3)]
    assert np.mean(likeness) > least, likeness
    np.testing.assert_allclose(int8.mean(0), fp32.mean(0), atol=1e-3 * np.abs(fp32).max())


def test_a_norm_behind_a_sum_or_an_output_is_not_rescaled(tmp_path: Path) -> None:
    """Pre-activation blocks: a norm behind a sum, and behind a map that leaves the network, keep their ranges."""

    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolutions = nn.ModuleList(nn.Conv2d(channels, 8, 3, padding=1) for channels in (3, 8, 8, 8, 8))
            self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in (8, 8, 16))
            self.last = nn.Linear(16, 3)

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            stem = self.convolutions[0](image)
            kept = self.convolutions[1](torch.relu(stem))
            total = torch.relu(stem + self.convolutions[2](self.norms[0](torch.relu(kept))))
            alone = torch.cat([self.convolutions[3](self.norms[1](total)), self.convolutions[4](total)], 1)
            return self.last(torch.relu(self.norms[2](alone)).mean((2, 3))), kept

    torch.manual_seed(3)
    network, path = Blocks(), tmp_path / "model.onnx"
    with torch.no_grad():
        network.train()(torch.randn(8, 3, SIDE, SIDE))
    network.eval()
    torch.onnx.export(
        network, (torch.zeros(2, 3, SIDE, SIDE),), str(path), dynamo=False, opset_version=17, input_names=["image"],
        output_names=["logits", "kept"], dynamic_axes={"image": {0: "batch"}}, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip
    model = network_file.load(path)
    images = noise(4)
    before = onnx_export.session(path).run(["logits", "kept"], {"image": images})
    assert graphs.norms_to_convolutions(model) == 3
    # Only the last two convolutions' channels go into a norm and nowhere else.
    assert equalise.equalise_features(model, images, tmp_path) == 2
    onnx.save(model, path)
    for was, found in zip(before, onnx_export.session(path).run(["logits", "kept"], {"image": images}), strict=True):
        np.testing.assert_allclose(found, was, atol=1e-4)


def test_a_norm_behind_a_convolution_is_merged_into_it(tmp_path: Path) -> None:
    """Where the exporter has not done it; a norm that stands elsewhere is left to the rest."""
    generator = np.random.default_rng(6)
    image, logits = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *sides])
        for name, sides in (("image", (3, 8, 8)), ("logits", (4, 6, 6)))
    )
    constants = [numpy_helper.from_array(generator.normal(size=(4, 3, 3, 3)).astype(np.float32), "kernel")]
    nodes, before = [onnx.helper.make_node("Conv", ["image", "kernel"], ["map"])], "map"
    for after in ("normed", "logits"):
        names = [f"{after}/{part}" for part in ("scale", "bias", "mean", "variance")]
        constants += [numpy_helper.from_array(generator.uniform(0.5, 2, 4).astype(np.float32), name) for name in names]
        nodes.append(onnx.helper.make_node("BatchNormalization", [before, *names], [after]))
        if after == "normed":
            nodes.append(onnx.helper.make_node("Relu", ["normed"], ["positive"]))
            before = "positive"
    graph = onnx.helper.make_graph(nodes, "norms", [image], [logits], constants)
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "before.onnx")
    merged = graphs.merge_norms(model, tmp_path)
    assert [node.op_type for node in merged.graph.node] == ["Conv", "Relu", "BatchNormalization"]
    onnx.save(merged, tmp_path / "after.onnx")
    values = generator.normal(size=(2, 3, 8, 8)).astype(np.float32)
    was, found = (evaluation.run(tmp_path / f"{when}.onnx", values, threads=1) for when in ("before", "after"))
    np.testing.assert_allclose(found, was, rtol=1e-4, atol=1e-4)


def binary() -> Path:
    """The program: `NIGHTREAD`, else this checkout's release build, else the one in PATH; else the test is skipped."""
    named, built = os.environ.get("NIGHTREAD"), MODELS.parent / "target" / "release" / "nightread"
    found = named or (built if built.exists() else which("nightread"))
    if not found:
        pytest.skip("SKIPPED: items by `nightread prepare`: no nightread (run `make build`, or name it in NIGHTREAD)")
    return Path(found).resolve()


MANIFEST = """schema = 1
name = "striped"
version = "1.0.0"
task = "radiograph"
description = "ResNet-18 that tells bright images and striped ones"
card = "README.md"

[weights.fp32]
file = "model.fp32.onnx"

[input]
name = "image"
item_shape = [3, 64, 64]
value_range = [-2.0, 2.0]

[[preprocessing]]
step = "range"
to = [0, 1]

[[preprocessing]]
step = "resize"
library = "torchvision-antialias"
side = "exact"
height = 64
width = 64

[[preprocessing]]
step = "channels"
count = 3
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
layout = "NCHW"

[output]
logits = "logits"
activation = "sigmoid"
calibration = "none"

[[labels]]
name = "Bright"
threshold = 0.5

[[labels]]
name = "Striped"
threshold = 0.5

[[labels]]
name = "Unknown"
threshold = 0.5

[trained_on]
modality_words = "images made by a test"

[source]
data = "made by a test"
citation = "none"
url = "https://example.org"
licence = "none"
not_for = "anything but this test"
"""


def write_images(folder: Path, count: int) -> list[tuple[Path, bool, bool]]:
    """Grey images, every second one bright, every third one striped; with what they are."""
    folder.mkdir()
    generator = np.random.default_rng(7)
    written = []
    for number in range(count):
        bright, striped = number % 2 == 0, number % 3 == 0
        pixels = generator.normal(170 if bright else 80, 8, (96, 96))
        pixels[:, ::8] += 50 * striped
        path = folder / f"{number:03}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
        written.append((path, bright, striped))
    return written


def fit_last_layer(network: nn.Module, images: np.ndarray, truth: np.ndarray) -> None:
    """Least squares from features to logits of 4 and -4: the network then knows what is asked."""
    features = []
    hook = network.fc.register_forward_hook(lambda _, given, __: features.append(given[0]))
    with torch.no_grad():
        network(torch.from_numpy(images))
        hook.remove()
        table = torch.cat([features[0], torch.ones(len(images), 1)], 1).double()
        wanted = torch.from_numpy(8.0 * truth - 4.0).double()
        gram = table.T @ table + 1e-3 * torch.eye(table.shape[1])
        solution = torch.linalg.solve(gram, table.T @ wanted).float()
        network.fc.weight.copy_(solution[:-1].T)
        network.fc.bias.copy_(solution[-1])


def test_from_prepare_to_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ResNet-18 in a folder of its own, items by the program, truth in a CSV: installed, and read by the program."""
    program = binary()
    models, folder = tmp_path / "models", tmp_path / "models" / "striped"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("A card.\n")
    (folder / "manifest.toml").write_text(MANIFEST)
    written = write_images(tmp_path / "images", 420)
    network = seeded("resnet18")
    export(network, folder / "model.fp32.onnx", "outside")
    manifest.fill_weights(folder)
    archive, truth = tmp_path / "prepared.npz", tmp_path / "truth.csv"
    variables = os.environ | {"ORT_DISABLE_TELEMETRY": "1"}
    prepare = [program, "prepare", "images", "--models", models, "--model", "striped", "--out", archive]
    subprocess.run(prepare, check=True, cwd=tmp_path, env=variables, stdout=subprocess.DEVNULL)
    with np.load(archive) as arrays:
        named = {Path(name).name: name for name in arrays}
        images = np.stack([arrays[named[path.name]] for path, *_ in written])
    fit_last_layer(network, images[:320], np.array([(bright, striped, 0) for _, bright, striped in written[:320]]))
    export(network, folder / "model.fp32.onnx", "outside")
    manifest.fill_weights(folder)
    with truth.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "patient", "Bright", "Striped", "Unknown"])
        for number, (path, bright, striped) in enumerate(written):
            rows.writerow([path.name, f"p{number // 2}", int(bright), int(striped) if number % 5 else "", ""])
    arguments = ["--folder", str(folder), "--items", str(archive), "--truth", str(truth), "--count", "300"]
    assert quantise.main(arguments) == 0, capsys.readouterr()
    told = capsys.readouterr().out
    assert "300 items to calibrate on, 120 of 60 patients to judge by" in told
    assert "AUC is the mean over 2 of 3 labels, left out: Unknown (no truth)" in told
    evidence = manifest.read(folder)["weights"]["int8"]["evidence"]
    assert evidence["calibration_items"] == 300 and evidence["evaluated_items"] == 120
    assert evidence["agreement"] >= 0.99 and evidence["metric"] == "auc" and evidence["int8"][0] > 0.99
    opened = [program, "models", "--models", models, "--format", "json"]
    listed = subprocess.run(opened, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    read = [program, "process", "images", "--models", models, "--model", "striped", "--precision", "int8"]
    done = subprocess.run([*read, "--out", "out"], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


TWO_HEADS = """
task = "radiograph"

[[output.heads]]
logits = "findings"
activation = "sigmoid"
calibration = "none"

[[output.heads]]
logits = "view"
activation = "softmax"
calibration = "none"

[[output.heads]]
logits = "chances"
activation = "none"
calibration = "none"
"""


@pytest.fixture
def heads() -> dict[str, Any]:
    """Labels of three heads, mixed in the manifest's order."""
    described = tomlkit.parse(TWO_HEADS).unwrap()
    described["labels"] = [
        {"name": "PA", "head": "view", "threshold": 0.5},
        {"name": "Opacity", "head": "findings", "threshold": 0.7},
        {"name": "Lateral", "head": "view", "threshold": 0.5},
        {"name": "Device", "head": "chances", "threshold": 0.2},
    ]
    return described


def test_several_heads(heads: dict[str, Any]) -> None:
    """Each label by its head's activation, worked out by hand; AUC over all of them."""
    assert [head.columns for head in description.heads(heads)] == [(1,), (0, 2), (3,)]
    given = np.array([[2.0, 0.84, 1.0, 0.19], [0.0, 0.86, 3.0, 0.2]], np.float32)
    # sigmoid(0.84) = 0.698, sigmoid(0.86) = 0.703; softmax(2, 1) = 0.73, 0.27; the class of the softmax stands last.
    wanted = [[1, 0, 0, 0, 0], [0, 1, 1, 1, 1]]
    assert evaluation.decisions(heads, given).astype(int).tolist() == wanted
    truth = np.array([[1, 0, 0, np.nan], [0, 1, 1, 1]])
    metric, interval = evaluation.score(heads, given, Items(given, "", given, truth, np.arange(2)))
    # Of `Device` one class is known: left out.
    assert (metric, interval.value) == ("auc", 1.0)


def test_the_logits_of_a_gemm_a_product_and_a_shared_bias_are_shifted(tmp_path: Path) -> None:
    """By its bias where it has one of its own, else by an addition."""
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 2])
    bias = numpy_helper.from_array(np.array([1, 2], np.float32), "bias")
    matrix = numpy_helper.from_array(np.eye(2, dtype=np.float32), "matrix")
    node: Callable[..., onnx.NodeProto] = onnx.helper.make_node
    forms = {
        "own bias": ([node("Gemm", ["image", "matrix", "bias"], ["logits"])], 1),
        "no bias": ([node("Gemm", ["image", "matrix"], ["logits"])], 2),
        "half a bias": ([node("Gemm", ["image", "matrix", "bias"], ["logits"], beta=0.5)], 2),
        "product": ([node("MatMul", ["image", "matrix"], ["logits"])], 2),
        "addition": ([node("MatMul", ["image", "matrix"], ["raw"]), node("Add", ["bias", "raw"], ["logits"])], 2),
        "shared": ([node("Add", ["image", "bias"], ["moved"]), node("Add", ["moved", "bias"], ["logits"])], 3),
    }
    for name, (nodes, count) in forms.items():
        logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 2])
        graph = onnx.helper.make_graph(nodes, "last", [image], [logits], [bias, matrix])
        model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)])
        onnx.save(model, tmp_path / "before.onnx")
        graphs.shift_logits(model, np.array([0.5, -3], np.float32))
        onnx.save(model, tmp_path / "after.onnx")
        assert len(model.graph.node) == count, name
        values = np.array([[5, 7], [1, 0]], np.float32)
        before, after = (evaluation.run(tmp_path / f"{when}.onnx", values, threads=1) for when in ("before", "after"))
        assert (after - before).tolist() == [[0.5, -3], [0.5, -3]], name
