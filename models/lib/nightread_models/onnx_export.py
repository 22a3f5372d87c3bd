"""PyTorch network -> ONNX file with a dynamic batch, and the proof that both compute the same."""

import contextlib
import io
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from nightread_models import faster

OPSET = 18
TOLERANCE = 1e-4
OUTPUTS = ("logits", "cam")


class ParityError(Exception):
    """The ONNX file and the PyTorch network differ by more than the tolerance."""


def export(network: nn.Module, item_shape: tuple[int, ...], path: Path, *, input_name: str = "image") -> None:
    """Writes `network` in inference mode as FP32 ONNX: `image` (batch, *item_shape) -> `logits`, `cam`.

    Every batch normalisation that follows a convolution is folded into it. Those before a ReLU and a
    convolution (DenseNet's pre-activations) have nothing to be folded into and stay. `faster` does the rest.
    """
    network.eval()
    example = torch.zeros(2, *item_shape)
    # The exporter reports progress on standard output; what matters is checked below.
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    model = program.model_proto
    strip(model)
    faster.rewrite(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def strip(model: onnx.ModelProto) -> None:
    """Removes what only describes the exporting machine: stack traces with paths, doc strings, value names."""
    model.doc_string = ""
    del model.metadata_props[:]
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    # Inferred shapes name the exporter's example; the runtime infers its own.
    del graph.value_info[:]


def session(path: Path, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU with `threads` threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def check_parity(
    network: nn.Module,
    path: Path,
    item_shape: tuple[int, ...],
    value_range: tuple[float, float],
    *,
    batches: tuple[int, ...] = (1, 5),
    seed: int = 0,
) -> float:
    """Largest difference between ONNX Runtime and PyTorch on random inputs, relative to max(1, |expected|).

    Raises ParityError above `TOLERANCE` or for a wrong shape.
    """
    network.eval()
    runtime = session(path)
    generator = np.random.default_rng(seed)
    worst = 0.0
    for batch in batches:
        image = generator.uniform(*value_range, (batch, *item_shape)).astype(np.float32)
        with torch.inference_mode():
            expected = [output.numpy() for output in network(torch.from_numpy(image))]
        found = runtime.run(list(OUTPUTS), {runtime.get_inputs()[0].name: image})
        for name, want, have in zip(OUTPUTS, expected, found, strict=True):
            if want.shape != have.shape:
                raise ParityError(f"{name}: shape {have.shape}, expected {want.shape}")
            difference = float(np.abs(want - have).max() / max(1.0, float(np.abs(want).max())))
            # Written so that NaN fails too.
            if not difference <= TOLERANCE:
                raise ParityError(f"{name}, batch {batch}: difference {difference:.2e} above {TOLERANCE:.0e}")
            worst = max(worst, difference)
    return worst
