"""Holds the objects of a CT series against its slices, its label map and its document, by programs that share no code with their writer.

volume.py DOCUMENT LABELS OBJECTS SOURCE...: every voxel of the label map must be in the segmentation, at the same place in the patient,
and nothing else; every frame must lie where the image lies that it names; the report must say what the document says.
"""

import json
import sys
from pathlib import Path

import highdicom as hd
import nibabel
import numpy as np
import pydicom

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def planes_of(sources):
    """Position and orientation of every image: by UID, or by UID and frame."""
    found = {}
    for path in sources:
        source = pydicom.dcmread(path)
        if "PerFrameFunctionalGroupsSequence" not in source:
            found[source.SOPInstanceUID, None] = (source.ImagePositionPatient, source.ImageOrientationPatient)
            continue
        shared = source.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
        for number, group in enumerate(source.PerFrameFunctionalGroupsSequence, 1):
            position = group.PlanePositionSequence[0].ImagePositionPatient
            found[source.SOPInstanceUID, number] = (position, shared)
    return found


def segmentation(path, labels, affine, document, planes):
    seg = hd.seg.segread(path)
    names = {s.segment_label: s.segment_number for s in (seg.get_segment_description(n) for n in seg.segment_numbers)}
    names.pop("Background", None)
    values = {s["label"]: s["value"] for s in document["segments"] if s["voxels"]}
    assert set(names) == set(values), (names, values)
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = [float(x) for x in shared.PlaneOrientationSequence[0].ImageOrientationPatient]
    rows_mm, columns_mm = (float(x) for x in shared.PixelMeasuresSequence[0].PixelSpacing)
    along_row, down_column = np.array(orientation[:3]), np.array(orientation[3:])
    to_voxel = np.linalg.inv(affine) @ LPS
    seen = np.zeros(labels.shape, np.uint8)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True):
        position = np.array([float(x) for x in group.PlanePositionSequence[0].ImagePositionPatient])
        for source in group.DerivationImageSequence[0].SourceImageSequence:
            of = source.ReferencedSOPInstanceUID, source.get("ReferencedFrameNumber")
            if len(group.DerivationImageSequence[0].SourceImageSequence) == 1:
                at, cosines = planes[of]
                assert np.allclose(position, [float(x) for x in at], atol=1e-6), (position, at)
                assert np.allclose(orientation, [float(x) for x in cosines], atol=1e-6), (orientation, cosines)
            else:
                assert of in planes, of
        row, column = np.nonzero(frame)
        world = position + np.outer(column, columns_mm * along_row) + np.outer(row, rows_mm * down_column)
        index = (to_voxel @ np.c_[world, np.ones(len(world))].T)[:3]
        rounded = np.rint(index).astype(int)
        assert np.abs(index - rounded).max() < 0.01, "frames lie between voxels"
        if "SegmentIdentificationSequence" in group:
            number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            (value,) = [values[name] for name in values if names[name] == number]
            assert not seen[tuple(rounded)].any(), "a voxel of two segments"
            seen[tuple(rounded)] = value
        else:
            of_number = np.zeros(256, np.uint8)
            for name, value in values.items():
                of_number[names[name]] = value
            seen[tuple(rounded)] = of_number[frame[row, column]]
    reported = np.where(np.isin(labels, list(values.values())), labels, 0)
    assert np.array_equal(seen, reported), f"{(seen != reported).sum()} voxels differ"
    return seg, names, int((seen > 0).sum())


def report(path, document, seg, names):
    sr = hd.sr.srread(path)
    groups = sr.content.get_volumetric_roi_measurement_groups()
    found = [segment for segment in document["segments"] if segment["voxels"]]
    assert len(groups) == len(found), (len(groups), len(found))
    for group, segment in zip(groups, found, strict=True):
        finding = group.finding_type
        if "code" in segment:
            code = segment["code"]
            assert [finding.value, finding.scheme_designator, finding.meaning] == [code["value"], code["scheme"], code["meaning"]]
        else:
            assert [finding.scheme_designator, finding.meaning] == ["99NIGHTREAD", segment["label"]]
        values = {}
        for measured in group.get_measurements():
            values[measured.name.meaning, measured.derivation.meaning if measured.derivation else None] = measured.value
        assert abs(values["Volume", None] - segment["volume_ml"]) < 1e-6 * max(1, segment["volume_ml"]), values
        for name, field in (("Mean", "mean_hu"), ("Standard Deviation", "sd_hu")):
            assert abs(values["Attenuation Coefficient", name] - segment[field]) < 1e-6 * max(1, abs(segment[field])), values
        sides = [site.laterality.meaning.lower() if site.laterality else None for site in group.finding_sites]
        assert sides == [segment.get("laterality")], sides
        assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        numbers = group.referenced_segment.referenced_segment_numbers
        assert list(np.atleast_1d(numbers)) == [names[segment["label"]]], numbers
    return len(groups)


def main(document, labels, objects, *sources):
    document = json.loads(Path(document).read_text())
    image = nibabel.load(labels)
    labels = np.asarray(image.dataobj).astype(np.uint8)
    planes = planes_of(sources)
    objects = Path(objects)
    seg, names, voxels = segmentation(objects / "seg.dcm", labels, image.affine, document, planes)
    groups = report(objects / "sr.dcm", document, seg, names)
    source = pydicom.dcmread(sources[0], stop_before_pixels=True)
    pictures = sorted(objects.glob("sc*.dcm"))
    assert len(pictures) == 2, pictures
    for path in [objects / "seg.dcm", objects / "sr.dcm", *pictures]:
        made = pydicom.dcmread(path)
        for keyword in ("StudyInstanceUID", "PatientName", "PatientID", "AccessionNumber"):
            assert str(made.get(keyword, "")) == str(source.get(keyword, "")), (path.name, keyword)
        assert "PatientBirthDate" in made and "PatientSex" in made, path.name
        if path in pictures:
            assert made.BurnedInAnnotation == "YES" and "not for diagnosis" in made.DerivationDescription
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    print(f"{voxels} voxels, {groups} organs")


main(*sys.argv[1:])
