//! An association that is open, whoever opened it: messages out of however many parts, and parts out of PDUs.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use dicom_ul::association::{self, AsyncAssociation};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, PresentationContextNegotiated};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::command::Command;

/// Command sets have some hundred bytes; reports of a commitment name some objects.
const MOST_MESSAGE_BYTES: usize = 64 << 10;

/// What is needed of an association.
#[async_trait::async_trait]
trait Peer: Send {
    fn contexts(&self) -> &[PresentationContextNegotiated];
    async fn say(&mut self, pdu: &Pdu) -> Result<(), association::Error>;
    async fn hear(&mut self) -> Result<Pdu, association::Error>;
    async fn data(&mut self, context: u8, bytes: &[u8]) -> std::io::Result<()>;
    async fn end(self: Box<Self>) -> Result<(), association::Error>;
}

/// An association over a stream.
struct Over<A, S>(A, PhantomData<fn() -> S>);

#[async_trait::async_trait]
impl<A, S> Peer for Over<A, S>
where
    A: AsyncAssociation<S> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn contexts(&self) -> &[PresentationContextNegotiated] {
        self.0.presentation_contexts()
    }

    async fn say(&mut self, pdu: &Pdu) -> Result<(), association::Error> {
        AsyncAssociation::send(&mut self.0, pdu).await
    }

    async fn hear(&mut self) -> Result<Pdu, association::Error> {
        AsyncAssociation::receive(&mut self.0).await
    }

    async fn data(&mut self, context: u8, bytes: &[u8]) -> std::io::Result<()> {
        let mut writer = self.0.send_pdata(context);
        writer.write_all(bytes).await?;
        writer.finish().await
    }

    async fn end(self: Box<Self>) -> Result<(), association::Error> {
        AsyncAssociation::release(self.0).await
    }
}

/// A command, with the data set that follows it where one does.
#[derive(Debug)]
pub(super) struct Message {
    pub context: u8,
    pub command: Command,
    pub data: Vec<u8>,
}

/// Why no message came.
#[derive(Debug)]
pub(super) enum Trouble {
    Association(association::Error),
    /// The other side aborted, or said what nobody may say now.
    Ended,
    /// More bytes than any message has that is expected here.
    TooLong,
    /// No command, or a data set without one.
    Unreadable,
}

/// An open association.
pub(super) struct Open {
    peer: Box<dyn Peer>,
    /// Parts that came with the end of a message.
    waiting: VecDeque<PDataValue>,
    command: Vec<u8>,
    data: Vec<u8>,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

impl Open {
    pub fn new<A, S>(association: A) -> Self
    where
        A: AsyncAssociation<S> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self {
            peer: Box::new(Over(association, PhantomData)),
            waiting: VecDeque::new(),
            command: Vec::new(),
            data: Vec::new(),
        }
    }

    /// The presentation context of a SOP class in this transfer syntax, where it was accepted.
    pub fn context(&self, sop_class: &str, syntax: &str) -> Option<u8> {
        let mut contexts = self.peer.contexts().iter();
        contexts
            .find(|context| {
                context.reason == dicom_ul::pdu::PresentationContextResultReason::Acceptance
                    && context.abstract_syntax == sop_class
                    && context.transfer_syntax == syntax
            })
            .map(|context| context.id)
    }

    pub async fn command(&mut self, context: u8, data: Vec<u8>) -> Result<(), association::Error> {
        let value = PDataValue {
            presentation_context_id: context,
            value_type: PDataValueType::Command,
            is_last: true,
            data,
        };
        self.peer.say(&Pdu::PData { data: vec![value] }).await
    }

    pub async fn data(&mut self, context: u8, bytes: &[u8]) -> std::io::Result<()> {
        self.peer.data(context, bytes).await
    }

    /// The next message; `None` where the other side ended the association in order. What had come is kept where the future is dropped.
    pub async fn message(&mut self) -> Result<Option<Message>, Trouble> {
        loop {
            while let Some(value) = self.waiting.pop_front() {
                if let Some(message) = self.take(value)? {
                    return Ok(Some(message));
                }
            }
            match self.peer.hear().await.map_err(Trouble::Association)? {
                Pdu::PData { data } => self.waiting.extend(data),
                Pdu::ReleaseRQ => {
                    self.peer.say(&Pdu::ReleaseRP).await.map_err(Trouble::Association)?;
                    return Ok(None);
                }
                _ => return Err(Trouble::Ended),
            }
        }
    }

    /// Puts a part to the others; the message when it was its last.
    fn take(&mut self, value: PDataValue) -> Result<Option<Message>, Trouble> {
        if self.command.len() + self.data.len() + value.data.len() > MOST_MESSAGE_BYTES {
            return Err(Trouble::TooLong);
        }
        let is_command = value.value_type == PDataValueType::Command;
        if is_command { &mut self.command } else { &mut self.data }.extend(value.data);
        if !value.is_last {
            return Ok(None);
        }
        let command = Command::parse(&self.command).ok_or(Trouble::Unreadable)?;
        if is_command && command.has_data {
            return Ok(None);
        }
        self.command.clear();
        let data = std::mem::take(&mut self.data);
        Ok(Some(Message { context: value.presentation_context_id, command, data }))
    }

    /// Releases it.
    pub async fn end(self) -> Result<(), association::Error> {
        self.peer.end().await
    }
}
