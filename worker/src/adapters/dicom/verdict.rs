//! What became of one object.

use nightread_domain::{ErrorCode, JobError};

use super::options::failed;

/// What became of one object.
#[derive(Clone, Debug)]
pub enum ObjectVerdict {
    /// The archive has it, and commits itself to it where it was asked to; with its own remark where it made one.
    Stored(Option<String>),
    Failed(JobError),
}

impl ObjectVerdict {
    pub const fn is_stored(&self) -> bool {
        matches!(self, Self::Stored(_))
    }

    /// Why it is not delivered, where it is not.
    pub const fn error(&self) -> Option<&JobError> {
        match self {
            Self::Stored(_) => None,
            Self::Failed(error) => Some(error),
        }
    }

    /// The archive's own words on what it stored.
    pub fn remark(&self) -> Option<&str> {
        match self {
            Self::Stored(remark) => remark.as_deref(),
            Self::Failed(_) => None,
        }
    }

    /// Of a C-STORE status (PS3.4, B.2.3; PS3.7, annex C).
    pub(super) fn of_status(status: u16) -> Self {
        let said = format!("the archive answered with status 0x{status:04X}");
        match status {
            0x0000 => Self::Stored(None),
            // Coercion, elements left out: stored all the same.
            0xB000..=0xBFFF => Self::Stored(Some(format!("stored with warning 0x{status:04X}"))),
            // Our UIDs are digests of what they name: what it knows is this very object.
            0x0111 => Self::Stored(Some("the archive had it already (0x0111)".to_owned())),
            0xA700..=0xA7FF => {
                Self::Failed(failed(ErrorCode::DeliveryNoRoom, format!("{said}: out of resources")))
            }
            0x0122 => Self::Failed(failed(
                ErrorCode::DeliveryUnsupported,
                format!("{said}: SOP class not supported"),
            )),
            0x0124 => Self::Failed(failed(ErrorCode::DeliveryForbidden, format!("{said}: not authorised"))),
            0xA900..=0xA9FF => {
                let text = format!("{said}: the data set does not match the SOP class");
                Self::Failed(failed(ErrorCode::DeliveryRefused, text))
            }
            0xC000..=0xCFFF => {
                Self::Failed(failed(ErrorCode::DeliveryRefused, format!("{said}: cannot understand")))
            }
            _ => Self::Failed(failed(ErrorCode::DeliveryRefused, said)),
        }
    }

    /// Of a failure reason in the answer to a STOW request (PS3.3, C.14.1.1): they are those of C-STORE.
    pub(super) fn of_reason(reason: Option<u16>, http: u16) -> Self {
        match reason {
            Some(0) | None => {
                let text = format!(
                    "the archive named the object among those that failed, without a reason (HTTP {http})"
                );
                Self::Failed(failed(ErrorCode::DeliveryRefused, text))
            }
            Some(0x0110) => {
                let text = format!(
                    "the archive answered with failure reason 272 (processing failure, HTTP {http}); most often it knows \
                     the study or the patient otherwise"
                );
                Self::Failed(failed(ErrorCode::DeliveryRefused, text))
            }
            Some(reason) => match Self::of_status(reason) {
                Self::Failed(error) => {
                    let text = format!("{} (failure reason {reason}, HTTP {http})", error.message);
                    Self::Failed(failed(error.code, text))
                }
                stored @ Self::Stored(_) => stored,
            },
        }
    }
}
