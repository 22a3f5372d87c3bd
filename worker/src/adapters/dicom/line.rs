//! The way to an archive that is reached by associations, and what its troubles are called.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dicom_ul::ClientAssociationOptions;
use dicom_ul::association;
use nightread_domain::error::with_causes;
use nightread_domain::{ErrorCode, JobError};
use rustls::ClientConfig;

use super::command::Answer;
use super::options::{ArchiveOptions, failed, wrong_address};
use super::peer::{Open, Trouble};
use crate::adapters::tls;

pub(super) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(super) const IMPLICIT: &str = "1.2.840.10008.1.2";

/// How an archive is reached by associations.
pub(super) struct Line {
    /// `TITLE@host:port`.
    pub peer: String,
    host: String,
    pub calling_title: String,
    tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Line {
    /// # Errors
    /// `settings_invalid` where `peer` is not `TITLE@host:port`, or a title has not 1 to 16 characters.
    pub fn new(peer: &str, by_tls: bool, options: &mut ArchiveOptions) -> Result<Self, JobError> {
        let (title, address) = peer.split_once('@').ok_or_else(wrong_address)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong_address)?;
        let titles = [title, options.calling_title.as_str()];
        let is_title = |title: &str| (1..=16).contains(&title.trim().len()) && !title.contains('\\');
        if !titles.into_iter().all(is_title) || host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong_address());
        }
        let tls = if by_tls {
            let config = tls::config(std::mem::take(&mut options.authorities)).map_err(|error| {
                failed(ErrorCode::SettingsInvalid, "no TLS client can be made").with_source(error)
            })?;
            Some(Arc::new(config))
        } else {
            None
        };
        Ok(Self {
            peer: peer.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            calling_title: options.calling_title.clone(),
            tls,
        })
    }

    /// Opens an association for these SOP classes, each in one transfer syntax. `patience`: for the connection, and for each PDU.
    pub async fn open(&self, contexts: &[(&str, &str)], patience: Duration) -> Result<Open, JobError> {
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(self.calling_title.as_str())
            .connection_timeout(patience)
            .read_timeout(patience)
            .write_timeout(patience);
        for (class, syntax) in contexts {
            options = options.with_presentation_context((*class).to_owned(), vec![(*syntax).to_owned()]);
        }
        let opened = match &self.tls {
            None => options.establish_with_async(&self.peer).await.map(Open::new),
            Some(config) => {
                let options = options.tls_config(Arc::clone(config)).server_name(&self.host);
                options.establish_with_async_tls(&self.peer).await.map(Open::new)
            }
        };
        opened.map_err(|error| self.broken(&error))
    }

    pub async fn command(&self, open: &mut Open, context: u8, data: Vec<u8>) -> Result<(), JobError> {
        open.command(context, data).await.map_err(|error| self.broken(&error))
    }

    pub async fn data(&self, open: &mut Open, context: u8, data: &[u8]) -> Result<(), JobError> {
        let sent = open.data(context, data).await;
        sent.map_err(|error| failed(ErrorCode::DeliveryUnavailable, self.reset()).with_source(error))
    }

    /// The next response.
    pub async fn answer(&self, open: &mut Open) -> Result<Answer, JobError> {
        let message = open.message().await.map_err(|trouble| self.trouble(&trouble))?;
        let message = message.ok_or_else(|| failed(ErrorCode::DeliveryUnavailable, self.reset()))?;
        message.command.answer().ok_or_else(|| self.trouble(&Trouble::Unreadable))
    }

    pub fn reset(&self) -> String {
        let title = &self.calling_title;
        format!(
            "the archive broke the association: is our AE title {title} known there, with this machine's address?"
        )
    }

    pub fn trouble(&self, trouble: &Trouble) -> JobError {
        match trouble {
            Trouble::Association(error) => self.broken(error),
            // Some let a stranger in, and abort when it asks for something.
            Trouble::Ended => failed(ErrorCode::DeliveryUnavailable, self.reset()),
            Trouble::TooLong => {
                failed(ErrorCode::DeliveryUnconfirmed, "the archive's answer is longer than answers are")
            }
            Trouble::Unreadable => {
                failed(ErrorCode::DeliveryUnconfirmed, "the archive's answer is no response to a request")
            }
        }
    }

    fn broken(&self, error: &association::Error) -> JobError {
        use association::Error;
        let said = with_causes(error.to_string(), error.source());
        match error {
            Error::Rejected { .. } => failed(
                ErrorCode::DeliveryForbidden,
                format!("{said} (calling title {}, called {})", self.calling_title, self.peer),
            ),
            Error::NoAcceptedPresentationContexts { .. } => {
                failed(ErrorCode::DeliveryUnsupported, "the archive accepts none of the SOP classes")
            }
            Error::Timeout { .. } => failed(ErrorCode::DeliveryTimeout, "the archive did not answer in time"),
            Error::Connect { .. } | Error::ToAddress { .. } => {
                failed(ErrorCode::DeliveryUnavailable, format!("the archive cannot be reached: {said}"))
            }
            _ => failed(ErrorCode::DeliveryUnavailable, format!("{} ({said})", self.reset())),
        }
    }
}
