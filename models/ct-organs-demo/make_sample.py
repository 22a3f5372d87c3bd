#!/usr/bin/env python3
"""Write sample.zip, the CT series that the demonstration reads: make_sample.py EXAMPLE_CT.nii.gz [sample.zip]

EXAMPLE_CT is `tests/reference_files/example_ct.nii.gz` of TotalSegmentator (commit 0e65a448, Apache-2.0): a real
abdomen, 3 mm, without any identifier. It becomes one DICOM file for each slice. Whatever a scanner would say and the
file does not (times, manufacturer, dose) is left out; names and UIDs are made up, and the same at each run. Needs
nibabel, numpy, pydicom.
"""

import hashlib
import io
import pathlib
import sys
import zipfile
from collections.abc import Iterator

import nibabel
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

# Members bear this time, so that the archive is the same at each run.
STAMP = (2020, 1, 1, 0, 0, 0)


def uid(*parts: object) -> str:
    """A UID of the UUID form (PS3.5 B.2), by a digest of what it names."""
    digest = hashlib.sha256("/".join(("nightread-sample", *map(str, parts))).encode()).digest()[:16]
    return f"2.25.{int.from_bytes(digest, 'big')}"


def slices(image: nibabel.Nifti1Image) -> Iterator[tuple[np.ndarray, list[float], np.ndarray]]:
    """Pixels and place of each slice, from the feet up: rows run to the patient's left, columns to the back."""
    image = nibabel.as_closest_canonical(image)
    values = np.asarray(image.dataobj).astype(np.int32)
    spacing = np.sqrt((image.affine[:3, :3] ** 2).sum(axis=0))
    origin = image.affine[:3, 3]
    # RAS to LPS: rows begin at the patient's right, the greatest x, and columns at the front, the greatest y.
    pixels = values[::-1, ::-1, :]
    corner = origin + image.affine[:3, 0] * (values.shape[0] - 1) + image.affine[:3, 1] * (values.shape[1] - 1)
    for k in range(values.shape[2]):
        place = corner + image.affine[:3, 2] * k
        yield pixels[:, :, k].T, [-place[0], -place[1], place[2]], spacing


def dataset(k: int, pixels: np.ndarray, place: list[float], spacing: np.ndarray) -> FileDataset:
    """One slice: `place` of its first voxel and `spacing` in mm."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid("instance", k)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid("writer")
    of = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    of.SOPClassUID, of.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    of.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    of.DerivationDescription = (
        "Example CT of TotalSegmentator (Apache-2.0), resampled by its makers to 3 mm, written as DICOM"
    )
    of.StudyDate = of.StudyTime = of.AccessionNumber = of.ReferringPhysicianName = of.StudyID = ""
    of.PatientName, of.PatientID, of.PatientBirthDate, of.PatientSex = "Demonstration^Abdomen", "DEMO-CT-1", "", ""
    of.Modality, of.Manufacturer, of.BodyPartExamined = "CT", "", "ABDOMEN"
    of.SeriesDescription = "Abdomen 3 mm"
    of.StudyInstanceUID, of.SeriesInstanceUID, of.FrameOfReferenceUID = uid("study"), uid("series"), uid("frame")
    of.PositionReferenceIndicator = ""
    of.SeriesNumber, of.AcquisitionNumber, of.InstanceNumber = 1, 1, k + 1
    of.ImagePositionPatient = [f"{value:.6g}" for value in place]
    of.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    of.PixelSpacing = [f"{spacing[1]:.6g}", f"{spacing[0]:.6g}"]
    of.SliceThickness = f"{spacing[2]:.6g}"
    of.KVP = ""
    of.SamplesPerPixel, of.PhotometricInterpretation = 1, "MONOCHROME2"
    of.Rows, of.Columns = pixels.shape
    of.BitsAllocated, of.BitsStored, of.HighBit, of.PixelRepresentation = 16, 16, 15, 1
    of.RescaleIntercept, of.RescaleSlope, of.RescaleType = 0, 1, "HU"
    of.PixelData = np.ascontiguousarray(np.clip(pixels, -1024, 32767).astype("<i2")).tobytes()
    return of


def main(source: str, target: str | pathlib.Path) -> None:
    """Writes the archive, the same at each run."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for k, (pixels, place, spacing) in enumerate(slices(nibabel.load(source))):
            buffer = io.BytesIO()
            dataset(k, pixels, place, spacing).save_as(buffer, enforce_file_format=True)
            member = zipfile.ZipInfo(f"{k + 1:03}.dcm", STAMP)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(member, buffer.getvalue())


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    beside = pathlib.Path(__file__).with_name("sample.zip")
    main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else beside)
