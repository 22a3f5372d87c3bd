//! `nightread dead list`.

use std::collections::BTreeMap;

use nightread_domain::{ErrorCode, JobError};
use serde::Serialize;

use super::{Letters, moment, redact};
use crate::adapters::amqp::{DeadLetter, Handling};
use crate::console::table::table;

/// Longer reasons are cut in the table; JSON has all of them.
const REASON_CHARS: usize = 100;

#[derive(Debug, Serialize)]
pub(crate) struct Listing {
    count: u64,
    codes: Vec<OfCode>,
    letters: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct OfCode {
    code: ErrorCode,
    count: u64,
    oldest: Option<String>,
    newest: Option<String>,
    /// Of the oldest letter.
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: String,
    message_id: Option<String>,
    code: ErrorCode,
    lane: &'static str,
    stage: Option<&'static str>,
    attempts: u32,
    dead_at: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Default)]
struct Tally {
    count: u64,
    oldest: Option<u64>,
    newest: Option<u64>,
    reason: Option<String>,
}

impl Letters {
    /// All letters of these error codes (of none: of any) counted, and the oldest `limit` of them.
    pub async fn list(self, only: &[ErrorCode], limit: usize) -> Result<Listing, JobError> {
        let mut tallies = BTreeMap::<ErrorCode, Tally>::new();
        let mut letters = Vec::new();
        self.look(|letter| {
            if only.is_empty() || only.contains(&letter.code) {
                tallies.entry(letter.code).or_default().add(letter);
                if letters.len() < limit {
                    letters.push(line(letter));
                }
            }
            Handling::Keep
        })
        .await?;
        let mut codes: Vec<_> = tallies.into_iter().map(|(code, tally)| tally.of(code)).collect();
        codes.sort_by_key(|of| std::cmp::Reverse(of.count));
        Ok(Listing { count: codes.iter().map(|of| of.count).sum(), codes, letters })
    }
}

impl Tally {
    fn add(&mut self, letter: &DeadLetter) {
        self.count += 1;
        if self.count == 1 {
            self.reason = letter.reason.as_deref().map(redact::text);
        }
        if let Some(at) = letter.dead_at {
            self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
            self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        }
    }

    fn of(self, code: ErrorCode) -> OfCode {
        OfCode {
            code,
            count: self.count,
            oldest: moment(self.oldest),
            newest: moment(self.newest),
            reason: self.reason,
        }
    }
}

fn line(letter: &DeadLetter) -> Line {
    let attributes = &letter.message.attributes;
    Line {
        id: letter.id(),
        message_id: attributes.message_id.as_deref().map(redact::text),
        code: letter.code,
        lane: attributes.lane.as_str(),
        stage: letter.stage.map(nightread_domain::Stage::as_str),
        attempts: attributes.attempt,
        dead_at: moment(letter.dead_at),
        reason: letter.reason.as_deref().map(redact::text),
    }
}

fn text(value: Option<&str>) -> String {
    value.map(redact::line).unwrap_or_default()
}

fn cut(reason: Option<&str>) -> String {
    let reason = text(reason);
    let short: String = reason.chars().take(REASON_CHARS).collect();
    if short.len() < reason.len() { format!("{short}…") } else { short }
}

impl Listing {
    pub fn as_table(&self) -> String {
        if self.count == 0 {
            return "no dead letters".to_owned();
        }
        let mut codes = table(["code", "letters", "oldest", "newest", "reason of the oldest"]);
        for of in &self.codes {
            codes.add_row([
                of.code.as_str().to_owned(),
                of.count.to_string(),
                text(of.oldest.as_deref()),
                text(of.newest.as_deref()),
                cut(of.reason.as_deref()),
            ]);
        }
        let mut shown = format!("{codes}");
        if !self.letters.is_empty() {
            let mut lines = table(["id", "code", "lane", "died", "attempts", "reason"]);
            for line in &self.letters {
                lines.add_row([
                    line.id.clone(),
                    line.code.as_str().to_owned(),
                    line.lane.to_owned(),
                    text(line.dead_at.as_deref()),
                    line.attempts.to_string(),
                    cut(line.reason.as_deref()),
                ]);
            }
            shown = format!("{shown}\n\n{lines}");
        }
        format!("{shown}\n{} dead letters, {} listed", self.count, self.letters.len())
    }
}
