//! Secondary captures: what people see in any viewer. Each has the notice in the picture, and says that there is text in it.

use std::io::Cursor;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use nightread_domain::ResultDocument;
use nightread_domain::result::{Measurement, NOTICE};
use png::{BitDepth, ColorType, Decoder, Limits};

use crate::data::Data;
use crate::error::{ArchiveError, Fault};
use crate::object::{Draft, Frame, Kind, Object, PLAIN, finish};
use crate::organs::Organ;
use crate::page;
use crate::scale::{Scale, Score};

/// A panel is some hundred pixels wide; one that needs more memory is none of ours.
const MOST_BYTES: usize = 64 << 20;

/// A stored heatmap: the panel with the image, what speaks for the finding, and the notice.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// The label that it is about.
    pub label: &'a str,
    /// 8-bit RGB.
    pub png: &'a [u8],
}

/// Panels as captures, in their order; without any a page that lists the findings.
///
/// # Errors
/// `ArtefactChanged` where a panel is no picture of ours.
pub(crate) fn of_radiograph(
    frame: Frame<'_>,
    panels: &[Panel<'_>],
    scales: &[Scale],
) -> Result<Vec<Object>, ArchiveError> {
    if panels.is_empty() {
        let page = drawn(&findings_page(frame.document, scales), "AI findings");
        return finish(vec![draft(page, frame, "AI findings (not for diagnosis)")], frame);
    }
    let drafts = panels.iter().map(|panel| {
        let what = format!("heatmap of {}", panel.label);
        let derived = format!("Heatmap of {} beside the image as the model saw it. {NOTICE}", panel.label);
        let image = picture(panel.png, &what, &derived)?;
        Ok(draft(image, frame, "AI heatmaps (not for diagnosis)"))
    });
    finish(drafts.collect::<Result<_, ArchiveError>>()?, frame)
}

/// A page with the organs of a CT series, and the stored preview where there is one.
///
/// # Errors
/// `ArtefactChanged` where the preview is no picture of ours.
pub(crate) fn of_ct(
    frame: Frame<'_>,
    organs: &[Organ],
    missing: &[String],
    preview: Option<&[u8]>,
) -> Result<Vec<Object>, ArchiveError> {
    const DESCRIPTION: &str = "AI organs as pictures (not for diagnosis)";
    let page = drawn(&organs_page(frame.document, organs, missing), "AI organs");
    let mut drafts = vec![draft(page, frame, DESCRIPTION)];
    if let Some(png) = preview {
        let derived = format!("Three planes of the series with the outlines of its organs. {NOTICE}");
        drafts.push(draft(picture(png, "preview", &derived)?, frame, DESCRIPTION));
    }
    finish(drafts, frame)
}

fn draft(image: Data, frame: Frame<'_>, description: &'static str) -> Draft {
    let mut data = image;
    data.values(tags::IMAGE_TYPE, VR::CS, &["DERIVED".to_owned(), "SECONDARY".to_owned()]);
    // Workstation (PS3.3, C.8.6.1): made by a program, of images.
    data.text(tags::CONVERSION_TYPE, VR::CS, "WSD");
    data.text(tags::BURNED_IN_ANNOTATION, VR::CS, "YES");
    // A composition has no direction.
    data.empty(tags::PATIENT_ORIENTATION, VR::CS);
    data.empty(tags::LATERALITY, VR::CS);
    data.sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![Data::from(&frame.source.image)]);
    data.short(tags::BITS_ALLOCATED, 8);
    data.short(tags::BITS_STORED, 8);
    data.short(tags::HIGH_BIT, 7);
    data.short(tags::PIXEL_REPRESENTATION, 0);
    Draft {
        kind: Kind::Capture,
        sop_class: uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
        transfer_syntax: PLAIN,
        modality: "OT",
        series_number: 9002,
        description,
        data,
    }
}

/// A stored picture; `derived` tells in the object how it came to be.
fn picture(png: &[u8], stored: &str, derived: &str) -> Result<Data, ArchiveError> {
    let fault = |what: &str| ArchiveError::new(Fault::ArtefactChanged, format!("the stored {stored} {what}"));
    let decoder = Decoder::new_with_limits(Cursor::new(png), Limits { bytes: MOST_BYTES });
    let mut reader = decoder.read_info().map_err(|_| fault("is no PNG"))?;
    if reader.info().color_type != ColorType::Rgb || reader.info().bit_depth != BitDepth::Eight {
        return Err(fault("is not in 8-bit RGB"));
    }
    let size = reader.output_buffer_size().filter(|size| *size <= MOST_BYTES);
    let mut pixels = vec![0; size.ok_or_else(|| fault("is too large"))?];
    let info = reader.next_frame(&mut pixels).map_err(|_| fault("cannot be decoded"))?;
    let (Ok(width), Ok(height)) = (u16::try_from(info.width), u16::try_from(info.height)) else {
        return Err(fault("has more pixels than an image has room for"));
    };
    let mut data = Data::new();
    data.short(tags::SAMPLES_PER_PIXEL, 3);
    data.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
    data.short(tags::PLANAR_CONFIGURATION, 0);
    data.short(tags::ROWS, height);
    data.short(tags::COLUMNS, width);
    data.text(tags::DERIVATION_DESCRIPTION, VR::ST, derived);
    data.bytes(tags::PIXEL_DATA, pixels);
    Ok(data)
}

fn drawn(lines: &[String], what: &str) -> Data {
    let page = page::draw(lines);
    let mut data = Data::new();
    data.short(tags::SAMPLES_PER_PIXEL, 1);
    data.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    data.short(tags::ROWS, page.height);
    data.short(tags::COLUMNS, page.width);
    data.text(tags::DERIVATION_DESCRIPTION, VR::ST, &format!("{what} as text. {NOTICE}"));
    data.bytes(tags::PIXEL_DATA, page.pixels);
    data
}

fn head(document: &ResultDocument, title: &str) -> Vec<String> {
    let model = &document.model;
    vec![
        title.to_owned(),
        format!("{} {}", model.name, model.version_in_paths()),
        NOTICE.to_owned(),
        String::new(),
    ]
}

fn findings_page(document: &ResultDocument, scales: &[Scale]) -> Vec<String> {
    let mut lines = head(document, "AI RESULTS: FINDINGS");
    let (positive, negative): (Vec<_>, Vec<_>) =
        document.findings().iter().partition(|finding| finding.positive);
    let words = Score::of(&document.model).words;
    for finding in &positive {
        let (label, probability, threshold) = (&finding.label, finding.probability, finding.threshold);
        let what = Scale::of(label, scales).map_or_else(
            || "positive".to_owned(),
            |scale| match scale.told(document.findings(), document.measurements()) {
                Some(told) if told.label == *label => format!("({})", scale.concept().meaning),
                Some(told) => format!("({}, which is {})", scale.concept().meaning, told.label),
                None => format!("({}, of which none is told)", scale.concept().meaning),
            },
        );
        lines.push(format!("{label:<32} {what}  {words} {probability:.3}  threshold {threshold:.3}"));
    }
    if positive.is_empty() {
        lines.push("No label reached its threshold. That is no proof of absence.".to_owned());
    }
    lines.push(String::new());
    let assessed: Vec<&str> = negative.iter().map(|finding| finding.label.as_str()).collect();
    if !assessed.is_empty() {
        lines.push(format!("Below threshold: {}", assessed.join(", ")));
    }
    for Measurement { label, value, unit } in document.measurements() {
        lines.push(format!("{label:<32} {value:.2} {unit}"));
    }
    lines
}

fn organs_page(document: &ResultDocument, organs: &[Organ], missing: &[String]) -> Vec<String> {
    let mut lines = head(document, "AI RESULTS: ORGANS");
    lines.push(format!("{:<40} {:>12} {:>12} {:>10}", "organ", "volume mL", "mean HU", "SD HU"));
    for organ in organs {
        let hounsfield =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let (mean, sd) = (hounsfield(organ.mean_hu), hounsfield(organ.sd_hu));
        lines.push(format!("{:<40} {:>12.1} {mean:>12} {sd:>10}", organ.name, organ.volume_ml));
    }
    if !missing.is_empty() {
        lines.push(String::new());
        lines.push(format!("Not found in this series: {}", missing.join(", ")));
    }
    lines
}
