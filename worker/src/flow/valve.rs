//! Whether deliveries are taken. Whoever finds that work would be in vain holds a [`Pause`]; while anybody holds one,
//! nothing is taken, and what was not begun goes back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Why nothing is taken. The label of `nightread_paused`, so a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseReason {
    /// Sources cannot be read, or results cannot be stored.
    Storage,
    /// The broker takes no messages: result events, retries, dead letters.
    Publishing,
    /// No archive takes results.
    Archives,
}

impl PauseReason {
    pub const ALL: [Self; 3] = [Self::Storage, Self::Publishing, Self::Archives];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Publishing => "publishing",
            Self::Archives => "archives",
        }
    }
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    held: BTreeMap<u64, (PauseReason, String)>,
}

/// Open while nobody holds a pause. Clones are one valve.
#[derive(Clone)]
pub struct Valve {
    state: Arc<watch::Sender<State>>,
}

impl Default for Valve {
    fn default() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::default())) }
    }
}

impl fmt::Debug for Valve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Valve").field(&self.reasons()).finish()
    }
}

/// Keeps a valve closed until it is dropped.
#[must_use]
#[derive(Debug)]
pub struct Pause {
    valve: Valve,
    number: u64,
}

impl Valve {
    /// Closes it. `why` is for people: a clause that can follow "nothing is taken:".
    pub fn pause(&self, reason: PauseReason, why: impl Into<String>) -> Pause {
        let (mut number, why) = (0, why.into());
        self.state.send_modify(|state| {
            number = state.next;
            state.next += 1;
            state.held.insert(number, (reason, why));
        });
        Pause { valve: self.clone(), number }
    }

    pub fn is_open(&self) -> bool {
        self.state.borrow().held.is_empty()
    }

    /// Each reason there is now, once, with the words of the first who gave it.
    pub fn reasons(&self) -> BTreeMap<PauseReason, String> {
        let mut reasons = BTreeMap::new();
        for (reason, why) in self.state.borrow().held.values() {
            reasons.entry(*reason).or_insert_with(|| why.clone());
        }
        reasons
    }

    /// Waits until it is open; at once when it is.
    pub async fn opened(&self) {
        // The sender lives as long as this valve.
        let _ = self.state.subscribe().wait_for(|state| state.held.is_empty()).await;
    }

    /// Waits until it is closed; at once when it is.
    pub async fn closed(&self) {
        let _ = self.state.subscribe().wait_for(|state| !state.held.is_empty()).await;
    }

    /// Calls `tell` with the reasons there are, now and after every change, for ever.
    pub async fn follow(&self, mut tell: impl FnMut(&BTreeMap<PauseReason, String>)) {
        let mut changes = self.state.subscribe();
        loop {
            changes.borrow_and_update();
            tell(&self.reasons());
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.valve.state.send_modify(|state| {
            state.held.remove(&self.number);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_open_again_only_when_the_last_pause_is_dropped() {
        let valve = Valve::default();
        valve.opened().await;
        let first = valve.pause(PauseReason::Storage, "storage does not answer");
        let second = valve.pause(PauseReason::Storage, "nor does the other account");
        let third = valve.clone().pause(PauseReason::Publishing, "no exchange");
        valve.closed().await;
        drop(first);
        let reasons: Vec<_> = valve.reasons().into_iter().collect();
        assert_eq!(
            reasons,
            [
                (PauseReason::Storage, "nor does the other account".to_owned()),
                (PauseReason::Publishing, "no exchange".to_owned())
            ]
        );
        drop(third);
        assert!(!valve.is_open());
        drop(second);
        valve.opened().await;
        assert!(valve.is_open() && valve.reasons().is_empty());
    }
}
