"""Rewrites the FP32 weights of a model folder as `export.py` does today, if they then still compute the same.

For folders exported by an older version, or whose checkpoint is not at hand. Both files run on random inputs; a
difference above 1e-5 of the largest output keeps the old one. INT8 weights are dropped with the digest they belong
to: quantise again, and raise the version.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from nightread_models import compact, faster, manifest, onnx_export

TOLERANCE = 1e-5


def largest_difference(old: Path, new: Path, item_shape: tuple[int, ...], low: float, high: float) -> float:
    """Between the outputs of two files on random batches of 1, 3 and 8, relative to max(1, |expected|)."""
    sessions = [onnx_export.session(path) for path in (old, new)]
    generator = np.random.default_rng(0)
    worst = 0.0
    for batch in (1, 3, 8):
        image = generator.uniform(low, high, (batch, *item_shape)).astype(np.float32)
        runs = [s.run(list(onnx_export.OUTPUTS), {s.get_inputs()[0].name: image}) for s in sessions]
        for want, have in zip(*runs, strict=True):
            worst = max(worst, float(np.abs(want - have).max() / max(1.0, float(np.abs(want).max()))))
    return worst


def rewrite_folder(folder: Path) -> tuple[float, str]:
    """Replaces the file and fills in its digest; returns the difference and the digest. ValueError above tolerance."""
    description = manifest.read(folder)
    source = folder / str(description["weights"]["fp32"]["file"])
    model = onnx.load(source)
    stored = any(node.op_type == "Cast" for node in model.graph.node)
    faster.rewrite(model)
    if stored:
        compact.store_int8(model)
    onnx_export.strip(model)
    shape = tuple(int(side) for side in description["input"]["item_shape"])
    low, high = (float(end) for end in description["input"]["value_range"])
    with tempfile.TemporaryDirectory() as work:
        candidate = Path(work) / "candidate.onnx"
        candidate.write_bytes(model.SerializeToString(deterministic=True))
        worst = largest_difference(source, candidate, shape, low, high)
        # Written so that NaN fails too.
        if not worst <= TOLERANCE:
            raise ValueError(f"{folder}: outputs would differ by {worst:.1e}; nothing was changed")
        source.write_bytes(candidate.read_bytes())
    return worst, manifest.fill_weights(folder)


def main() -> int:
    """Command line; 0 when rewritten, 2 when not."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python models/tools/rewrite.py --folder models/cxr-pneumonia-demo",
    )
    parser.add_argument("--folder", type=Path, required=True, help="model folder with FP32 weights")
    folder = parser.parse_args().folder
    try:
        worst, digest = rewrite_folder(folder)
    except (OSError, ValueError) as error:
        print(f"rewrite: {error}", file=sys.stderr)
        return 2
    print(f"{folder}: sha256 {digest}, difference {worst:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
