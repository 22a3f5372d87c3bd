//! What the crates of volumes refuse and doubt, by the codes of documents.

use nightread_ct::{CtCode, CtError, CtWarning, CtWarningCode};
use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};
use nightread_segmentation::grid::PrepareError;
use nightread_segmentation::labels::LabelError;
use nightread_segmentation::window::WindowError;

pub(super) fn internal(text: &str) -> JobError {
    JobError::new(Stage::Decode, ErrorCode::Internal, text)
}

/// Why files are no volume. What a decoder said keeps its own code.
pub(crate) fn refused(error: CtError) -> JobError {
    let code = match error.code {
        CtCode::NoDicom => ErrorCode::NotAnImage,
        CtCode::ArchiveInvalid => ErrorCode::ArchiveInvalid,
        CtCode::TooLarge => ErrorCode::TooManyVoxels,
        CtCode::WrongModality | CtCode::FourDimensional => ErrorCode::WrongModality,
        CtCode::NoHounsfield => ErrorCode::NoHounsfield,
        CtCode::NoPosition => ErrorCode::NoPosition,
        CtCode::MixedSeries => ErrorCode::MixedSeries,
        CtCode::SeveralVolumes => ErrorCode::SeveralVolumes,
        CtCode::MissingSlices => ErrorCode::MissingSlices,
        CtCode::UnevenSlices => ErrorCode::UnevenSlices,
        CtCode::ShiftedSlices => ErrorCode::ShiftedSlices,
        CtCode::TooFewSlices => ErrorCode::TooFewSlices,
        CtCode::PartOfSeries => ErrorCode::PartOfSeries,
        CtCode::Unreadable => {
            let text = error.text.clone();
            return error.cause.unwrap_or_else(|| internal(&text));
        }
    };
    JobError::new(Stage::Decode, code, error.text)
}

pub(super) fn warning(doubt: &CtWarning) -> Warning {
    let code = match doubt.code {
        CtWarningCode::GantryTilt => WarningCode::GantryTilt,
        CtWarningCode::UnevenSlices => WarningCode::UnevenSlices,
        CtWarningCode::ThickSlices => WarningCode::ThickSlices,
        CtWarningCode::DuplicateSlices => WarningCode::DuplicateSlices,
        CtWarningCode::SeveralVolumes => WarningCode::SeveralVolumes,
        CtWarningCode::NotHounsfield => WarningCode::NotHounsfield,
        CtWarningCode::InstanceNumberHoles => WarningCode::InstanceNumberHoles,
        CtWarningCode::SlicesInterpolated => WarningCode::SlicesInterpolated,
        CtWarningCode::ValuesLowered => WarningCode::ValuesLowered,
        CtWarningCode::NotNumbers => WarningCode::NotNumbers,
        CtWarningCode::FilesSkipped => WarningCode::FilesSkipped,
    };
    Warning::new(code, doubt.text.clone())
}

/// Why a volume does not come onto the network's grid: by its header.
pub(super) fn unprepared(error: PrepareError) -> JobError {
    JobError::new(Stage::Preprocess, ErrorCode::VolumeHeaderInvalid, error.to_string()).with_source(error)
}

pub(super) fn unplanned(error: WindowError) -> JobError {
    JobError::new(Stage::Preprocess, ErrorCode::Internal, "patches cannot be placed").with_source(error)
}

/// NaN of a network is told as such; the rest are faults of this program.
pub(super) fn unlabelled(error: LabelError) -> JobError {
    let code = match &error {
        LabelError::NotFinite { .. } => ErrorCode::ScoresNotFinite,
        _ => ErrorCode::Internal,
    };
    JobError::new(Stage::Infer, code, error.to_string()).with_source(error)
}
