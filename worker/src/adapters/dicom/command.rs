//! Command sets of C-STORE, C-ECHO (PS3.7, 9.3), N-ACTION and N-EVENT-REPORT (10.3): implicit VR little endian always, a handful of
//! elements.

use nightread_archive::commitment::{COMMITMENT_CLASS, COMMITMENT_INSTANCE};

/// C-ECHO's own SOP class.
pub(super) const VERIFICATION: &str = "1.2.840.10008.1.1";

const STORE_REQUEST: u16 = 0x0001;
const ECHO_REQUEST: u16 = 0x0030;
const EVENT_REQUEST: u16 = 0x0100;
const ACTION_REQUEST: u16 = 0x0130;
const RESPONSE: u16 = 0x8000;
/// Anything but [`NO_DATA_SET`].
const DATA_SET: u16 = 0x0001;
const NO_DATA_SET: u16 = 0x0101;
/// "Request Storage Commitment" (PS3.4, J.3.2).
const REQUEST_COMMITMENT: u16 = 1;

/// What a peer answered to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    /// Of the request.
    pub message: u16,
}

/// A report that a peer makes of itself, and awaits an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub message: u16,
    /// 1 where everything was committed, 2 where something failed (PS3.4, J.3.3).
    pub kind: u16,
}

/// A command set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    field: u16,
    message: Option<u16>,
    responded_to: Option<u16>,
    status: Option<u16>,
    event: Option<u16>,
    /// Whether a data set follows.
    pub has_data: bool,
}

impl Command {
    /// `None` for what is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut found, mut field) = (Self::default(), None);
        let mut at = 0;
        while at < bytes.len() {
            let head: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
            let (group, element) =
                (u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let value = bytes.get(at + 8..(at + 8).checked_add(length)?)?;
            let short = value.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
            match (group, element) {
                (0, 0x0100) => field = short,
                (0, 0x0110) => found.message = short,
                (0, 0x0120) => found.responded_to = short,
                (0, 0x0800) => found.has_data = short.is_some_and(|kind| kind != NO_DATA_SET),
                (0, 0x0900) => found.status = short,
                (0, 0x1002) => found.event = short,
                _ => {}
            }
            at += 8 + length;
        }
        Some(Self { field: field?, ..found })
    }

    /// `None` for what is no response.
    pub fn answer(self) -> Option<Answer> {
        let is_response = self.field & RESPONSE != 0;
        is_response.then_some(Answer { status: self.status?, message: self.responded_to? })
    }

    /// `None` for what is no N-EVENT-REPORT request.
    pub fn event(self) -> Option<Event> {
        (self.field == EVENT_REQUEST).then_some(Event { message: self.message?, kind: self.event? })
    }
}

/// A request that a data set follows.
pub(super) fn store(sop_class: &str, sop_instance: &str, message: u16) -> Vec<u8> {
    let mut elements = Vec::new();
    uid(&mut elements, 0x0002, sop_class);
    number(&mut elements, 0x0100, STORE_REQUEST);
    number(&mut elements, 0x0110, message);
    number(&mut elements, 0x0700, 0); // priority: medium
    number(&mut elements, 0x0800, DATA_SET);
    uid(&mut elements, 0x1000, sop_instance);
    with_length(&elements)
}

/// "Are you there?"
pub(super) fn echo(message: u16) -> Vec<u8> {
    let mut elements = Vec::new();
    uid(&mut elements, 0x0002, VERIFICATION);
    number(&mut elements, 0x0100, ECHO_REQUEST);
    number(&mut elements, 0x0110, message);
    number(&mut elements, 0x0800, NO_DATA_SET);
    with_length(&elements)
}

/// "Will you keep these?" A data set names them.
pub(super) fn action(message: u16) -> Vec<u8> {
    let mut elements = Vec::new();
    uid(&mut elements, 0x0003, COMMITMENT_CLASS);
    number(&mut elements, 0x0100, ACTION_REQUEST);
    number(&mut elements, 0x0110, message);
    number(&mut elements, 0x0800, DATA_SET);
    uid(&mut elements, 0x1001, COMMITMENT_INSTANCE);
    number(&mut elements, 0x1008, REQUEST_COMMITMENT);
    with_length(&elements)
}

/// Our answer to a report.
pub(super) fn heard(event: Event, status: u16) -> Vec<u8> {
    let mut elements = Vec::new();
    uid(&mut elements, 0x0002, COMMITMENT_CLASS);
    number(&mut elements, 0x0100, EVENT_REQUEST | RESPONSE);
    number(&mut elements, 0x0120, event.message);
    number(&mut elements, 0x0800, NO_DATA_SET);
    number(&mut elements, 0x0900, status);
    uid(&mut elements, 0x1000, COMMITMENT_INSTANCE);
    number(&mut elements, 0x1002, event.kind);
    with_length(&elements)
}

fn element(set: &mut Vec<u8>, element: u16, value: &[u8]) {
    set.extend_from_slice(&[0, 0]);
    set.extend_from_slice(&element.to_le_bytes());
    set.extend_from_slice(&(value.len() as u32).to_le_bytes());
    set.extend_from_slice(value);
}

fn number(set: &mut Vec<u8>, tag: u16, value: u16) {
    element(set, tag, &value.to_le_bytes());
}

fn uid(set: &mut Vec<u8>, tag: u16, uid: &str) {
    let mut value = uid.as_bytes().to_vec();
    if value.len() % 2 == 1 {
        value.push(0);
    }
    element(set, tag, &value);
}

fn with_length(elements: &[u8]) -> Vec<u8> {
    let mut set = Vec::with_capacity(elements.len() + 12);
    element(&mut set, 0x0000, &(elements.len() as u32).to_le_bytes());
    set.extend_from_slice(elements);
    set
}
