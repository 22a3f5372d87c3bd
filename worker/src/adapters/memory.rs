//! The embedded queue behind `nightread process`: same contract as a broker, inside one process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use nightread_domain::{Delivery, Disposition, ErrorCode, Intake, JobError, Message, Settlement};
use tokio::sync::Notify;

/// Somebody waits for the end.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// A queue that ends when everything put into it is settled.
#[derive(Clone, Debug)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Message>,
    /// Messages in flight or waiting for their delay.
    pending: usize,
    dead: Vec<(Message, ErrorCode)>,
    stopped: bool,
}

impl MemoryQueue {
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        let state = State { ready: messages.into_iter().collect(), ..State::default() };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// What was dead-lettered so far.
    pub fn dead_letters(&self) -> Vec<(Message, ErrorCode)> {
        self.shared.lock().dead.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }
}

#[async_trait]
impl Intake for MemoryQueue {
    async fn next(&mut self) -> Result<Option<Delivery>, JobError> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.shared.lock();
                if state.stopped || (state.ready.is_empty() && state.pending == 0) {
                    return Ok(None);
                }
                if let Some(message) = state.ready.pop_front() {
                    state.pending += 1;
                    let settlement =
                        InFlight { shared: Arc::clone(&self.shared), message: Some(message.clone()) };
                    return Ok(Some(Delivery { message, settlement: Box::new(settlement) }));
                }
            }
            changed.await;
        }
    }

    async fn stop(&mut self) {
        self.shared.change(|state| state.stopped = true);
    }
}

#[derive(Debug)]
struct InFlight {
    shared: Arc<Shared>,
    message: Option<Message>,
}

#[async_trait]
impl Settlement for InFlight {
    async fn settle(mut self: Box<Self>, disposition: Disposition) -> Result<(), JobError> {
        let Some(mut message) = self.message.take() else { return Ok(()) };
        match disposition {
            Disposition::Done => self.shared.change(|state| state.pending -= 1),
            Disposition::Return => give_back(&self.shared, message, 0),
            Disposition::RetryAfter { delay, .. } => {
                message.attributes.attempt += 1;
                message.attributes.delivery_count = 0;
                message.attributes.quarantined = false;
                put_later(&self.shared, delay, message);
            }
            Disposition::Postpone { delay, refused_since, .. } => {
                message.attributes.refused_since = refused_since.or(message.attributes.refused_since);
                put_later(&self.shared, delay, message);
            }
            Disposition::DeadLetter { error } => self.shared.change(|state| {
                state.pending -= 1;
                state.dead.push((message, error.code));
            }),
            Disposition::Quarantine { started } => self.shared.change(|state| {
                state.pending -= 1;
                let starts =
                    if message.attributes.quarantined { message.attributes.delivery_count } else { 0 };
                message.attributes.quarantined = true;
                message.attributes.delivery_count = starts + u32::from(started);
                state.ready.push_back(message);
            }),
            Disposition::Split(parts) => self.shared.change(|state| {
                state.pending -= 1;
                state.ready.extend(parts);
            }),
        }
        Ok(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            give_back(&self.shared, message, 1);
        }
    }
}

fn give_back(shared: &Shared, mut message: Message, counted: u32) {
    message.attributes.delivery_count += counted;
    shared.change(|state| {
        state.pending -= 1;
        state.ready.push_front(message);
    });
}

fn put_later(shared: &Arc<Shared>, delay: Duration, message: Message) {
    let (shared, delay) = (Arc::clone(shared), delay.min(LONGEST_DELAY));
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        shared.change(|state| {
            state.pending -= 1;
            state.ready.push_back(message);
        });
    });
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nightread_domain::{Attributes, Lane, Stage};

    use super::*;

    fn messages(count: u8) -> Vec<Message> {
        (0..count)
            .map(|n| Message { body: Bytes::from(vec![n]), attributes: Attributes::for_lane(Lane::Ingest) })
            .collect()
    }

    fn failure() -> JobError {
        JobError::new(Stage::Fetch, ErrorCode::StorageUnavailable, "away")
    }

    #[tokio::test]
    async fn a_dropped_delivery_comes_again_and_is_counted() {
        let mut queue = MemoryQueue::new(messages(1));
        drop(queue.next().await.expect("no session to lose").expect("one message"));
        let again = queue.next().await.expect("no session to lose").expect("the same message");
        assert_eq!(again.message.attributes.delivery_count, 1);
        again.settlement.settle(Disposition::Done).await.expect("settled");
        assert!(queue.next().await.expect("no session to lose").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_waits_and_counts_an_attempt_and_a_postponement_does_not() {
        let mut queue = MemoryQueue::new(messages(1));
        let delay = Duration::from_secs(3);
        let first = queue.next().await.expect("open").expect("one message");
        first.settlement.settle(Disposition::RetryAfter { delay, error: failure() }).await.expect("settled");
        let started = tokio::time::Instant::now();
        let second = queue.next().await.expect("open").expect("the retry");
        assert!(started.elapsed() >= delay);
        assert_eq!(second.message.attributes.attempt, 1);
        let (delay, started) = (Duration::from_mins(5), tokio::time::Instant::now());
        second
            .settlement
            .settle(Disposition::Postpone { delay, error: failure(), refused_since: Some(7) })
            .await
            .expect("settled");
        let third = queue.next().await.expect("open").expect("the postponed one");
        assert_eq!(third.message.attributes.attempt, 1);
        assert!(started.elapsed() < delay, "nobody is kept waiting for minutes");
        assert_eq!(third.message.attributes.refused_since, Some(7));
        third.settlement.settle(Disposition::DeadLetter { error: failure() }).await.expect("settled");
        assert!(queue.next().await.expect("open").is_none());
        assert_eq!(queue.dead_letters()[0].1, ErrorCode::StorageUnavailable);
    }

    #[tokio::test]
    async fn a_split_message_becomes_its_parts() {
        let mut queue = MemoryQueue::new(messages(1));
        let whole = queue.next().await.expect("open").expect("one message");
        whole.settlement.settle(Disposition::Split(messages(3))).await.expect("settled");
        for _ in 0..3 {
            let part = queue.next().await.expect("open").expect("a part");
            part.settlement.settle(Disposition::Done).await.expect("settled");
        }
        assert!(queue.next().await.expect("open").is_none());
    }
}
