//! The input gate: may this image be read at all, and which doubts travel with it. Judged from headers, before pixels.
//!
//! | finding | outcome |
//! |---|---|
//! | modality CR, DX, DR or RG | accepted |
//! | no modality, and no other kind of SOP class | warning `unverified_modality` |
//! | any other modality | `wrong_modality` |
//! | body part chest, thorax or lung, in any language of `words`, or by code | accepted |
//! | no body part, or one like UNKNOWN or OTHER | warning `unverified_body_part` |
//! | any other body part, or another beside the chest | `wrong_body_part` |
//! | view PA or AP, outside the model's training views | warning `view_pa`, `view_ap` |
//! | lateral, oblique, decubitus, lordotic or other named view: by ViewPosition, code value, code meaning, modifier, body part or PatientOrientation, whatever the others say | `wrong_view` |
//! | no view, or one this gate does not know | warning `unverified_view` |
//! | age outside the training range | warning `outside_training_age` |
//! | a side outside the training range | warning `outside_training_size` |
//! | shown as a negative, raw, turned or padded with white, says the header | warnings of `appearance` |
//! | several frames, colour, a photometric interpretation other than MONOCHROME1 and 2 | `multi_frame`, `colour_image`, `unsupported_photometric` |
//! | more than the pixel limit, a side below the least | `too_many_pixels`, `too_small` |

use nightread_dicom::Header;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::warning::{Warning, WarningCode};

use crate::error::refuse;
use crate::limits::DecodeLimits;
use crate::radiograph::{Facts, Radiograph, View};

mod appearance;
mod codes;
mod words;

/// What the model was trained on; from its manifest. It never refuses an image, it only warns.
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

impl GatePolicy {
    /// The warnings of an image that was decoded under any policy, as this one has them: what other policies doubted is left
    /// out, and what this one doubts comes last where it was not there before.
    pub fn warnings(&self, image: &Radiograph) -> Vec<Warning> {
        let own = self.doubts(image);
        let is_of_a_policy = |warning: &Warning| POLICY.iter().any(|code| warning.code == code.as_str());
        let mut warnings: Vec<Warning> = image
            .warnings()
            .iter()
            .filter(|warning| !is_of_a_policy(warning) || own.contains(warning))
            .cloned()
            .collect();
        warnings.extend(own.into_iter().filter(|doubt| !image.warnings().contains(doubt)));
        warnings
    }

    fn doubts(&self, image: &Radiograph) -> Vec<Warning> {
        let facts = image.facts();
        let view = facts.view.and_then(|view| self.view(view));
        let age = facts.age_years.and_then(|age| self.age(age));
        [view, age, self.size(image.width(), image.height())].into_iter().flatten().collect()
    }

    fn view(&self, view: View) -> Option<Warning> {
        let code = match view {
            View::Pa => WarningCode::ViewPa,
            View::Ap => WarningCode::ViewAp,
        };
        let trained: Vec<_> = self.accepted_views.iter().map(|view| view.as_str()).collect();
        let text =
            format!("this is a view {}; the model was trained on {} only", view.as_str(), trained.join(", "));
        (!self.accepted_views.contains(&view)).then(|| Warning::new(code, text))
    }

    fn age(&self, age: f32) -> Option<Warning> {
        let (youngest, oldest) = self.age_years?;
        let text =
            format!("the person's age is outside the {youngest} to {oldest} years the model was trained on");
        (!(youngest..=oldest).contains(&age)).then(|| Warning::new(WarningCode::OutsideTrainingAge, text))
    }

    fn size(&self, width: u32, height: u32) -> Option<Warning> {
        let (least, most) = self.side_px?;
        let text = format!(
            "the image is {width} x {height} pixels; the model was trained on sides of {least} to {most}"
        );
        let is_outside = width.min(height) < least || width.max(height) > most;
        is_outside.then(|| Warning::new(WarningCode::OutsideTrainingSize, text))
    }
}

/// What a policy may doubt.
const POLICY: [WarningCode; 4] = [
    WarningCode::ViewPa,
    WarningCode::ViewAp,
    WarningCode::OutsideTrainingAge,
    WarningCode::OutsideTrainingSize,
];

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
        return Err(refuse(ErrorCode::HeaderInvalid, "the header claims an image without pixels"));
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
            format!("the image is {width} x {height} pixels; the shorter side must have {}", limits.min_side),
        ));
    }
    warnings.extend(policy.size(width, height));
    Ok(())
}

/// The doubt every format without a medical header carries.
pub(crate) fn no_header(warnings: &mut Vec<Warning>) {
    warnings.push(Warning::new(
        WarningCode::UnverifiedView,
        "this format carries neither view nor body part; a frontal chest image was assumed",
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
    appearance::judge(header, warnings);
    warnings.extend(facts.view.and_then(|view| policy.view(view)));
    warnings.extend(header.age_years.and_then(|age| policy.age(age)));
    Ok(())
}

/// What pixels a header may promise: one grey frame. Gives whether it is stored as a negative (`MONOCHROME1`).
pub(crate) fn judge_pixels(header: &Header) -> Result<bool, JobError> {
    if let Some(frames) = header.frames.filter(|&frames| frames > 1) {
        return Err(refuse(
            ErrorCode::MultiFrame,
            format!("the file holds {frames} frames; one image was expected"),
        ));
    }
    if header.samples_per_pixel.is_some_and(|samples| samples != 1) {
        return Err(refuse(ErrorCode::ColourImage, "the image is in colour; radiographs are grey"));
    }
    match header.photometric.as_deref() {
        Some("MONOCHROME1") => Ok(true),
        Some("MONOCHROME2") => Ok(false),
        other => Err(refuse(
            ErrorCode::UnsupportedPhotometric,
            format!(
                "the photometric interpretation is {}; MONOCHROME1 and MONOCHROME2 are read",
                other.unwrap_or("missing")
            ),
        )),
    }
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

/// As much of a code string as is legal: what was typed into the wrong field does not travel further.
pub(crate) fn shown(code: &str) -> String {
    code.chars().take(16).collect()
}

/// BodyPartExamined first; where it says nothing, AnatomicRegionSequence.
fn judge_body_part(header: &Header, warnings: &mut Vec<Warning>) -> Result<(), JobError> {
    let mut known = false;
    if let Some(part) = header.body_part.as_deref() {
        for part in part.split('\\').filter(|part| !words::is_unknown(part)) {
            // Of several values each must be a chest: "CHEST\ABDOMEN" is another examination.
            if !words::is_chest(part) {
                return Err(refuse_part(part));
            }
            known = true;
        }
    }
    if known {
        return Ok(());
    }
    for region in &header.regions {
        match (region.value.as_deref().and_then(codes::is_chest), region.meaning.as_deref()) {
            (Some(true), _) => known = true,
            (Some(false), meaning) => {
                return Err(refuse_part(meaning.unwrap_or("not a chest, says its code")));
            }
            (None, None) => {}
            (None, Some(meaning)) if words::is_unknown(meaning) => {}
            (None, Some(meaning)) if words::means_chest(meaning) => known = true,
            (None, Some(meaning)) => return Err(refuse_part(meaning)),
        }
    }
    if !known {
        warnings.push(Warning::new(
            WarningCode::UnverifiedBodyPart,
            "the header names no body part; a chest was assumed",
        ));
    }
    Ok(())
}

fn refuse_part(part: &str) -> JobError {
    let text = format!("the body part is {}; only chest images are read", shown(part));
    refuse(ErrorCode::WrongBodyPart, text)
}

/// Everything that tells a view is heard: what any of it denies is no frontal view, and the first that names one names it.
fn judge_view(header: &Header, warnings: &mut Vec<Warning>) -> Result<Option<View>, JobError> {
    if let Some(part) = header.body_part.as_deref()
        && matches!(read_view(part), Reading::Other)
        // "CHEST PA AND LAT" is the name of an examination of two images.
        && !words::words(part).iter().any(|word| words::is_frontal(word))
    {
        return refuse_view(&format!("not frontal, says the body part {}", shown(part)));
    }
    let mut named = None;
    let position = header.view_position.as_deref().map(|position| (read_view(position), shown(position)));
    let codes = header.views.iter().flat_map(|code| {
        let value = code
            .value
            .as_deref()
            .and_then(|value| Some((codes::view(value)?, codes::meaning(value).unwrap_or(value).to_owned())));
        value
            .into_iter()
            .chain(code.meaning.as_deref().map(|meaning| (read_view(meaning), meaning.to_owned())))
    });
    for (reading, name) in position.into_iter().chain(codes) {
        match reading {
            Reading::Other => return refuse_view(&name),
            Reading::Frontal(view) => named = named.or(Some(view)),
            Reading::Unknown => {}
        }
    }
    for modifier in &header.view_modifiers {
        if let Some(meaning) = modifier.value.as_deref().and_then(codes::meaning) {
            return refuse_view(&format!("modified: {meaning}"));
        }
        if let Some(meaning) = modifier.meaning.as_deref()
            && matches!(read_view(meaning), Reading::Other)
        {
            return refuse_view(&format!("modified: {meaning}"));
        }
    }
    if orientation_is_lateral(header) {
        return refuse_view(if named.is_some() {
            "called frontal but its rows or columns run from front to back: lateral"
        } else {
            "lateral, as its rows or columns run from front to back"
        });
    }
    if named.is_none() {
        warnings.push(Warning::new(
            WarningCode::UnverifiedView,
            "the header names no view that is known here; a frontal one was assumed",
        ));
    }
    Ok(named.flatten())
}

fn refuse_view<T>(name: &str) -> Result<T, JobError> {
    Err(refuse(ErrorCode::WrongView, format!("the view is {name}; only frontal views (PA, AP) are read")))
}

/// What one part of a header says of the view.
enum Reading {
    /// Frontal; `None` when the header says no more than that.
    Frontal(Option<View>),
    /// A named view that is not frontal.
    Other,
    Unknown,
}

fn read_view(text: &str) -> Reading {
    let words = words::words(text);
    // Order matters: "antero-posterior oblique" is oblique, "AP LORDOTIC" is lordotic.
    if words::are_other_view(&words) {
        return Reading::Other;
    }
    let joined = words.concat();
    if joined.contains("POSTEROANTERI")
        || joined == "PA"
        || words::has(&words, &["PA", "后前位", "後前", "後前位"])
    {
        return Reading::Frontal(Some(View::Pa));
    }
    if joined.contains("ANTEROPOSTERI")
        || joined == "AP"
        || words::has(&words, &["AP", "前后位", "前後", "前後位"])
    {
        return Reading::Frontal(Some(View::Ap));
    }
    if words.iter().any(|word| words::is_frontal(word)) { Reading::Frontal(None) } else { Reading::Unknown }
}

/// Whether one axis runs mainly from front to back or back to front, and the other between head and feet. The first letter
/// of each is its main direction.
fn orientation_is_lateral(header: &Header) -> bool {
    let Some(orientation) = header.patient_orientation.as_deref() else { return false };
    let axes: Vec<Option<char>> = orientation.split('\\').map(|axis| axis.trim().chars().next()).collect();
    matches!(axes[..], [Some('A' | 'P'), Some('F' | 'H')] | [Some('F' | 'H'), Some('A' | 'P')])
}

#[cfg(test)]
mod tests;
