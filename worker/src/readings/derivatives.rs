//! The files that go beside the document of a scan, each with its name by BIDS and what its sidecar says.

use std::collections::BTreeMap;
use std::io;

use nightread_domain::result::ArtefactKind;
use nightread_domain::storing::BidsName;
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_fmri::components::write_time_courses;
use nightread_fmri::motion::Motion;
use nightread_fmri::{Connectivity, DualRegression, NetworkMatrix, connectivity};
use nightread_volume::Intent;
use serde_json::{Value, json};

use super::{Artefact, Derivative};

/// What was measured of one scan.
pub(super) struct Measured<'a> {
    pub regressed: &'a DualRegression,
    pub motion: Option<&'a Motion>,
    /// Whether each volume was left out of the regression; empty where none was.
    pub left_out: &'a [bool],
    pub confounds: &'a [String],
}

/// The files of these kinds that the scan can give. Without statistics there are no maps of t and z.
///
/// # Errors
/// `internal` when they cannot be written.
pub(super) fn artefacts(measured: &Measured<'_>, kinds: &[ArtefactKind]) -> Result<Vec<Artefact>, JobError> {
    let DualRegression { maps, time_courses, flags, facts, .. } = measured.regressed;
    let mut network = None;
    let mut made = Vec::new();
    for &kind in kinds {
        let body = match kind {
            ArtefactKind::ZMaps => {
                let text = "z of dual regression, stage 2";
                maps.z.as_ref().map(|z| maps.write(z, text, Intent::Z, facts.dof, Vec::new()))
            }
            ArtefactKind::TMaps => {
                let text = "t of dual regression, stage 2";
                maps.t.as_ref().map(|t| maps.write(t, text, Intent::T, facts.dof, Vec::new()))
            }
            ArtefactKind::Betas => {
                let text = "coefficients of dual regression, stage 2";
                Some(maps.write(&maps.betas, text, Intent::ESTIMATE, facts.dof, Vec::new()))
            }
            ArtefactKind::TimeCourses => {
                let mut body = Vec::new();
                Some(write_time_courses(time_courses, flags.len(), &mut body).map(|()| body))
            }
            ArtefactKind::Correlations | ArtefactKind::PartialCorrelations | ArtefactKind::FisherZ => {
                let network = network.get_or_insert_with(|| connectivity(time_courses, flags.len()));
                Some(matrix(network, kind))
            }
            ArtefactKind::Motion => measured.motion.map(|motion| {
                let mut body = Vec::new();
                motion.write(measured.left_out, &mut body).map(|()| body)
            }),
            // Of other studies.
            _ => None,
        };
        if let Some(body) = body {
            let body = body.map_err(unwritten)?.into();
            let about = about(kind, measured, network.as_ref());
            let (suffix, name) = names(kind);
            let bids = Some(Derivative { name, about });
            made.push(Artefact { kind, of: None, suffix: suffix.to_owned(), bids, body });
        }
    }
    Ok(made)
}

fn matrix(network: &Connectivity, kind: ArtefactKind) -> io::Result<Vec<u8>> {
    let chosen: NetworkMatrix = match kind {
        ArtefactKind::PartialCorrelations => network.partial.clone(),
        ArtefactKind::FisherZ => network.correlation.fisher_z(),
        _ => network.correlation.clone(),
    };
    let mut body = Vec::new();
    chosen.write(&mut body).map(|()| body)
}

/// The end of a file's name, and its name where the scan has a BIDS name. The forms are those of FitLins (`stat-z_statmap`) and
/// XCP-D (`seg-..._timeseries`, `stat-pearsoncorrelation_relmat`).
fn names(kind: ArtefactKind) -> (&'static str, BidsName) {
    let named = |stat, suffix, extension| BidsName { stat, suffix, extension };
    match kind {
        ArtefactKind::ZMaps => ("z.nii.gz", named(Some("z"), "statmap", "nii.gz")),
        ArtefactKind::TMaps => ("t.nii.gz", named(Some("t"), "statmap", "nii.gz")),
        ArtefactKind::Betas => ("betas.nii.gz", named(Some("effect"), "statmap", "nii.gz")),
        ArtefactKind::Correlations => {
            ("correlations.tsv", named(Some("pearsoncorrelation"), "relmat", "tsv"))
        }
        ArtefactKind::PartialCorrelations => {
            ("partial-correlations.tsv", named(Some("partialcorrelation"), "relmat", "tsv"))
        }
        ArtefactKind::FisherZ => ("fisher-z.tsv", named(Some("fisherz"), "relmat", "tsv")),
        ArtefactKind::Motion => ("motion.tsv", named(None, "motion", "tsv")),
        _ => ("timecourses.tsv", named(None, "timeseries", "tsv")),
    }
}

/// What a sidecar says of a file: how it was made, and the scan's time.
fn about(
    kind: ArtefactKind,
    measured: &Measured<'_>,
    network: Option<&Connectivity>,
) -> BTreeMap<String, Value> {
    let facts = &measured.regressed.facts;
    let mut about: BTreeMap<String, Value> = BTreeMap::new();
    let mut say = |name: &str, value: Value| about.insert(name.to_owned(), value);
    if let Some(seconds) = facts.tr_seconds {
        say("RepetitionTime", seconds.into());
    }
    say("NumberOfVolumes", facts.volumes.into());
    say("NumberOfVolumesUsed", facts.volumes_used.into());
    say("Confounds", measured.confounds.into());
    match kind {
        ArtefactKind::ZMaps | ArtefactKind::TMaps | ArtefactKind::Betas => {
            say("Description", "Maps of dual regression, stage 2: one volume a component".into());
            say("DegreesOfFreedom", facts.dof.into());
            say("DegreesOfFreedomRule", json!(facts.dof_rule));
            say("VarianceNormalised", facts.des_norm.into());
        }
        ArtefactKind::TimeCourses => {
            say("Description", "Time courses of dual regression, stage 1: one column a component".into());
            // Rows of volumes that were left out are absent, so that the rows are not always evenly spaced.
            if let Some(seconds) = facts.tr_seconds.filter(|_| facts.volumes == facts.volumes_used) {
                say("SamplingFrequency", (1.0 / seconds).into());
            }
        }
        ArtefactKind::Correlations | ArtefactKind::PartialCorrelations | ArtefactKind::FisherZ => {
            let (measure, estimator) = match kind {
                ArtefactKind::PartialCorrelations => {
                    ("partial correlation", "Ledoit-Wolf shrinkage of the standardised time courses")
                }
                ArtefactKind::FisherZ => ("Fisher's z of Pearson's correlation", "empirical covariance"),
                _ => ("Pearson's correlation", "empirical covariance"),
            };
            say("RelationshipMeasure", measure.into());
            say("Estimator", estimator.into());
            say("Weighted", true.into());
            say("Directed", false.into());
            say("ValidDiagonal", (kind != ArtefactKind::FisherZ).into());
            if kind == ArtefactKind::PartialCorrelations {
                say("Shrinkage", network.and_then(|network| network.shrinkage).into());
            }
        }
        ArtefactKind::Motion => {
            let facts = measured.motion.map(Motion::facts);
            let from = facts.as_ref().map(|facts| facts.displacement_from);
            let dvars_from = facts.as_ref().map(|facts| facts.dvars_from);
            let unit = |unit: &str, text: &str| json!({"Units": unit, "Description": text});
            let text = "Framewise displacement (Power et al. 2012)";
            say("framewise_displacement", unit("mm", text));
            say("FramewiseDisplacementFrom", json!(from.flatten()));
            say(
                "dvars",
                unit(
                    "arbitrary",
                    "DVARS (Power et al. 2012); thousandths of the median where it is the scan's",
                ),
            );
            say("std_dvars", unit("1", "Standardised DVARS (Nichols 2013)"));
            say("DVARSFrom", json!(dvars_from.flatten()));
            say("used", unit("1", "1 for volumes that took part in the regression, 0 for others"));
        }
        _ => {}
    }
    about
}

fn unwritten(error: io::Error) -> JobError {
    JobError::new(Stage::Report, ErrorCode::Internal, "component maps cannot be written").with_source(error)
}
