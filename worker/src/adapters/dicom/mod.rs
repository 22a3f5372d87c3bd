//! Sends objects to an archive: by STOW-RS over HTTP, or by C-STORE over an association, after which it
//! may be asked to commit itself to them. Each object has a verdict of its own,
//! whatever an answer says as a whole.

mod association;
mod command;
mod commitment;
mod line;
mod listener;
mod options;
mod peer;
mod reports;
mod stow;
mod stow_answer;
#[cfg(test)]
mod tests;
mod verdict;

use nightread_archive::Object;
use nightread_domain::JobError;

pub use self::association::Association;
pub use self::commitment::Commitment;
pub use self::listener::ReportListener;
pub use self::options::{ArchiveOptions, CommitmentOptions};
pub use self::reports::Reports;
pub use self::stow::Web;
pub use self::verdict::ObjectVerdict;

use self::options::wrong_address;

/// An archive.
#[derive(Debug)]
pub enum Archive {
    Web(Web),
    Association(Association),
}

/// What became of the objects of one study.
#[derive(Clone, Debug)]
pub struct Sending {
    /// One of each object, in their order.
    pub verdicts: Vec<ObjectVerdict>,
    /// Where the archive was asked for one.
    pub commitment: Option<Commitment>,
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

    /// Sends the objects of one study, in their order. Where all are stored, and the settings say so, the archive is asked to commit
    /// itself to them: an object that it does not commit itself to has failed.
    pub async fn send(&self, objects: &[Object]) -> Sending {
        let mut verdicts = match self {
            Self::Web(web) => web.send(objects).await,
            Self::Association(association) => association.send(objects).await,
        };
        if !verdicts.iter().all(ObjectVerdict::is_stored) {
            return Sending { verdicts, commitment: None };
        }
        let commitment = self.commit(objects).await;
        let outcomes = commitment.iter().flat_map(|commitment| &commitment.outcomes);
        for (verdict, outcome) in verdicts.iter_mut().zip(outcomes) {
            if let Err(error) = outcome {
                *verdict = ObjectVerdict::Failed(error.clone());
            }
        }
        Sending { verdicts, commitment }
    }

    /// Asks the archive to commit itself to objects that it stored; `None` where the settings do not ask for that.
    async fn commit(&self, objects: &[Object]) -> Option<Commitment> {
        match self {
            Self::Web(_) => None,
            Self::Association(association) => association.commit(objects).await,
        }
    }

    /// Asks the archive something that changes nothing, and says what is known of it then.
    ///
    /// # Errors
    /// `delivery_unavailable`, `delivery_timeout`, `delivery_forbidden`, `delivery_unsupported`; `commitment_unsupported`
    /// where it is to commit itself and takes no request for that.
    pub async fn answers(&self) -> Result<String, JobError> {
        match self {
            Self::Web(web) => web.answers().await,
            Self::Association(association) => association.answers().await,
        }
    }
}
