//! How DICOM results are written.

use nightread_archive::{ReportClass, SegForm};

use super::keys;
use super::raw::{Problems, RawSettings};

pub(super) fn report_class(raw: &RawSettings, problems: &mut Problems) -> ReportClass {
    match raw.text(keys::DICOM_REPORT_CLASS) {
        Some("comprehensive-3d") => ReportClass::Comprehensive3d,
        Some("comprehensive") => ReportClass::Comprehensive,
        _ => {
            problems.add("[dicom] report_class: comprehensive or comprehensive-3d is expected");
            ReportClass::default()
        }
    }
}

pub(super) fn segmentation_form(raw: &RawSettings, problems: &mut Problems) -> SegForm {
    match raw.text(keys::DICOM_SEGMENTATION) {
        Some("label-map") => SegForm::LabelMap,
        Some("binary") => SegForm::Binary,
        _ => {
            problems.add("[dicom] segmentation: binary or label-map is expected");
            SegForm::default()
        }
    }
}
