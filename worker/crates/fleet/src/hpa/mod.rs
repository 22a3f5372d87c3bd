//! Kubernetes' horizontal pod autoscaler (autoscaling/v2) of one deployment, and what KEDA does beside it between none and
//! one. By the source of its controller: replicas from a metric that is a sum over all of them, within a tolerance; then the
//! best of what was recommended within the stabilisation window; then the limits on how fast. Where several limits are given
//! the one that allows most holds, as by default; `selectPolicy` is not modelled.

use std::cmp::Ordering;
use std::time::Duration;

use super::rules::Constants;

#[cfg(test)]
mod tests;

/// How replicas are reckoned and how fast they may change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Policy {
    /// Of the metric, for each replica.
    pub target: f64,
    /// A ratio of usage to target that is so near to 1 changes nothing.
    pub tolerance: f64,
    pub up: Direction,
    pub down: Direction,
    /// KEDA goes from one to none when nothing was active for so long.
    pub cooldown: Duration,
}

/// Up, or down.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Direction {
    pub stabilisation: Duration,
    pub limits: Vec<Limit>,
}

/// So many replicas within a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit {
    pub change: Change,
    pub period: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    Pods(usize),
    #[cfg_attr(not(test), expect(dead_code, reason = "the documents of this project give none"))]
    Percent(f64),
}

impl Policy {
    /// As `infra/kubernetes` has it: the numbers of the rules, in Kubernetes' terms.
    pub fn of(constants: &Constants) -> Self {
        let (rules, kubernetes) = (&constants.autoscale.regular, &constants.kubernetes);
        let up = Limit {
            change: Change::Pods(rules.scale_out.instances),
            period: Duration::from_secs(kubernetes.scale_up_period_seconds),
        };
        let down =
            Limit { change: Change::Pods(rules.scale_in.instances), period: rules.scale_in.cooldown() };
        Self {
            target: rules.scale_out.threshold_seconds_per_worker,
            tolerance: kubernetes.tolerance,
            up: Direction { stabilisation: Duration::ZERO, limits: vec![up] },
            down: Direction { stabilisation: rules.scale_in.window(), limits: vec![down] },
            cooldown: Duration::from_secs(kubernetes.cooldown_seconds),
        }
    }

    /// Replicas for a sum of the metric over all replicas, before anything holds them back. `count` is not 0.
    fn wanted(&self, usage: f64, count: usize) -> usize {
        let ratio = usage / (self.target * count as f64);
        if (ratio - 1.0).abs() <= self.tolerance { count } else { (usage / self.target).ceil() as usize }
    }
}

/// The state of one autoscaler.
#[derive(Clone, Debug)]
pub(super) struct Hpa {
    policy: Policy,
    recommendations: Vec<(Duration, usize)>,
    added: Vec<(Duration, usize)>,
    removed: Vec<(Duration, usize)>,
    last_active: Duration,
}

impl Hpa {
    pub fn new(policy: Policy) -> Self {
        let (recommendations, added, removed) = (Vec::new(), Vec::new(), Vec::new());
        Self { policy, recommendations, added, removed, last_active: Duration::ZERO }
    }

    /// The number of replicas to have from `now` on. `usage` is the work that waits, in seconds of one replica, as far as it
    /// is known; without it nothing changes.
    pub fn decide(
        &mut self,
        now: Duration,
        (least, most): (usize, usize),
        count: usize,
        usage: Option<f64>,
    ) -> usize {
        let Some(usage) = usage else { return count.clamp(least, most) };
        if usage > 0.0 {
            self.last_active = now;
        }
        // Between none and one KEDA decides; the autoscaler's own least is one.
        if count == 0 {
            return if usage > 0.0 || least > 0 { least.max(1) } else { 0 };
        }
        if least == 0 && usage <= 0.0 && now >= self.last_active + self.policy.cooldown {
            return 0;
        }
        let least = least.max(1);
        if count < least || count > most {
            return count.clamp(least, most);
        }
        let wanted = self.policy.wanted(usage, count);
        let stable = self.stabilised(now, count, wanted);
        let decided = self.limited(now, (least, most), count, stable);
        self.note(now, count, decided);
        decided
    }

    /// Up no further than the lowest of the recent recommendations, down no further than the highest; in between it stays.
    fn stabilised(&mut self, now: Duration, count: usize, wanted: usize) -> usize {
        let [up, down] = [&self.policy.up, &self.policy.down].map(|direction| direction.stabilisation);
        let recent = |window: Duration| {
            let within = self.recommendations.iter().filter(move |(at, _)| is_within(*at, now, window));
            within.map(|(_, recommended)| *recommended).chain([wanted])
        };
        let lowest = recent(up).min().unwrap_or(wanted);
        let highest = recent(down).max().unwrap_or(wanted);
        self.recommendations.retain(|(at, _)| is_within(*at, now, up.max(down)));
        self.recommendations.push((now, wanted));
        count.max(lowest).min(highest)
    }

    /// As far as the bounds and the limits let it go.
    fn limited(&self, now: Duration, (least, most): (usize, usize), count: usize, wanted: usize) -> usize {
        let policy = &self.policy;
        match wanted.cmp(&count) {
            Ordering::Greater => {
                let limits = policy.up.limits.iter();
                let limits = limits.map(|limit| self.start_of(now, limit.period, count).up(limit));
                wanted.min(most).min(limits.max().unwrap_or(most).max(count))
            }
            Ordering::Less => {
                let limits = policy.down.limits.iter();
                let limits = limits.map(|limit| self.start_of(now, limit.period, count).down(limit));
                wanted.max(least).max(limits.min().unwrap_or(least).min(count))
            }
            Ordering::Equal => wanted,
        }
    }

    /// Replicas at the start of a period that ends now.
    fn start_of(&self, now: Duration, period: Duration, count: usize) -> Start {
        let sum = |events: &[(Duration, usize)]| -> usize {
            events.iter().filter(|(at, _)| is_within(*at, now, period)).map(|(_, change)| change).sum()
        };
        Start((count + sum(&self.removed)).saturating_sub(sum(&self.added)))
    }

    fn note(&mut self, now: Duration, count: usize, decided: usize) {
        let longest = |direction: &Direction| direction.limits.iter().map(|limit| limit.period).max();
        let longest = longest(&self.policy.up).max(longest(&self.policy.down)).unwrap_or_default();
        for events in [&mut self.added, &mut self.removed] {
            events.retain(|(at, _)| is_within(*at, now, longest));
        }
        if decided > count {
            self.added.push((now, decided - count));
        } else if decided < count {
            self.removed.push((now, count - decided));
        }
    }
}

/// Whether it was later than the beginning of a window that ends now.
fn is_within(at: Duration, now: Duration, window: Duration) -> bool {
    at + window > now
}

/// Replicas at the start of a period.
#[derive(Clone, Copy, Debug)]
struct Start(usize);

impl Start {
    /// The most that a limit allows at its end.
    fn up(self, limit: &Limit) -> usize {
        match limit.change {
            Change::Pods(pods) => self.0 + pods,
            // Rounded up: a small fleet could not grow otherwise.
            Change::Percent(percent) => (self.0 as f64 * (1.0 + percent / 100.0)).ceil() as usize,
        }
    }

    /// The fewest.
    fn down(self, limit: &Limit) -> usize {
        match limit.change {
            Change::Pods(pods) => self.0.saturating_sub(pods),
            Change::Percent(percent) => (self.0 as f64 * (1.0 - percent / 100.0)).max(0.0) as usize,
        }
    }
}
