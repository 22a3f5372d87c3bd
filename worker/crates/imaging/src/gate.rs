//! The input gate: may this picture be read at all, and which doubts travel with it. Judged from headers, before pixels.
//!
//! | finding | outcome |
//! |---|---|
//! | modality CR, DX, DR or RG | accepted |
//! | no modality, and no other kind of SOP class | warning `unverified_modality` |
//! | any other modality | `wrong_modality` |
//! | body part chest, thorax or lung | accepted |
//! | no body part | warning `unverified_body_part` |
//! | any other body part | `wrong_body_part` |
//! | view PA or AP, outside the model's training views | warning `view_pa`, `view_ap` |
//! | lateral, oblique, decubitus, lordotic or other named view | `wrong_view` |
//! | no view, or one this gate does not know | warning `unverified_view` |
//! | age outside the training range | warning `outside_training_age` |
//! | a side outside the training range | warning `outside_training_size` |
//! | more than the pixel limit, a side below the least | `too_many_pixels`, `too_small` |

use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::warning::{Warning, WarningCode};

use crate::decode::dicom::header::Header;
use crate::error::refuse;
use crate::options::DecodeLimits;
use crate::radiograph::{Facts, View};

/// What the model was trained on; from its manifest. It never refuses a picture, it only warns.
#[derive(Clone, Debug, PartialEq)]
pub struct GatePolicy {
    /// Views in the training data.
    pub accepted_views: Vec<View>,
    /// Youngest and oldest age in the training data, in years, both included.
    pub age_years: Option<(f32, f32)>,
    /// The shortest and longest side in the training data, in pixels, both included.
    pub side_px: Option<(u32, u32)>,
}

impl Default for GatePolicy {
    /// PA only: what the public PadChest models were trained on.
    fn default() -> Self {
        Self { accepted_views: vec![View::Pa], age_years: None, side_px: None }
    }
}

const COMPUTED_RADIOGRAPHY: &str = "1.2.840.10008.5.1.4.1.1.1";
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// The size rules, for every format.
pub(crate) fn judge_size(
    width: u32,
    height: u32,
    limits: &DecodeLimits,
    policy: &GatePolicy,
    warnings: &mut Vec<Warning>,
) -> Result<(), JobError> {
    if width == 0 || height == 0 {
        return Err(refuse(ErrorCode::HeaderInvalid, "the header claims a picture without pixels"));
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        return Err(refuse(
            ErrorCode::TooManyPixels,
            format!("the header claims {width} x {height} pixels; the limit is {} in all", limits.max_pixels),
        ));
    }
    if width.min(height) < limits.min_side {
        return Err(refuse(
            ErrorCode::TooSmall,
            format!(
                "the picture is {width} x {height} pixels; the shorter side must have {}",
                limits.min_side
            ),
        ));
    }
    if let Some((least, most)) = policy.side_px
        && (width.min(height) < least || width.max(height) > most)
    {
        warnings.push(Warning::new(
            WarningCode::OutsideTrainingSize,
            format!("the picture is {width} x {height} pixels; the model was trained on sides of {least} to {most}"),
        ));
    }
    Ok(())
}

/// The doubt every format without a medical header carries.
pub(crate) fn no_header(warnings: &mut Vec<Warning>) {
    warnings.push(Warning::new(
        WarningCode::UnverifiedView,
        "this format carries neither view nor body part; a frontal chest picture was assumed",
    ));
}

/// The rules for DICOM except size. Fills in the facts that were judged.
pub(crate) fn judge_dicom(
    header: &Header,
    policy: &GatePolicy,
    facts: &mut Facts,
    warnings: &mut Vec<Warning>,
) -> Result<(), JobError> {
    judge_modality(header, warnings)?;
    judge_body_part(header, warnings)?;
    facts.view = judge_view(header, warnings)?;
    if let Some(view) = facts.view
        && !policy.accepted_views.contains(&view)
    {
        let code = match view {
            View::Pa => WarningCode::ViewPa,
            View::Ap => WarningCode::ViewAp,
        };
        let trained: Vec<_> = policy.accepted_views.iter().map(|view| view.as_str()).collect();
        warnings.push(Warning::new(
            code,
            format!("this is a view {}; the model was trained on {} only", view.as_str(), trained.join(", ")),
        ));
    }
    if let (Some(age), Some((youngest, oldest))) = (header.age_years, policy.age_years)
        && !(youngest..=oldest).contains(&age)
    {
        warnings.push(Warning::new(
            WarningCode::OutsideTrainingAge,
            format!("the person's age is outside the {youngest} to {oldest} years the model was trained on"),
        ));
    }
    Ok(())
}

fn judge_modality(header: &Header, warnings: &mut Vec<Warning>) -> Result<(), JobError> {
    match header.modality.as_deref() {
        Some("CR" | "DX" | "DR" | "RG") => return Ok(()),
        Some(other) => {
            return Err(refuse(
                ErrorCode::WrongModality,
                format!("the modality is {other}; only radiographs (CR, DX, DR, RG) are read"),
            ));
        }
        None => {}
    }
    match header.sop_class.as_deref() {
        Some(uid) if is_radiograph_class(uid) => Ok(()),
        None | Some(SECONDARY_CAPTURE) => {
            warnings.push(Warning::new(
                WarningCode::UnverifiedModality,
                "the header names no modality; a radiograph was assumed",
            ));
            Ok(())
        }
        Some(_) => Err(refuse(
            ErrorCode::WrongModality,
            "the header names no modality and its SOP class is not that of a radiograph",
        )),
    }
}

/// Computed Radiography, and Digital X-Ray for presentation and for processing.
fn is_radiograph_class(uid: &str) -> bool {
    uid == COMPUTED_RADIOGRAPHY
        || uid == "1.2.840.10008.5.1.4.1.1.1.1"
        || uid == "1.2.840.10008.5.1.4.1.1.1.1.1"
}

fn judge_body_part(header: &Header, warnings: &mut Vec<Warning>) -> Result<(), JobError> {
    let named = match (header.body_part.as_deref(), header.region_meaning.as_deref()) {
        (Some(part), _) => Some((part, is_chest(part))),
        // A code meaning is prose ("Entire thorax"), so one word of it decides.
        (None, Some(region)) => {
            Some((region, words(region).any(|word| matches!(word, "CHEST" | "THORAX" | "LUNG" | "LUNGS"))))
        }
        (None, None) => None,
    };
    match named {
        None => {
            warnings.push(Warning::new(
                WarningCode::UnverifiedBodyPart,
                "the header names no body part; a chest was assumed",
            ));
            Ok(())
        }
        Some((_, true)) => Ok(()),
        Some((part, false)) => Err(refuse(
            ErrorCode::WrongBodyPart,
            format!("the body part is {part}; only chest pictures are read"),
        )),
    }
}

/// Chest in the DICOM vocabulary and in what devices write instead ("CHEST PA", "PORT CHEST", "TORAX").
fn is_chest(part: &str) -> bool {
    const NAMES: [&str; 9] =
        ["CHEST", "THORAX", "TORAX", "TORACE", "THORACIC CAGE", "LUNG", "LUNGS", "POITRINE", "CXR"];
    const COMPACT: [&str; 4] = ["CHESTPA", "CHESTAP", "PORTCHEST", "PORTABLECHEST"];
    let words: Vec<&str> = words(part).collect();
    // "CHEST ABDOMEN" is another examination: every further word must be a qualifier.
    let is_qualifier = |word: &str| {
        matches!(
            word,
            "PA" | "AP" | "FRONTAL" | "PORT" | "PORTABLE" | "BEDSIDE" | "UPRIGHT" | "ERECT" | "SUPINE"
        ) || word.len() == 1
            || word.bytes().all(|b| b.is_ascii_digit())
            || is_lateral(word)
    };
    let rest: Vec<&str> = words.iter().copied().filter(|word| !is_qualifier(word)).collect();
    NAMES.contains(&rest.join(" ").as_str()) || COMPACT.contains(&words.concat().as_str())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

fn is_lateral(word: &str) -> bool {
    matches!(word, "LL" | "RL" | "LAT" | "LATERAL" | "LLAT" | "RLAT" | "LATL" | "LATR")
}

/// ViewPosition first, then ViewCodeSequence, then what the orientation of rows and columns proves.
fn judge_view(header: &Header, warnings: &mut Vec<Warning>) -> Result<Option<View>, JobError> {
    let refuse_view = |name: &str| {
        Err(refuse(ErrorCode::WrongView, format!("the view is {name}; only frontal views (PA, AP) are read")))
    };
    if header.body_part.as_deref().is_some_and(|part| words(part).any(is_lateral)) {
        return refuse_view("lateral, says the body part");
    }
    for named in [header.view_position.as_deref(), header.view_meaning.as_deref()].into_iter().flatten() {
        match read_view(named) {
            Reading::Frontal(view) => {
                if orientation_is_lateral(header) {
                    return refuse_view("called frontal but its rows run from front to back: lateral");
                }
                return Ok(view);
            }
            Reading::Other => return refuse_view(named),
            Reading::Unknown => {}
        }
    }
    if orientation_is_lateral(header) {
        return refuse_view("lateral, as its rows run from front to back");
    }
    warnings.push(Warning::new(
        WarningCode::UnverifiedView,
        "the header names no view; a frontal one was assumed",
    ));
    Ok(None)
}

enum Reading {
    /// Frontal; `None` when the header says no more than that.
    Frontal(Option<View>),
    /// A named view that is not frontal.
    Other,
    Unknown,
}

fn read_view(text: &str) -> Reading {
    let words: Vec<&str> = words(text).collect();
    let has = |names: &[&str]| words.iter().any(|word| names.contains(word));
    // Order matters: "antero-posterior oblique" is oblique, "AP LORDOTIC" is lordotic.
    if words.iter().any(|word| is_lateral(word))
        || has(&[
            "LLO",
            "RLO",
            "LAO",
            "RAO",
            "LPO",
            "RPO",
            "OBL",
            "OBLIQUE",
            "LLD",
            "RLD",
            "DECUB",
            "DECUBITUS",
        ])
        || has(&["LORDOTIC", "APICAL", "AXIAL", "TANGENTIAL", "SAGITTAL", "TAN", "XTL"])
    {
        return Reading::Other;
    }
    let joined = words.concat();
    if joined.contains("POSTEROANTERIOR") || has(&["PA"]) {
        return Reading::Frontal(Some(View::Pa));
    }
    if joined.contains("ANTEROPOSTERIOR") || has(&["AP"]) {
        return Reading::Frontal(Some(View::Ap));
    }
    if has(&["FRONTAL"]) { Reading::Frontal(None) } else { Reading::Unknown }
}

/// Certain only when the rows run along the anterior-posterior axis alone and the columns along head-foot alone.
fn orientation_is_lateral(header: &Header) -> bool {
    let Some(orientation) = header.patient_orientation.as_deref() else { return false };
    matches!(orientation.split('\\').collect::<Vec<_>>()[..], ["A" | "P", "F" | "H"])
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
