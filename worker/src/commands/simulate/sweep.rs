//! Scenarios that differ in what is tried.

use std::time::Duration;

use super::args::numbers;
use crate::simulate::{Rules, Scaling, Scenario};

/// `--sweep WHAT=V,V`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    pub knob: Knob,
    pub values: Vec<f64>,
}

/// What can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    Out,
    In,
    OutBy,
    InBy,
    OutCooldown,
    InCooldown,
    OutWindow,
    InWindow,
    Evictions,
    Startup,
    Workers,
}

impl Knob {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Out, "out"),
        (Self::In, "in"),
        (Self::OutBy, "out-by"),
        (Self::InBy, "in-by"),
        (Self::OutCooldown, "out-cooldown"),
        (Self::InCooldown, "in-cooldown"),
        (Self::OutWindow, "out-window"),
        (Self::InWindow, "in-window"),
        (Self::Evictions, "evictions"),
        (Self::Startup, "startup"),
        (Self::Workers, "workers"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(knob, _)| *knob == self).map_or("", |(_, name)| name)
    }
}

pub(super) fn parse(text: &str) -> Result<Sweep, String> {
    let (name, values) = text.split_once('=').ok_or("WHAT=V[,V...] is expected, as in out=300,600")?;
    let Some((knob, _)) = Knob::ALL.into_iter().find(|(_, known)| *known == name) else {
        let known: Vec<_> = Knob::ALL.iter().map(|(_, name)| *name).collect();
        return Err(format!("{name:?} cannot be tried; these can: {}", known.join(", ")));
    };
    let values = numbers(values)?;
    if values.iter().any(|value| !(0.0..=1e9).contains(value)) {
        return Err("values from 0 on are expected".to_owned());
    }
    Ok(Sweep { knob, values })
}

/// Every combination of values, the last sweep changing fastest.
pub(super) fn combinations(sweeps: &[Sweep]) -> Vec<Vec<(Knob, f64)>> {
    sweeps.iter().fold(vec![Vec::new()], |rows, sweep| {
        let extended = rows.iter().flat_map(|row| {
            sweep.values.iter().map(|value| row.iter().copied().chain([(sweep.knob, *value)]).collect())
        });
        extended.collect()
    })
}

/// The scenario with these values; what cannot be simulated is said.
pub(super) fn tried(scenario: &Scenario, values: &[(Knob, f64)]) -> Result<Scenario, String> {
    let mut scenario = scenario.clone();
    for (knob, value) in values {
        turn(&mut scenario, *knob, *value)?;
    }
    if let Scaling::Rules { constants, .. } = &scenario.scaling
        && let Some(problem) = constants.problem()
    {
        return Err(problem);
    }
    Ok(scenario)
}

fn turn(scenario: &mut Scenario, knob: Knob, value: f64) -> Result<(), String> {
    match (knob, &mut scenario.scaling) {
        (Knob::Startup, _) => {
            let startup = Duration::try_from_secs_f64(value).map_err(|error| error.to_string())?;
            scenario.machine.startup = (startup, startup);
        }
        (Knob::Evictions, Scaling::Rules { spot: true, .. }) => scenario.evictions_per_hour = value,
        (Knob::Evictions, _) => return Err("--sweep evictions needs --spot".to_owned()),
        (Knob::Workers, Scaling::Fixed(count)) => *count = value as usize,
        (Knob::Workers, _) => return Err("--sweep workers needs --workers".to_owned()),
        (_, Scaling::Fixed(_)) => return Err(format!("--sweep {}: --workers has no rules", knob.as_str())),
        (_, Scaling::Rules { constants, .. }) => {
            let autoscale = &mut constants.autoscale;
            let before = read(&autoscale.regular, knob);
            write(&mut autoscale.regular, knob, value);
            let spot = read(&autoscale.spot, knob) * if before > 0.0 { value / before } else { 1.0 };
            write(&mut autoscale.spot, knob, spot);
        }
    }
    Ok(())
}

fn read(rules: &Rules, knob: Knob) -> f64 {
    let Rules { scale_out, scale_in } = rules;
    match knob {
        Knob::Out => scale_out.threshold_seconds_per_worker,
        Knob::In => scale_in.threshold_seconds_per_worker,
        Knob::OutBy => scale_out.instances as f64,
        Knob::InBy => scale_in.instances as f64,
        Knob::OutCooldown => scale_out.cooldown_minutes as f64,
        Knob::InCooldown => scale_in.cooldown_minutes as f64,
        Knob::OutWindow => scale_out.window_minutes as f64,
        Knob::InWindow => scale_in.window_minutes as f64,
        Knob::Evictions | Knob::Startup | Knob::Workers => 0.0,
    }
}

fn write(rules: &mut Rules, knob: Knob, value: f64) {
    let Rules { scale_out, scale_in } = rules;
    let whole = value.round() as u64;
    match knob {
        Knob::Out => scale_out.threshold_seconds_per_worker = value,
        Knob::In => scale_in.threshold_seconds_per_worker = value,
        Knob::OutBy => scale_out.instances = whole as usize,
        Knob::InBy => scale_in.instances = whole as usize,
        Knob::OutCooldown => scale_out.cooldown_minutes = whole,
        Knob::InCooldown => scale_in.cooldown_minutes = whole,
        Knob::OutWindow => scale_out.window_minutes = whole,
        Knob::InWindow => scale_in.window_minutes = whole,
        Knob::Evictions | Knob::Startup | Knob::Workers => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_tried_once() {
        let sweeps = [parse("out=300,600").expect("sound"), parse("in=30,60,120").expect("sound")];
        let rows = combinations(&sweeps);
        assert_eq!(rows.len(), 6);
        assert_eq!(rows[1], [(Knob::Out, 300.0), (Knob::In, 60.0)]);
        assert_eq!(combinations(&[]), [vec![]], "without a sweep there is one scenario");
    }

    #[test]
    fn what_cannot_be_tried_is_said() {
        for bad in ["out", "colour=1", "out=x", "out=-1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
