#!/usr/bin/env python3
"""Holds volumes against other readers, voxel for voxel: SimpleITK, pydicom with OpenJPEG, nibabel, highdicom.

    parity.py --data FOLDER --dump target/release/dump_volume

| series | held against |
|---|---|
| a real series of JPEG 2000 files | SimpleITK and pydicom |
| the same, as one enhanced CT written by highdicom; as signed JPEG 2000; as a zip and a tar.gz | the series |
| a real tilted series | the positions and pixels as pydicom gives them |
| a real NIfTI volume | nibabel |

Affines agree within 1e-4 mm at all corners; Hounsfield units are equal, once they are raised to -1024. A mirrored volume
must fail. Exits with 1 if one comparison fails.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

AIR = -1024
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Dump:
    """The Rust side: one process, one study a request."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, paths):
        self.process.stdin.write(("\t".join(map(str, paths)) + "\n").encode())
        self.process.stdin.flush()
        head = json.loads(self.process.stdout.readline())
        if "code" in head:
            raise SystemExit(f"{paths[0]}: {head['code']}: {head['text']}")
        shape = head["shape"]
        units = np.frombuffer(self.process.stdout.read(2 * int(np.prod(shape))), "<i2")
        affine = np.vstack([head["affine"], [0, 0, 0, 1]])
        return units.reshape(shape, order="F"), affine, head


def by_sitk(folder):
    """Voxels (x, y, z) and affine (RAS) of a series, sorted by GDCM."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), LPS_TO_RAS @ affine


def by_pydicom(paths):
    """Voxels and affine after the definition of the attributes: PS3.3 C.7.6.2.1.1."""
    files = [pydicom.dcmread(path) for path in paths]
    row, column = np.array(files[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    files.sort(key=lambda file: float(np.dot(normal, np.array(file.ImagePositionPatient, float))))
    units = [
        np.round(file.pixel_array.astype(float) * float(file.RescaleSlope) + float(file.RescaleIntercept))
        for file in files
    ]
    first, last = (np.array(files[n].ImagePositionPatient, float) for n in (0, -1))
    affine = np.eye(4)
    affine[:3, 0] = row * float(files[0].PixelSpacing[1])
    affine[:3, 1] = column * float(files[0].PixelSpacing[0])
    affine[:3, 2] = (last - first) / (len(files) - 1)
    affine[:3, 3] = first
    return np.stack(units).transpose(2, 1, 0), LPS_TO_RAS @ affine


def differences(ours, theirs):
    """Greatest distance of a corner in mm, and how many voxels differ."""
    (units, affine), (expected, reference) = ours, theirs
    if units.shape != expected.shape:
        return float("inf"), -1
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    corners[:, :3] *= np.array(units.shape) - 1
    off = np.abs((affine - reference) @ corners.T).max()
    return off, int((units != np.maximum(expected, AIR)).sum())


def enhanced(paths, out):
    """One enhanced CT of a series, by highdicom's and pydicom's own parts, per-frame groups in reversed order."""
    from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
    from highdicom.enum import CoordinateSystemNames
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence

    files = [pydicom.dcmread(path) for path in paths]
    first = files[0]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    whole = FileDataset(str(out), {}, file_meta=meta, preamble=b"\0" * 128)
    whole.SOPClassUID = meta.MediaStorageSOPClassUID
    whole.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    whole.Modality = "CT"
    whole.StudyInstanceUID, whole.SeriesInstanceUID = generate_uid(), generate_uid()
    whole.FrameOfReferenceUID = generate_uid()
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
                 "SamplesPerPixel", "PhotometricInterpretation"):
        setattr(whole, name, getattr(first, name))
    whole.NumberOfFrames = len(files)
    shared = Dataset()
    shared.PixelMeasuresSequence = PixelMeasuresSequence(
        pixel_spacing=[float(x) for x in first.PixelSpacing], slice_thickness=float(first.SliceThickness))
    shared.PlaneOrientationSequence = PlaneOrientationSequence(
        CoordinateSystemNames.PATIENT, [float(x) for x in first.ImageOrientationPatient])
    whole.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for file in files:
        frame, transform = Dataset(), Dataset()
        frame.PlanePositionSequence = PlanePositionSequence(
            CoordinateSystemNames.PATIENT, [float(x) for x in file.ImagePositionPatient])
        transform.RescaleIntercept, transform.RescaleSlope = file.RescaleIntercept, file.RescaleSlope
        transform.RescaleType = "HU"
        frame.PixelValueTransformationSequence = Sequence([transform])
        frames.append(frame)
    whole.PerFrameFunctionalGroupsSequence = Sequence(frames)
    whole.PixelData = b"".join(file.pixel_array.tobytes() for file in files)
    whole.save_as(out, enforce_file_format=True)


def signed(paths, folder):
    """The series as signed values, in JPEG 2000 whose codestream is signed."""
    for n, path in enumerate(paths):
        file = pydicom.dcmread(path)
        units = file.pixel_array.astype(np.int16) + np.int16(file.RescaleIntercept)
        file.PixelRepresentation, file.RescaleIntercept = 1, 0
        file.BitsStored, file.HighBit = 16, 15
        for name in ("PixelPaddingValue", "SmallestImagePixelValue", "LargestImagePixelValue"):
            if name in file:
                delattr(file, name)
        file.PixelData = units.tobytes()
        file["PixelData"].VR = "OW"
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file["PixelData"].is_undefined_length = False
        file.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
        file.save_as(folder / f"{n}.dcm")
    return sorted(folder.iterdir())


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--dump", required=True)
    arguments = arguments.parse_args()
    ct = arguments.data / "ct"
    dump = Dump(arguments.dump)
    work = Path(tempfile.mkdtemp(prefix="nightread-ct-parity-"))
    failed = False

    def hold(what, paths, expected, must_fail=False):
        nonlocal failed
        off, voxels = differences(dump(paths)[:2], expected)
        agrees = off <= 1e-4 and voxels == 0
        failed |= agrees == must_fail
        size = "x".join(map(str, expected[0].shape))
        print(f"{'ok  ' if agrees != must_fail else 'FAIL'} {what}: {size}, {off:.2e} mm, {voxels} voxels differ")

    folder = ct / "totalsegmentator/example_ct_dicom"
    paths = sorted(folder.glob("*.dcm"))
    reference = by_sitk(folder)
    hold("JPEG 2000 series against SimpleITK", paths, reference)
    hold("JPEG 2000 series against pydicom", paths, by_pydicom(paths))
    mirrored = (reference[0][::-1], reference[1])
    hold("negative control: mirrored", paths, mirrored, must_fail=True)
    shifted = reference[1].copy()
    shifted[2, 3] += 1.0
    hold("negative control: half a slice beside", paths, (reference[0], shifted), must_fail=True)
    print(f"     mean of the series by SimpleITK: {np.maximum(reference[0], AIR).mean(dtype=float)!r} HU")

    (work / "signed").mkdir()
    hold("signed JPEG 2000 series", signed(paths, work / "signed"), reference)
    enhanced(list(reversed(paths)), work / "enhanced.dcm")
    hold("enhanced CT", [work / "enhanced.dcm"], reference)
    with zipfile.ZipFile(work / "series.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, f"a/b/{path.name}")
    hold("zip by Python's zipfile", [work / "series.zip"], reference)
    with tarfile.open(work / "series.tar.gz", "w:gz") as archive:
        archive.add(folder, arcname="series")
    hold("tar.gz by Python's tarfile", [work / "series.tar.gz"], reference)
    tilted = sorted((ct / "traps/icometrix_gantrytilting").glob("*.dcm"))
    hold("tilted series against pydicom", tilted, by_pydicom(tilted))
    for name in ("example_ct.nii.gz", "aorta_report_test_result_models_ct_cropped.nii.gz"):
        path = ct / "totalsegmentator" / name
        if path.exists():
            image = nib.load(path)
            hold(f"{name} against nibabel", [path], (np.round(image.get_fdata()), image.affine))
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
