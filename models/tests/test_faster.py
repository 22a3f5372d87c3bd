"""Rewritten graphs compute what they did, with the operators that were meant to go gone."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import seeded_network
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import rewrite
from nightread_models import compact, evaluation, faster, graphs, manifest, onnx_export


def operators(path: Path) -> Counter[str]:
    """How many nodes of each kind a file has."""
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_densenet_pools_before_it_projects(tmp_path: Path) -> None:
    """In all three transitions the average comes first, and logits stay within 1e-5 of PyTorch's."""
    network = seeded_network("padchest-26")
    onnx_export.export(network, (1, 224, 224), tmp_path / "model.onnx")
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    producer = {output: node for node in nodes for output in node.output}
    pools = [node for node in nodes if node.op_type == "AveragePool"]
    assert [producer[pool.input[0]].op_type for pool in pools] == ["Relu"] * 3
    assert onnx_export.check_parity(network, tmp_path / "model.onnx", (1, 224, 224), (-1024.0, 1024.0)) <= 1e-5


def test_resnet_ends_in_matrices(tmp_path: Path) -> None:
    """The last two stages and the classifier are products; the first two and the stem stay convolutions."""
    network = seeded_network("fmri-jhu-58")
    onnx_export.export(network, (3, 45, 45), tmp_path / "model.onnx")
    found = operators(tmp_path / "model.onnx")
    # Six and three blocks of three, two shortcuts, the classifier; the first of them still reads a 6x6 map.
    assert found["Gemm"] + found["MatMul"] == 29
    assert found["Conv"] == 54 - 29
    image = np.random.default_rng(3).random((5, 3, 45, 45), dtype=np.float32)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(image))[0].numpy()
    logits = evaluation.run(tmp_path / "model.onnx", image, threads=1)
    # Fifty layers of other sums in another order, untrained: 1e-4 of the largest, as for every export.
    assert np.abs(logits - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (3, 1, 0), (2, 2, 0)]
)
def test_any_small_convolution_is_the_same_product(kernel: int, stride: int, padding: int, tmp_path: Path) -> None:
    """Kernel, stride and padding of all kinds on a 4x3 map that no side of is the other's."""
    torch.manual_seed(0)
    layer = nn.Conv2d(128, 8, kernel, stride=stride, padding=padding).eval()
    with torch.inference_mode():
        image = torch.randn(3, 128, 4, 3)
        wanted = layer(image).numpy()
    node = helper.make_node(
        "Conv", ["image", "weight", "bias"], ["logits"],
        kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4,
    )  # fmt: skip
    constants = [numpy_helper.from_array(p.detach().numpy(), name) for name, p in layer.named_parameters()]
    graph = helper.make_graph(
        [node], "one",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 128, 4, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", *wanted.shape[1:]])],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    assert faster.small_maps_to_matrices(model) == 1
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "model.onnx")
    assert operators(tmp_path / "model.onnx")["Conv"] == 0
    np.testing.assert_allclose(
        evaluation.run(tmp_path / "model.onnx", image.numpy(), threads=1), wanted, rtol=1e-4, atol=1e-5
    )


def test_a_padded_pool_keeps_its_place() -> None:
    """Zeros that the pooling itself adds are not what the projection would make of zeros: no swap."""
    for pads, swaps in (([0, 0, 0, 0], 1), ([1, 1, 1, 1], 0)):
        nodes = [
            helper.make_node("Conv", ["image", "weight"], ["projected"], kernel_shape=[1, 1]),
            helper.make_node("AveragePool", ["projected"], ["logits"], kernel_shape=[2, 2], strides=[2, 2], pads=pads),
        ]
        graph = helper.make_graph(
            nodes, "two",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 4, 8, 8])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.ones((2, 4, 1, 1), np.float32), "weight")],
        )  # fmt: skip
        model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
        assert faster.pool_before_projection(model) == swaps


def test_a_stored_file_is_rewritten_without_new_rounding(tmp_path: Path) -> None:
    """8-bit storage, widened, turned into matrices and stored again: the same outputs, a file of the same size."""
    folder = manifest.prepare_folder(manifest.MODELS / "fmri-jhu-58", tmp_path)
    path = folder / "model.fp32.onnx"
    onnx_export.export(seeded_network("fmri-jhu-58"), (3, 45, 45), path)
    model = onnx.load(path)
    assert compact.store_int8(model) == 54
    path.write_bytes(model.SerializeToString())
    size = path.stat().st_size
    worst, digest = rewrite.rewrite_folder(folder)
    assert worst <= 1e-5
    assert digest == manifest.read(folder)["weights"]["fp32"]["sha256"] == manifest.sha256(path)
    assert abs(path.stat().st_size / size - 1) < 0.01


def test_one_channel_keeps_its_first_convolution_in_fp32(tmp_path: Path) -> None:
    """DenseNet's stem is named and held apart from the rounding behind it; ResNet's, of three channels, is not."""
    for name, shape, kept in (("padchest-26", (1, 224, 224), 4), ("fmri-jhu-58", (3, 45, 45), 0)):
        onnx_export.export(seeded_network(name), shape, tmp_path / "model.onnx")
        model = onnx.load(tmp_path / "model.onnx")
        names = graphs.stem(model)
        assert len(names) == kept
        onnx.checker.check_model(model, full_check=True)
