//! Heatmaps of the findings of a radiograph.

use nightread_domain::result::{ArtefactKind, NOTICE};
use nightread_domain::storing::HeatmapLabels;
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{ArrayD, Score};
use nightread_radiograph::{ActivationMap, Explained, Field, HeatmapPainter, Radiograph};

use super::Artefact;
use crate::flow::WORKER_VERSION;

/// Longer side of the image in a heatmap, in pixels: twice what the networks see and some.
const HEATMAP_SIDE: u32 = 512;

/// How heatmaps are made: of which findings, with the arrays behind them or without, and with which model.
pub(super) struct Heatmaps {
    pub labels: HeatmapLabels,
    pub arrays: bool,
    /// Its name and version.
    pub model: String,
}

impl Heatmaps {
    /// A heatmap for each finding that is asked for: what speaks for it in the part of the image that the network saw,
    /// its `field`. `maps`: the class-activation maps of each head, (labels, height, width).
    ///
    /// # Errors
    /// `model_mismatch` when a label has no map.
    pub fn paint(
        &self,
        image: &Radiograph,
        field: &Field,
        maps: &[ArrayD<f32>],
        scored: &[Score],
    ) -> Result<Vec<Artefact>, JobError> {
        let wanted = scored.iter().filter(|score| self.labels.wants(&score.label, score.positive));
        let wanted: Vec<&Score> = wanted.collect();
        let mut made = Vec::new();
        if wanted.is_empty() {
            return Ok(made);
        }
        let painter = HeatmapPainter::new(image, field, HEATMAP_SIDE)?;
        let software = format!("Nightread {WORKER_VERSION}");
        for score in wanted {
            // Suppressed labels have a map, but no place among the findings.
            let Some((values, height, width)) =
                maps.get(score.head).and_then(|maps| map_of(maps, score.column))
            else {
                let text = format!("{} has no class-activation map of {}", self.model, score.label);
                return Err(JobError::new(Stage::Report, ErrorCode::ModelMismatch, text));
            };
            let map = ActivationMap::new(values, height, width)?;
            let painted = painter.paint(&map, &self.explained(score, &software))?;
            made.push(artefact(ArtefactKind::Heatmap, score, "png", painted));
            if self.arrays {
                made.push(artefact(ArtefactKind::HeatmapArray, score, "npy", map.npy()));
            }
        }
        Ok(made)
    }

    fn explained<'a>(&'a self, score: &'a Score, software: &'a str) -> Explained<'a> {
        Explained {
            label: &score.label,
            logit: score.logit,
            probability: score.probability,
            threshold: score.threshold,
            positive: score.positive,
            model: &self.model,
            software,
            notice: NOTICE,
        }
    }
}

/// Values, height and width of one label's map.
fn map_of(maps: &ArrayD<f32>, label: usize) -> Option<(&[f32], usize, usize)> {
    let [_, height, width] = *maps.shape() else { return None };
    let size = height * width;
    let values = maps.as_slice()?.get(label * size..(label + 1) * size)?;
    Some((values, height, width))
}

fn artefact(kind: ArtefactKind, score: &Score, extension: &str, body: Vec<u8>) -> Artefact {
    let suffix = format!("heat.{}-{}.{extension}", score.index, file_part(&score.label));
    Artefact { kind, of: Some(score.label.clone()), suffix, bids: None, body: body.into() }
}

/// A label as part of a file's name: lower case, one hyphen for whatever is neither letter nor digit, the first 24 of it.
fn file_part(label: &str) -> String {
    let words = label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut part = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    part.truncate(24);
    part
}
