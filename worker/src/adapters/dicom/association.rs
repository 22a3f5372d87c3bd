//! C-STORE and C-ECHO as a client: one association for all objects of a study.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dicom_ul::ClientAssociationOptions;
use dicom_ul::association::{self, AsyncAssociation};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, PresentationContextNegotiated};
use nightread_archive::Object;
use nightread_domain::{ErrorCode, JobError};
use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::command::{self, Answer};
use super::options::{ArchiveOptions, failed, wrong_address};
use super::verdict::Verdict;
use crate::adapters::tls;

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";
/// A command set has some hundred bytes.
const MOST_COMMAND_BYTES: usize = 64 << 10;

/// An archive that is reached by associations.
pub struct Association {
    /// `TITLE@host:port`.
    peer: String,
    host: String,
    calling_title: String,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// An association that is open, in either way.
type Open = Box<dyn Peer>;

/// What is needed of an open association.
#[async_trait::async_trait]
trait Peer: Send {
    fn contexts(&self) -> &[PresentationContextNegotiated];
    async fn say(&mut self, pdu: &Pdu) -> Result<(), association::Error>;
    async fn hear(&mut self) -> Result<Pdu, association::Error>;
    async fn data(&mut self, context: u8, bytes: &[u8]) -> std::io::Result<()>;
    async fn end(self: Box<Self>) -> Result<(), association::Error>;
}

#[async_trait::async_trait]
impl<S> Peer for association::client::AsyncClientAssociation<S>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
    Self: AsyncAssociation<S>,
{
    fn contexts(&self) -> &[PresentationContextNegotiated] {
        self.presentation_contexts()
    }

    async fn say(&mut self, pdu: &Pdu) -> Result<(), association::Error> {
        self.send(pdu).await
    }

    async fn hear(&mut self) -> Result<Pdu, association::Error> {
        self.receive().await
    }

    async fn data(&mut self, context: u8, bytes: &[u8]) -> std::io::Result<()> {
        let mut writer = self.send_pdata(context);
        writer.write_all(bytes).await?;
        writer.finish().await
    }

    async fn end(self: Box<Self>) -> Result<(), association::Error> {
        (*self).release().await
    }
}

impl Association {
    /// # Errors
    /// `settings_invalid` where `peer` is not `TITLE@host:port`, or a title has not 1 to 16 characters.
    pub(super) fn new(peer: &str, by_tls: bool, options: ArchiveOptions) -> Result<Self, JobError> {
        let (title, address) = peer.split_once('@').ok_or_else(wrong_address)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong_address)?;
        let titles = [title, options.calling_title.as_str()];
        let is_title = |title: &str| (1..=16).contains(&title.trim().len()) && !title.contains('\\');
        if !titles.into_iter().all(is_title) || host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong_address());
        }
        let tls = if by_tls {
            let config = tls::config(options.authorities).map_err(|error| {
                failed(ErrorCode::SettingsInvalid, "no TLS client can be made").with_source(error)
            })?;
            Some(Arc::new(config))
        } else {
            None
        };
        Ok(Self {
            peer: peer.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            calling_title: options.calling_title,
            tls,
            timeout: options.timeout,
        })
    }

    async fn open(&self, contexts: &[(&str, &str)]) -> Result<Open, JobError> {
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(self.calling_title.as_str())
            .connection_timeout(self.timeout)
            .read_timeout(self.timeout)
            .write_timeout(self.timeout);
        for (class, syntax) in contexts {
            options = options.with_presentation_context((*class).to_owned(), vec![(*syntax).to_owned()]);
        }
        let opened: Result<Open, association::Error> = match &self.tls {
            None => options.establish_with_async(&self.peer).await.map(|open| Box::new(open) as Open),
            Some(config) => {
                let options = options.tls_config(Arc::clone(config)).server_name(&self.host);
                options.establish_with_async_tls(&self.peer).await.map(|open| Box::new(open) as Open)
            }
        };
        opened.map_err(|error| self.broken(&error))
    }

    pub(super) async fn send(&self, objects: &[Object]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(objects.len());
        let sent = timeout(self.timeout, self.send_all(objects, &mut verdicts)).await;
        let error = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => {
                Some(failed(ErrorCode::DeliveryTimeout, "the archive took longer than [deliver] seconds"))
            }
        };
        // What was confirmed before the association broke is stored.
        let error = error.unwrap_or_else(|| {
            failed(ErrorCode::DeliveryUnconfirmed, "the archive did not answer for the object")
        });
        verdicts.resize_with(objects.len(), || Verdict::Failed(error.clone()));
        verdicts
    }

    async fn send_all(&self, objects: &[Object], verdicts: &mut Vec<Verdict>) -> Result<(), JobError> {
        let mut wanted: Vec<(&str, &str)> = Vec::new();
        for object in objects {
            let syntax = object.transfer_syntax.as_str();
            let offers = if syntax == EXPLICIT { vec![EXPLICIT, IMPLICIT] } else { vec![syntax] };
            for offer in offers {
                let context = (object.sop_class.as_str(), offer);
                if !wanted.contains(&context) {
                    wanted.push(context);
                }
            }
        }
        let mut open = self.open(&wanted).await?;
        for (object, message) in objects.iter().zip(1_u16..) {
            verdicts.push(self.store(&mut open, object, message).await?);
        }
        // All is stored: how the association ends changes nothing.
        if let Err(error) = open.end().await {
            tracing::debug!(%error, "the association was not released");
        }
        Ok(())
    }

    async fn store(&self, open: &mut Open, object: &Object, message: u16) -> Result<Verdict, JobError> {
        let as_it_is = accepted(open, object, &object.transfer_syntax);
        let implicit = accepted(open, object, IMPLICIT).filter(|_| object.transfer_syntax == EXPLICIT);
        let made;
        let (context, data) = match (as_it_is, implicit) {
            (Some(context), _) => (context, object.data_set()),
            (None, Some(context)) => {
                made = object
                    .implicit_data_set()
                    .map_err(|error| failed(ErrorCode::Internal, error.to_string()))?
                    .unwrap_or_default();
                (context, made.as_slice())
            }
            (None, None) => {
                let text = format!("the archive accepts no object of SOP class {}", object.sop_class);
                return Ok(Verdict::Failed(failed(ErrorCode::DeliveryUnsupported, text)));
            }
        };
        let request = command::store(&object.sop_class, &object.sop_instance, message);
        self.command(open, context, request).await?;
        open.data(context, data)
            .await
            .map_err(|error| failed(ErrorCode::DeliveryUnavailable, self.reset()).with_source(error))?;
        let answer = self.answer(open).await?;
        if answer.message != message {
            let text = format!("the archive answered request {} where {message} was asked", answer.message);
            return Err(failed(ErrorCode::DeliveryUnconfirmed, text));
        }
        Ok(Verdict::of_status(answer.status))
    }

    async fn command(&self, open: &mut Open, context: u8, data: Vec<u8>) -> Result<(), JobError> {
        let value = PDataValue {
            presentation_context_id: context,
            value_type: PDataValueType::Command,
            is_last: true,
            data,
        };
        open.say(&Pdu::PData { data: vec![value] }).await.map_err(|error| self.broken(&error))
    }

    /// The next response, from however many parts.
    async fn answer(&self, open: &mut Open) -> Result<Answer, JobError> {
        let mut command = Vec::new();
        loop {
            let pdu = open.hear().await.map_err(|error| self.broken(&error))?;
            let Pdu::PData { data } = pdu else {
                // Some let a stranger in, and abort when it asks for something.
                return Err(failed(ErrorCode::DeliveryUnavailable, self.reset()));
            };
            for value in data.into_iter().filter(|value| value.value_type == PDataValueType::Command) {
                if command.len() + value.data.len() > MOST_COMMAND_BYTES {
                    let text = format!("the archive's answer has more than {MOST_COMMAND_BYTES} bytes");
                    return Err(failed(ErrorCode::DeliveryUnconfirmed, text));
                }
                command.extend(value.data);
                if value.is_last {
                    return command::answer(&command).ok_or_else(|| {
                        failed(
                            ErrorCode::DeliveryUnconfirmed,
                            "the archive's answer is no response to a request",
                        )
                    });
                }
            }
        }
    }

    pub(super) async fn answers(&self) -> Result<String, JobError> {
        let asked = async {
            let mut open = self.open(&[(command::VERIFICATION, IMPLICIT)]).await?;
            let context = open.contexts().first().map_or(1, |context| context.id);
            self.command(&mut open, context, command::echo(1)).await?;
            let answer = self.answer(&mut open).await?;
            let _ = open.end().await;
            Ok::<u16, JobError>(answer.status)
        };
        let status = timeout(self.timeout, asked).await.map_err(|_| {
            failed(ErrorCode::DeliveryTimeout, "the archive did not answer a C-ECHO in time")
        })??;
        if status != 0 {
            let text = format!("the archive answered a C-ECHO with status 0x{status:04X}");
            return Err(failed(ErrorCode::DeliveryRefused, text));
        }
        Ok(format!(
            "answers a C-ECHO; whether it knows our title {} cannot be known so: archives answer unknown ones too",
            self.calling_title
        ))
    }

    fn reset(&self) -> String {
        let title = &self.calling_title;
        format!(
            "the archive broke the association: is our AE title {title} known there, with this machine's address?"
        )
    }

    fn broken(&self, error: &association::Error) -> JobError {
        use association::Error;
        let said = whole(error);
        match error {
            Error::Rejected { .. } => failed(
                ErrorCode::DeliveryForbidden,
                format!("{said} (calling title {}, called {})", self.calling_title, self.peer),
            ),
            Error::NoAcceptedPresentationContexts { .. } => {
                failed(ErrorCode::DeliveryUnsupported, "the archive accepts none of the objects' SOP classes")
            }
            Error::Timeout { .. } => failed(ErrorCode::DeliveryTimeout, "the archive did not answer in time"),
            Error::Connect { .. } | Error::ToAddress { .. } => {
                failed(ErrorCode::DeliveryUnavailable, format!("the archive cannot be reached: {said}"))
            }
            _ => failed(ErrorCode::DeliveryUnavailable, format!("{} ({said})", self.reset())),
        }
    }
}

/// The presentation context for an object in this transfer syntax.
fn accepted(open: &Open, object: &Object, syntax: &str) -> Option<u8> {
    let mut contexts = open.contexts().iter();
    contexts
        .find(|context| context.abstract_syntax == object.sop_class && context.transfer_syntax == syntax)
        .map(|context| context.id)
}

/// An error with its causes, each once.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
