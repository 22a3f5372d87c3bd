//! What a model does with a study. One word for it everywhere: manifests, routes, readings, documents.

use serde::{Deserialize, Serialize};

use crate::media::Media;

/// The tasks of models, each of which has its own way of reading and its own payload in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Labels of one chest radiograph.
    Radiograph,
    /// Labels of the component maps of one resting-state scan.
    Components,
}

impl Task {
    pub const ALL: [Self; 2] = [Self::Radiograph, Self::Components];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Radiograph => "radiograph",
            Self::Components => "components",
        }
    }

    /// One of the studies that are read, as a paper calls it.
    pub const fn in_papers(self) -> &'static str {
        match self {
            Self::Radiograph => "chest radiograph",
            Self::Components => "resting-state scan",
        }
    }

    /// One of the studies that are read.
    pub const fn study(self) -> &'static str {
        match self {
            Self::Radiograph => "a radiograph",
            Self::Components => "a scan",
        }
    }

    /// The studies that are read, in the plural.
    pub const fn studies(self) -> &'static str {
        match self {
            Self::Radiograph => "radiographs",
            Self::Components => "scans",
        }
    }

    /// Whether files of this format may be studies of this task.
    pub const fn reads(self, media: Media) -> bool {
        match self {
            Self::Radiograph => matches!(media, Media::Png | Media::Jpeg | Media::Tiff | Media::Dicom),
            Self::Components => matches!(media, Media::Nifti | Media::NiftiGz),
        }
    }

    /// The task that files of this format are for where nothing else is known.
    pub const fn that_reads(media: Media) -> Self {
        match media {
            Media::Png | Media::Jpeg | Media::Tiff | Media::Dicom => Self::Radiograph,
            Media::Nifti | Media::NiftiGz => Self::Components,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_read_by_the_task_it_is_for() {
        for media in Media::ALL {
            assert!(Task::that_reads(media).reads(media), "{media:?}");
        }
    }
}
