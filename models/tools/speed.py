"""Times the ONNX files of model folders on ONNX Runtime's CPU provider, side by side.

Runs are interleaved (one of each file in turn), so that a change in the machine's load meets all alike; medians
are compared, not minima. With one thread the processor time is given too, which other work on the machine hardly
touches. With --profile, the time of each kind of operator follows, medians over the same runs.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is loaded

import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from nightread_models import manifest, onnx_export


def medians(files: dict[str, Path], shape: tuple[int, ...], low: float, high: float, threads: int, runs: int) -> None:
    """Prints the median, best and worst milliseconds of each file for inputs of `shape` (batch first)."""
    image = np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)
    sessions = {name: onnx_export.session(path, threads=threads) for name, path in files.items()}
    walls: dict[str, list[float]] = defaultdict(list)
    busy: dict[str, list[float]] = defaultdict(list)
    for turn in range(runs + 2):
        for name, session in sessions.items():
            began, began_busy = time.perf_counter(), time.process_time()
            session.run(["logits"], {session.get_inputs()[0].name: image})
            # The first two warm caches and arenas.
            if turn >= 2:
                walls[name].append((time.perf_counter() - began) * 1e3)
                busy[name].append((time.process_time() - began_busy) * 1e3)
    # More threads spin while they wait: their processor time says nothing.
    kinds = {"wall": walls} | ({"processor": busy} if threads == 1 else {})
    for kind, times in kinds.items():
        first = np.median(next(iter(times.values())))
        for name, values in times.items():
            median = np.median(values)
            print(
                f"batch {shape[0]}, {threads} thread(s), {runs} runs, {kind} time: {name} median {median:.1f} ms "
                f"(best {min(values):.1f}, worst {max(values):.1f}), {first / median:.2f}x"
            )


def profile(path: Path, shape: tuple[int, ...], low: float, high: float, runs: int) -> None:
    """Prints milliseconds for each kind of operator in one inference on one thread (sum of medians)."""
    image = np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(["logits"], {session.get_inputs()[0].name: image})
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            nodes[event["args"]["op_name"], event["name"]].append(event["dur"] / 1e3)
    kinds: Counter[str] = Counter()
    for (kind, _), values in nodes.items():
        kinds[kind] += float(np.median(values))
    total = sum(kinds.values())
    print(f"{path.name}: {total:.1f} ms in operators")
    for kind, milliseconds in kinds.most_common():
        print(f"  {milliseconds:7.2f} ms  {100 * milliseconds / total:4.1f} %  {kind}")


def main() -> None:
    """Times every precision that the folder's manifest offers."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python models/tools/speed.py --folder models/cxr-pneumonia-demo --batch 1 8 --profile",
    )
    parser.add_argument("--folder", type=Path, required=True, help="model folder")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    description = manifest.read(options.folder)
    files = {name: options.folder / str(weights["file"]) for name, weights in description["weights"].items()}
    item_shape = tuple(int(side) for side in description["input"]["item_shape"])
    low, high = (float(end) for end in description["input"]["value_range"])
    for batch in options.batch:
        medians(files, (batch, *item_shape), low, high, options.threads, options.runs)
    if options.profile:
        for path in files.values():
            profile(path, (1, *item_shape), low, high, options.runs)


if __name__ == "__main__":
    main()
