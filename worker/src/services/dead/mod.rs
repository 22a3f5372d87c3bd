//! `nightread dead`: what was given up, why, and what becomes of it.

mod list;
pub(crate) mod redact;
mod show;

use std::collections::BTreeMap;
use std::fmt::Write;

use nightread_domain::{ErrorCode, JobError};
use serde_json::{Value, json};

use crate::adapters::amqp::{DeadLetter, DeadLetters, Handling, Pile, Publisher, RabbitOptions, Swept};
use crate::cli::dead::Chosen;

/// The dead letters, as this command sees them.
pub(crate) struct Letters {
    held: DeadLetters,
    pile: Pile,
    options: RabbitOptions,
    /// Others hold some of them, which are not seen here.
    pub are_shared: bool,
}

/// What became of the letters that were chosen.
pub(crate) struct Taken {
    pile: Pile,
    verdict: Option<Handling>,
    chosen: u32,
    by_code: BTreeMap<ErrorCode, u32>,
    swept: Swept,
    /// Ids that were chosen and that no letter has.
    pub unmet: Vec<String>,
    /// What ended it before its time.
    pub ended: Result<(), JobError>,
}

impl Chosen {
    fn has(&self, letter: &DeadLetter) -> bool {
        self.all
            || self.codes.contains(&letter.code)
            || (!self.ids.is_empty() && self.ids.iter().any(|id| letter.is_called(id)))
    }
}

impl Letters {
    pub async fn open(options: RabbitOptions, pile: Pile) -> Result<Self, JobError> {
        let held = DeadLetters::of(&options, pile).await?;
        let are_shared = held.others().await? > 0;
        Ok(Self { held, pile, options, are_shared })
    }

    /// Does `verdict` to at most `limit` of the chosen letters; without one it only counts them.
    pub async fn take(self, chosen: &Chosen, limit: Option<u32>, verdict: Option<Handling>) -> Taken {
        let publisher = Publisher::new(self.options);
        let mut swept = Swept::default();
        let (mut met, mut by_code) = (0, BTreeMap::<ErrorCode, u32>::new());
        let mut unmet = chosen.ids.clone();
        let ended = self
            .held
            .sweep(Some(&publisher), &mut swept, |letter| {
                if limit.is_some_and(|limit| met >= limit) {
                    return Handling::Stop;
                }
                if !chosen.has(letter) {
                    return Handling::Keep;
                }
                met += 1;
                *by_code.entry(letter.code).or_default() += 1;
                unmet.retain(|id| !letter.is_called(id));
                verdict.unwrap_or(Handling::Keep)
            })
            .await;
        self.held.close().await;
        Taken { pile: self.pile, verdict, chosen: met, by_code, swept, unmet, ended }
    }

    /// Looks at every letter and keeps it.
    async fn look(self, judge: impl FnMut(&DeadLetter) -> Handling) -> Result<(), JobError> {
        let ended = self.held.sweep(None, &mut Swept::default(), judge).await;
        self.held.close().await;
        ended
    }
}

impl Taken {
    /// How many of each code were chosen, in alphabetical order.
    fn codes(&self) -> BTreeMap<&'static str, u32> {
        self.by_code.iter().map(|(code, count)| (code.as_str(), *count)).collect()
    }

    pub fn as_text(&self) -> String {
        let mut text = String::new();
        for (code, count) in self.codes() {
            let _infallible = writeln!(text, "{count:>8}  {code}");
        }
        let _infallible = match self.verdict {
            Some(Handling::Redrive) => write!(text, "{} sent back into their lanes", self.swept.redriven),
            Some(Handling::Discard) => write!(text, "{} discarded", self.swept.discarded),
            _ => write!(text, "{} chosen, none touched", self.chosen),
        };
        text
    }

    pub fn as_json(&self) -> Value {
        json!({
            "queue": self.pile.queue(),
            "chosen": self.chosen,
            "redriven": self.swept.redriven,
            "discarded": self.swept.discarded,
            "kept": self.swept.kept(),
            "codes": self.codes(),
        })
    }
}

/// A letter's time of death, for people and programs.
fn moment(seconds: Option<u64>) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds?).ok()?).ok()?;
    at.format(&time::format_description::well_known::Rfc3339).ok()
}
