//! The reference pages that are made from the code: codes, settings, metrics, commands, and what the schemas say.

mod commands;
mod schemas;
mod tables;

use std::fmt::Write;

use nightread_domain::{ErrorClass, ErrorCode, WarningCode};

use crate::settings::keys::{Kind, published};
use crate::telemetry::metrics::process;
use crate::telemetry::metrics::table::{self, METRICS, Teller};

/// File name and Markdown text of every page in `worker/docs/reference`.
pub fn pages() -> [(&'static str, String); 9] {
    [
        ("errors.md", errors()),
        ("warnings.md", warnings()),
        ("settings.md", settings()),
        ("metrics.md", metrics()),
        ("commands.md", commands::page()),
        ("result.md", schemas::result()),
        ("comparison.md", schemas::comparison()),
        ("announcement.md", schemas::announcement()),
        ("table.md", tables::page()),
    ]
}

const MADE: &str = "Made by `make reference` from the code; a test holds it current.";

fn errors() -> String {
    let mut text = format!(
        "# Error codes\n\n{MADE}\n\nA code stands in `error.code` of a failed-document, in the log, in the label `code` of metrics and in the header \
         of a dead letter; its text never changes. Classes:\n\n\
         - **transient**: may pass by itself; tried again, then delayed and tried again.\n\
         - **permanent**: fails the same way every time; a failed-document, or a dead letter where the message is at fault.\n\
         - **fatal**: the worker cannot go on; deliveries go back and it ends with the cause.\n\n\
         The class is the usual one; the place where an error is born may know better.\n\n\
         | code | class | meaning | what to do |\n|---|---|---|---|\n"
    );
    for code in ErrorCode::ALL {
        let class = match code.class() {
            ErrorClass::Transient => "transient",
            ErrorClass::Permanent => "permanent",
            ErrorClass::Fatal => "fatal",
        };
        row(&mut text, &[&format!("`{code}`"), class, code.meaning(), code.mend()]);
    }
    text
}

fn warnings() -> String {
    let mut text = format!(
        "# Warning codes\n\n{MADE}\n\nA warning stands in `warnings[]` of a result document beside a reading that was made: the doubt travels with \
         the numbers.\n\n| code | meaning | what to do |\n|---|---|---|\n"
    );
    for code in WarningCode::ALL {
        row(&mut text, &[&format!("`{code}`"), code.meaning(), code.mend()]);
    }
    text
}

fn settings() -> String {
    let mut text = format!(
        "# Settings\n\n{MADE}\n\nA flag wins over the environment, the environment over the file, the file over the default. Secrets are taken from \
         the environment or the file and never shown. `nightread check` prints all of them with their values.\n\n\
         `[[routes]]` tables, in the file alone, say which model reads what. The first that fits wins: `task` (`radiograph` or `components`), `model` (its \
         name) or `models` (the names of several, each of which reads it), and where wanted `container` and `prefix` (the start of the blob's name). A complete \
         file: [deploy a worker](../how-to/deploy.md).\n\n\
         `[[targets]]` tables, in the file alone, name further archives beside that of `[deliver]`: `name` and `archive`, and where wanted `authorization`, `calling_title`, \
         `ca_file`, `seconds`, `read_back` and `objects`; what they leave out is as in `[deliver]`, but for the authorization.\n"
    );
    let mut sections: Vec<&str> = Vec::new();
    for key in published() {
        if !sections.contains(&key.section) {
            sections.push(key.section);
        }
    }
    for section in sections {
        let _infallible = write!(
            text,
            "\n## [{section}]\n\n| name | variable | kind | default | meaning |\n|---|---|---|---|---|\n"
        );
        for key in published().filter(|key| key.section == section) {
            let kind = match key.kind {
                Kind::Text if key.secret => "secret",
                Kind::Text => "text",
                Kind::Integer => "whole number",
                Kind::Boolean => "true or false",
                Kind::List => "list (commas in the environment)",
                Kind::IntegerOrAuto => "whole number or `auto`",
            };
            let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
            row(
                &mut text,
                &[&format!("`{}`", key.name), &format!("`{}`", key.variable()), kind, &default, key.help],
            );
        }
    }
    text
}

fn metrics() -> String {
    let mut text = format!(
        "# Metrics\n\n{MADE}\n\nPrometheus text under `/metrics`. Labels come from closed sets; `code` is an [error code](errors.md). Series of a closed \
         set are there from the start and begin at 0, so that an alert on the first of its kind fires; those with `model` when the models are \
         open. Each command also tells of its own process: {}; children that decode are processes of their own and not in \
         them. Processor time is in whole seconds. Buckets, in seconds:\n\n",
        process::names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    );
    for metric in METRICS {
        if let table::Kind::Histogram(bounds) = metric.kind {
            let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
            let _infallible = writeln!(text, "- `{}`: {}", metric.name, bounds.join(", "));
        }
    }
    for teller in Teller::ALL {
        let command = match teller {
            Teller::Backlog => "backlog --serve",
            other => other.as_str(),
        };
        let _infallible = write!(
            text,
            "\n## nightread {command}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n"
        );
        for metric in METRICS.iter().filter(|metric| metric.told_by.contains(&teller)) {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            row(
                &mut text,
                &[&format!("`{}`", metric.name), metric.kind.as_str(), &labels.join(", "), metric.meaning],
            );
        }
    }
    text
}

fn row(text: &mut String, cells: &[&str]) {
    for cell in cells {
        // An empty cell is `| |`, and a bar inside a cell would end it.
        let gap = if cell.is_empty() { "" } else { " " };
        let _infallible = write!(text, "|{gap}{} ", escaped(cell).replace('|', "\\|"));
    }
    text.push_str("|\n");
}

/// A word in angle brackets would be taken for a tag, but within code.
fn escaped(cell: &str) -> String {
    let parts = cell.split('`').enumerate();
    let parts: Vec<_> =
        parts.map(|(n, part)| if n % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() }).collect();
    parts.join("`")
}
