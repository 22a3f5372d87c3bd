//! What is told of a volume: its segments, the label map, and a picture.

use std::io;

use nightread_domain::result::{ArtefactKind, Segment};
use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};
use nightread_engine::{Laterality, Manifest};
use nightread_segmentation::labels::{Finished, LabelMap, LabelValues};
use nightread_segmentation::{Grid, preview, segments};
use nightread_volume::{Affine, Description, Storage, VolumeWriter};

use crate::readings::Artefact;

/// Of gzip: label maps are so regular that more costs time and saves little.
const COMPRESSION: u32 = 4;

/// A volume and its labels.
#[derive(Debug)]
pub(super) struct Measured<'m> {
    pub volume: &'m Grid<i16>,
    pub finished: Finished,
    pub manifest: &'m Manifest,
    /// Of the model, with its version.
    pub title: &'m str,
}

impl Measured<'_> {
    /// Every label of the model, and doubts about them.
    ///
    /// # Errors
    /// `internal` where labels and volume do not fit.
    pub fn segments(&self) -> Result<(Vec<Segment>, Vec<Warning>), JobError> {
        let names: Vec<segments::Name> = self.names();
        let measured = segments::segments(&self.finished.map, self.volume, &names, &self.finished.confidence);
        let (measured, sides) = measured.map_err(unfit)?;
        let mut warnings: Vec<Warning> = sides
            .iter()
            .map(|said| Warning::new(WarningCode::LateralityImplausible, said.to_string()))
            .collect();
        let at_border: Vec<&str> =
            measured.iter().filter(|of| of.touches_border).map(|of| of.name.as_str()).collect();
        if !at_border.is_empty() {
            let text = format!("cut by the border of the volume: {}", at_border.join(", "));
            warnings.push(Warning::new(WarningCode::SegmentAtBorder, text));
        }
        let labels = self.manifest.labels.iter().zip(measured);
        let reported = labels.filter(|(label, _)| !label.suppressed).map(|(label, of)| Segment {
            label: label.name.clone(),
            value: u16::try_from(of.index).unwrap_or(u16::MAX),
            code: label.code.clone(),
            laterality: label.segment.laterality,
            voxels: of.voxels,
            volume_ml: of.volume_ml,
            mean_hu: of.mean_hu,
            sd_hu: of.sd_hu,
            bbox_mm: of.bbox_mm,
            touches_border: of.touches_border,
            confidence: of.confidence,
        });
        Ok((reported.collect(), warnings))
    }

    fn names(&self) -> Vec<segments::Name> {
        let labels = self.manifest.labels.iter().zip(1..);
        let named = labels.map(|(label, index)| segments::Name {
            index,
            name: label.name.clone(),
            laterality: label.segment.laterality.map(|side| match side {
                Laterality::Left => segments::Laterality::Left,
                Laterality::Right => segments::Laterality::Right,
            }),
        });
        named.collect()
    }

    /// The files of these kinds.
    ///
    /// # Errors
    /// `internal` when they cannot be written.
    pub fn artefacts(&self, kinds: &[ArtefactKind]) -> Result<Vec<Artefact>, JobError> {
        let mut made = Vec::new();
        for &kind in kinds {
            let (suffix, body) = match kind {
                ArtefactKind::LabelMap => ("labels.nii.gz", self.label_map().map_err(unwritten)?),
                ArtefactKind::Preview => ("preview.png", self.preview()?),
                _ => continue,
            };
            made.push(Artefact { kind, of: None, suffix: suffix.to_owned(), bids: None, body: body.into() });
        }
        Ok(made)
    }

    fn preview(&self) -> Result<Vec<u8>, JobError> {
        let painted = preview::preview(&self.finished.map, self.volume, &self.names());
        painted.map(|preview| preview.png).map_err(|error| {
            JobError::new(Stage::Report, ErrorCode::Internal, "the volume cannot be painted")
                .with_source(error)
        })
    }

    fn label_map(&self) -> io::Result<Vec<u8>> {
        let LabelMap { shape, affine, values } = &self.finished.map;
        let LabelValues::U8(labels) = values else {
            return Err(io::Error::other("a label map of more than 255 labels"));
        };
        let grid = nightread_volume::Grid { dims: *shape, affine: Affine(*affine) };
        let description = Description {
            grid,
            volumes: None,
            storage: Storage::Labels,
            tr_seconds: None,
            space: 1,
            text: format!("labels of {}; not for diagnosis", self.title),
        };
        let mut writer = VolumeWriter::new(Vec::new(), description, Some(COMPRESSION))?;
        writer.write_labels(labels)?;
        writer.finish()
    }
}

fn unfit(error: segments::SegmentsError) -> JobError {
    JobError::new(Stage::Report, ErrorCode::Internal, "segments cannot be measured").with_source(error)
}

fn unwritten(error: io::Error) -> JobError {
    JobError::new(Stage::Report, ErrorCode::Internal, "a label map cannot be written").with_source(error)
}
