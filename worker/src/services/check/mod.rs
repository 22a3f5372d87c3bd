//! `nightread check`: what a command would stumble over, before it is started. Every problem at once, secrets redacted.

mod engine;
mod outside;
mod ports;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::engine::Engine;
use self::outside::Outside;
use super::{assemble, backlog, deliver, relay, webhook, worker};
use crate::adapters::amqp::Rights;
use crate::app::require_broker;
use crate::cli::check::Purpose;
use crate::console::table::table;
use crate::settings::{Problems, RawSettings, Settings, doubts};

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Run => "run",
            Self::Relay => "relay",
            Self::Assemble => "assemble",
            Self::Deliver => "deliver",
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
            Self::Assemble => Rights::of_who_assembles(),
            Self::Deliver => Rights::of_who_delivers(),
            Self::Backlog => Rights::of_the_backlog(),
        }
    }

    /// What the command would refuse to start without.
    fn require(self, settings: &Settings, problems: &mut Problems) {
        match self {
            Self::Process => {}
            Self::Run => worker::require(settings, problems),
            Self::Relay => relay::require(settings, problems),
            Self::Assemble => assemble::require(settings, problems),
            Self::Deliver => deliver::require(settings, problems),
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
/// else that needs their broker, else `process`. An archive tells nothing: workers name it too.
fn purposes(settings: &Settings) -> Vec<Purpose> {
    let mut found = Vec::new();
    if settings.relay.is_some() {
        found.push(Purpose::Relay);
    }
    if settings.assemble.is_some() {
        found.push(Purpose::Assemble);
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
pub(crate) struct CheckReport {
    raw: RawSettings,
    purposes: Vec<Purpose>,
    engine: Engine,
    outside: Outside,
    pub problems: Problems,
    doubts: Vec<String>,
}

impl CheckReport {
    /// Of settings as they were read, with the problems that were found then; for `purposes`, or what they are for.
    pub fn new(raw: RawSettings, problems: Problems, purposes: Vec<Purpose>) -> Self {
        Self {
            doubts: doubts::of(&raw),
            raw,
            purposes,
            engine: Engine::default(),
            outside: Outside::default(),
            problems,
        }
    }

    /// What the commands would refuse to start without.
    pub fn look_at_settings(&mut self, settings: &Settings) {
        if self.purposes.is_empty() {
            self.purposes = purposes(settings);
        }
        let mut missing = Problems::default();
        for purpose in &self.purposes {
            purpose.require(settings, &mut missing);
        }
        for problem in missing.iter() {
            if !self.problems.iter().any(|told| told == problem) {
                self.problems.add(problem);
            }
        }
    }

    /// Runtime, models and descriptors. Blocks for seconds, and unless `offline` for as long as models of a registry take to come.
    pub fn look_at_this_machine(&mut self, settings: &Settings, offline: bool) {
        let mut found = Problems::default();
        if self.purposes.iter().any(|purpose| purpose.opens_models()) {
            self.engine = Engine::look(settings, offline, &mut found);
        } else if self.purposes.contains(&Purpose::Deliver) {
            deliver::look_at_manifests(settings, offline, &mut found);
        }
        if self.purposes.contains(&Purpose::Run)
            && let Err(error) = worker::descriptors::claim(settings)
        {
            found.add(error.message);
        }
        self.problems.extend(found.iter().map(str::to_owned));
    }

    /// Broker, storage, ports, Azure Monitor and the receiver of metrics, as the commands would sign in to them; `runtime` ends with it.
    pub fn look_outside(&mut self, settings: &Settings, runtime: Runtime) {
        let opened = self.engine.opened();
        self.outside = Outside::look(settings, &self.purposes, opened, &mut self.problems, runtime);
    }

    pub fn as_text(&self) -> String {
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

    pub fn as_json(&self) -> Value {
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
