//! `nightread dead show`.

use std::collections::BTreeMap;

use nightread_domain::{ErrorCode, JobError, Stage};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Letters, moment, redact};
use crate::adapters::amqp::{DeadLetter, Handling};

/// An announcement has a few hundred bytes; what is longer is shown in part.
const MAX_JSON_BYTES: usize = 64 * 1024;
const MAX_TEXT_CHARS: usize = 4000;

#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    id: String,
    message_id: Option<String>,
    correlation_id: Option<String>,
    code: ErrorCode,
    stage: Option<&'static str>,
    reason: Option<String>,
    dead_at: Option<String>,
    lane: &'static str,
    attempts: u32,
    redriven_before: bool,
    content_type: Option<String>,
    headers: BTreeMap<String, String>,
    bytes: usize,
    body: Body,
}

/// As much of a body as may be shown.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Json(Value),
    Text(String),
    /// Neither: what it looks like, and a digest to compare with.
    Binary {
        looks_like: &'static str,
        sha256: String,
    },
}

impl Letters {
    /// The letter that is called so.
    pub async fn show(self, id: &str) -> Result<Option<Shown>, JobError> {
        let mut found = None;
        self.look(|letter| {
            if letter.is_called(id) {
                found = Some(shown(letter));
                return Handling::Stop;
            }
            Handling::Keep
        })
        .await?;
        Ok(found)
    }
}

fn shown(letter: &DeadLetter) -> Shown {
    let attributes = &letter.message.attributes;
    Shown {
        id: letter.id(),
        message_id: attributes.message_id.as_deref().map(redact::text),
        correlation_id: attributes.correlation_id.as_deref().map(redact::text),
        code: letter.code,
        stage: letter.stage.map(Stage::as_str),
        reason: letter.reason.as_deref().map(redact::text),
        dead_at: moment(letter.dead_at),
        lane: attributes.lane.as_str(),
        attempts: attributes.attempt,
        redriven_before: attributes.redriven,
        content_type: attributes.content_type.as_deref().map(redact::text),
        headers: letter
            .headers()
            .into_iter()
            .map(|(name, value)| {
                let value =
                    if redact::is_secret(&name) { redact::HIDDEN.to_owned() } else { redact::text(&value) };
                (redact::text(&name), value)
            })
            .collect(),
        bytes: letter.message.body.len(),
        body: body(&letter.message.body),
    }
}

fn body(bytes: &[u8]) -> Body {
    if bytes.len() <= MAX_JSON_BYTES
        && let Ok(value) = serde_json::from_slice::<Value>(bytes)
    {
        return Body::Json(redact::json(value));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let mut kept: String = text.chars().take(MAX_TEXT_CHARS).collect();
            let more = kept.len() < text.len();
            kept = redact::text(&kept);
            if more {
                kept.push_str(" [cut]");
            }
            Body::Text(kept)
        }
        Err(_) => Body::Binary {
            looks_like: nightread_radiograph::sniff(bytes).map_or("unknown", |media| media.as_str()),
            sha256: hex::encode(Sha256::digest(bytes)),
        },
    }
}

impl Shown {
    pub fn as_text(&self) -> serde_json::Result<String> {
        let attempts = self.attempts.to_string();
        let told = [
            ("id", Some(self.id.as_str())),
            ("message id", self.message_id.as_deref()),
            ("correlation id", self.correlation_id.as_deref()),
            ("code", Some(self.code.as_str())),
            ("stage", self.stage),
            ("reason", self.reason.as_deref()),
            ("died", self.dead_at.as_deref()),
            ("lane", Some(self.lane)),
            ("attempts", Some(attempts.as_str())),
            ("redriven before", Some(if self.redriven_before { "yes" } else { "no" })),
            ("content type", self.content_type.as_deref()),
        ];
        let mut lines: Vec<String> =
            told.into_iter().map(|(name, value)| line(name, value.unwrap_or("-"))).collect();
        lines.extend(self.headers.iter().map(|(name, value)| line("header", &format!("{name}: {value}"))));
        let body = match &self.body {
            Body::Json(value) => serde_json::to_string_pretty(value)?,
            Body::Text(text) => redact::line(text),
            Body::Binary { looks_like, sha256 } => {
                format!("not text; looks like {looks_like}; SHA-256 {sha256}")
            }
        };
        Ok(format!("{}\nbody, {} bytes:\n{body}", lines.join("\n"), self.bytes))
    }
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<16}{}", redact::line(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_in_a_message_is_named_and_not_shown() {
        let png = [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, b'I', b'H', b'D', b'R'];
        let Body::Binary { looks_like, sha256 } = body(&png) else { panic!("an image is no text") };
        assert_eq!((looks_like, sha256.len()), ("png", 64));
        let Body::Binary { looks_like, .. } = body(&[0xff, 0x00, 0xfe]) else { panic!("no text") };
        assert_eq!(looks_like, "unknown");
        let inline = format!(r#"{{"data_base64": "{}", "type": "x"}}"#, "QUJD".repeat(500));
        let Body::Json(value) = body(inline.as_bytes()) else { panic!("JSON") };
        assert_eq!(value["data_base64"], "[2000 characters]");
        assert_eq!(value["type"], "x");
    }

    #[test]
    fn what_is_long_is_cut_and_what_is_deep_is_text() {
        let deep = "[".repeat(10_000_000);
        let Body::Text(text) = body(deep.as_bytes()) else { panic!("no JSON") };
        assert!(text.ends_with("[cut]") && text.len() < 5000);
    }
}
