#!/usr/bin/env python3
"""Holds Nightread's tensors against TorchXRayVision's, image by image, and measures both on one core.

    parity.py --data FOLDER --pydicom-data FOLDER --dump target/release/dump_tensor

Every image of the test data is read twice: by TorchXRayVision's own code (imread or read_xray_dcm, normalize,
XRayCenterCrop, XRayResizer) and by the Rust example `dump_tensor`. On the scale of [-1024, 1024] no pixel may differ by
more than 0.01, and 99 in 100 must agree within 0.001. Exits with 1 if one image fails, if an image takes more than
64 MiB, or, with --strict-speed, if the speed falls short.
"""

import os

# One thread each, on one core: read before numpy is.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pydicom
import torchxrayvision as xrv
from pydicom.pixels import pixel_array
from skimage.io import imread
from skimage.transform import resize

MOST = 0.01
CLOSE = 0.001
SHARE_CLOSE = 0.99
SIZE = 224
JPEG_DCT = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")

crop = xrv.datasets.XRayCenterCrop()
shrink = xrv.datasets.XRayResizer(SIZE)


class Dump:
    """The Rust side: one process, one image a request."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, path, stored_max=None):
        line = f"{path}\t{stored_max}\n" if stored_max else f"{path}\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{path}: the dump program died")
        head = json.loads(answer)
        if not head["ok"]:
            return head, None
        raw = self.process.stdout.read(4 * head["values"])
        return head, np.frombuffer(raw, "<f4").reshape(1, SIZE, SIZE)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def normalised(path, stored_max=None):
    """The image as TorchXRayVision's code paths give it, (1, height, width)."""
    if path.suffix != ".dcm":
        pixels = imread(path)
        maximum = stored_max or (255 if pixels.dtype == np.uint8 else 65535)
        return xrv.datasets.normalize(pixels, maxval=maximum, reshape=True)
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID not in JPEG_DCT:
        return xrv.utils.read_xray_dcm(path)[None]
    # pydicom takes whichever JPEG decoder is installed, and they differ; libjpeg-turbo's is the one that made the
    # training data. The rest is read_xray_dcm's own arithmetic.
    pixels = pixel_array(dataset, decoding_plugin="pillow")
    maximum = 2**dataset.BitsStored - 1
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        pixels = maximum - pixels
    return xrv.datasets.normalize(pixels, maximum)[None]


def reference(path, stored_max=None):
    return shrink(crop(normalised(path, stored_max)))


def compare(name, images, dump):
    """One line of the table; the names of the images that fail."""
    worst, close, equal, failed = 0.0, 1.0, 0.0, []
    for path, stored_max in images:
        head, ours = dump(path, stored_max)
        if ours is None:
            failed.append(f"{path.name}: {head['code']}: {head['message']}")
            continue
        apart = np.abs(ours.astype(np.float64) - reference(path, stored_max))
        share = float((apart <= CLOSE).mean())
        worst, close, equal = max(worst, apart.max()), min(close, share), equal + float((apart == 0).mean())
        if apart.max() > MOST or share < SHARE_CLOSE:
            failed.append(f"{path.name}: furthest {apart.max():.4f}, {share:.2%} within {CLOSE}")
    count = len(images)
    print(
        f"{name:<16}{count:>9}{worst:>16.6f}{close:>17.3%}{equal / max(count, 1):>14.3%}{len(failed):>9}",
        flush=True,
    )
    return failed


def other_jpeg_decoders(folder, dump):
    """How far the tensor moves when pydicom decodes JPEG by another library: the reason for naming one above."""
    for path in sorted(folder.glob("jpeg_baseline_*.dcm")):
        _, ours = dump(path)
        theirs = shrink(crop(xrv.utils.read_xray_dcm(path)[None]))
        apart = np.abs(ours.astype(np.float64) - theirs).max()
        print(f"  note: {path.name}: with the JPEG decoder pydicom prefers here, the tensor differs by up to {apart:.2f}")


def large_png(folder, source):
    """A 2000 x 2000 16-bit PNG that packs like a radiograph: the real one enlarged, with a 12-bit detector's noise."""
    pixels = resize(imread(source).astype(np.float64), (2000, 2000), preserve_range=True)
    noisy = np.round(pixels / 16 + np.random.default_rng(1).normal(0, 4, pixels.shape)).clip(0, 4095)
    path = Path(folder) / "large.png"
    iio.imwrite(path, (noisy.astype(np.uint32) * 65535 // 4095).astype(np.uint16))
    return path


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - start) * 1e3


def speed(path, program, repetitions):
    """Medians of interleaved repetitions, in milliseconds, and the memory of a process that reads this image alone."""
    fresh = Dump(program)
    head, _ = fresh(path)
    fresh.close()
    memory = (head["peak_kb"] - head["idle_kb"]) / 1024
    dump, ours, theirs = Dump(program), [], []
    for _ in range(repetitions):
        head, _ = dump(path)
        ours.append((head["decode_ns"] / 1e6, head["prepare_ns"] / 1e6))
        pixels, reading = timed(lambda: imread(path))
        _, preparing = timed(lambda: shrink(crop(xrv.datasets.normalize(pixels, 65535, reshape=True))))
        theirs.append((reading, preparing))
    dump.close()
    median = [[statistics.median(column) for column in zip(*runs)] for runs in (ours, theirs)]
    (decode, prepare), (reading, preparing) = median
    prepared, whole = preparing / prepare, (reading + preparing) / (decode + prepare)
    print(f"\n2000 x 2000 pixels of 16 bits, {path.stat().st_size / 1e6:.1f} MB, one core, medians of {repetitions}")
    print(f"{'':<24}{'decode':>10}{'prepare':>10}{'both':>10}  ms")
    print(f"{'Nightread':<24}{decode:>10.1f}{prepare:>10.1f}{decode + prepare:>10.1f}")
    print(f"{'imread, TorchXRayVision':<24}{reading:>10.1f}{preparing:>10.1f}{reading + preparing:>10.1f}")
    print(f"prepare alone {prepared:.1f} times as fast (wanted: 8), both {whole:.1f} times (wanted: 3)")
    print(f"peak memory above idle: {memory:.1f} MiB (allowed: 64)")
    return prepared >= 8 and whole >= 3, memory <= 64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pydicom-data", type=Path)
    parser.add_argument("--dump", type=Path, required=True)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--strict-speed", action="store_true", help="fail when the speed falls short")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    xray = arguments.data / "xray"
    stored_range = {"RG1_UNCR_inverted_to_MONO2_16bit.png": 32767}
    folders = {
        name: [(path, stored_range.get(path.name)) for path in sorted((xray / name).glob(pattern))]
        for name, pattern in [
            ("kermany", "*.jpeg"), ("nih", "*.png"), ("hannover", "*.png"), ("dicom", "*.dcm"), ("png16", "*.png")
        ]
    }
    if arguments.pydicom_data:
        files = sorted(arguments.pydicom_data.rglob("RG1_*.dcm"))
        folders["pydicom RG1"] = [(path, None) for path in files]
    else:
        print("SKIPPED: pydicom RG1: no --pydicom-data")

    dump, failed = Dump(arguments.dump), []
    print(f"{'images':<16}{'count':>9}{'furthest':>16}{'within 0.001':>17}{'equal bits':>14}{'failed':>9}")
    for name, images in folders.items():
        if not images:
            failed.append(f"{name}: no images found")
            continue
        failed += compare(name, images, dump)
    other_jpeg_decoders(xray / "dicom", dump)
    dump.close()

    with tempfile.TemporaryDirectory() as folder:
        large = large_png(folder, xray / "png16" / "RG1_UNCR_MONO2_fullrange_16bit.png")
        fast, small = speed(large, arguments.dump, arguments.repetitions)
    for line in failed:
        print(f"FAILED: {line}")
    if not small:
        print("FAILED: memory")
    if not fast:
        print("speed falls short" + ("" if arguments.strict_speed else " (this machine may be busy)"))
    return 1 if failed or not small or (arguments.strict_speed and not fast) else 0


if __name__ == "__main__":
    sys.exit(main())
