//! Command sets of C-STORE and C-ECHO (PS3.7, 9.3): implicit VR little endian always, a handful of elements.

/// C-ECHO's own SOP class.
pub(super) const VERIFICATION: &str = "1.2.840.10008.1.1";

const STORE_REQUEST: u16 = 0x0001;
const ECHO_REQUEST: u16 = 0x0030;
const RESPONSE: u16 = 0x8000;
const NO_DATA_SET: u16 = 0x0101;

/// What a peer answered to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    /// Of the request.
    pub message: u16,
}

/// A request that a data set follows.
pub(super) fn store(sop_class: &str, sop_instance: &str, message: u16) -> Vec<u8> {
    let mut elements = Vec::new();
    uid(&mut elements, 0x0002, sop_class);
    number(&mut elements, 0x0100, STORE_REQUEST);
    number(&mut elements, 0x0110, message);
    number(&mut elements, 0x0700, 0); // priority: medium
    number(&mut elements, 0x0800, 0x0001); // anything but NO_DATA_SET
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

/// Reads a response; `None` for what is none.
pub(super) fn answer(bytes: &[u8]) -> Option<Answer> {
    let (mut status, mut message, mut field) = (None, None, None);
    let mut at = 0;
    while at < bytes.len() {
        let head: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
        let (group, element) =
            (u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let value = bytes.get(at + 8..(at + 8).checked_add(length)?)?;
        let short = || value.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
        match (group, element) {
            (0, 0x0100) => field = short(),
            (0, 0x0120) => message = short(),
            (0, 0x0900) => status = short(),
            _ => {}
        }
        at += 8 + length;
    }
    let is_response = field? & RESPONSE != 0;
    is_response.then_some(Answer { status: status?, message: message? })
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
