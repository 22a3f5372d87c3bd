//! C-STORE and C-ECHO as a client: one association for all objects of a study.

use std::time::Duration;

use nightread_archive::Object;
use nightread_archive::commitment::COMMITMENT_CLASS;
use nightread_domain::{ErrorCode, JobError};
use tokio::time::timeout;

use super::command;
use super::commitment::{self, Commitment};
use super::line::{EXPLICIT, IMPLICIT, Line};
use super::options::{ArchiveOptions, CommitmentOptions, failed};
use super::peer::Open;
use super::verdict::ObjectVerdict;

/// An archive that is reached by associations.
#[derive(Debug)]
pub struct Association {
    line: Line,
    timeout: Duration,
    commitment: Option<CommitmentOptions>,
}

impl Association {
    /// # Errors
    /// `settings_invalid` where `peer` is not `TITLE@host:port`, or a title has not 1 to 16 characters.
    pub(super) fn new(peer: &str, by_tls: bool, mut options: ArchiveOptions) -> Result<Self, JobError> {
        let line = Line::new(peer, by_tls, &mut options)?;
        Ok(Self { line, timeout: options.timeout, commitment: options.commitment })
    }

    pub(super) async fn send(&self, objects: &[Object]) -> Vec<ObjectVerdict> {
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
        verdicts.resize_with(objects.len(), || ObjectVerdict::Failed(error.clone()));
        verdicts
    }

    async fn send_all(&self, objects: &[Object], verdicts: &mut Vec<ObjectVerdict>) -> Result<(), JobError> {
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
        let mut open = self.line.open(&wanted, self.timeout).await?;
        for (object, message) in objects.iter().zip(1_u16..) {
            verdicts.push(self.store(&mut open, object, message).await?);
        }
        // All is stored: how the association ends changes nothing.
        if let Err(error) = open.end().await {
            tracing::debug!(%error, "the association was not released");
        }
        Ok(())
    }

    async fn store(&self, open: &mut Open, object: &Object, message: u16) -> Result<ObjectVerdict, JobError> {
        let as_it_is = open.context(&object.sop_class, &object.transfer_syntax);
        let is_plain = object.transfer_syntax == EXPLICIT;
        let implicit = open.context(&object.sop_class, IMPLICIT).filter(|_| is_plain);
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
                return Ok(ObjectVerdict::Failed(failed(ErrorCode::DeliveryUnsupported, text)));
            }
        };
        let request = command::store(&object.sop_class, &object.sop_instance, message);
        self.line.command(open, context, request).await?;
        self.line.data(open, context, data).await?;
        let answer = self.line.answer(open).await?;
        if answer.message != message {
            let text = format!("the archive answered request {} where {message} was asked", answer.message);
            return Err(failed(ErrorCode::DeliveryUnconfirmed, text));
        }
        Ok(ObjectVerdict::of_status(answer.status))
    }

    pub(super) async fn commit(&self, objects: &[Object]) -> Option<Commitment> {
        Some(commitment::commit(&self.line, self.commitment.as_ref()?, objects).await)
    }

    pub(super) async fn answers(&self) -> Result<String, JobError> {
        let asked = async {
            let mut contexts = vec![(command::VERIFICATION, IMPLICIT)];
            contexts.extend(self.commitment.as_ref().map(|_| (COMMITMENT_CLASS, IMPLICIT)));
            let mut open = self.line.open(&contexts, self.timeout).await?;
            let commits = open.context(COMMITMENT_CLASS, IMPLICIT).is_some();
            let context = open.context(command::VERIFICATION, IMPLICIT).unwrap_or(1);
            self.line.command(&mut open, context, command::echo(1)).await?;
            let answer = self.line.answer(&mut open).await?;
            let _ = open.end().await;
            Ok::<_, JobError>((answer.status, commits))
        };
        let (status, commits) = timeout(self.timeout, asked).await.map_err(|_| {
            failed(ErrorCode::DeliveryTimeout, "the archive did not answer a C-ECHO in time")
        })??;
        if status != 0 {
            let text = format!("the archive answered a C-ECHO with status 0x{status:04X}");
            return Err(failed(ErrorCode::DeliveryRefused, text));
        }
        let commits = match self.commitment {
            None => "",
            Some(_) if commits => ", and takes requests for storage commitment",
            Some(_) => return Err(commitment::unsupported()),
        };
        Ok(format!(
            "answers a C-ECHO{commits}; whether it knows our title {} cannot be known so: archives answer unknown ones too",
            self.line.calling_title
        ))
    }
}
