//! Scenarios that differ in what is tried.

use std::time::Duration;

use crate::cli::simulate::{Knob, Sweep};
use nightread_fleet::{Constants, Rules, Scaling, Scenario};

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
    match scenario.scaling.constants().and_then(Constants::problem) {
        Some(problem) => Err(problem),
        None => Ok(scenario),
    }
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
        (_, Scaling::Rules { constants, .. } | Scaling::Kubernetes { constants, .. }) => {
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
    use crate::cli::simulate::sweep;

    #[test]
    fn every_combination_is_tried_once() {
        let sweeps = [sweep("out=300,600").expect("sound"), sweep("in=30,60,120").expect("sound")];
        let rows = combinations(&sweeps);
        assert_eq!(rows.len(), 6);
        assert_eq!(rows[1], [(Knob::Out, 300.0), (Knob::In, 60.0)]);
        assert_eq!(combinations(&[]), [vec![]], "without a sweep there is one scenario");
    }

    #[test]
    fn what_cannot_be_tried_is_said() {
        for bad in ["out", "colour=1", "out=x", "out=-1"] {
            assert!(sweep(bad).is_err(), "{bad}");
        }
    }
}
