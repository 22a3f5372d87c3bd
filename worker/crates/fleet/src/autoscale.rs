//! Azure Autoscale of one scale set, as documented: bounds first, then out, then in; a cooldown counts from the last
//! action in either direction; an action that would provoke its opposite is made smaller or left.

use std::collections::VecDeque;
use std::time::Duration;

use super::rules::{Capacity, Rules};

/// A metric at one-minute grain.
#[derive(Clone, Debug, Default)]
pub(super) struct Metric {
    points: VecDeque<(Duration, f64)>,
}

/// The longest window that Azure takes.
const LONGEST_WINDOW: Duration = Duration::from_hours(12);

impl Metric {
    pub fn record(&mut self, at: Duration, value: f64) {
        self.points.push_back((at, value));
        while self.points.front().is_some_and(|(then, _)| at.saturating_sub(*then) > LONGEST_WINDOW) {
            self.points.pop_front();
        }
    }

    /// The last point up to `until`.
    pub fn last(&self, until: Duration) -> Option<f64> {
        self.points.iter().rev().find(|(at, _)| *at <= until).map(|(_, value)| *value)
    }

    /// The average over the window that ends at `until`; `None` without a point in it.
    pub fn average(&self, until: Duration, window: Duration) -> Option<f64> {
        let inside = self.points.iter().rev().skip_while(|(at, _)| *at > until);
        let inside = inside.take_while(|(at, _)| *at + window > until).map(|(_, value)| value);
        let (count, sum) = inside.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
        (count > 0).then(|| sum / f64::from(count))
    }
}

/// The state of one autoscale setting.
#[derive(Clone, Debug)]
pub(super) struct Autoscaler {
    rules: Rules,
    last_action: Option<Duration>,
}

impl Autoscaler {
    pub fn new(rules: Rules) -> Self {
        Self { rules, last_action: None }
    }

    /// The number of instances to have from `now` on. Metric points later than `visible` are not known yet.
    pub fn decide(
        &mut self,
        now: Duration,
        visible: Option<Duration>,
        capacity: Capacity,
        count: usize,
        metric: &Metric,
    ) -> usize {
        let target = self.target(now, visible, capacity, count, metric);
        if target != count {
            self.last_action = Some(now);
        }
        target
    }

    fn target(
        &self,
        now: Duration,
        visible: Option<Duration>,
        capacity: Capacity,
        count: usize,
        metric: &Metric,
    ) -> usize {
        let bounded = count.clamp(capacity.minimum, capacity.maximum);
        if bounded != count {
            return bounded;
        }
        let Rules { scale_out, scale_in } = &self.rules;
        let known = visible
            .map(|at| [scale_out.window(), scale_in.window()].map(|window| metric.average(at, window)));
        let Some([Some(recent), Some(longer)]) = known else {
            return count.max(capacity.default);
        };
        if recent > scale_out.threshold_seconds_per_worker {
            if self.has_cooled(now, scale_out.cooldown()) {
                return (count + scale_out.instances).min(capacity.maximum);
            }
            return count;
        }
        if longer < scale_in.threshold_seconds_per_worker && self.has_cooled(now, scale_in.cooldown()) {
            let lowest = count.saturating_sub(scale_in.instances).max(capacity.minimum);
            // The estimate divides by the new count; for none left Azure documents nothing, and it is let go.
            let (total, threshold) = (longer * count as f64, scale_out.threshold_seconds_per_worker);
            return (lowest..=count).find(|fewer| !flaps(total, *fewer, threshold)).unwrap_or(count);
        }
        count
    }

    fn has_cooled(&self, now: Duration, cooldown: Duration) -> bool {
        self.last_action.is_none_or(|last| now >= last + cooldown)
    }
}

/// Whether a metric of this sum over so many fewer instances would have them scaled out again.
fn flaps(total: f64, fewer: usize, threshold: f64) -> bool {
    fewer > 0 && total / fewer as f64 > threshold
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Constants, DEPLOYED};
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const WIDE: Capacity = Capacity { minimum: 0, default: 1, maximum: 20 };

    fn rules() -> Rules {
        let mut rules = Constants::parse(DEPLOYED).expect("sound").autoscale.regular;
        rules.scale_out.threshold_seconds_per_worker = 600.0;
        (rules.scale_out.instances, rules.scale_out.cooldown_minutes, rules.scale_out.window_minutes) =
            (2, 3, 5);
        rules.scale_in.threshold_seconds_per_worker = 60.0;
        (rules.scale_in.instances, rules.scale_in.cooldown_minutes, rules.scale_in.window_minutes) =
            (1, 10, 15);
        rules
    }

    /// The counts after each minute under a constant metric.
    fn counts(value: f64, start: usize, capacity: Capacity, minutes: u32) -> Vec<usize> {
        let (mut scaler, mut metric, mut count) = (Autoscaler::new(rules()), Metric::default(), start);
        (1..=minutes)
            .map(|minute| {
                let now = MINUTE * minute;
                metric.record(now, value);
                count = scaler.decide(now, Some(now), capacity, count, &metric);
                count
            })
            .collect()
    }

    #[test]
    fn out_goes_in_steps_with_its_cooldown_and_stops_at_the_maximum() {
        assert_eq!(counts(601.0, 1, WIDE, 8), [3, 3, 3, 5, 5, 5, 7, 7]);
        assert_eq!(*counts(1e6, 1, WIDE, 60).last().expect("some"), 20);
        assert_eq!(counts(600.0, 1, WIDE, 8), [1; 8], "above, not at, the threshold");
    }

    #[test]
    fn in_waits_longer_and_reaches_none() {
        let counts = counts(0.0, 2, WIDE, 25);
        assert_eq!(counts[0], 1);
        assert_eq!(counts[9], 1);
        assert_eq!(counts[10], 0, "ten minutes after the first");
        assert_eq!(super::tests::counts(60.0, 2, WIDE, 25), [2; 25], "below, not at, the threshold");
    }

    #[test]
    fn bounds_hold_at_once_and_a_missing_metric_goes_up_to_the_default() {
        let narrow = Capacity { minimum: 3, default: 3, maximum: 6 };
        assert_eq!(counts(0.0, 1, narrow, 1), [3]);
        assert_eq!(counts(1e6, 20, narrow, 1), [6]);
        let mut scaler = Autoscaler::new(rules());
        assert_eq!(scaler.decide(MINUTE, Some(MINUTE), WIDE, 0, &Metric::default()), 1);
        assert_eq!(scaler.decide(MINUTE, None, WIDE, 4, &Metric::default()), 4);
    }

    #[test]
    fn a_scale_in_that_would_flap_is_made_smaller_or_left() {
        let mut rules = rules();
        rules.scale_out.threshold_seconds_per_worker = 100.0;
        rules.scale_in.instances = 5;
        let mut metric = Metric::default();
        metric.record(MINUTE, 55.0);
        // 55 x 6 / 4 is below 100, 55 x 6 / 3 is not.
        for (count, decided) in [(6, 4), (2, 0)] {
            let mut scaler = Autoscaler::new(rules);
            assert_eq!(scaler.decide(MINUTE, Some(MINUTE), WIDE, count, &metric), decided);
        }
    }

    #[test]
    fn averages_are_over_the_window_and_over_what_is_known() {
        let mut metric = Metric::default();
        for minute in 1..=10 {
            metric.record(MINUTE * minute, f64::from(minute));
        }
        assert_eq!(metric.average(MINUTE * 10, MINUTE * 5), Some(8.0));
        assert_eq!(metric.average(MINUTE * 9, MINUTE * 5), Some(7.0));
        assert_eq!(metric.average(MINUTE * 2, MINUTE * 5), Some(1.5));
        assert_eq!(metric.average(Duration::ZERO, MINUTE * 5), None);
    }
}
