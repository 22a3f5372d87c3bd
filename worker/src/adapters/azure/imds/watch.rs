//! Asks again and again, until something is about to end this machine; and says in the end that it may.

use std::time::Duration;

use nightread_domain::JobError;
use time::OffsetDateTime;

use super::event::{Event, EventKind, EventSource};
use crate::telemetry::metrics;

/// An eviction is announced some thirty seconds ahead.
const EVERY: Duration = Duration::from_secs(1);

/// While the service fails; a question each second would not heal it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Tries to approve; an event that nobody approves begins at its time.
const APPROVALS: u32 = 3;

/// This worker's end, announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub event_id: String,
    pub kind: EventKind,
    pub not_before: Option<OffsetDateTime>,
}

/// Watches over one machine.
#[derive(Debug)]
pub struct EvictionWatch<S> {
    source: S,
}

impl<S: EventSource> EvictionWatch<S> {
    pub fn new(source: S) -> Self {
        Self { source }
    }

    /// Waits, for ever if need be, for an event that ends this worker. Failures are told once, and once when they end.
    pub async fn notice(&self) -> Notice {
        let mut failing = false;
        let mut wait = EVERY;
        let mut name = None;
        let mut past = None;
        loop {
            match self.look(&mut name, &mut past).await {
                Ok(notice) => {
                    metrics::events_asked(true);
                    if failing {
                        tracing::info!("the instance metadata service answers again");
                    }
                    (failing, wait) = (false, EVERY);
                    if let Some(notice) = notice {
                        metrics::event_announced(notice.kind.as_str());
                        return notice;
                    }
                }
                Err(error) => {
                    metrics::events_asked(false);
                    if !failing {
                        tracing::warn!(%error, "evictions are not announced just now; asking on");
                    }
                    failing = true;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Says that every event that ends this machine, and no other, may begin: nothing is in flight any more. One that is
    /// also about other machines is theirs to approve, or its time's.
    pub async fn approve(&self, notice: &Notice) -> Result<(), JobError> {
        let mut tries = 1;
        loop {
            match self.approve_once(notice).await {
                Ok(()) => return Ok(()),
                Err(error) if tries == APPROVALS => return Err(error),
                Err(_) => tokio::time::sleep(EVERY).await,
            }
            tries += 1;
        }
    }

    async fn approve_once(&self, notice: &Notice) -> Result<(), JobError> {
        let name = self.source.name().await?;
        for event in self.source.events().await? {
            let alone = event.resources.iter().all(|resource| resource.eq_ignore_ascii_case(&name));
            if !is_the_end_of(&event, &name) || event.started {
                continue;
            }
            if alone {
                self.source.approve(&event.id).await?;
                tracing::info!(kind = event.kind.as_str(), "approved: nothing is in flight any more");
            } else {
                tracing::info!(kind = event.kind.as_str(), "not approved: it is about other machines too");
            }
            if event.id != notice.event_id {
                tracing::info!("another event was announced meanwhile");
            }
        }
        Ok(())
    }

    /// `past`: restarts that were under way at the first look. The service lists them on for a while, and this worker comes
    /// from them: it would end again and again.
    async fn look(
        &self,
        name: &mut Option<String>,
        past: &mut Option<Vec<String>>,
    ) -> Result<Option<Notice>, JobError> {
        let own = match name {
            Some(own) => own,
            None => name.insert(self.source.name().await?),
        };
        let events = self.source.events().await?;
        let under_way = events.iter().filter(|event| event.started && event.kind.comes_back());
        let past = past.get_or_insert_with(|| under_way.map(|event| event.id.clone()).collect());
        let ending = events.into_iter().find(|event| is_the_end_of(event, own) && !past.contains(&event.id));
        Ok(ending.map(|event| Notice { event_id: event.id, kind: event.kind, not_before: event.not_before }))
    }
}

fn is_the_end_of(event: &Event, name: &str) -> bool {
    event.kind.ends_the_worker() && event.resources.iter().any(|resource| resource.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Mutex, PoisonError};

    use async_trait::async_trait;
    use nightread_domain::{ErrorCode, Stage};
    use tokio::time::Instant;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    /// What the service says from when on; the last one stays.
    type Step = (Duration, Result<Vec<Event>, Duration>);

    #[derive(Debug)]
    struct Script {
        start: Instant,
        steps: Mutex<VecDeque<Step>>,
        asked: Mutex<Vec<Instant>>,
        approved: Mutex<Vec<String>>,
        name_fails: Mutex<u32>,
    }

    impl Script {
        fn new(steps: impl IntoIterator<Item = Step>) -> Self {
            Self {
                start: Instant::now(),
                steps: Mutex::new(steps.into_iter().collect()),
                asked: Mutex::default(),
                approved: Mutex::default(),
                name_fails: Mutex::default(),
            }
        }

        fn now(&self) -> Result<Vec<Event>, Duration> {
            let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            while steps.len() > 1 && self.start.elapsed() >= steps[1].0 {
                steps.pop_front();
            }
            steps[0].1.clone()
        }
    }

    fn gone() -> JobError {
        JobError::new(Stage::Start, ErrorCode::Internal, "scripted")
    }

    #[async_trait]
    impl EventSource for &Script {
        async fn name(&self) -> Result<String, JobError> {
            let mut fails = self.name_fails.lock().expect("a script");
            if *fails > 0 {
                *fails -= 1;
                return Err(gone());
            }
            Ok("workers_3".to_owned())
        }

        async fn events(&self) -> Result<Vec<Event>, JobError> {
            self.asked.lock().expect("a script").push(Instant::now());
            match self.now() {
                Ok(events) => Ok(events),
                // It fails after this time.
                Err(late) => {
                    tokio::time::sleep(late).await;
                    Err(gone())
                }
            }
        }

        async fn approve(&self, event_id: &str) -> Result<(), JobError> {
            self.approved.lock().expect("a script").push(event_id.to_owned());
            Ok(())
        }
    }

    fn event(kind: EventKind, resources: &[&str]) -> Event {
        Event {
            id: format!("{}-{}", kind.as_str(), resources.len()),
            kind,
            resources: resources.iter().map(ToString::to_string).collect(),
            started: false,
            not_before: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_that_ends_the_machine_is_noticed_and_a_freeze_is_not() {
        for kind in [EventKind::Preempt, EventKind::Terminate, EventKind::Reboot, EventKind::Redeploy] {
            let script = Script::new([
                (
                    Duration::ZERO,
                    Ok(vec![event(EventKind::Freeze, &["workers_3"]), event(kind, &["workers_4"])]),
                ),
                (Duration::from_mins(1), Ok(vec![event(kind, &["workers_4"]), event(kind, &["WORKERS_3"])])),
            ]);
            let notice = EvictionWatch::new(&script).notice().await;
            assert_eq!((notice.kind, script.start.elapsed().as_secs()), (kind, 60));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_restart_that_this_worker_comes_from_does_not_end_it_again() {
        let mut past = event(EventKind::Reboot, &["workers_3"]);
        past.started = true;
        let mut next = event(EventKind::Reboot, &["workers_3"]);
        next.id = "next".to_owned();
        let script = Script::new([
            (Duration::ZERO, Ok(vec![past.clone()])),
            (Duration::from_mins(1), Ok(vec![past, next])),
        ]);
        let notice = EvictionWatch::new(&script).notice().await;
        assert_eq!((notice.event_id.as_str(), script.start.elapsed().as_secs()), ("next", 60));
    }

    #[tokio::test(start_paused = true)]
    async fn the_asking_goes_on_through_a_day_of_silence_and_a_day_of_failures() {
        let script = Script::new([
            (Duration::ZERO, Ok(Vec::new())),
            (DAY, Err(Duration::from_secs(150))),
            (DAY * 2, Ok(Vec::new())),
            (DAY * 2 + Duration::from_hours(1), Ok(vec![event(EventKind::Preempt, &["workers_3"])])),
        ]);
        *script.name_fails.lock().expect("a script") = 5;
        EvictionWatch::new(&script).notice().await;
        let noticed = script.start.elapsed();
        assert!(noticed <= DAY * 2 + Duration::from_secs(3601), "{noticed:?}");
        let asked = script.asked.lock().expect("a script");
        let longest = asked.windows(2).map(|pair| pair[1] - pair[0]).max().expect("asked often");
        assert!(
            longest < Duration::from_secs(200),
            "a day without a question switches the service off: {longest:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_about_this_machine_alone_is_approved() {
        let mut begun = event(EventKind::Reboot, &["workers_3"]);
        begun.started = true;
        let script = Script::new([(
            Duration::ZERO,
            Ok(vec![
                event(EventKind::Terminate, &["workers_3"]),
                event(EventKind::Reboot, &["workers_3", "workers_4"]),
                event(EventKind::Preempt, &["workers_4"]),
                event(EventKind::Freeze, &["workers_3"]),
                begun,
            ]),
        )]);
        *script.name_fails.lock().expect("a script") = 2;
        let notice =
            Notice { event_id: "terminate-1".to_owned(), kind: EventKind::Terminate, not_before: None };
        EvictionWatch::new(&script).approve(&notice).await.expect("the third try");
        assert_eq!(*script.approved.lock().expect("a script"), ["terminate-1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_approval_that_cannot_be_given_is_an_error_in_the_end() {
        let script = Script::new([(Duration::ZERO, Err(Duration::from_secs(10)))]);
        let notice = Notice { event_id: "x".to_owned(), kind: EventKind::Reboot, not_before: None };
        EvictionWatch::new(&script).approve(&notice).await.expect_err("it never answers");
        assert_eq!(script.asked.lock().expect("a script").len(), 3);
    }
}
