//! The constants that Bicep and Terraform deploy: autoscale rules, capacities, drain.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The settings file that the fleet is deployed from, as it was when this program was built.
pub const DEPLOYED: &str = include_str!("../../../../infra/shared/settings.json");

/// What a simulation needs of `infra/shared/settings.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Constants {
    pub autoscale: Autoscale,
    pub shapes: BTreeMap<String, Shape>,
    pub drain: Drain,
    pub metrics: Metrics,
    #[serde(default)]
    pub kubernetes: Kubernetes,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Autoscale {
    pub profile_start_hours: StartHours,
    pub regular: Rules,
    pub spot: Rules,
}

/// Hours of the day at which the profiles begin; each lasts until the other begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct StartHours {
    pub day: u64,
    pub night: u64,
}

/// The rules of one scale set.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub struct Rules {
    pub scale_out: Rule,
    pub scale_in: Rule,
}

/// One rule: above (out) or below (in) `threshold` on average over `window`, `instances` more or fewer.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub struct Rule {
    /// Seconds of work per worker.
    pub threshold_seconds_per_worker: f64,
    pub window_minutes: u64,
    pub instances: usize,
    pub cooldown_minutes: u64,
}

impl Rule {
    pub(super) fn window(&self) -> Duration {
        Duration::from_secs(60 * self.window_minutes)
    }

    pub(super) fn cooldown(&self) -> Duration {
        Duration::from_secs(60 * self.cooldown_minutes)
    }
}

/// Capacities of the two scale sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Shape {
    pub regular: Capacities,
    pub spot: Capacities,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Capacities {
    pub day: Capacity,
    pub night: Capacity,
}

/// Bounds of the number of instances, and what it goes to when the metric is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Capacity {
    pub minimum: usize,
    pub default: usize,
    pub maximum: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    pub deadline_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    pub publish_interval_seconds: u64,
}

/// What a horizontal pod autoscaler and KEDA have beside the rules, which they share with scale sets.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub struct Kubernetes {
    /// A ratio of work to target so near to 1 changes nothing.
    pub tolerance: f64,
    /// Between two looks of the autoscaler.
    pub sync_seconds: u64,
    /// From the last work to no replica at all, where none is the least.
    pub cooldown_seconds: u64,
    /// The rules' instances are added within so long.
    pub scale_up_period_seconds: u64,
}

impl Default for Kubernetes {
    /// Kubernetes' and KEDA's own, and a minute for a step: for settings files from before there was Kubernetes.
    fn default() -> Self {
        Self { tolerance: 0.1, sync_seconds: 15, cooldown_seconds: 300, scale_up_period_seconds: 60 }
    }
}

impl Constants {
    /// Reads a settings file and checks that its rules can be simulated.
    pub fn parse(text: &str) -> Result<Self, String> {
        let constants: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match constants.problem() {
            Some(problem) => Err(problem),
            None => Ok(constants),
        }
    }

    /// What Azure would refuse or what would never end.
    pub fn problem(&self) -> Option<String> {
        for (set, rules) in [("regular", &self.autoscale.regular), ("spot", &self.autoscale.spot)] {
            let (out, back) = (&rules.scale_out, &rules.scale_in);
            if back.threshold_seconds_per_worker >= out.threshold_seconds_per_worker {
                return Some(format!(
                    "autoscale.{set}: the threshold of scaleIn must be below that of scaleOut"
                ));
            }
            for (name, rule) in [("scaleOut", out), ("scaleIn", back)] {
                if rule.window_minutes < 5 || rule.instances == 0 || rule.cooldown_minutes == 0 {
                    return Some(format!(
                        "autoscale.{set}.{name}: a window of 5 minutes, 1 instance and a cooldown of 1 minute are the least"
                    ));
                }
            }
        }
        for (name, shape) in &self.shapes {
            for capacity in [shape.regular.day, shape.regular.night, shape.spot.day, shape.spot.night] {
                if capacity.minimum > capacity.maximum || capacity.default > capacity.maximum {
                    return Some(format!("shapes.{name}: minimum and default must not be above maximum"));
                }
            }
        }
        let hours = self.autoscale.profile_start_hours;
        if hours.day > 23 || hours.night > 23 || hours.day == hours.night {
            return Some(
                "autoscale.profileStartHours: two different hours from 0 to 23 are expected".to_owned(),
            );
        }
        let Kubernetes { tolerance, sync_seconds, scale_up_period_seconds, .. } = self.kubernetes;
        if !(0.0..1.0).contains(&tolerance) || sync_seconds == 0 || scale_up_period_seconds == 0 {
            return Some(
                "kubernetes: a tolerance from 0 to below 1 and times of at least 1 s are expected".to_owned(),
            );
        }
        (self.metrics.publish_interval_seconds == 0)
            .then(|| "metrics.publishIntervalSeconds: at least 1 is expected".to_owned())
    }
}

impl StartHours {
    /// Whether the day profile holds at this time of day.
    pub(super) fn is_day(self, time_of_day: Duration) -> bool {
        let hour = time_of_day.as_secs() / 3600 % 24;
        hours_since(self.day, hour) < hours_since(self.night, hour)
    }
}

/// From one hour of the day on to another.
fn hours_since(start: u64, hour: u64) -> u64 {
    (hour + 24 - start) % 24
}

impl Capacities {
    pub(super) fn at(&self, is_day: bool) -> Capacity {
        if is_day { self.day } else { self.night }
    }
}
