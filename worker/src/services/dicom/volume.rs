//! The objects of a CT volume: its layout from the series' headers, its voxels from the label map beside the document.

use std::collections::BTreeSet;

use bytes::Bytes;
use nightread_archive::{
    Concept, CtResult, Laterality, Object, Organ, Reference, SegImage, SegInput, SegSegment, SegSlice,
    SourceInstance, of_ct,
};
use nightread_ct::{Layout, SliceName, layout};
use nightread_domain::result::{self, ArtefactFacts, ArtefactKind, Payload, Segment};
use nightread_domain::set::is_uid;
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_volume::{Affine, BytesSource, Grid, GridRelation, LimitNames, Limits, VolumeStream};

use super::files::{bytes_of, changed, files_of};
use super::ingredients::Ingredients;
use super::reading::{as_job_error, no_identity};
use crate::readings::segmentation::{parts, refused};

/// Voxels that are read at a time.
const RUN: usize = 1 << 16;

/// # Errors
/// As [`super::objects::objects`].
pub(super) fn objects(of: &Ingredients<'_>) -> Result<Vec<Object>, JobError> {
    let &Ingredients { document, study, files, codes, options, reading } = of;
    let without_codec = || JobError::new(Stage::Report, ErrorCode::Internal, "there is no codec");
    let codec = reading.codec.as_deref().ok_or_else(without_codec)?;
    let layout = layout(&parts(study.clone()), &reading.volumes, codec).map_err(refused)?;
    let Some(layout) = layout else {
        return Err(no_identity(
            "the source is a NIfTI file, which tells of no study: no DICOM result can join it",
        ));
    };
    let source =
        SourceInstance::of_series(&layout.first, reading.max_inflated_bytes).map_err(as_job_error)?;
    let series = &source.image.series;
    let slices = named(&layout, series)?;
    let segments = document.payload.as_ref().and_then(Payload::segments).unwrap_or_default();
    let (found, missing): (Vec<_>, Vec<_>) = segments.iter().partition(|segment| segment.voxels > 0);
    let organs: Vec<Organ> = found.iter().map(|segment| organ(segment, codes)).collect();
    let missing: Vec<String> = missing.iter().map(|segment| segment.label.clone()).collect();

    let kept = |kind| files_of(document).find(|artefact| artefact.kind == kind);
    let preview = kept(ArtefactKind::Preview).map(|artefact| bytes_of(artefact, files)).transpose()?;
    let label_map = kept(ArtefactKind::LabelMap);
    let labels = label_map.map(|artefact| labels(artefact, files, &layout, segments)).transpose()?;
    let layers = layers(&layout, series)?;
    let described: Vec<SegSegment> =
        segments.iter().filter_map(|segment| described(segment, codes)).collect();
    let [columns, rows, count] = layout.shape;
    let voxels = labels.as_ref().map(|labels| SegInput {
        labels,
        shape: [count, rows, columns],
        slices: &layers,
        orientation: layout.orientation,
        spacing: layout.spacing_mm,
        slice_spacing: layout.step_mm,
        segments: &described,
    });
    let result = CtResult {
        organs: &organs,
        missing: &missing,
        voxels,
        preview: preview.map(|bytes| &bytes[..]),
        slices: &slices,
    };
    of_ct(&source, document, &result, options).map_err(as_job_error)
}

/// Every image of the series, by its UIDs.
///
/// # Errors
/// `no_dicom_identity` where one has none, or two have the same: nobody could tell which is meant.
fn named(layout: &Layout, series: &str) -> Result<Vec<Reference>, JobError> {
    let mut names = BTreeSet::new();
    for slice in &layout.slices {
        let reference = reference(slice, series)?;
        if !names.insert((reference, slice.frame)) {
            return Err(no_identity("two slices of the series bear the same SOP Instance UID"));
        }
    }
    Ok(names.into_iter().map(|(reference, _)| reference).collect())
}

fn reference(slice: &SliceName, series: &str) -> Result<Reference, JobError> {
    let uid = |uid: &Option<String>, what: &str| {
        let none = || no_identity(format!("a slice of the series has no {what}: its results cannot name it"));
        uid.clone().filter(|uid| is_uid(uid)).ok_or_else(none)
    };
    Ok(Reference {
        series: series.to_owned(),
        sop_class: uid(&slice.sop_class, "SOP Class UID")?,
        sop_instance: uid(&slice.instance_uid, "SOP Instance UID")?,
    })
}

fn layers(layout: &Layout, series: &str) -> Result<Vec<SegSlice>, JobError> {
    let image = |slice: &SliceName| Ok(SegImage { image: reference(slice, series)?, frame: slice.frame });
    let layers = layout.layers.iter().map(|layer| {
        let images = layer.slices.iter().map(image).collect::<Result<_, JobError>>()?;
        Ok(SegSlice { images, position: layer.origin_lps_mm })
    });
    layers.collect()
}

/// The code that the reading found in its manifest, or the manifest's of today.
fn code(segment: &Segment, codes: &[(String, Concept)]) -> Option<Concept> {
    let read = segment.code.as_ref().map(|code| Concept {
        value: code.value.clone(),
        scheme: code.scheme.clone(),
        meaning: code.meaning.clone(),
    });
    read.or_else(|| codes.iter().find(|(label, _)| *label == segment.label).map(|(_, code)| code.clone()))
}

fn side(segment: &Segment) -> Option<Laterality> {
    segment.laterality.map(|side| match side {
        result::Laterality::Left => Laterality::Left,
        result::Laterality::Right => Laterality::Right,
    })
}

fn organ(segment: &Segment, codes: &[(String, Concept)]) -> Organ {
    Organ {
        name: segment.label.clone(),
        code: code(segment, codes),
        laterality: side(segment),
        volume_ml: segment.volume_ml,
        mean_hu: segment.mean_hu,
        sd_hu: segment.sd_hu,
    }
}

/// `None` for a label whose number no label map holds.
fn described(segment: &Segment, codes: &[(String, Concept)]) -> Option<SegSegment> {
    Some(SegSegment {
        number: u8::try_from(segment.value).ok()?,
        name: segment.label.clone(),
        code: code(segment, codes),
        laterality: side(segment),
    })
}

/// The labels of all voxels, columns first. What the document does not report, the labels that a manifest suppresses, is background.
///
/// # Errors
/// `artefact_changed` where the file does not lie on the grid of the series, or is no label map.
fn labels(
    artefact: &ArtefactFacts,
    files: &[(String, Bytes)],
    layout: &Layout,
    segments: &[Segment],
) -> Result<Vec<u8>, JobError> {
    let file = BytesSource(bytes_of(artefact, files)?);
    let grid = Grid { dims: layout.shape, affine: Affine(layout.affine) };
    let voxels = grid.len() as u64;
    let limits = Limits {
        max_volume_voxels: voxels,
        max_voxels: voxels,
        max_inflated_bytes: voxels.saturating_mul(8).saturating_add(1 << 20),
        names: LimitNames::FIXED,
    };
    let unread = |error: JobError| changed(artefact, "cannot be read").with_source(error);
    let mut stream = VolumeStream::open(&file, &limits).map_err(unread)?;
    if stream.header().volumes != 1 || stream.header().grid.relation(&grid) != Some(GridRelation::Same) {
        return Err(changed(artefact, "does not lie on the grid of the series"));
    }
    let mut reported = [false; 256];
    for segment in segments {
        if let Some(value) = reported.get_mut(usize::from(segment.value)) {
            *value = true;
        }
    }
    let mut labels = Vec::with_capacity(grid.len());
    let mut run = vec![0.0; RUN];
    loop {
        let count = stream.next_values(&mut run).map_err(unread)?;
        if count == 0 {
            break;
        }
        for value in &run[..count] {
            if value.fract() != 0.0 || !(0.0..=255.0).contains(value) {
                return Err(changed(artefact, "holds what is no label"));
            }
            let label = *value as u8;
            labels.push(if reported[usize::from(label)] { label } else { 0 });
        }
    }
    stream.finish().map_err(unread)?;
    Ok(labels)
}
