//! What differs between tasks where DICOM objects are made of their results. A further task is a row here, and a file that makes its
//! objects.

use nightread_archive::Object;
use nightread_domain::{JobError, Task};

use super::ingredients::Ingredients;
use super::{radiograph, volume};
use crate::settings::Limits;

/// Makes the objects of a result; see [`super::objects::objects`].
type Make = fn(&Ingredients<'_>) -> Result<Vec<Object>, JobError>;

/// How objects are made of a task's results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfTask {
    /// `None` where there are none.
    pub make: Option<Make>,
    /// The most bytes that a study has.
    pub most_bytes: fn(&Limits) -> u64,
    /// Whether making them decodes pixels that may be compressed.
    pub needs_codec: bool,
}

/// The one place that asks which task it is.
pub(crate) fn of_task(task: Task) -> OfTask {
    match task {
        Task::Radiograph => {
            OfTask { make: Some(radiograph::objects), most_bytes: of_an_image, needs_codec: false }
        }
        Task::Segmentation => {
            OfTask { make: Some(volume::objects), most_bytes: of_a_volume, needs_codec: true }
        }
        Task::Components => OfTask { make: None, most_bytes: of_a_volume, needs_codec: false },
    }
}

fn of_an_image(limits: &Limits) -> u64 {
    limits.image_bytes
}

fn of_a_volume(limits: &Limits) -> u64 {
    limits.blob_bytes
}
