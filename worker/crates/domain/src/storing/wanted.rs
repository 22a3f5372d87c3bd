//! Files that are asked for beside documents, and whether a document lacks some that its study can give.

use crate::result::{ArtefactKind, ResultDocument};

/// Which findings of a radiograph get a heatmap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HeatmapLabels {
    #[default]
    Positives,
    All,
    /// Those of these labels, positive or not.
    Named(Vec<String>),
}

impl HeatmapLabels {
    /// `positives`, `all`, or labels.
    pub fn parse(words: &[String]) -> Self {
        match words {
            [] => Self::Positives,
            [word] if word == "positives" => Self::Positives,
            [word] if word == "all" => Self::All,
            labels => Self::Named(labels.to_vec()),
        }
    }

    pub fn wants(&self, label: &str, positive: bool) -> bool {
        match self {
            Self::Positives => positive,
            Self::All => true,
            Self::Named(labels) => labels.iter().any(|named| named == label),
        }
    }
}

/// Files that are asked for, of a model that can give them. Made anew for each judgement, so it holds what others own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Of radiographs; `None` where none are asked for, or where the model has no class-activation maps.
    pub heatmaps: Option<&'a HeatmapLabels>,
    /// The arrays behind them too.
    pub heatmap_arrays: bool,
    /// Of radiographs, where the model gives one.
    pub embedding: bool,
    /// Of scans.
    pub of_scans: &'a [ArtefactKind],
    /// Of CT volumes.
    pub of_volumes: &'a [ArtefactKind],
    /// Fewest degrees of freedom that maps of t and z are given for.
    pub min_dof: usize,
}

impl Wanted<'_> {
    /// Whether a study that was read has not all the files that it can give. Whatever a study cannot give it does not lack, so that
    /// asking again stays cheap.
    pub fn lacks(&self, document: &ResultDocument) -> bool {
        let is_radiograph = document.payload.as_ref().is_some_and(|payload| payload.findings().is_some());
        if self.embedding && is_radiograph && !has(document, ArtefactKind::Embedding, None) {
            return true;
        }
        if let Some(labels) = self.heatmaps {
            let mut wanted =
                document.findings().iter().filter(|finding| labels.wants(&finding.label, finding.positive));
            return wanted.any(|finding| {
                let label = Some(finding.label.as_str());
                !has(document, ArtefactKind::Heatmap, label)
                    || self.heatmap_arrays && !has(document, ArtefactKind::HeatmapArray, label)
            });
        }
        if document.payload.as_ref().is_some_and(|payload| payload.segments().is_some()) {
            return self.of_volumes.iter().any(|&kind| !has(document, kind, None));
        }
        let Some(regression) = document.regression() else { return false };
        let dof = regression.get("dof").and_then(serde_json::Value::as_u64).unwrap_or_default();
        self.of_scans.iter().any(|&kind| {
            let is_given = match kind {
                ArtefactKind::ZMaps | ArtefactKind::TMaps => dof >= self.min_dof as u64,
                ArtefactKind::Motion => regression.contains_key("motion"),
                _ => true,
            };
            is_given && !has(document, kind, None)
        })
    }
}

/// Whether the document names a file of this kind; of a label, where one is named.
fn has(document: &ResultDocument, kind: ArtefactKind, label: Option<&str>) -> bool {
    document.artefacts.iter().any(|it| it.kind == kind && (label.is_none() || it.of.as_deref() == label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_words_or_names() {
        let parse = |words: &[&str]| {
            HeatmapLabels::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(parse(&[]), HeatmapLabels::Positives);
        assert_eq!(parse(&["positives"]), HeatmapLabels::Positives);
        assert_eq!(parse(&["all"]), HeatmapLabels::All);
        let named = parse(&["Mass", "Nodule"]);
        assert!(named.wants("Mass", false) && !named.wants("Pneumonia", true));
        assert!(HeatmapLabels::All.wants("x", false) && !HeatmapLabels::Positives.wants("x", false));
    }
}
