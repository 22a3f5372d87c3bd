"""Reads every object of a folder by highdicom, and holds it against what <case>.json says that was written."""

import json
import sys
import warnings
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from pydicom.sr.codedict import codes

warnings.filterwarnings("ignore")

def code_of(concept):
    return [concept.value, concept.scheme_designator, concept.meaning]


def check_number(group, name, percent):
    (measured,) = group.get_measurements()
    assert code_of(measured.name) == name, measured.name
    assert abs(measured.value - percent) <= 0.005 + 1e-9, measured.value
    assert measured.unit.value == "%"


def check_report(path, expected):
    report = hd.sr.srread(path)
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    evidence = {
        (image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    }
    context = report.content.get_observer_contexts(observer_type=codes.DCM.Device)
    assert len(context) == 1, "one device observed"
    if "groups" in expected:
        groups = report.content.get_image_measurement_groups()
        positive = [group for group in groups if group.finding_type is not None]
        grades = expected.get("grades", [])
        assert len(groups) == max(1, len(expected["groups"]) + len(grades)), len(groups)
        assert len(positive) == len(expected["groups"]), len(positive)
        for group, want in zip(positive, expected["groups"], strict=True):
            assert code_of(group.finding_type) == want["finding"], group.finding_type
            check_number(group, want["name"], want["number"])
            (present,) = [q for q in group.get_qualitative_evaluations() if code_of(q.name) == want["finding"]]
            assert present.value == codes.SCT.Present, present.value
            (image,) = group.source_images
            assert image.referenced_sop_instance_uid == want["image"]
            assert (image.referenced_sop_class_uid, image.referenced_sop_instance_uid) in evidence
        for group, want in zip([group for group in groups if group.finding_type is None] if grades else [], grades, strict=True):
            said = {tuple(code_of(q.name)): code_of(q.value) for q in group.get_qualitative_evaluations()}
            assert said[tuple(want["scale"])] == want["grade"], said
            assert code_of(codes.SCT.Present) not in said.values(), said
            check_number(group, ["111012", "DCM", "Certainty of Finding"], want["number"])
        if "absent" in expected:
            assert expected["absent"] not in [g.finding_type.meaning for g in positive]
    if "organs" in expected:
        groups = report.content.get_volumetric_roi_measurement_groups()
        assert len(groups) == len(expected["organs"]), len(groups)
        seg = pydicom.dcmread(next(path.parent.glob(path.name.split(".")[0] + ".seg-*.dcm")))
        labels = {s.SegmentNumber: s.SegmentLabel for s in seg.SegmentSequence}
        assert (seg.SOPClassUID, seg.SOPInstanceUID) in evidence
        images = {uid for slice_of in expected["images"] for uid, _ in slice_of}
        assert {e for _, e in evidence} == {*images, seg.SOPInstanceUID}
        for group, want in zip(groups, expected["organs"], strict=True):
            assert code_of(group.finding_type) == want["finding"], group.finding_type
            values = {}
            for measured in group.get_measurements():
                values[measured.name.value, measured.derivation.meaning if measured.derivation else None] = measured
            assert values["118565006", None].value == want["volume_ml"]
            assert values["118565006", None].unit.value == "mL"
            assert values["112031", "Mean"].value == want["mean_hu"]
            assert values["112031", "Standard Deviation"].value == want["sd_hu"]
            segment = group.referenced_segment
            assert segment.referenced_sop_instance_uid == seg.SOPInstanceUID
            (number,) = [segment.referenced_segment_numbers] if isinstance(segment.referenced_segment_numbers, int) else segment.referenced_segment_numbers
            assert labels[number] == want["name"], (labels, number)
            sides = [site.laterality.meaning if site.laterality else None for site in group.finding_sites]
            assert sides == [want["side"]], sides


def check_segmentation(path, expected):
    seg = hd.seg.segread(path)
    shape = tuple(expected["shape"])
    labels = np.array(expected["labels"], np.uint8).reshape(shape)
    names = {s.segment_label: s.segment_number for s in (seg.get_segment_description(n) for n in seg.segment_numbers)}
    names.pop("Background", None)
    there = {name: value for name, value in expected["segments"].items() if (labels == value).any()}
    assert set(names) == set(there), (names, there)
    order = sorted(names.values())
    used = [i for i in range(shape[0]) if labels[i].any()]
    images = expected["images"]
    if all(len(slice_of) == 1 for slice_of in images):
        # highdicom finds frames by the images that they were made of.
        (first,) = {images[i][0][0] for i in used} if images[0][0][1] else (None,)
        if first:
            frames = [images[i][0][1] for i in used]
            pixels = seg.get_pixels_by_source_frame(first, frames, segment_numbers=order, assert_missing_frames_are_empty=True)
        else:
            uids = [images[i][0][0] for i in used]
            pixels = seg.get_pixels_by_source_instance(uids, segment_numbers=order, assert_missing_frames_are_empty=True)
        for name, value in there.items():
            mine = pixels[..., order.index(names[name])]
            assert np.array_equal(mine.astype(bool), labels[used] == value), name
    shared = seg.SharedFunctionalGroupsSequence[0]
    iop = [float(x) for x in shared.PlaneOrientationSequence[0].ImageOrientationPatient]
    assert np.allclose(iop, expected["orientation"], atol=1e-12), iop
    # Frame by frame: where it lies, what it was made of, and every voxel.
    seen = np.zeros(shape, np.uint8)
    planes = seg.pixel_array.reshape(-1, *shape[1:])
    for group, plane in zip(seg.PerFrameFunctionalGroupsSequence, planes, strict=True):
        have = [float(x) for x in group.PlanePositionSequence[0].ImagePositionPatient]
        (index,) = [i for i, at in enumerate(expected["positions"]) if np.allclose(have, at, atol=1e-9)]
        sources = group.DerivationImageSequence[0].SourceImageSequence
        assert [[s.ReferencedSOPInstanceUID, s.get("ReferencedFrameNumber")] for s in sources] == images[index]
        assert {s.SpatialLocationsPreserved for s in sources} == {"YES" if len(sources) == 1 else "NO"}
        if "SegmentIdentificationSequence" in group:
            number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            (value,) = [value for name, value in there.items() if names[name] == number]
            seen[index][plane > 0] = value
        else:
            for name, value in there.items():
                seen[index][plane == names[name]] = value
    assert np.array_equal(seen, labels)
    # The whole in space: highdicom puts the frames together by their positions alone, where they are parallel and even.
    if not path.name.startswith("tilted"):
        volume = seg.get_volume(combine_segments=True)
        assert int((volume.array > 0).sum()) == int((labels > 0).sum())


def check_names(folder):
    """Names read as they do in the source, where its encoding is named."""
    sources = [path for path in sorted(folder.glob("*.source")) if path.stem.removeprefix("ct_") not in ("unnamed", "unknown")]
    assert len(sources) > 12, sources
    for path in sources:
        source = pydicom.dcmread(path)
        for made in folder.glob(f"{path.stem}.*.dcm"):
            for keyword in ("PatientName", "ReferringPhysicianName", "PatientID", "StudyDescription"):
                have, want = pydicom.dcmread(made).get(keyword, ""), source.get(keyword, "")
                assert str(have) == str(want), (made.name, keyword, str(have), str(want))
    for case in ("japanese", "ct_japanese"):
        japanese = str(pydicom.dcmread(next(folder.glob(f"{case}.sr-*.dcm"))).PatientName)
        assert japanese == "Yamada^Tarou=山田^太郎=やまだ^たろう", japanese
    for case in ("korean", "ct_korean"):
        korean = str(pydicom.dcmread(next(folder.glob(f"{case}.sr-*.dcm"))).PatientName)
        assert korean == "Hong^Gildong=洪^吉洞=홍^길동", korean


def main(folder):
    counts = {}
    check_names(Path(folder))
    for path in sorted(Path(folder).glob("*.dcm")):
        case, kind = path.name.split(".")[0], path.name.split(".")[1].split("-")[0]
        expected = json.loads((path.parent / f"{case}.json").read_text())
        if expected is None:
            continue
        try:
            if kind == "sr":
                check_report(path, expected)
            elif kind == "seg":
                check_segmentation(path, expected)
            else:
                image = pydicom.dcmread(path)
                assert image.BurnedInAnnotation == "YES" and image.pixel_array.size > 0
                assert "not for diagnosis" in image.DerivationDescription, image.DerivationDescription
        except Exception as error:
            raise SystemExit(f"{path.name}: {type(error).__name__}: {error}") from error
        counts[kind] = counts.get(kind, 0) + 1
    assert counts.get("sr", 0) > 35 and counts.get("seg", 0) > 20, counts
    print("read by highdicom:", counts)


main(sys.argv[1])
