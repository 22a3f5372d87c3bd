//! The report on a CT series: one group an organ (TID 1411), with volume and attenuation, tied to its segment where there is
//! one. The one place that turns organs into content items.

use crate::concept::{Concept, Laterality, PRIVATE_SCHEME};
use crate::content::{self, Relation};
use crate::error::{ArchiveError, Fault};
use crate::findings::{measurement_group, source_of_measurement};
use crate::object::{Frame, Object};
use crate::report::{
    Predecessor, ReportClass, StructuredReport, Subject, group_head, parameters, report, site,
};
use crate::seg::Segmentation;
use crate::source::Reference;

/// One organ that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Organ {
    /// As the model calls it; unique in a result, and that of its segment.
    pub name: String,
    /// Of the kind of organ, without its side; a private one where there is none.
    pub code: Option<Concept>,
    pub laterality: Option<Laterality>,
    /// In millilitres.
    pub volume_ml: f64,
    /// Mean and standard deviation in Hounsfield units; absent where the values are none.
    pub mean_hu: Option<f64>,
    pub sd_hu: Option<f64>,
}

/// What a report on organs is made of beside its frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub organs: &'a [Organ],
    /// Organs that the model knows and did not find.
    pub missing: &'a [String],
    pub segmentation: Option<&'a Segmentation>,
    /// The slices that were read.
    pub slices: &'a [Reference],
}

/// # Errors
/// `NoResult` where nothing was found and nothing was looked for; `Contradiction` where a measurement is no number, or an organ has
/// no segment.
pub(crate) fn of_ct(
    frame: Frame<'_>,
    found: Found<'_>,
    class: ReportClass,
    predecessor: Option<&Predecessor>,
) -> Result<Object, ArchiveError> {
    if found.organs.is_empty() && found.missing.is_empty() {
        return Err(ArchiveError::new(Fault::NoResult, "the document has no organs to report"));
    }
    let mut said = parameters(&frame.document.model);
    if !found.missing.is_empty() {
        said.push(format!("not found: {}", found.missing.join(", ")));
    }
    let mut groups = Vec::with_capacity(found.organs.len());
    for organ in found.organs {
        groups.push(group(organ, frame, found, &said)?);
    }
    if groups.is_empty() {
        groups.push(nothing(frame, &said));
    }
    // CID 100, LOINC: says the modality and claims no region.
    let procedure = Concept::new("25045-6", "LN", "CT unspecified body region");
    let mut evidence = found.slices.to_vec();
    if let Some(made) = found.segmentation {
        evidence.push(made.reference());
    }
    report(StructuredReport { class, procedure, groups, evidence, predecessor }, frame)
}

fn group(
    organ: &Organ,
    frame: Frame<'_>,
    found: Found<'_>,
    said: &[String],
) -> Result<crate::data::Data, ArchiveError> {
    let code = organ.code.clone().unwrap_or_else(|| Concept::private(&organ.name));
    let side = organ.laterality.map(Laterality::concept);
    let subject = Subject {
        tracking: &organ.name,
        category: Concept::sct("123037004", "Anatomical Structure"),
        finding: Some(&code),
        site: Some(site(&code, side.as_ref())),
    };
    let mut items = group_head(subject, frame.source, &frame.document.model, said);
    if let Some(made) = found.segmentation {
        let Some(number) = made.number_of(&organ.name) else {
            let text = format!("the organ {:?} has a volume and no segment", organ.name);
            return Err(ArchiveError::new(Fault::Contradiction, text));
        };
        let name = Concept::dcm("121191", "Referenced Segment");
        items.push(content::image(&name, &made.reference(), Some(number)));
    }
    let series = Concept::dcm("121232", "SourceInstance series for segmentation");
    items.push(content::uid_reference(Relation::Contains, &series, &frame.source.image.series));
    let millilitre = Concept::new("mL", "UCUM", "milliliter");
    items.push(content::number(
        &Concept::sct("118565006", "Volume"),
        organ.volume_ml,
        &millilitre,
        Vec::new(),
    )?);
    let attenuation = Concept::dcm("112031", "Attenuation Coefficient");
    let unit = Concept::new("[hnsf'U]", "UCUM", "Hounsfield unit");
    for (value, how) in [
        (organ.mean_hu, Concept::sct("373098007", "Mean")),
        (organ.sd_hu, Concept::sct("386136009", "Standard Deviation")),
    ] {
        let Some(value) = value else { continue };
        let derivation = Concept::dcm("121401", "Derivation");
        let derived = content::code(Relation::HasConceptModifier, &derivation, &how, Vec::new());
        items.push(content::number(&attenuation, value, &unit, vec![derived])?);
    }
    Ok(measurement_group("1411", items))
}

/// That the model ran and found none of its organs.
fn nothing(frame: Frame<'_>, said: &[String]) -> crate::data::Data {
    let subject = Subject {
        tracking: "assessment",
        category: Concept::sct("123037004", "Anatomical Structure"),
        finding: None,
        site: None,
    };
    let mut items = group_head(subject, frame.source, &frame.document.model, said);
    let name = Concept::new("assessment", PRIVATE_SCHEME, "Assessment of the model");
    let value = Concept::new("none-found", PRIVATE_SCHEME, "No organ of the model was found");
    items.push(content::code(Relation::Contains, &name, &value, Vec::new()));
    items.push(source_of_measurement(frame.source));
    measurement_group("1501", items)
}
