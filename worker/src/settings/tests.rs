use super::raw::Origin;
use super::*;

fn merged(file: &str, environment: &[(&str, &str)]) -> (RawSettings, Problems) {
    let mut problems = Problems::default();
    let lookup =
        |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let raw = RawSettings::merge(Some(file), &lookup, &[], &mut problems);
    (raw, problems)
}

#[test]
fn defaults_are_valid() {
    let (raw, mut problems) = merged("", &[]);
    let settings = Settings::validate(&raw, &mut problems).expect("complete");
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(settings.results_container, "results");
}

#[test]
fn the_environment_beats_the_file_and_the_file_beats_the_default() {
    let (raw, problems) = merged("[limits]\nattempts = 3\njobs = 5", &[("NIGHTREAD_LIMITS_JOBS", "7")]);
    assert!(problems.is_empty(), "{problems}");
    assert_eq!((raw.integer("limits", "attempts"), raw.integer("limits", "jobs")), (Some(3), Some(7)));
    let origin = |name| raw.shown().into_iter().find(|(key, _, _)| key.name == name).map(|row| row.2);
    assert_eq!(origin("attempts"), Some(Origin::File));
    assert_eq!(origin("jobs"), Some(Origin::Environment));
    assert_eq!(origin("pixels"), Some(Origin::Default));
}

#[test]
fn every_problem_is_told_at_once() {
    let file = r#"
        [storage]
        kind = "tape"
        [sources]
        containers = ["results", "In"]
        [limits]
        attempts = "many"
        pixel = 3
        [engine]
        sessions = 0
        [models]
        precision = "fp8"
        [[routes]]
        media = "sound"
        [[routes]]
        media = "scan"
    "#;
    let (raw, mut problems) = merged(file, &[("NIGHTREAD_RESULTS_PUBLISH", "perhaps")]);
    Settings::validate(&raw, &mut problems);
    let told = problems.to_string();
    for part in [
        "kind: folder or azure",
        "feed itself",
        "\"In\"",
        "[limits] attempts",
        "unknown setting [limits] pixel",
        "[engine] sessions",
        "fp32 or int8",
        "media is radiograph or scan",
        "model is missing",
        "[results] publish",
    ] {
        assert!(told.contains(part), "{part:?} is not told in:\n{told}");
    }
}

#[test]
fn secrets_never_show() {
    let url = "amqp://user:hunter2@localhost";
    let (raw, mut problems) = merged("", &[("NIGHTREAD_BROKER_URL", url)]);
    let settings = Settings::validate(&raw, &mut problems).expect("complete");
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(raw.shown().iter().all(|(_, shown, _)| !shown.contains("hunter2")));
    assert_eq!(settings.broker.expect("a broker").url.reveal(), url);
}
