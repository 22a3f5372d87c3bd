//! Who waits for which report of a storage commitment, by whatever association it comes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use dicom_ul::association;
use nightread_archive::commitment::CommitmentReport;
use tokio::sync::mpsc::Sender;

use super::command::{self, Event};
use super::peer::{Message, Open};

/// Requests whose reports are still known when they come: the oldest is forgotten first.
const MOST_REQUESTS: usize = 256;
const EVERYTHING_COMMITTED: u16 = 1;
const SOMETHING_FAILED: u16 = 2;

/// Statuses of our answers (PS3.7, annex C).
const SUCCESS: u16 = 0x0000;
const PROCESSING_FAILURE: u16 = 0x0110;
const NO_SUCH_EVENT: u16 = 0x0113;
const INVALID_ARGUMENT: u16 = 0x0115;

/// The requests that were made.
#[derive(Debug, Default)]
pub struct Reports {
    asked: Mutex<Asked>,
    listened_for: AtomicBool,
}

#[derive(Debug, Default)]
struct Asked {
    requests: BTreeMap<String, Request>,
    /// Their UIDs, the oldest first.
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Request {
    waits: Sender<CommitmentReport>,
    /// A report that everything is committed, for whoever asks for the same again: it may have come after the wait for it.
    whole: Option<CommitmentReport>,
}

impl Reports {
    fn with<T>(&self, ask: impl FnOnce(&mut Asked) -> T) -> T {
        ask(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Archives may bring reports by associations of their own from now on.
    pub(super) fn listen(&self) {
        self.listened_for.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_listened_for(&self) -> bool {
        self.listened_for.load(Ordering::Relaxed)
    }

    /// Expects a report of this request for `waits`; the one that came already, where it says that everything is committed.
    pub(super) fn expect(
        &self,
        transaction: &str,
        waits: Sender<CommitmentReport>,
    ) -> Option<CommitmentReport> {
        self.with(|asked| {
            if let Some(known) = asked.requests.get_mut(transaction) {
                known.waits = waits;
                return known.whole.clone();
            }
            if asked.order.len() == MOST_REQUESTS
                && let Some(oldest) = asked.order.pop_front()
            {
                asked.requests.remove(&oldest);
            }
            asked.order.push_back(transaction.to_owned());
            asked.requests.insert(transaction.to_owned(), Request { waits, whole: None });
            None
        })
    }

    /// Hands a report to whoever waits for it. Whether anybody made its request.
    fn tell(&self, report: CommitmentReport) -> bool {
        self.with(|asked| {
            let Some(request) = asked.requests.get_mut(&report.transaction) else { return false };
            if report.failed.is_empty() {
                request.whole = Some(report.clone());
            }
            if request.waits.try_send(report).is_err() {
                tracing::info!("a report of a storage commitment came after the wait for it");
            }
            true
        })
    }

    /// Takes what an archive said of itself, and answers it; nothing for what is no report.
    pub(super) async fn hear(&self, open: &mut Open, message: &Message) -> Result<(), association::Error> {
        let Some(event) = message.command.event() else { return Ok(()) };
        let status = self.status(event, &message.data);
        if status != SUCCESS {
            tracing::warn!(
                status = format!("0x{status:04X}"),
                "a report of a storage commitment was not taken: it is none, or of a request that nobody here made"
            );
        }
        open.command(message.context, command::heard(event, status)).await
    }

    fn status(&self, event: Event, data: &[u8]) -> u16 {
        if !matches!(event.kind, EVERYTHING_COMMITTED | SOMETHING_FAILED) {
            return NO_SUCH_EVENT;
        }
        let Some(report) = CommitmentReport::parse(data) else { return PROCESSING_FAILURE };
        if self.tell(report) { SUCCESS } else { INVALID_ARGUMENT }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn report(transaction: &str, failed: &[(&str, u16)]) -> CommitmentReport {
        CommitmentReport {
            transaction: transaction.to_owned(),
            committed: vec!["2.25.1".to_owned()],
            failed: failed.iter().map(|(uid, reason)| ((*uid).to_owned(), *reason)).collect(),
        }
    }

    #[test]
    fn a_late_report_is_kept_where_everything_is_committed() {
        let reports = Reports::default();
        for (transaction, failed, kept) in
            [("2.25.7", &[][..], true), ("2.25.8", &[("2.25.1", 0x0112)], false)]
        {
            assert!(!reports.tell(report(transaction, failed)), "nobody asked");
            let (waits, hears) = mpsc::channel(1);
            assert_eq!(reports.expect(transaction, waits), None);
            drop(hears);
            assert!(reports.tell(report(transaction, failed)));
            let (waits, mut hears) = mpsc::channel(1);
            assert_eq!(reports.expect(transaction, waits).is_some(), kept, "{transaction}");
            assert!(reports.tell(report(transaction, failed)) && hears.try_recv().is_ok());
        }
    }

    #[test]
    fn only_so_many_requests_are_known() {
        let reports = Reports::default();
        let (waits, _hears) = mpsc::channel(1);
        for number in 0..=MOST_REQUESTS {
            reports.expect(&format!("2.25.{number}"), waits.clone());
        }
        assert!(!reports.tell(report("2.25.0", &[])) && reports.tell(report("2.25.1", &[])));
    }
}
