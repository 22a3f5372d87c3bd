#!/usr/bin/env python3
"""Bends files of each format in a few places and reads each with Nightread and with the readers everyone has.

    mutated.py --dump target/release/dump_samples --scan target/release/dump_scan [--count 1000]

Pillow, imageio and tifffile read PNG, JPEG and TIFF, pydicom with all its decoders reads DICOM, nibabel reads NIfTI. What must
not be: a file from which Nightread takes samples that differ from those of every reader that reads it (without loss: at
all; with loss: by more than 2/255 of the range), without a warning. Prints the account and exits with 1 when there is one.
"""

import argparse
import gzip
import io
import json
import random
import signal
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections import Counter
from pathlib import Path

import imagecodecs
import imageio.v3 as iio
import nibabel
import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

WIDTH, HEIGHT = 80, 72
# Doubts that nearly every file has, and that say nothing of its samples.
ORDINARY = {
    "unverified_modality", "unverified_body_part", "unverified_view", "view_pa", "view_ap", "outside_training_age",
    "outside_training_size", "no_orientation",
}
LOSSY_SYNTAXES = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91"}
COLUMNS = ("same", "refused by all", "refused by us", "read by us", "other, warned", "other, silent")
# Kinds of changes that leave the length as it is.
IN_PLACE = (0, 1, 2, 6)
PLUGINS = ("pylibjpeg", "pillow", "pyjpegls", "pydicom")


def image(bits):
    """A slope with structure and noise, values over the whole range."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    noise = np.random.default_rng(bits).normal(0, 0.02, (HEIGHT, WIDTH))
    values = 0.5 + 0.4 * np.sin(x / 9) * np.cos(y / 11) + 0.1 * (x + y) / (WIDTH + HEIGHT) + noise
    values = (values - values.min()) / (values.max() - values.min())
    return np.round(values * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def written(write):
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def png_seeds():
    grey, deep = image(8), image(16)
    rgb = np.dstack([grey, 255 - grey, grey // 2])
    pillow = lambda image, **options: written(lambda out: image.save(out, "PNG", **options))
    return [
        pillow(Image.fromarray(grey)),
        pillow(Image.fromarray(deep)),
        pillow(Image.fromarray(rgb)),
        pillow(Image.fromarray(rgb).quantize(64)),
        pillow(Image.fromarray(grey > 127)),
        pillow(Image.fromarray(np.dstack([rgb, grey]))),
    ]


def jpeg_seeds():
    grey = image(8)
    rgb = np.dstack([grey, 255 - grey, grey // 2])
    save = lambda pixels, **options: written(lambda out: Image.fromarray(pixels).save(out, "JPEG", quality=90, **options))
    return [
        save(grey),
        save(grey, progressive=True),
        save(grey, restart_marker_rows=1),
        save(rgb),
        save(rgb, progressive=True, subsampling=2),
        save(rgb, optimize=True, subsampling=0),
    ]


def tiff_seeds():
    grey, deep = image(8), image(16)
    rgb = np.dstack([grey, 255 - grey, grey // 2])
    write = lambda pixels, **options: written(lambda out: tifffile.imwrite(out, pixels, **options))
    packed = written(lambda out: Image.fromarray(grey).save(out, "TIFF", compression="tiff_lzw"))
    return [
        write(grey, photometric="minisblack"),
        write(deep, photometric="minisblack"),
        write(deep, photometric="minisblack", byteorder=">"),
        write(deep, photometric="minisblack", compression="zlib", rowsperstrip=16),
        write(deep, photometric="minisblack", tile=(32, 32)),
        write(rgb, photometric="rgb"),
        packed,
    ]


# Frames that pydicom does not compress.
FRAMES = {
    JPEGBaseline8Bit: lambda pixels: written(lambda out: Image.fromarray(pixels).save(out, "JPEG", quality=95)),
    JPEGExtended12Bit: lambda pixels: imagecodecs.jpeg8_encode(pixels, level=92, bitspersample=12),
    JPEGLosslessSV1: lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=12),
    JPEG2000: lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=55, codecformat="j2k", bitspersample=12),
}


def dicom(bits, syntax, photometric="MONOCHROME2"):
    pixels = image(bits)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax if not syntax.is_compressed or syntax.is_deflated else ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.Modality, data.BodyPartExamined, data.ViewPosition, data.PatientAge = "CR", "CHEST", "PA", "040Y"
    data.PatientName, data.PatientID, data.StudyDate = "Nobody", "0", "20200101"
    data.PatientOrientation = ["L", "F"]
    view = Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "R-10214", "SRT", "postero-anterior"
    data.ViewCodeSequence = [view]
    data.Rows, data.Columns, data.SamplesPerPixel, data.PixelRepresentation = HEIGHT, WIDTH, 1, 0
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = 8 if bits <= 8 else 16
    data.BitsStored, data.HighBit = bits, bits - 1
    if syntax == ExplicitVRBigEndian:
        pixels = pixels.byteswap()
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OB" if bits <= 8 else "OW"
    if syntax in FRAMES:
        frame = FRAMES[syntax](pixels)
        data.file_meta.TransferSyntaxUID = syntax
        data.PixelData = pydicom.encaps.encapsulate([frame])
        data["PixelData"].is_undefined_length = True
        data["PixelData"].VR = "OB"
    elif data.file_meta.TransferSyntaxUID != syntax:
        data.compress(syntax, generate_instance_uid=False)
    return written(lambda out: pydicom.dcmwrite(out, data, enforce_file_format=True))


def dicom_seeds():
    return [
        dicom(12, ExplicitVRLittleEndian),
        dicom(12, ImplicitVRLittleEndian),
        dicom(12, ExplicitVRBigEndian),
        dicom(16, DeflatedExplicitVRLittleEndian),
        dicom(8, ExplicitVRLittleEndian, "MONOCHROME1"),
        dicom(12, ExplicitVRLittleEndian, "MONOCHROME1"),
        dicom(12, RLELossless),
        dicom(8, JPEGBaseline8Bit),
        dicom(12, JPEG2000Lossless),
        dicom(12, JPEGLSLossless),
        dicom(12, JPEGExtended12Bit),
        dicom(12, JPEGLosslessSV1),
        dicom(12, JPEG2000),
    ]


def nifti_seeds():
    values = np.random.default_rng(1).normal(1000, 200, (9, 10, 8, 12))
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    seeds = []
    for kind, order in [(np.int16, "<"), (np.int16, ">"), (np.float32, "<"), (np.uint8, "<"), (np.float64, "<")]:
        data = (values / 8 if kind == np.uint8 else values).astype(np.dtype(kind).newbyteorder(order))
        header = nibabel.Nifti1Header(endianness=order)
        header.set_data_dtype(data.dtype)
        image = nibabel.Nifti1Image(data, affine, header)
        image.set_sform(affine, code=4)
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = 2
        seeds.append(image.to_bytes())
    seeds.append(gzip.compress(seeds[0], mtime=0))
    seeds.append(nibabel.Nifti2Image(values.astype(np.int16), affine).to_bytes())
    return seeds


def bend(seed, rng, kinds=(0, 1, 2, 3, 4, 5, 6, 7)):
    """One to five changes: bytes set, bits flipped, bytes added and taken away, numbers replaced, pieces copied, ends cut."""
    data = bytearray(seed)
    # Half of the files are bent in their first kilobyte, where the headers are.
    reach = min(len(data), 1024) if rng.random() < 0.5 else len(data)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(min(reach, len(data)))
        kind = rng.choice(kinds)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF])
        elif kind == 3:
            del data[max(1, rng.randrange(len(data))):]
        elif kind == 4:
            data.insert(at, rng.randrange(256))
        elif kind == 5 and len(data) > 1:
            del data[at]
        elif kind == 6:
            value = rng.choice([0, 1, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF]).to_bytes(4, "little")
            data[at:at + 4] = value[: len(data[at:at + 4])]
        else:
            start = rng.randrange(len(data))
            data[at:at] = data[start:start + rng.randrange(64)]
    return bytes(data)


def bend_inside(seed, rng):
    """The same behind what would betray it: PNG chunks get their checksum again, deflated streams are bent before deflation."""
    if seed[:2] == b"\x1f\x8b":
        return gzip.compress(bend(gzip.decompress(seed), rng, kinds=IN_PLACE), mtime=0)
    if not seed.startswith(b"\x89PNG"):
        return bend(seed, rng)
    chunks, at = [], 8
    while at < len(seed):
        length = int.from_bytes(seed[at:at + 4], "big")
        chunks.append((seed[at + 4:at + 8], seed[at + 8:at + 8 + length]))
        at += 12 + length
    target = rng.choice([kind for kind, data in chunks if data])
    out = seed[:8]
    for kind, data in chunks:
        if kind == target and kind == b"IDAT" and rng.random() < 0.7:
            data = zlib.compress(bend(zlib.decompress(data), rng, kinds=IN_PLACE))
        elif kind == target:
            data = bend(data, rng, kinds=IN_PLACE if rng.random() < 0.8 else (3, 4, 5, 7))
        out += len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    return out


class Dump:
    """Nightread's side: one process, one file a request."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, path):
        self.process.stdin.write(f"{path}\n".encode())
        self.process.stdin.flush()
        head = json.loads(self.process.stdout.readline())
        if not head["ok"]:
            return head, None
        if "shape" in head:
            raw = self.process.stdout.read(8 * int(np.prod(head["shape"])))
            return head, np.frombuffer(raw, "<f8").reshape(head["shape"], order="F")
        raw = self.process.stdout.read(2 * head["width"] * head["height"])
        return head, np.frombuffer(raw, "<u2").reshape(head["height"], head["width"])


def channel_0(pixels):
    pixels = np.asarray(pixels)
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] in (2, 3, 4) else pixels


def by_pillow(path):
    with Image.open(path) as image:
        image.load()
        if image.mode in ("P", "PA"):
            image = image.convert("RGB")
        elif image.mode == "1":
            image = image.convert("L")
        return channel_0(image)


def by_dicom_plugin(plugin):
    def read(path):
        data = pydicom.dcmread(path, force=True)
        compressed = data.file_meta.TransferSyntaxUID.is_encapsulated
        pixels = pixel_array(data, decoding_plugin=plugin if compressed else "", raw=True)
        if data.PhotometricInterpretation == "MONOCHROME1":
            pixels = 2 ** int(data.BitsStored) - 1 - pixels.astype(np.int64)
        return pixels

    return read


def by_nibabel(path):
    values = np.asarray(nibabel.load(path).dataobj, dtype=np.float64)
    return values[..., None] if values.ndim == 3 else values


class TookTooLong(Exception):
    pass


def too_long(*_):
    raise TookTooLong


def others(readers, path):
    """What every other reader gives; nothing for one that raises."""
    found = []
    for read in readers:
        signal.alarm(20)
        try:
            found.append(np.asarray(read(path)))
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001: whatever a reader raises (one panics in Rust), it does not read the file
            pass
        finally:
            signal.alarm(0)
    return found


def is_same(ours, theirs, most):
    if ours.shape != theirs.shape or theirs.dtype.kind == "c":
        return False
    if most is None:
        with np.errstate(all="ignore"):
            return bool(np.allclose(ours, theirs.astype(np.float64), rtol=1e-6, atol=0, equal_nan=True))
    return bool(np.abs(ours.astype(np.int64) - theirs.astype(np.int64)).max(initial=0) <= most)


def readings(theirs, head):
    """What others give, and where Nightread says that it inverted a white-is-zero TIFF also that inverted: it takes such a
    image for the negative it is, where others give it as it is stored."""
    if head.get("photometric") != "MONOCHROME1" or head.get("media") != "tiff":
        return theirs
    return [*theirs, *(head["max_value"] - each.astype(np.int64) for each in theirs)]


def tolerance(name, head, path):
    """The greatest difference of samples that decoders may have."""
    if name == "NIfTI":
        return None
    lossy = name == "JPEG"
    if name == "DICOM":
        try:
            lossy = pydicom.dcmread(path, force=True, stop_before_pixels=True).file_meta.TransferSyntaxUID in LOSSY_SYNTAXES
        except Exception:  # noqa: BLE001
            lossy = False
    return head["max_value"] * 2 // 255 if lossy else 0


def ending(seed, suffix):
    """nibabel goes by names."""
    return suffix + ".gz" if seed[:2] == b"\x1f\x8b" else suffix


def account(name, suffix, seeds, readers, dump, count, keep):
    """One line of the table; the files in which Nightread stands alone with its samples and does not say so."""
    rng, kinds, silent = random.Random(name), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            path = Path(folder) / f"seed{number}{ending(seed, suffix)}"
            path.write_bytes(seed)
            head, ours = dump(path)
            if ours is None or not any(is_same(ours, each, tolerance(name, head, path)) for each in others(readers, path)):
                raise SystemExit(f"{name}: seed {number} is not read alike before it is bent: {head}")
        for number in range(count):
            seed = seeds[number % len(seeds)]
            path = Path(folder) / f"{number}{ending(seed, suffix)}"
            path.write_bytes((bend_inside if rng.random() < 0.7 else bend)(seed, rng))
            head, ours = dump(path)
            theirs = others(readers, path)
            if ours is None:
                kinds["refused by all" if not theirs else "refused by us"] += 1
            elif not theirs:
                kinds["read by us"] += 1
            elif any(is_same(ours, each, tolerance(name, head, path)) for each in readings(theirs, head)):
                kinds["same"] += 1
            elif set(head["warnings"]) - ORDINARY:
                kinds["other, warned"] += 1
            else:
                kinds["other, silent"] += 1
                silent.append(f"{name} {number}: {head} others {[each.shape for each in theirs]}")
                if keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / path.name).write_bytes(path.read_bytes())
            path.unlink()
    print(f"{name:<8}{count:>7}" + "".join(f"{kinds[column]:>15}" for column in COLUMNS), flush=True)
    return silent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", required=True)
    parser.add_argument("--scan", required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--only", help="one format")
    parser.add_argument("--keep", type=Path, help="where files that are read otherwise without a warning are kept")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    Image.MAX_IMAGE_PIXELS = 40_000_000
    signal.signal(signal.SIGALRM, lambda *_: too_long())
    plain = [by_pillow, lambda path: channel_0(iio.imread(path))]
    formats = [
        ("PNG", ".png", png_seeds, plain, arguments.dump),
        ("JPEG", ".jpg", jpeg_seeds, plain, arguments.dump),
        ("TIFF", ".tif", tiff_seeds, [*plain, lambda path: channel_0(tifffile.imread(path))], arguments.dump),
        ("DICOM", ".dcm", dicom_seeds, [by_dicom_plugin(plugin) for plugin in PLUGINS], arguments.dump),
        ("NIfTI", ".nii", nifti_seeds, [by_nibabel], arguments.scan),
    ]
    print("'other': Nightread's samples differ from those of every other reader; 'read by us': no other reads the file")
    print(f"{'':<8}{'files':>7}" + "".join(f"{column:>15}" for column in COLUMNS))
    silent = []
    for name, suffix, seeds, readers, program in formats:
        if arguments.only in (None, name):
            silent += account(name, suffix, seeds(), readers, Dump(program), arguments.count, arguments.keep)
    for line in silent:
        print(f"FAILED: {line}")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
