//! Why a study is not read, and doubts that travel with one that is.

use std::fmt;

use nightread_domain::error::JobError;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$about])* $variant,)* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name of the code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

codes! {
    /// Why a study is refused. All are permanent, but for [`CtCode::Unreadable`], whose cause knows.
    CtCode {
        /// The files are none that this reads, or an archive has none.
        NoDicom = "no_dicom",
        /// The archive is damaged, encrypted, or contradicts itself.
        ArchiveInvalid = "archive_invalid",
        /// More files, bytes or voxels than the limits allow.
        TooLarge = "too_large",
        /// Images of something else than CT.
        WrongModality = "wrong_modality",
        /// The numbers are not Hounsfield units.
        NoHounsfield = "no_hounsfield",
        /// A slice has no place, or the volume has none.
        NoPosition = "no_position",
        /// Less than nine in ten slices are one series of one size and orientation.
        MixedSeries = "mixed_series",
        /// Slices at one place that differ.
        SeveralVolumes = "several_volumes",
        /// A gap between slices.
        MissingSlices = "missing_slices",
        /// Steps between slices that differ too much.
        UnevenSlices = "uneven_slices",
        /// Slices that are not one behind the other.
        ShiftedSlices = "shifted_slices",
        TooFewSlices = "too_few_slices",
        /// One slice of a series, sent alone.
        PartOfSeries = "part_of_series",
        /// A NIfTI file with a time axis: a scan.
        FourDimensional = "four_dimensional",
        /// A file cannot be read; the cause says why.
        Unreadable = "unreadable",
    }
}

codes! {
    /// Doubts about a volume.
    CtWarningCode {
        /// The slices are sheared; the affine says how.
        GantryTilt = "gantry_tilt",
        /// Steps differed and were made even.
        UnevenSlices = "uneven_slices",
        /// A step of more than 6 mm.
        ThickSlices = "thick_slices",
        /// Slices were there twice.
        DuplicateSlices = "duplicate_slices",
        /// One of several volumes of the series was taken.
        SeveralVolumes = "several_volumes",
        /// The numbers may not be Hounsfield units: none is below zero.
        NotHounsfield = "not_hounsfield",
        /// InstanceNumbers are missing: slices at an end may be too.
        InstanceNumberHoles = "instance_number_holes",
        /// Missing slices were made from their neighbours.
        SlicesInterpolated = "slices_interpolated",
        /// Values above 32,767 HU were lowered to it.
        ValuesLowered = "values_lowered",
        /// Values that are not numbers became air.
        NotNumbers = "not_numbers",
        /// Files or images were left out.
        FilesSkipped = "files_skipped",
    }
}

/// Why a study is not read.
#[derive(Clone, Debug)]
pub struct CtError {
    pub code: CtCode,
    /// For people; names no patient.
    pub text: String,
    /// What a reader of files or the codec said, with its own code and class.
    pub cause: Option<JobError>,
}

impl CtError {
    pub(crate) fn new(code: CtCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), cause: None }
    }

    /// No file's fault.
    pub(crate) fn of_machine(cause: JobError) -> Self {
        Self { code: CtCode::Unreadable, text: cause.message.clone(), cause: Some(cause) }
    }

    /// Of a file called `name`.
    pub(crate) fn of_file(name: &str, mut cause: JobError) -> Self {
        cause.message = format!("{name}: {}", cause.message);
        Self { code: CtCode::Unreadable, text: cause.message.clone(), cause: Some(cause) }
    }
}

impl fmt::Display for CtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => write!(f, "{cause}"),
            None => write!(f, "{} ({})", self.text, self.code),
        }
    }
}

impl std::error::Error for CtError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// A doubt about a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtWarning {
    pub code: CtWarningCode,
    pub text: String,
}

impl CtWarning {
    pub(crate) fn new(code: CtWarningCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}
