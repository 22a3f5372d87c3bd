//! What a report says of all studies together.

use serde::Serialize;

use crate::charts;
use crate::gather::{BINS, Gathered, ModelRun, joined, meaning};

/// The stages that are known, in the order in which a study passes them; others come after.
const STAGES: [&str; 7] = ["fetch", "decode", "preprocess", "queue", "infer", "heatmaps", "segments"];
/// Bars of the chart of studies over time, at most.
const TIME_BARS: i64 = 48;
/// How long a bar of that chart can be, in seconds and in words.
const STEPS: [(i64, &str); 9] = [
    (1, "second"),
    (10, "10 seconds"),
    (60, "minute"),
    (600, "10 minutes"),
    (3600, "hour"),
    (21_600, "6 hours"),
    (86_400, "day"),
    (604_800, "week"),
    (2_592_000, "30 days"),
];
/// Studies that are named under one cause of failure.
const NAMED_FAILURES: usize = 50;

#[derive(Debug, Serialize)]
pub struct Overview {
    total: u64,
    ok: u64,
    failed: u64,
    warned_codes: usize,
    flagged: Option<u64>,
    first: Option<String>,
    last: Option<String>,
    per_hour: Option<String>,
    over_time_svg: Option<String>,
    over_time_step: String,
    models: Vec<ModelRow>,
    warnings: Vec<WarningRow>,
    failures: Vec<FailureRow>,
    distributions: Vec<Distributions>,
    networks: Vec<Networks>,
    stages: Vec<Stages>,
}

#[derive(Debug, Serialize)]
struct ModelRow {
    name: String,
    version: String,
    precision: String,
    study: &'static str,
    ok: u64,
    failed: u64,
    providers: String,
    workers: String,
    weights: String,
}

#[derive(Debug, Serialize)]
struct WarningRow {
    code: String,
    count: u64,
    meaning: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct FailureRow {
    code: &'static str,
    stage: &'static str,
    count: u64,
    meaning: &'static str,
    mend: &'static str,
    studies: Vec<FailedStudy>,
    more: u64,
}

#[derive(Debug, Serialize)]
struct FailedStudy {
    name: String,
    message: String,
    document: Option<String>,
}

/// Of the labels of one model.
#[derive(Debug, Serialize)]
struct Distributions {
    model: String,
    studies: u64,
    labels: Vec<Distribution>,
}

#[derive(Debug, Serialize)]
struct Distribution {
    label: String,
    threshold: String,
    positives: u64,
    share: Option<String>,
    svg: String,
}

/// Components of scans by label.
#[derive(Debug, Serialize)]
struct Networks {
    model: String,
    scans: u64,
    labels: Vec<Network>,
}

#[derive(Debug, Serialize)]
struct Network {
    label: Option<String>,
    components: u64,
    each: String,
}

/// Time by stage of one model.
#[derive(Debug, Serialize)]
struct Stages {
    model: String,
    stages: Vec<StageRow>,
}

#[derive(Debug, Serialize)]
struct StageRow {
    stage: String,
    studies: usize,
    median: String,
    p95: String,
    longest: String,
    is_total: bool,
}

impl Overview {
    pub fn of(gathered: &Gathered) -> Self {
        let models = &gathered.models;
        let (over_time_svg, over_time_step) = over_time(&gathered.read_at);
        let span =
            gathered.read_at.last().zip(gathered.read_at.first()).map_or(0, |(last, first)| last - first);
        Self {
            total: gathered.in_all(),
            ok: models.iter().map(|model| model.ok).sum(),
            failed: models.iter().map(|model| model.failed).sum(),
            warned_codes: gathered.warnings.len(),
            flagged: positive_studies(gathered),
            first: gathered.read_at.first().map(|&at| moment(at)),
            last: gathered.read_at.last().map(|&at| moment(at)),
            per_hour: (span > 0).then(|| number((gathered.read_at.len() - 1) as f64 / span as f64 * 3600.0)),
            over_time_svg,
            over_time_step,
            models: models.iter().map(ModelRow::of).collect(),
            warnings: warnings(gathered),
            failures: failures(gathered),
            distributions: models.iter().filter_map(Distributions::of).collect(),
            networks: models.iter().filter_map(Networks::of).collect(),
            stages: models.iter().filter_map(Stages::of).collect(),
        }
    }
}

/// Radiographs with a positive label; none where rows were left out, or there are none.
fn positive_studies(gathered: &Gathered) -> Option<u64> {
    let whole = gathered.radiographs.len() as u64 == gathered.radiographs_in_all;
    let positive =
        gathered.radiographs.iter().filter(|row| row.findings.iter().any(|finding| finding.positive));
    (whole && gathered.radiographs_in_all > 0).then(|| positive.count() as u64)
}

fn warnings(gathered: &Gathered) -> Vec<WarningRow> {
    let mut rows: Vec<_> = gathered
        .warnings
        .iter()
        .map(|(code, &count)| WarningRow { code: code.clone(), count, meaning: meaning(code) })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

fn failures(gathered: &Gathered) -> Vec<FailureRow> {
    let studies = gathered.radiographs.iter().map(|row| &row.study).chain(&gathered.scans);
    let failed: Vec<_> = studies
        .filter_map(|study| study.failure.as_ref().map(|(cause, said)| (study, *cause, said)))
        .collect();
    let mut rows: Vec<_> = gathered
        .failures
        .iter()
        .map(|(cause, &count)| {
            let of = failed.iter().filter(|(_, its, _)| its == cause).take(NAMED_FAILURES);
            let studies: Vec<_> = of
                .map(|(study, _, said)| FailedStudy {
                    name: study.name.clone(),
                    message: (*said).clone(),
                    document: study.document.clone(),
                })
                .collect();
            FailureRow {
                code: cause.code.as_str(),
                stage: cause.stage.as_str(),
                count,
                meaning: cause.code.meaning(),
                mend: cause.code.mend(),
                more: count - studies.len() as u64,
                studies,
            }
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

/// Studies by the time at which they were read, and how long a bar is.
fn over_time(read_at: &[i64]) -> (Option<String>, String) {
    let (Some(&first), Some(&last)) = (read_at.first(), read_at.last()) else { return (None, String::new()) };
    let widest = (i64::MAX, "");
    let &(seconds, words) =
        STEPS.iter().find(|(seconds, _)| (last - first) / seconds < TIME_BARS).unwrap_or(&widest);
    if seconds == widest.0 || last - first < 2 {
        return (None, String::new());
    }
    let begin = first - first.rem_euclid(seconds);
    let mut counts = vec![0; ((last - begin) / seconds + 1) as usize];
    for at in read_at {
        counts[((at - begin) / seconds) as usize] += 1;
    }
    let begins = (begin..).step_by(seconds as usize);
    let titles: Vec<_> = begins.zip(&counts).map(|(at, count)| format!("{}: {count}", moment(at))).collect();
    let label = format!("Studies read in each {words}");
    (Some(charts::bars(&counts, &titles, None, &label)), words.to_owned())
}

impl ModelRow {
    fn of(model: &ModelRun) -> Self {
        Self {
            name: model.name.clone(),
            version: model.version.clone(),
            precision: model.precision.clone(),
            study: model.task.studies(),
            ok: model.ok,
            failed: model.failed,
            providers: joined(&model.execution_providers),
            workers: joined(&model.workers),
            weights: model.weights_sha256.chars().take(12).collect(),
        }
    }
}

impl Distributions {
    fn of(model: &ModelRun) -> Option<Self> {
        let labels = model.labels.iter().enumerate().map(|(nth, (label, threshold))| {
            let bins = &model.histograms[nth];
            let words = format!("Probabilities of {label} in {} studies, threshold {threshold:.3}", model.ok);
            Distribution {
                label: label.clone(),
                threshold: format!("{threshold:.3}"),
                positives: model.positives[nth],
                share: share(model.positives[nth], model.ok),
                svg: charts::bars(bins, &titles_of(bins), Some(f64::from(*threshold)), &words),
            }
        });
        let labels: Vec<_> = labels.collect();
        (!labels.is_empty()).then(|| Self { model: model.title(), studies: model.ok, labels })
    }
}

fn titles_of(bins: &[u64; BINS]) -> Vec<String> {
    let step = 1.0 / BINS as f64;
    let numbered = bins.iter().enumerate();
    numbered
        .map(|(nth, count)| format!("{:.2} to {:.2}: {count}", nth as f64 * step, (nth + 1) as f64 * step))
        .collect()
}

impl Networks {
    fn of(model: &ModelRun) -> Option<Self> {
        let labels = model.components.iter().map(|(label, &components)| Network {
            label: label.clone(),
            components,
            each: number(components as f64 / model.ok.max(1) as f64),
        });
        let labels: Vec<_> = labels.collect();
        (!labels.is_empty()).then(|| Self { model: model.title(), scans: model.ok, labels })
    }
}

impl StageRow {
    fn of(stage: &str, times: &[f32]) -> Self {
        Self {
            stage: stage.to_owned(),
            studies: times.len(),
            median: milliseconds(quantile(times, 0.5)),
            p95: milliseconds(quantile(times, 0.95)),
            longest: milliseconds(times.last().copied().unwrap_or_default()),
            is_total: stage == "total",
        }
    }
}

impl Stages {
    fn of(model: &ModelRun) -> Option<Self> {
        let mut stages: Vec<_> =
            model.timing_ms.iter().map(|(stage, times)| StageRow::of(stage, times)).collect();
        stages.sort_by_key(|row| {
            let place = STAGES.iter().position(|known| *known == row.stage);
            (row.is_total, place.unwrap_or(STAGES.len()))
        });
        (!stages.is_empty()).then(|| Self { model: model.title(), stages })
    }
}

/// The smallest of ascending values that has at least this share at or below it; 0 of none.
fn quantile(ascending: &[f32], share: f64) -> f32 {
    let rank = (share * ascending.len() as f64).ceil() as usize;
    ascending.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn milliseconds(ms: f32) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}

/// "12.3 %"; none of nothing.
pub(crate) fn share(part: u64, whole: u64) -> Option<String> {
    (whole > 0).then(|| format!("{:.1} %", part as f64 / whole as f64 * 100.0))
}

fn number(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

/// "2026-11-30 09:02:45 UTC".
pub(crate) fn moment(unix: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let at = time::OffsetDateTime::from_unix_timestamp(unix).ok();
    at.and_then(|at| at.format(&format).ok()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_values() {
        let values: Vec<f32> = (1..=100).map(|x| x as f32).collect();
        assert_eq!([0.0, 0.5, 0.95, 1.0].map(|share| quantile(&values, share)), [1.0, 50.0, 95.0, 100.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(quantile(&[7.0], 0.95), 7.0);
    }

    #[test]
    fn every_study_is_in_a_bar_of_time() {
        let (svg, words) = over_time(&[0, 3599, 3600, 7200, 90_000]);
        assert_eq!(words, "hour");
        assert!(svg.expect("a chart").contains("1970-01-01 00:00:00 UTC: 2"));
        assert!(over_time(&[5]).0.is_none() && over_time(&[]).0.is_none());
        assert!(over_time(&[0, 4_000_000_000]).0.is_none());
    }
}
