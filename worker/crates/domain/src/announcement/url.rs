//! A URL taken apart without meaning: no normalising, no `..` resolved, nothing repaired. General URL parsers
//! repair (backslashes, dot segments, tabs), and what they repair is what an attacker sends.

use crate::error::{ErrorCode, JobError, Stage};

/// Scheme, host, port and raw path of an `http` or `https` URL without user, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlainUrl<'a> {
    pub https: bool,
    /// Lower case.
    pub host: String,
    pub port: u16,
    /// Still percent-encoded; empty, or with its leading slash.
    pub path: &'a str,
}

impl<'a> PlainUrl<'a> {
    pub fn parse(text: &'a str) -> Result<Self, JobError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refused("not an absolute URL"))?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(refused("a blob's URL is http or https")),
        };
        if text.contains(['?', '#']) {
            return Err(refused("a blob's URL has no query and no fragment"));
        }
        if text.contains('\\') || text.chars().any(char::is_control) {
            return Err(refused("a blob's URL has no backslashes and no control characters"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(refused("a blob's URL names no user"));
        }
        let (host, port) = split_port(authority, if https { 443 } else { 80 })?;
        if host.is_empty() || !host.bytes().all(is_of_host) {
            return Err(refused("a blob's URL has a plain host name"));
        }
        Ok(Self { https, host: host.to_ascii_lowercase(), port, path })
    }
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'[' | b']' | b':')
}

fn split_port(authority: &str, default: u16) -> Result<(&str, u16), JobError> {
    // An IPv6 address has colons of its own, inside brackets.
    let after_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[after_host..].find(':') {
        None => Ok((authority, default)),
        Some(offset) => {
            let (host, port) = authority.split_at(after_host + offset);
            let digits = &port[1..];
            let port = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
            port.map(|port| (host, port)).ok_or_else(|| refused("a blob's URL has a sound port"))
        }
    }
}

/// Decodes percent-encoding exactly once. A percent sign that is left is the name's own: `a%2Fb` is a legal name, and is
/// announced as `a%252Fb`. The client encodes it again, so that nothing is ever decoded twice.
pub(super) fn decode_once(text: &str) -> Result<String, JobError> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let pair = bytes.get(at + 1..at + 3).and_then(|pair| hex::decode(pair).ok());
            decoded.extend(pair.ok_or_else(|| refused("a blob's URL has broken percent-encoding"))?);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).map_err(|_| refused("a blob's name is UTF-8"))
}

pub(super) fn refused(message: &str) -> JobError {
    JobError::new(Stage::Announce, ErrorCode::SourceNotAllowed, message)
}
