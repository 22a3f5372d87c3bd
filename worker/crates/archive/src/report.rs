//! Structured reports by TID 1500, Measurement Report (PS3.16).

use std::collections::BTreeMap;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use nightread_domain::result::{ModelFacts, NOTICE};
use sha2::{Digest, Sha256};

use crate::concept::Concept;
use crate::content::{self, Relation};
use crate::data::Data;
use crate::error::ArchiveError;
use crate::object::{Draft, Frame, Kind, MANUFACTURER, Object, PLAIN, finish};
use crate::source::{Reference, SourceInstance};
use crate::uid::uid;

/// The class that reports are of. What they hold is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportClass {
    /// Comprehensive SR: what archives know longest.
    #[default]
    Comprehensive,
    /// Comprehensive 3D SR.
    Comprehensive3d,
}

impl ReportClass {
    const fn uid(self) -> &'static str {
        match self {
            Self::Comprehensive => uids::COMPREHENSIVE_SR_STORAGE,
            Self::Comprehensive3d => uids::COMPREHENSIVE3_DSR_STORAGE,
        }
    }
}

/// A report that this one replaces: it stays in the archive, and is named as the predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// [`study_digest`] of the study that it is in: what keeps reports' names keeps no identifier.
    pub study_sha256: String,
    pub report: Reference,
}

/// SHA-256 of a Study Instance UID, in lower-case hexadecimal.
pub fn study_digest(study: &str) -> String {
    hex::encode(Sha256::digest(study))
}

/// What a report is made of.
pub(crate) struct StructuredReport<'a> {
    pub class: ReportClass,
    /// What was done with the patient (CID 100).
    pub procedure: Concept,
    /// Measurement groups.
    pub groups: Vec<Data>,
    /// Every image that the report was made from or points to.
    pub evidence: Vec<Reference>,
    pub predecessor: Option<&'a Predecessor>,
}

/// # Errors
/// `Internal`.
pub(crate) fn report(report: StructuredReport<'_>, frame: Frame<'_>) -> Result<Object, ArchiveError> {
    let mut children = context(&frame.document.model);
    let procedure = Concept::dcm("121058", "Procedure reported");
    children.push(content::code(Relation::HasConceptModifier, &procedure, &report.procedure, Vec::new()));
    let measurements = Concept::dcm("126010", "Imaging Measurements");
    children.push(content::container(Some(Relation::Contains), &measurements, "1500", report.groups));
    let title = Concept::dcm("126000", "Imaging Measurement Report");
    let mut data = content::container(None, &title, "1500", children);
    data.text(tags::COMPLETION_FLAG, VR::CS, "COMPLETE");
    data.text(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED");
    data.text(tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY");
    data.sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new());
    data.sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new());
    let evidence = in_study(&frame.source.study, report.evidence);
    data.sequence(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, vec![evidence]);
    if let Some(before) = report.predecessor {
        let named = in_study(&frame.source.study, vec![before.report.clone()]);
        data.sequence(tags::PREDECESSOR_DOCUMENTS_SEQUENCE, vec![named]);
    }
    let draft = Draft {
        kind: Kind::Report,
        sop_class: report.class.uid(),
        transfer_syntax: PLAIN,
        modality: "SR",
        series_number: 9001,
        description: "AI results (not for diagnosis)",
        data,
    };
    finish(vec![draft], frame)?
        .pop()
        .ok_or_else(|| ArchiveError::new(crate::error::Fault::Internal, "a report was not finished"))
}

/// Language and observer (TID 1204, TID 1002, TID 1004).
fn context(model: &ModelFacts) -> Vec<Data> {
    let language = Concept::dcm("121049", "Language of Content Item and Descendants");
    let english = Concept::new("en-US", "RFC5646", "English (United States)");
    let observer = |code: &str, meaning: &str, value: &str| {
        content::text(Relation::HasObservationContext, &Concept::dcm(code, meaning), value)
    };
    let device = uid(&[b"device", model.name.as_bytes(), model.version_in_paths().as_bytes()]);
    vec![
        content::code(Relation::HasConceptModifier, &language, &english, Vec::new()),
        content::code(
            Relation::HasObservationContext,
            &Concept::dcm("121005", "Observer Type"),
            &Concept::dcm("121007", "Device"),
            Vec::new(),
        ),
        content::uid_reference(
            Relation::HasObservationContext,
            &Concept::dcm("121012", "Device Observer UID"),
            &device,
        ),
        observer("121013", "Device Observer Name", MANUFACTURER),
        observer("121014", "Device Observer Manufacturer", MANUFACTURER),
        observer("121015", "Device Observer Model Name", &model.name),
        observer("121016", "Device Observer Serial Number", &model.version_in_paths()),
    ]
}

/// What a group is about (TID 1502 and the beginning of TID 1501 and 1411): `tracking` names it within the study, the same for
/// every result of this model.
pub(crate) struct Subject<'a> {
    pub tracking: &'a str,
    pub category: Concept,
    pub finding: Option<&'a Concept>,
    pub site: Option<Data>,
}

/// The beginning of a group: what it is about, and by which algorithm it was found (TID 4019).
pub(crate) fn group_head(
    subject: Subject<'_>,
    source: &SourceInstance,
    model: &ModelFacts,
    parameters: &[String],
) -> Vec<Data> {
    let tracking = source.tracking(&model.name, subject.tracking);
    let name = format!("{} {}", model.name, subject.tracking);
    let mut items = vec![
        content::text(Relation::HasObservationContext, &Concept::dcm("112039", "Tracking Identifier"), &name),
        content::uid_reference(
            Relation::HasObservationContext,
            &Concept::dcm("112040", "Tracking Unique Identifier"),
            &tracking,
        ),
        content::code(
            Relation::Contains,
            &Concept::sct("276214006", "Finding category"),
            &subject.category,
            Vec::new(),
        ),
    ];
    if let Some(finding) = subject.finding {
        items.push(content::code(
            Relation::Contains,
            &Concept::dcm("121071", "Finding"),
            finding,
            Vec::new(),
        ));
    }
    items.extend(subject.site);
    let by = |code: &str, meaning: &str, value: &str| {
        content::text(Relation::HasConceptModifier, &Concept::dcm(code, meaning), value)
    };
    items.push(by("111001", "Algorithm Name", &model.name));
    items.push(by("111003", "Algorithm Version", &model.version_in_paths()));
    items.push(by("122405", "Algorithm Manufacturer", MANUFACTURER));
    for parameter in parameters {
        items.push(by("111002", "Algorithm Parameters", parameter));
    }
    items.push(content::code(
        Relation::HasConceptModifier,
        &Concept::dcm("111000", "Algorithm Family"),
        &artificial_intelligence(),
        Vec::new(),
    ));
    items
}

pub(crate) fn artificial_intelligence() -> Concept {
    Concept::dcm("123110", "Artificial Intelligence")
}

/// Where something was found; `side` is a modifier of the place.
pub(crate) fn site(place: &Concept, side: Option<&Concept>) -> Data {
    let laterality = Concept::sct("272741003", "Laterality");
    let modifiers =
        side.map(|side| content::code(Relation::HasConceptModifier, &laterality, side, Vec::new()));
    let name = Concept::sct("363698007", "Finding Site");
    content::code(Relation::HasConceptModifier, &name, place, modifiers.into_iter().collect())
}

/// What of a model every group says.
pub(crate) fn parameters(model: &ModelFacts) -> Vec<String> {
    let mut said = vec![format!("weights sha256:{}", model.weights_sha256)];
    said.extend(model.manifest_sha256.as_ref().map(|digest| format!("manifest sha256:{digest}")));
    if let Some(ensemble) = &model.ensemble {
        said.push(format!("{} of {} networks", ensemble.combine, ensemble.members.len()));
        let members = ensemble.members.iter();
        said.extend(members.map(|of| format!("{} weights sha256:{}", of.name, of.weights_sha256)));
    }
    said.push(format!("preprocessing {}", model.preprocessing));
    said.push(NOTICE.to_owned());
    said
}

/// References of one study, by series.
fn in_study(study: &str, references: Vec<Reference>) -> Data {
    let mut by_series: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
    for reference in references {
        by_series.entry(reference.series.clone()).or_default().push(reference);
    }
    let series = by_series.into_iter().map(|(uid, mut images)| {
        images.sort_unstable();
        images.dedup();
        let mut series = Data::new();
        series.sequence(tags::REFERENCED_SOP_SEQUENCE, images.iter().map(Data::from).collect());
        series.text(tags::SERIES_INSTANCE_UID, VR::UI, &uid);
        series
    });
    let mut data = Data::new();
    data.sequence(tags::REFERENCED_SERIES_SEQUENCE, series.collect());
    data.text(tags::STUDY_INSTANCE_UID, VR::UI, study);
    data
}
