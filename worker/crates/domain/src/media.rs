//! What a study is: one blob or several, and what they are, judged from their bytes.

use serde::{Deserialize, Serialize};

/// Whether a study is one blob or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudyKind {
    Blob,
    /// Several blobs below one name.
    Series,
}

impl StudyKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Series => "series",
        }
    }
}

/// The container format of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Media {
    Png,
    Jpeg,
    Tiff,
    Dicom,
    /// Uncompressed NIfTI-1 or NIfTI-2.
    Nifti,
    /// NIfTI inside gzip.
    NiftiGz,
    /// A DICOM file that holds all slices of a CT volume: its SOP class is Enhanced CT, or was converted to it.
    DicomVolume,
    /// An archive of DICOM files.
    Zip,
    Tar,
    TarGz,
}

impl Media {
    pub const ALL: [Self; 10] = [
        Self::Png,
        Self::Jpeg,
        Self::Tiff,
        Self::Dicom,
        Self::Nifti,
        Self::NiftiGz,
        Self::DicomVolume,
        Self::Zip,
        Self::Tar,
        Self::TarGz,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Tiff => "tiff",
            Self::Dicom => "dicom",
            Self::Nifti => "nifti",
            Self::NiftiGz => "nifti_gz",
            Self::DicomVolume => "dicom_volume",
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::TarGz => "tar_gz",
        }
    }
}
