"""Writes the arrays of tests/golden with the libraries themselves.

    python golden.py ../tests/golden            # writes them anew
    python golden.py ../tests/golden --check    # holds them against what the libraries give here

One file a case, named as the case in tests/golden.rs, which makes the same image by the same formula.
"""

import sys
from pathlib import Path

import cv2
import monai.transforms as monai
import numpy as np
import torch
from PIL import Image
from skimage.exposure import equalize_adapthist
from skimage.transform import resize
from skimage.util import img_as_ubyte
from torchvision.transforms import v2 as torchvision

WIDTH, HEIGHT = 131, 97
# Height and width: both shrink, both grow, one of each, and whole fractions of the 96 x 128 in the middle. LOW and FLAT lose
# more than twice as much height as width, TWICE exactly twice as much: where Pillow takes the columns first, and where not.
DOWN, UP, MIXED, HALF, THIRD = (31, 40), (104, 139), (110, 40), (48, 64), (32, 32)
LOW, FLAT, TWICE = (31, 120), (40, 139), (75, 120)


def image() -> np.ndarray:
    """A slope with noise, 16 bits."""
    i, j = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.int64)
    noise = (i * 7919 + j * 104729 + ((i * j) % 977) * 31) % 65536
    return (2000 + 300 * i + 150 * j + noise // 4).astype(np.uint16)


def pillow(array: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(array).resize((size[1], size[0]), how))


def torch_resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    tensor = torch.from_numpy(array.copy())[None]
    return torchvision.Resize(size, antialias=True)(tensor)[0].numpy()


def monai_resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(monai.Resize(size)(torch.from_numpy(array.copy())[None]))[0]


def main() -> None:
    out = Path(sys.argv[1])
    words = image()
    unit = words.astype(np.float32) / np.float32(65535)
    byte = (words >> 8).astype(np.uint8)
    whole, whole_byte = unit[:96, 1:129].copy(), byte[:96, 1:129].copy()
    cases = {}
    for name, size in {"down": DOWN, "up": UP, "mixed": MIXED}.items():
        for how in Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS:
            cases[f"pillow-{how.name.lower()}-{name}-bytes"] = pillow(byte, size, how)
            cases[f"pillow-{how.name.lower()}-{name}"] = pillow(unit, size, how)
        cases[f"torchvision-antialias-{name}"] = torch_resize(unit, size)
        cases[f"monai-{name}"] = monai_resize(unit, size)
        for mode in "reflect", "constant":
            cases[f"skimage-{mode}-{name}"] = resize(unit, size, mode=mode, preserve_range=True).astype(np.float32)
        for how, flag in ("linear", cv2.INTER_LINEAR), ("area", cv2.INTER_AREA):
            cases[f"opencv-{how}-{name}-bytes"] = cv2.resize(byte, size[::-1], interpolation=flag)
            cases[f"opencv-{how}-{name}"] = cv2.resize(unit, size[::-1], interpolation=flag)
    for name, size in {"low": LOW, "flat": FLAT, "twice": TWICE}.items():
        for how in Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS:
            cases[f"pillow-{how.name.lower()}-{name}-bytes"] = pillow(byte, size, how)
        cases[f"pillow-lanczos-{name}"] = pillow(unit, size, Image.Resampling.LANCZOS)
    for name, size in {"half": HALF, "third": THIRD}.items():
        for how, flag in ("linear", cv2.INTER_LINEAR), ("area", cv2.INTER_AREA):
            cases[f"opencv-{how}-{name}-bytes"] = cv2.resize(whole_byte, size[::-1], interpolation=flag)
            cases[f"opencv-{how}-{name}"] = cv2.resize(whole, size[::-1], interpolation=flag)
    cases["clahe-opencv"] = cv2.createCLAHE(2.0, (8, 8)).apply(byte)
    cases["clahe-opencv-whole"] = cv2.createCLAHE(40.0, (8, 4)).apply(whole_byte)
    cases["clahe-opencv-unlimited"] = cv2.createCLAHE(0.0, (3, 5)).apply(byte)
    cases["clahe-skimage"] = equalize_adapthist(unit)
    cases["clahe-skimage-kernel"] = equalize_adapthist(unit, kernel_size=(20, 33), clip_limit=0.03, nbins=100)
    scaled = (unit - unit.min()) / (unit.max() - unit.min())
    cases["minmax"] = scaled
    cases["minmax-monai"] = np.asarray(monai.ScaleIntensity(-1.0, 1.0)(unit))
    cases["percentile-monai"] = np.asarray(monai.ScaleIntensityRangePercentiles(1, 99, 0.0, 1.0, clip=True)(unit))
    cases["percentile-open-monai"] = np.asarray(monai.ScaleIntensityRangePercentiles(2.5, 97, -1.0, 1.0)(unit))
    cases["range-monai"] = np.asarray(monai.ScaleIntensityRange(0.2, 0.7, -1.0, 1.0, clip=True)(unit))
    cases["zscore-monai"] = np.asarray(monai.NormalizeIntensity()(unit))
    cases["uint8-numpy"] = (scaled * 255).astype(np.uint8)
    cases["uint8-opencv"] = cv2.convertScaleAbs(scaled, alpha=255)
    cases["uint8-skimage"] = img_as_ubyte(scaled)
    cases["uint8-torchvision"] = torchvision.ToDtype(torch.uint8, scale=True)(torch.from_numpy(scaled.copy())).numpy()
    cases["uint8-pillow"] = np.asarray(Image.fromarray(scaled * np.float32(255)).convert("L"))
    pil = Image.fromarray(byte)
    cases["short-torchvision-pil"] = np.asarray(torchvision.CenterCrop(30)(torchvision.Resize(33)(pil)))
    long = np.asarray(monai.Resize(48, size_mode="longest")(torch.from_numpy(unit.copy())[None]))[0]
    square = np.zeros((48, 48), np.float32)
    top = (48 - long.shape[0]) // 2
    square[top : top + long.shape[0]] = long
    cases["long-monai"] = square
    cases["crop-torchvision"] = torchvision.CenterCrop((40, 51))(torch.from_numpy(unit.copy())[None])[0].numpy()
    cases["crop-monai"] = np.asarray(monai.CenterSpatialCrop((40, 51))(torch.from_numpy(unit.copy())[None]))[0]
    statistics = torchvision.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    three = torch_resize(unit, THIRD)[None].repeat(3, 0)
    cases["imagenet-nchw"] = statistics(torch.from_numpy(three.copy())).numpy()
    cases["imagenet-nhwc"] = np.ascontiguousarray(cases["imagenet-nchw"].transpose(1, 2, 0))
    if "--check" in sys.argv[2:]:
        names = {path.stem for path in out.glob("*.npy")}
        wrong = sorted(names ^ cases.keys())
        wrong += [name for name in names & cases.keys() if not np.array_equal(np.load(out / f"{name}.npy"), cases[name])]
        print(f"{len(cases)} cases, {len(wrong)} other than here: {wrong}")
        raise SystemExit(1 if wrong else 0)
    for path in out.glob("*.npy"):
        path.unlink()
    for name, array in cases.items():
        assert array.dtype in (np.uint8, np.float32), (name, array.dtype)
        np.save(out / f"{name}.npy", array)
    print(f"{len(cases)} cases, {sum(path.stat().st_size for path in out.glob('*.npy'))} bytes")


if __name__ == "__main__":
    main()
