"""Makes INT8 weights of a model folder, and writes them into its manifest only if they are good enough.

Static quantisation (QDQ) by ONNX Runtime: weights per channel, signed, with reduced range (7 bits, so that
processors without VNNI do not saturate); activations unsigned 8 bits. The scheme is called `u8s8-reduce-range`.
Before it, norms become integer-friendly convolutions and the channels of shared features get one range; the
classifier stays in FP32, and its bias takes up the mean error. Any network that finds things in radiographs or names
components is taken; what only DenseNets have is left out for others.

Items are what `nightread prepare` wrote, with a CSV of truth: `file` (its name there, or the end of it), one column
for each label with 1, 0 or nothing (not known), or `class` with the label's name for a softmax; `patient` and `split`
(`calibration` or `evaluation`) where they are known. Or an .npz with the arrays calibration, evaluation, truth, groups.
Calibration sees training items only. The gate, on items that neither training nor calibration saw: the same
decisions as FP32 on at least 99 % of the items, and a loss of at most half a point (AUC over the labels that have both
classes, or accuracy). A candidate that fails is not installed, and the manifest stays as it is.

Exit status: 0 installed, 1 the gate refused, 2 something is missing or wrong: one line for each says what, where, and
how to mend it, before anything is quantised.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is loaded

import numpy as np
import onnx
import tomlkit
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from nightread_models import (
    description,
    equalise,
    evaluation,
    graphs,
    manifest,
    network_file,
    onnx_export,
    prepared,
    radiograph,
    sufficiency,
)
from nightread_models.description import Head
from nightread_models.evaluation import Images, Items
from nightread_models.mistakes import Mistake, first_line
from nightread_models.sufficiency import LEAST_CALIBRATION

TARGET = "u8s8-reduce-range"
LEAST_AGREEMENT = 0.99
GREATEST_LOSS = 0.005
LOGITS = Head("logits", "sigmoid", "none", ())

EXAMPLES = """examples:
  python models/quantise/quantise.py --folder models/cxr-pneumonia-demo
  nightread prepare /data/xrays --model my-network --out prepared.npz
  python models/quantise/quantise.py --folder my-models/my-network --items prepared.npz --truth truth.csv
  python models/quantise/quantise.py --folder /srv/nightread/models/fmri-jhu-58 --items split.npz
"""


class Batches(CalibrationDataReader):
    """Feeds (m, *item_shape) to the calibrator in batches."""

    def __init__(self, name: str, images: Images, size: int = 8) -> None:
        self.batches: Iterator[dict[str, NDArray[np.float32]]] = (
            {name: images[at : at + size]} for at in range(0, len(images), size)
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch, or None after the last."""
        return next(self.batches, None)


def quantise(
    source: Path,
    target: Path,
    images: Images,
    keep_fp32: list[str],
    *,
    threads: int = 1,
    heads: Sequence[Head] = (LOGITS,),
) -> list[str]:
    """Writes the INT8 version of `source`, calibrated on `images`; returns the names of nodes left in FP32.

    These are the classifiers' of `heads` (they cost little and err most), the first convolution's if the image has one
    channel (it is faster so), and those in `keep_fp32`. Raises Mistake for a name that no node has, and for a graph
    that ONNX Runtime's quantiser does not take.
    """
    try:
        with tempfile.TemporaryDirectory() as work:
            kept = _quantise(source, target, images, keep_fp32, heads, Path(work))
        _correct(source, target, images, heads, threads)
    except Mistake:
        raise
    except Exception as error:  # The quantiser raises whatever its parts do, and all of it is about the graph.
        what = "export the network anew (torch.onnx.export, opset 18), or leave it in fp32"
        words = f"{type(error).__name__}: {first_line(error)}"
        raise Mistake(f"{source}: this graph cannot be quantised ({words}): {what}") from error
    return kept


def _quantise(
    source: Path, target: Path, images: Images, keep_fp32: list[str], heads: Sequence[Head], work: Path
) -> list[str]:
    rewritten, kept = _rewritten(source, images, work)
    file = work / "prepared.onnx"
    onnx.save(rewritten, file)
    # Shapes of these networks are static but for the batch: ONNX's own inference suffices.
    quant_pre_process(file, file, skip_symbolic_shape=True)
    model = onnx.load(file)
    if network_file.name_nodes(model):
        onnx.save(model, file)
    if unknown := set(keep_fp32) - {node.name for node in model.graph.node}:
        raise Mistake(f"--keep-fp32: no node {', '.join(sorted(unknown))}: name those of the ONNX graph")
    kept += dict.fromkeys(name for head in heads for name in graphs.head(model, head.logits))
    kept += keep_fp32
    quantize_static(
        file,
        target,
        Batches(model.graph.input[0].name, images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=kept,
    )
    return kept


def _rewritten(source: Path, images: Images, work: Path) -> tuple[onnx.ModelProto, list[str]]:
    """The graph as integers serve it best, computing the same, and the names of its first nodes that stay in FP32."""
    model = graphs.merge_norms(network_file.load(source), work)
    network_file.name_nodes(model)
    graphs.norms_to_convolutions(model)
    graphs.pooling_to_convolutions(model)
    kept = graphs.stem(model)
    equalise.equalise_features(model, images, work)
    return model, kept


def _correct(source: Path, target: Path, images: Images, heads: Sequence[Head], threads: int) -> None:
    """Takes off what rounding adds to each logit on average, measured on the calibration items; finishes the file."""
    outputs = [head.logits for head in heads]
    wanted = evaluation.run(source, images, threads=threads, outputs=outputs)
    shift = (wanted - evaluation.run(target, images, threads=threads, outputs=outputs)).mean(0)
    model = onnx.load(target)
    at = 0
    for head in heads:
        columns = len(head.columns) or shift.size
        own, at = shift[at : at + columns], at + columns
        if head.activation == "none":
            print(f"{head.logits}: probabilities, whose mean error is not corrected")
            continue
        graphs.shift_logits(model, own, head.logits)
        print(f"{head.logits}: bias corrected by {np.array2string(own, precision=3, threshold=8)}")
    onnx_export.strip(model)
    onnx.checker.check_model(model, full_check=True)
    target.write_bytes(model.SerializeToString(deterministic=True))


def judge(
    description: dict[str, Any], fp32: NDArray[np.float32], int8: NDArray[np.float32], items: Items
) -> tuple[dict[str, Any], list[str]]:
    """The evidence for a manifest, from logits (n, labels) of both precisions, and why it does not suffice."""
    same = evaluation.decisions(description, fp32) == evaluation.decisions(description, int8)
    # An item agrees when all its findings do.
    agreement = float(same.reshape(len(same), -1).all(1).mean())
    metric, before = evaluation.score(description, fp32, items)
    _, after = evaluation.score(description, int8, items)
    evidence = {
        "calibration_sha256": items.calibration_sha256,
        "calibration_items": len(items.calibration),
        "agreement": round(agreement, 4),
        "metric": metric,
        "fp32": before.as_list(),
        "int8": after.as_list(),
        "evaluated_items": len(items.truth),
    }
    reasons = []
    # Written so that NaN fails too.
    if not agreement >= LEAST_AGREEMENT:
        reasons.append(f"agreement {agreement:.4f} below {LEAST_AGREEMENT}")
    if not before.value - after.value <= GREATEST_LOSS:
        reasons.append(f"{metric} falls from {before.value:.4f} to {after.value:.4f}, more than {GREATEST_LOSS}")
    if len(items.calibration) < LEAST_CALIBRATION:
        reasons.append(f"{len(items.calibration)} calibration items, fewer than {LEAST_CALIBRATION}")
    return evidence, reasons


def install(folder: Path, candidate: Path, evidence: dict[str, Any], judged: dict[str, Any]) -> None:
    """Moves the candidate into the folder and writes `[weights.int8]`.

    Raises Mistake where the model is no longer the one that was `judged`: INT8 weights of other FP32 weights, or of
    other labels, would be served as this model's.
    """
    description = manifest.read(folder)
    if _without_int8(description.unwrap()) != _without_int8(judged):
        path = folder / manifest.FILE
        raise Mistake(f"{path}: it changed while the weights were made and judged: run it again")
    network_file.weights_path(folder, judged)
    file = "model.int8.onnx"
    shutil.move(candidate, folder / file)
    table = tomlkit.table()
    table.update({"file": file, "sha256": manifest.sha256(folder / file), "target": TARGET})
    proof = tomlkit.table()
    proof.update(evidence)
    proof.add(tomlkit.nl())
    table["evidence"] = proof
    description["weights"]["int8"] = table
    manifest.write(folder, description)


def _without_int8(described: dict[str, Any]) -> dict[str, Any]:
    weights = {key: value for key, value in described["weights"].items() if key != "int8"}
    return described | {"weights": weights}


def quantise_folder(folder: Path, items: Items, keep_fp32: list[str], threads: int) -> list[str]:
    """Quantises, judges and, if good enough, installs; returns the reasons against (none: installed)."""
    described = description.read(folder)
    source = network_file.weights_path(folder, described)
    heads = description.heads(described)
    with tempfile.TemporaryDirectory() as work:
        candidate = Path(work) / "candidate.onnx"
        kept = quantise(source, candidate, items.calibration, keep_fp32, threads=threads, heads=heads)
        for name in _heatmap_weights(described):
            network_file.check_initializer(source, onnx.load(candidate), name)
        fp32 = evaluation.run_heads(source, heads, items.evaluation, threads=threads)
        int8 = evaluation.run_heads(candidate, heads, items.evaluation, threads=threads)
        evidence, reasons = judge(described, fp32, int8, items)
        print(f"kept in FP32: {', '.join(kept) or 'none'}")
        print(f"largest difference of a logit: {np.abs(fp32 - int8).max():.3f}")
        for key, value in evidence.items():
            print(f"{key}: {value}")
        if not reasons:
            install(folder, candidate, evidence, described)
    return reasons


def _heatmap_weights(described: dict[str, Any]) -> Iterator[str]:
    """Constants of the graph that heatmaps are made of."""
    for row in description.output_tables(described):
        cam = row.get("cam")
        if isinstance(cam, dict) and "weights" in cam:
            yield cam["weights"]


def gather(options: argparse.Namespace) -> Items:
    """The items that the command line names, when they suffice for the folder's network; tells what it takes.

    Raises Mistake for all else.
    """
    described = description.read(options.folder)
    network_file.check(options.folder, described)
    notes = []
    if options.truth and not options.items:
        raise Mistake("--truth belongs to --items: give what `nightread prepare` wrote")
    if options.truth:
        items, notes = prepared.items(
            options.items,
            options.truth,
            described,
            count=options.count,
            seed=options.seed,
            leave_out=options.leave_out,
        )
    elif options.items:
        items = evaluation.items_from_file(options.items)
    else:
        items = _demonstration_items(options)
    for note in [*notes, *sufficiency.check(described, items)]:
        print(note)
    return items


def _demonstration_items(options: argparse.Namespace) -> Items:
    """Of the data set that the demonstration was trained on."""
    try:
        return evaluation.kermany_items(options.data, options.count, options.seed)
    except (FileNotFoundError, ValueError) as error:
        what = "give your own by --items and --truth, or the data set's folder by --data and fewer by --count"
        raise Mistake(f"no {options.count} X-rays to calibrate on ({first_line(error)}): {what}") from None


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when installed, 1 when the gate refused, 2 on an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="model folder with FP32 weights")
    parser.add_argument("--items", type=Path, help=".npz of prepared items; default: the Kermany data set")
    parser.add_argument("--truth", type=Path, help="CSV of truth, for items that `nightread prepare` wrote")
    parser.add_argument("--leave-out", action="store_true", help="leave out files that only one of the two has")
    parser.add_argument("--data", type=Path, default=radiograph.data_folder(), help="folder that holds xray/kermany")
    parser.add_argument("--count", type=int, default=320, help="items to calibrate on, where no `split` names them")
    parser.add_argument("--seed", type=int, default=20230905, help="chooses the calibration items")
    parser.add_argument("--keep-fp32", nargs="*", default=[], metavar="NODE", help="more nodes to leave in FP32")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    # The quantiser logs a warning for each step it thinks the caller forgot.
    logging.getLogger().setLevel(logging.ERROR)
    try:
        reasons = quantise_folder(options.folder, gather(options), options.keep_fp32, options.threads)
    except Mistake as mistake:
        for line in mistake.lines:
            print(f"quantise: {line}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"quantise: {error}: look whether the path is right and may be read", file=sys.stderr)
        return 2
    for reason in reasons:
        print(f"not installed: {reason}", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
