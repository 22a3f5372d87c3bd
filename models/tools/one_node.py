"""Writes a model of two tiny nodes, for measuring what the service costs without a network.

`image` (batch, 1, 224, 224) -> GlobalAveragePool -> Flatten -> `logits` (batch, 1): the mean of the
normalised image. It reads nothing in an image; its results mean nothing.
"""

import argparse
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from nightread_models import manifest


def one_node_model() -> onnx.ModelProto:
    """The ONNX model, a few hundred bytes, opset 17, dynamic batch."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"], axis=1),
    ]
    graph = helper.make_graph(nodes, "one-node", [image], [logits])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Writes the weights of an existing folder and the digest into its manifest."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python models/tools/one_node.py --folder tests/fixtures/models/one-node",
    )
    parser.add_argument("--folder", type=Path, required=True, help="model folder with a manifest.toml")
    folder = parser.parse_args().folder
    target = folder / str(manifest.read(folder)["weights"]["fp32"]["file"])
    target.write_bytes(one_node_model().SerializeToString(deterministic=True))
    print(f"{target}: {target.stat().st_size} bytes, sha256 {manifest.fill_weights(folder)}")


if __name__ == "__main__":
    main()
