//! `nightread check`: what a command would stumble over, before it is started. Every problem at once, secrets redacted.

mod engine;
mod outside;
mod ports;

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use self::engine::Engine;
use self::outside::Outside;
use super::{backlog, relay, webhook, worker};
use crate::adapters::amqp::Rights;
use crate::app;
use crate::app::require_broker;
use crate::cli::check::Purpose;
use crate::cli::{CheckArgs, Format};
use crate::console::table::table;
use crate::console::{FAILED, print};
use crate::settings::{Problems, RawSettings, Settings, doubts};

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Run => "run",
            Self::Relay => "relay",
            Self::Announce => "announce",
            Self::Backlog => "backlog",
            Self::Webhook => "webhook",
        }
    }

    fn opens_models(self) -> bool {
        matches!(self, Self::Process | Self::Run)
    }

    /// What it does with the broker.
    fn rights(self) -> Rights {
        match self {
            Self::Process => Rights::default(),
            Self::Run => Rights::of_a_worker(),
            Self::Relay | Self::Announce | Self::Webhook => Rights::of_who_announces(),
            Self::Backlog => Rights::of_the_backlog(),
        }
    }

    /// What the command would refuse to start without.
    fn require(self, settings: &Settings, problems: &mut Problems) {
        match self {
            Self::Process => {}
            Self::Run => worker::require(settings, problems),
            Self::Relay => relay::require(settings, problems),
            Self::Webhook => webhook::require(settings, problems),
            Self::Announce => require_broker(settings, problems),
            Self::Backlog => {
                require_broker(settings, problems);
                backlog::require(settings, problems);
            }
        }
    }
}

/// What settings are for, where nobody says it: the bridges that they describe, and the service where they have routes or nothing
/// else that needs their broker, else `process`.
fn purposes(settings: &Settings) -> Vec<Purpose> {
    let mut found = Vec::new();
    if settings.relay.is_some() {
        found.push(Purpose::Relay);
    }
    if settings.webhook.is_some() {
        found.push(Purpose::Webhook);
    }
    if settings.backlog.management_url.is_some() {
        found.push(Purpose::Backlog);
    }
    match &settings.broker {
        Some(_) if found.is_empty() || !settings.routing.rules.is_empty() => found.push(Purpose::Run),
        None if found.is_empty() => found.push(Purpose::Process),
        _ => {}
    }
    found
}

/// Everything that was looked at.
struct CheckReport {
    raw: RawSettings,
    purposes: Vec<Purpose>,
    engine: Engine,
    outside: Outside,
    problems: Problems,
    doubts: Vec<String>,
}

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let (raw, settings, mut problems) = app::settings(&args.common, &[]);
    let mut report = CheckReport {
        doubts: doubts::of(&raw),
        raw,
        purposes: args.purpose.clone(),
        engine: Engine::default(),
        outside: Outside::default(),
        problems: Problems::default(),
    };
    if let Some(settings) = &settings {
        if report.purposes.is_empty() {
            report.purposes = purposes(settings);
        }
        let mut missing = Problems::default();
        for purpose in &report.purposes {
            purpose.require(settings, &mut missing);
        }
        for problem in missing.iter() {
            if !problems.iter().any(|told| told == problem) {
                problems.add(problem);
            }
        }
        if report.purposes.iter().any(|purpose| purpose.opens_models()) {
            report.engine = Engine::look(settings, &mut report.problems);
        }
        if report.purposes.contains(&Purpose::Run)
            && let Err(error) = worker::descriptors::claim(settings)
        {
            report.problems.add(error.message);
        }
        if !args.offline {
            let opened = report.engine.opened();
            report.outside = Outside::look(settings, &report.purposes, opened, &mut report.problems)?;
        }
    }
    problems.extend(report.problems.iter().map(str::to_owned));
    report.problems = problems;
    match args.format {
        Format::Table => print(&report.as_text())?,
        Format::Json => print(&serde_json::to_string_pretty(&report.as_json())?)?,
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

impl CheckReport {
    fn as_text(&self) -> String {
        let mut rows = table(["setting", "value", "from", "variable"]);
        for (key, shown, origin) in self.raw.shown() {
            let name = format!("[{}] {}", key.section, key.name);
            rows.add_row([name, shown, origin.to_string(), key.variable()]);
        }
        let purposes: Vec<_> = self.purposes.iter().map(|purpose| purpose.as_str()).collect();
        let mut found = table(["looked at", "found"]);
        found.add_row(["for".to_owned(), purposes.join(", ")]);
        for (what, said) in self.engine.rows().into_iter().chain(self.outside.rows()) {
            found.add_row([what, said]);
        }
        let doubts = self.doubts.iter().map(|doubt| format!("warning: {doubt}"));
        let problems = self.problems.iter().map(|problem| format!("problem: {problem}"));
        let mut told: Vec<_> = doubts.chain(problems).collect();
        if self.problems.is_empty() {
            told.push("no problems".to_owned());
        }
        format!("{rows}\n{found}\n{}", told.join("\n"))
    }

    fn as_json(&self) -> Value {
        let settings: Vec<_> = self
            .raw
            .shown()
            .into_iter()
            .map(|(key, shown, origin)| {
                json!({
                    "section": key.section,
                    "name": key.name,
                    "value": shown,
                    "from": origin.to_string(),
                    "variable": key.variable(),
                    "help": key.help,
                })
            })
            .collect();
        let purposes: Vec<_> = self.purposes.iter().map(|purpose| purpose.as_str()).collect();
        json!({
            "for": purposes,
            "settings": settings,
            "runtime": self.engine.runtime_json(),
            "models": self.engine.models_json(),
            "outside": self.outside.as_json(),
            "warnings": self.doubts,
            "problems": self.problems.iter().collect::<Vec<_>>(),
        })
    }
}
