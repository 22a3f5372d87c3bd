"""The plain worker that a team would write in Python: one process, one thread, one message at a time.

    python_worker.py torch|openvino URL QUEUE INCOMING RESULTS

Reads a file name from RabbitMQ, the 16-bit PNG of that name from the folder INCOMING, prepares it with
TorchXRayVision, runs its DenseNet-121 in PyTorch or in OpenVINO (FP32), writes JSON into RESULTS, acknowledges. Prints
a line when it is ready. `end_to_end.py` starts one for each core.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pika
import torch
import torchxrayvision as xrv
from pika.adapters.blocking_connection import BlockingChannel
from skimage.io import imread

SIZE = 224
crop = xrv.datasets.XRayCenterCrop()
shrink = xrv.datasets.XRayResizer(SIZE)


def prepare(path: Path) -> np.ndarray:
    """The image as the network takes it, (1, 1, 224, 224)."""
    pixels = imread(path)
    return shrink(crop(xrv.datasets.normalize(pixels, maxval=65535, reshape=True)))[None]


def network(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    """Probabilities of a batch. The weights are random: they cost the same."""
    torch.manual_seed(0)
    model = xrv.models.DenseNet(num_classes=18, in_channels=1, apply_sigmoid=True).eval()
    if kind == "openvino":
        # A measurement sends nobody statistics, and waits for no answer to them.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import openvino

        with torch.no_grad():
            converted = openvino.convert_model(
                model, example_input=torch.zeros(1, 1, SIZE, SIZE), input=[1, 1, SIZE, SIZE]
            )
        settings = {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1,
            "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False,
        }  # fmt: skip
        request = openvino.compile_model(converted, "CPU", settings).create_infer_request()
        return lambda image: request.infer({0: image})[0]

    def run(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(image)).numpy()

    return run


def main() -> None:
    """Consumes until it is killed."""
    kind, url, queue, incoming, results = sys.argv[1:]
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    run = network(kind)
    run(np.zeros((1, 1, SIZE, SIZE), np.float32))
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.basic_qos(prefetch_count=1)

    def read(ch: BlockingChannel, method: pika.spec.Basic.Deliver, _: pika.BasicProperties, body: bytes) -> None:
        name = body.decode()
        scores = run(prepare(Path(incoming) / name))[0]
        document = {"file": name, "model": kind, "scores": [round(float(score), 6) for score in scores]}
        part = Path(results) / f".{name}.{os.getpid()}"
        part.write_text(json.dumps(document))
        part.rename(Path(results) / f"{name}.json")
        ch.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, read)
    print("ready", flush=True)
    channel.start_consuming()


if __name__ == "__main__":
    main()
