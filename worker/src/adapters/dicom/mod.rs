//! Sends objects to an archive: by STOW-RS over HTTP, or by C-STORE over an association. Each object has a verdict of its own,
//! whatever an answer says as a whole.

mod association;
mod command;
mod options;
mod stow;
mod stow_answer;
#[cfg(test)]
mod tests;
mod verdict;

use nightread_archive::Object;
use nightread_domain::JobError;

pub use self::association::Association;
pub use self::options::ArchiveOptions;
pub use self::stow::Web;
pub use self::verdict::Verdict;

use self::options::wrong_address;

/// An archive.
#[derive(Debug)]
pub enum Archive {
    Web(Web),
    Association(Association),
}

impl Archive {
    /// Contacts nobody yet.
    ///
    /// # Errors
    /// `settings_invalid` for an address that is none of the three.
    pub fn new(options: ArchiveOptions) -> Result<Self, JobError> {
        let address = options.address.clone();
        match address.split_once("://") {
            Some(("http" | "https", rest)) if !rest.is_empty() => Ok(Self::Web(Web::new(options)?)),
            Some(("dicom", peer)) => Ok(Self::Association(Association::new(peer, false, options)?)),
            Some(("dicom+tls", peer)) => Ok(Self::Association(Association::new(peer, true, options)?)),
            _ => Err(wrong_address()),
        }
    }

    /// Sends the objects of one study, in their order. One verdict each.
    pub async fn send(&self, objects: &[Object]) -> Vec<Verdict> {
        match self {
            Self::Web(web) => web.send(objects).await,
            Self::Association(association) => association.send(objects).await,
        }
    }

    /// Asks the archive something that changes nothing, and says what is known of it then.
    ///
    /// # Errors
    /// `delivery_unavailable`, `delivery_timeout`, `delivery_forbidden`, `delivery_unsupported`.
    pub async fn answers(&self) -> Result<String, JobError> {
        match self {
            Self::Web(web) => web.answers().await,
            Self::Association(association) => association.answers().await,
        }
    }
}
