"""One way of running a network in Python, measured on demand; `inference.py` starts one process of these for each.

    contender.py KIND MODEL STATE INPUT THREADS

KIND: torch (inference_mode), torch-grad (the article's way, without it), torch-channels-last, openvino (FP32),
openvino-default (the precision that OpenVINO chooses), ipex. STATE is a state dict, INPUT an .npy of one batch. First a
line of JSON with the logits, then the milliseconds of one inference for each line read.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "lib"))


def network(model: str, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """TorchXRayVision's or torchvision's own class; the project's equal one where these are not installed."""
    outputs = len(state["classifier.bias" if "classifier.bias" in state else "fc.bias"])
    try:
        if model == "densenet":
            import torchxrayvision

            found = torchxrayvision.models.DenseNet(num_classes=outputs, in_channels=1)
        else:
            import torchvision

            found = torchvision.models.resnet50(num_classes=outputs)
    except ImportError:
        from nightread_models import networks

        found = (networks.DenseNet121 if model == "densenet" else networks.ResNet50)(outputs)
    found.load_state_dict(state)
    return found.eval()


def first(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The logits."""
    return output if isinstance(output, torch.Tensor) else output[0]


def in_torch(kind: str, net: torch.nn.Module, image: torch.Tensor) -> Callable[[], np.ndarray]:
    """Eager PyTorch in one of its forms."""
    if kind == "torch-grad":
        return lambda: first(net(image)).detach().numpy()
    if kind == "torch-channels-last":
        net, image = (x.to(memory_format=torch.channels_last) for x in (net, image))
    if kind == "ipex":
        import intel_extension_for_pytorch as ipex

        with torch.inference_mode():
            net = torch.jit.freeze(torch.jit.trace(ipex.optimize(net), image, strict=False))

    def run() -> np.ndarray:
        with torch.inference_mode():
            return first(net(image)).numpy()

    return run


def in_openvino(kind: str, net: torch.nn.Module, image: torch.Tensor, threads: int) -> Callable[[], np.ndarray]:
    """OpenVINO's own conversion of the PyTorch network, its own runtime."""
    # A measurement sends nobody statistics, and waits for no answer to them.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    with torch.no_grad():
        model = openvino.convert_model(net, example_input=image, input=list(image.shape))
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    if kind == "openvino":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()
    values = image.numpy()
    return lambda: request.infer({0: values})[0]


def main() -> None:
    """Builds, answers."""
    kind, model, state, path, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    image = torch.from_numpy(np.load(path))
    net = network(model, torch.load(state, weights_only=True))
    if kind.startswith("openvino"):
        run = in_openvino(kind, net, image, int(threads))
    else:
        run = in_torch(kind, net, image)
    for _ in range(3):
        logits = run()
    print(json.dumps({"logits": np.asarray(logits, dtype=np.float64).tolist()}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        run()
        print((time.perf_counter() - began) * 1e3, flush=True)


if __name__ == "__main__":
    main()
