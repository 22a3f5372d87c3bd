"""Five networks that nobody here trained for, brought by manifest alone: tensors, then findings.

    python models/tools/parity.py --binary target/release/nightread --data ../shared/data/xray --work .cache/parity

Each network has its owner's own preparation in plain Python (torchvision, MONAI, OpenCV), random weights of full size,
and a last layer that is scaled until logits vary by a standard deviation of 1 or more over the images. `nightread
prepare` must give the same tensors (within 1e-5 of their range; where the owner resizes bytes, the same bytes),
`nightread process` the same probabilities within 1e-4 as PyTorch. Then the controls, which must fail by their tensors
and by their probabilities: another resize, half a pixel, swapped channels. `--every N` takes each N-th image, and
`--minutes M` goes on to the others in an order of a fixed seed, the same images for each network, until M minutes have
passed. The weights are settled on the same images whatever is taken. `--double N` also computes N images in double
precision, half of them those whose probabilities differ most, and tells how far Nightread's and PyTorch's answers are
from that (`rounding.py`).

Weights lie in the folder of --work and nowhere else. Needs what worker/crates/steps/parity/requirements.txt lists.
"""

import argparse
import hashlib
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import monai.networks.nets
import monai.transforms
import numpy as np
import onnx
import pydicom
import torch
import torchvision
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.uid import JPEGBaseline8Bit
from torch import nn
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import order
import rounding
from nightread_models.onnx_export import strip

SEED = 17
LABELS = 14
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
IMAGENET = v2.Normalize(MEAN, STD)
TENSOR, PROBABILITY = 1e-5, 1e-4
SUFFIXES = {".png", ".jpeg", ".dcm"}
# Images that batch norms are settled on, and images that are held at a time.
SAMPLE, PORTION = 24, 32


def turbo(header: pydicom.Dataset) -> np.ndarray:
    """The pixels of a lossy JPEG as libjpeg-turbo decodes it, which Pillow and Nightread have: pydicom's decoder rounds otherwise."""
    return np.asarray(Image.open(io.BytesIO(get_frame(header.PixelData, 0, number_of_frames=1))))


def stored(path: Path) -> tuple[np.ndarray, int]:
    """The image as it was stored, MONOCHROME1 inverted, and the greatest value that it could have."""
    if path.suffix == ".dcm":
        header = pydicom.dcmread(path)
        most = 2**header.BitsStored - 1
        pixels = turbo(header) if header.file_meta.TransferSyntaxUID == JPEGBaseline8Bit else header.pixel_array
        return (most - pixels if header.PhotometricInterpretation == "MONOCHROME1" else pixels), most
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 3:
        pixels = np.asarray(Image.open(path))[:, :, 0]
    return pixels, 65535 if pixels.dtype == np.uint16 else 255


def unit(path: Path) -> np.ndarray:
    """The image from 0 to 1."""
    pixels, most = stored(path)
    return pixels.astype(np.float32) / np.float32(most)


def byte(path: Path) -> np.ndarray:
    """The image as bytes, cut to whole numbers."""
    pixels, most = stored(path)
    return (pixels.astype(np.float32) / np.float32(most) * np.float32(255)).astype(np.uint8)


def three(values: np.ndarray) -> np.ndarray:
    """Three equal channels, by ImageNet's mean and deviation."""
    return IMAGENET(torch.from_numpy(np.repeat(values[None], 3, 0))).numpy()


def densenet(path: Path) -> np.ndarray:
    """Bytes resized by Pillow, the middle, ImageNet."""
    image = v2.CenterCrop(224)(v2.Resize(256)(Image.fromarray(byte(path))))
    return three(np.asarray(image).astype(np.float32) / np.float32(255))


def efficientnet(path: Path) -> np.ndarray:
    """A tensor resized by torchvision, ImageNet."""
    tensor = v2.Resize((380, 380), antialias=True)(torch.from_numpy(unit(path))[None])
    return three(tensor[0].numpy())


def resnet(path: Path) -> np.ndarray:
    """Least to greatest value as bytes, OpenCV's equalisation and resize, ImageNet."""
    pixels = stored(path)[0].astype(np.float32)
    scaled = ((pixels - pixels.min()) / (pixels.max() - pixels.min()) * np.float32(255)).astype(np.uint8)
    equalised = cv2.createCLAHE(2.0, (8, 8)).apply(scaled)
    small = cv2.resize(equalised, (512, 512), interpolation=cv2.INTER_AREA)
    return three(small.astype(np.float32) / np.float32(255))


def monai_densenet(path: Path) -> np.ndarray:
    """MONAI's percentiles and resize, one channel."""
    scaled = monai.transforms.ScaleIntensityRangePercentiles(1, 99, 0.0, 1.0, clip=True)(unit(path))
    return np.asarray(monai.transforms.Resize((224, 224))(scaled[None]))


def vit(path: Path) -> np.ndarray:
    """Bytes resized by Pillow, bicubic, ImageNet."""
    image = Image.fromarray(byte(path)).resize((224, 224), Image.Resampling.BICUBIC)
    return three(np.asarray(image).astype(np.float32) / np.float32(255))


def step(name: str, **fields: object) -> dict[str, object]:
    """A step as a manifest has it."""
    return {"step": name, **fields}


BYTES = [step("range", to=[0, 255]), step("to-uint8", library="numpy")]
UNIT = step("range", to=[0, 1])
THREE = step("channels", count=3, mean=MEAN, std=STD, layout="NCHW")


def exact(library: str, side: int) -> dict[str, object]:
    """A resize to a square."""
    return step("resize", library=library, side="exact", height=side, width=side)


@dataclass
class Case:
    """A network: its layers, where the last one is, its owner's preparation, and the same as steps."""

    name: str
    make: Callable[[], nn.Module]
    last: Callable[[nn.Module], nn.Linear]
    prepare: Callable[[Path], np.ndarray]
    steps: list[dict[str, object]]
    shape: tuple[int, int, int]


def zoo(kind: str) -> Callable[[], nn.Module]:
    """One of torchvision, with random weights."""
    return lambda: getattr(torchvision.models, kind)(weights=None, num_classes=LABELS)


CASES = [
    Case(
        "densenet121", zoo("densenet121"), lambda net: net.classifier, densenet,
        [*BYTES, step("resize", library="pillow-bilinear", side="short", size=256, rounding="down"),
         step("crop-centre", library="torchvision", size=[224, 224]), UNIT, THREE], (3, 224, 224),
    ),
    Case(
        "efficientnet-b4", zoo("efficientnet_b4"), lambda net: net.classifier[1], efficientnet,
        [UNIT, exact("torchvision-antialias", 380), THREE], (3, 380, 380),
    ),
    Case(
        "resnet50", zoo("resnet50"), lambda net: net.fc, resnet,
        [step("minmax", to=[0, 255]), BYTES[1], step("clahe", library="opencv", clip_limit=2.0, tiles=[8, 8]),
         exact("opencv-area", 512), UNIT, THREE], (3, 512, 512),
    ),
    Case(
        "monai-densenet121",
        lambda: monai.networks.nets.DenseNet121(spatial_dims=2, in_channels=1, out_channels=LABELS),
        lambda net: net.class_layers.out, monai_densenet,
        [UNIT, step("percentile", lower=1, upper=99, to=[0, 1], clip=True), exact("monai", 224),
         step("channels", count=1, layout="NCHW")], (1, 224, 224),
    ),
    Case(
        "vit-b-16", zoo("vit_b_16"), lambda net: net.heads.head, vit,
        [*BYTES, exact("pillow-bicubic", 224), UNIT, THREE], (3, 224, 224),
    ),
]  # fmt: skip


def settle(case: Case, tensors: torch.Tensor) -> nn.Module:
    """Random weights; batch norms with the statistics of the images, the last layer with logits that vary."""
    torch.manual_seed(SEED)
    network = case.make()
    last = case.last(network)
    nn.init.normal_(last.weight)
    nn.init.zeros_(last.bias)
    with torch.no_grad():
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        network(tensors)
        network.eval()
        logits = network(tensors)
        deviation = logits.std(0)
        scale = 1.5 / deviation
        last.weight *= scale[:, None]
        last.bias.copy_(-(logits.mean(0) * scale))
        spread = network(tensors).std(0).min().item()
    if not spread >= 1.0:
        raise SystemExit(f"{case.name}: logits vary by {spread:.2f} only")
    return network


def toml(value: object) -> str:
    """The value in TOML, which takes that of JSON."""
    return json.dumps(value)


def write(case: Case, network: nn.Module, folder: Path) -> None:
    """A model folder: weights, card, manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    example = torch.zeros(2, *case.shape)
    with torch.no_grad():
        program = torch.onnx.export(
            network, (example,), dynamo=True, input_names=["image"], output_names=["logits"], verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )  # fmt: skip
    model = program.model_proto
    strip(model)
    onnx.save(model, folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    ends = [0.0, 1.0]
    if case.shape[0] == 3:
        pairs = [[(end - mean) / std for end in ends] for mean, std in zip(MEAN, STD, strict=True)]
        ends = [min(pair[0] for pair in pairs), max(pair[1] for pair in pairs)]
    lines = [
        "schema = 1", f"name = {toml(case.name)}", 'version = "1.0.0"', 'task = "radiograph"',
        'description = "random weights"', 'card = "README.md"',
        "[weights.fp32]", 'file = "model.onnx"', f"sha256 = {toml(digest)}",
        "[input]", 'name = "image"', f"item_shape = {list(case.shape)}", f"value_range = {ends}",
        "[output]", 'logits = "logits"', 'activation = "sigmoid"', 'calibration = "none"',
        "[trained_on]", 'modality_words = "nothing"',
        "[source]", 'data = "none"', 'citation = "none"', 'url = "none"', 'licence = "none"', 'not_for = "reading"',
    ]  # fmt: skip
    for one in case.steps:
        lines += ["[[preprocessing]]", *(f"{key} = {toml(value)}" for key, value in one.items())]
    for label in range(LABELS):
        lines += ["[[labels]]", f'name = "Label {label}"', "threshold = 0.5"]
    (folder / "README.md").write_text("# Random weights\n")
    (folder / "manifest.toml").write_text("\n".join(lines) + "\n")


def prepared(binary: Path, models: Path, case: Case, paths: Sequence[Path], out: Path) -> dict[str, np.ndarray]:
    """Nightread's tensors, by path; what its gate refuses is not among them."""
    names = out.with_suffix(".txt")
    names.write_text("\n".join(map(str, paths)) + "\n")
    command = [binary, "prepare", f"@{names}", "--models", models, "--model", case.name, "--out", out]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if not out.is_file():
        raise SystemExit(ended.stderr)
    with np.load(out) as arrays:
        return dict(arrays)


def furthest(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """The largest difference over all images, as a share of the range of the values; NaN where one is."""
    return float(np.max([np.abs(array - theirs[path]).max() / np.ptp(theirs[path]) for path, array in ours.items()]))


def findings(
    binary: Path, models: Path, case: Case, paths: list[str], out: Path
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Nightread's logits and probabilities, by the studies' names; what `out` held before is gone."""
    # Those of another run are of other weights under the same version, which is refused.
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    names = out.with_suffix(".paths")
    names.write_text("\n".join(paths) + "\n")
    command = [binary, "process", f"@{names}", "--models", models, "--model", case.name, "--out", out, "--root", "/"]
    subprocess.run([*command, "--force", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    found = {}
    for document in out.rglob("*.json"):
        text = json.loads(document.read_text())
        if text.get("status") == "ok":
            found[text["study"]["name"]] = tuple(
                np.array([finding[key] for finding in text["findings"]], np.float32) for key in ("logit", "probability")
            )
    return found


def answer_of(network: nn.Module, tensor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and probabilities of one image by PyTorch."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(np.ascontiguousarray(tensor))[None])[0]
    return logits.numpy(), torch.sigmoid(logits).numpy()


def controls(
    case: Case, network: nn.Module, ours: dict[str, np.ndarray], paths: Sequence[Path]
) -> dict[str, tuple[float, float]]:
    """What must not pass for the same: how far off tensors (as shares of the range) and probabilities are."""
    path = next(path for path in paths if str(path) in ours)
    own = ours[str(path)]
    plane = unit(path)
    other = cv2.resize(plane, case.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
    wrong = {"another resize": three(other) if case.shape[0] == 3 else other[None]}
    moved = (own + np.roll(own, 1, 2)) / 2
    wrong["half a pixel"] = moved
    if case.shape[0] == 3:
        wrong["swapped channels"] = own[::-1]
    right = answer_of(network, own)[1]
    return {
        name: (
            float(np.abs(own - array).max() / np.ptp(own)),
            float(np.abs(answer_of(network, array)[1] - right).max()),
        )
        for name, array in wrong.items()
    }


@dataclass
class Network:
    """A network that is settled, and what was found of it so far."""

    case: Case
    network: nn.Module
    work: Path
    asked: int = 0
    tensor: float = 0.0
    seen: list[rounding.Seen] = field(default_factory=list)
    wrong: dict[str, tuple[float, float]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The largest difference of a probability; NaN where one is."""
        return float(np.max([one.difference for one in self.seen], initial=0.0))

    def compare(self, binary: Path, portion: Sequence[Path]) -> None:
        """Holds these images' tensors and findings against the owner's, whose Python runs beside Nightread."""
        case, models = self.case, self.work / "models"
        self.asked += len(portion)
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(prepared, binary, models, case, portion, self.work / f"{case.name}.npz")
            theirs = {str(path): case.prepare(path) for path in portion}
            ours = asked.result()
            if not ours:
                return
            answers = beside.submit(findings, binary, models, case, list(ours), self.work / "results" / case.name)
            right = {path: answer_of(self.network, theirs[path]) for path in ours}
            found = answers.result()
        self.tensor = float(np.maximum(self.tensor, furthest(ours, theirs)))
        for path, (logits, probabilities) in right.items():
            answer = found.get(path.lstrip("/"))
            if answer is None:
                self.failed.append(f"{case.name}: no result of {path}")
                continue
            self.seen.append(rounding.Seen(path, float(np.abs(probabilities - answer[1]).max()), *answer, logits))
        self.wrong = self.wrong or controls(case, self.network, ours, portion)

    def judged(self, double: int) -> list[str]:
        """Prints the figures, and gives what is wrong with them."""
        name, read = self.case.name, len(self.seen)
        spread = [one.torch_logits for one in self.seen]
        told = ", ".join(f"{kind} {off:.1e} and {by:.1e}" for kind, (off, by) in self.wrong.items())
        print(
            f"{name}: {read} of {self.asked} images; tensors {self.tensor:.1e} of the range, "
            f"findings {self.worst:.1e}; logits vary by {np.std(spread, 0).min() if spread else 0.0:.2f}; "
            f"controls {told}",
            flush=True,
        )
        looked = rounding.chosen(self.seen, double)
        if looked:
            tensors = [self.case.prepare(Path(one.path)) for one in looked]
            file = self.work / "models" / name / "model.onnx"
            lines = rounding.told(self.network, self.case.last(self.network), file, looked, tensors)
            print("\n    ".join([f"  {len(looked)} images in double precision, largest errors:", *lines]), flush=True)
        failed = list(self.failed)
        if not (read and self.tensor <= TENSOR and self.worst <= PROBABILITY):
            failed.append(f"{name}: tensors {self.tensor:.1e}, findings {self.worst:.1e}")
        return failed + [
            f"{name}: {kind} passed"
            for kind, (off, by) in self.wrong.items()
            if not (off > TENSOR and by > PROBABILITY)
        ]


def begun(case: Case, sample: Sequence[Path], work: Path) -> Network:
    """The network, settled on these images, with its model folder below `work`."""
    network = settle(case, torch.from_numpy(np.stack([case.prepare(path) for path in sample])))
    write(case, network, work / "models" / case.name)
    return Network(case, network, work)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take each N-th image of each folder")
    parser.add_argument("--minutes", type=float, help="go on to the other images, and begin none after so long")
    parser.add_argument("--only", help="one network by name")
    parser.add_argument("--double", type=int, default=0, help="compute N images in double precision too")
    arguments = parser.parse_args()
    binary, work = arguments.binary.resolve(), arguments.work.resolve()
    end = None if arguments.minutes is None else time.monotonic() + arguments.minutes * 60
    found = [path.resolve() for path in arguments.data.rglob("*") if path.suffix in SUFFIXES]
    paths, whole = order.ordered(found, arguments.every, SEED, rest=end is not None)
    cases = [case for case in CASES if arguments.only in (None, case.name)]
    networks: dict[str, Network] = {}
    for portion in order.portions(paths, PORTION, end):
        for case in cases:
            # Each is settled when its turn comes first: what is found of one is told before the next is begun.
            if case.name not in networks:
                networks[case.name] = begun(case, whole[:SAMPLE], work)
            one = networks[case.name]
            one.compare(binary, portion)
            print(
                f"{case.name}: {len(one.seen)} of {one.asked} images so far; "
                f"tensors {one.tensor:.1e}, findings {one.worst:.1e}",
                file=sys.stderr,
                flush=True,
            )
    failed = [line for one in networks.values() for line in one.judged(arguments.double)]
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
