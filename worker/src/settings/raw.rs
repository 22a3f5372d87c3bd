//! What was typed: flag over environment over file over default, with every problem collected.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::keys::{self, KEYS, Key, Kind, RENAMED, find, renamed};

/// Where a value came from; told by `nightread check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment,
    File,
    Default,
    /// Nobody set it, and there is no default.
    Unset,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
            Self::Unset => "not set",
        })
    }
}

/// All problems, never just the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    pub fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub fn extend(&mut self, more: impl IntoIterator<Item = String>) {
        self.0.extend(more);
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Merged values, type-checked against the table but not yet against each other.
#[derive(Clone, Debug)]
pub struct RawSettings {
    values: BTreeMap<(&'static str, &'static str), (Value, Origin)>,
    pub routes: Vec<Table>,
    pub targets: Vec<Table>,
}

impl RawSettings {
    /// Merges the three sources. `flags` have their values in the environment's spelling.
    pub fn merge(
        file: Option<&str>,
        environment: &dyn Fn(&str) -> Option<String>,
        flags: &[(Key, String)],
        problems: &mut Problems,
    ) -> Self {
        let mut raw = Self { values: BTreeMap::new(), routes: Vec::new(), targets: Vec::new() };
        let testing = environment(keys::TESTING).is_some_and(|text| text == "1");
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            raw.put_text(key, key.default, Origin::Default, problems);
        }
        if let Some(text) = file {
            raw.put_file(text, testing, problems);
        }
        for key in KEYS.iter().filter(|key| testing || !key.for_tests) {
            // An empty variable is an unset one: unit files cannot leave a variable out.
            if let Some(text) = environment(&key.variable()).filter(|text| !text.is_empty()) {
                raw.put_text(key, &text, Origin::Environment, problems);
            }
        }
        for [section, former, now, name] in RENAMED {
            let variable = keys::variable(section, former);
            if environment(&variable).is_some_and(|text| !text.is_empty()) {
                problems.add(format!("{variable} is called {} now", keys::variable(now, name)));
            }
        }
        for (key, text) in flags {
            raw.put_text(key, text, Origin::Flag, problems);
        }
        raw
    }

    fn put_file(&mut self, text: &str, testing: bool, problems: &mut Problems) {
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return problems.add(format!("the settings file is not TOML: {}", error.message())),
        };
        for (section, value) in table {
            match value {
                Value::Table(entries) => {
                    for (name, value) in entries {
                        match find(&section, &name).filter(|key| testing || !key.for_tests) {
                            Some(key) => self.put(key, value, Origin::File, problems),
                            None => problems.add(unknown(&section, &name)),
                        }
                    }
                }
                Value::Array(rows) if section == "routes" => {
                    put_rows(&mut self.routes, &section, rows, problems);
                }
                Value::Array(rows) if section == "targets" => {
                    put_rows(&mut self.targets, &section, rows, problems);
                }
                _ => problems.add(format!("unknown setting {section}")),
            }
        }
    }

    fn put_text(&mut self, key: &Key, text: &str, origin: Origin, problems: &mut Problems) {
        let integer = text.parse::<i64>().map(Value::Integer).ok();
        let value = match key.kind {
            Kind::Text => Some(Value::String(text.to_owned())),
            Kind::Integer => integer,
            Kind::IntegerOrAuto => integer.or_else(|| Some(Value::String(text.to_owned()))),
            Kind::Boolean => text.parse().map(Value::Boolean).ok(),
            Kind::List => Some(Value::Array(
                text.split(',').map(|part| Value::String(part.trim().to_owned())).collect(),
            )),
        };
        match value {
            Some(value) => self.put(key, value, origin, problems),
            None => problems.add(format!("{key} ({origin}): {}", expected(key.kind))),
        }
    }

    fn put(&mut self, key: &Key, value: Value, origin: Origin, problems: &mut Problems) {
        let sound = match (&value, key.kind) {
            (Value::String(_), Kind::Text) | (Value::Boolean(_), Kind::Boolean) => true,
            (Value::Integer(n), Kind::Integer | Kind::IntegerOrAuto) => *n >= 0,
            (Value::String(word), Kind::IntegerOrAuto) => word == "auto",
            (Value::Array(items), Kind::List) => items.iter().all(Value::is_str),
            _ => false,
        };
        if sound {
            self.values.insert((key.section, key.name), (value, origin));
        } else {
            problems.add(format!("{key} ({origin}): {}", expected(key.kind)));
        }
    }

    pub fn text(&self, key: Key) -> Option<&str> {
        self.value(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Whether a flag gave it.
    pub fn has_flag(&self, key: Key) -> bool {
        self.values.get(&(key.section, key.name)).is_some_and(|(_, origin)| *origin == Origin::Flag)
    }

    /// `None` for `auto`.
    pub fn integer(&self, key: Key) -> Option<u64> {
        self.value(key).and_then(Value::as_integer).and_then(|n| u64::try_from(n).ok())
    }

    pub fn at_least_one(&self, key: Key, problems: &mut Problems) -> u64 {
        let value = self.integer(key).unwrap_or_default();
        if value == 0 {
            problems.add(format!("{key}: at least 1 is expected"));
        }
        value
    }

    pub fn boolean(&self, key: Key) -> bool {
        self.value(key).and_then(Value::as_bool).unwrap_or_default()
    }

    pub fn list(&self, key: Key) -> Vec<String> {
        let items = self.value(key).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn value(&self, key: Key) -> Option<&Value> {
        self.values.get(&(key.section, key.name)).map(|(value, _)| value)
    }

    /// Every setting that is a user's, and what else was set, as `(key, value to show, origin)`, secrets redacted; an empty value for what nobody set.
    pub fn shown(&self) -> Vec<(&'static Key, String, Origin)> {
        let mut rows = Vec::new();
        for key in KEYS {
            let (shown, origin) = match self.values.get(&(key.section, key.name)) {
                Some((value, origin)) => (self.shown_value(key, value), *origin),
                None => (String::new(), Origin::Unset),
            };
            if !key.for_tests || !matches!(origin, Origin::Default | Origin::Unset) {
                rows.push((key, shown, origin));
            }
        }
        rows
    }

    fn shown_value(&self, key: &Key, value: &Value) -> String {
        match value {
            _ if key.secret => REDACTED.to_owned(),
            Value::String(text) => without_secrets(text),
            Value::Array(_) => self.list(*key).join(", "),
            other => other.to_string(),
        }
    }
}

fn put_rows(known: &mut Vec<Table>, section: &str, rows: Vec<Value>, problems: &mut Problems) {
    for row in rows {
        match row {
            Value::Table(row) => known.push(row),
            _ => problems.add(format!("each of [[{section}]] is a table")),
        }
    }
}

const REDACTED: &str = "[redacted]";

/// An address without what may be secret in it: user and password, and the query, where signatures stand.
fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (place, query) = rest.split_once('?').map_or((rest, ""), |(place, _)| (place, REDACTED));
    let (host, path) = place.split_once('/').map_or((place, None), |(host, path)| (host, Some(path)));
    let host =
        host.rsplit_once('@').map_or_else(|| host.to_owned(), |(_, host)| format!("{REDACTED}@{host}"));
    let path = path.map(|path| format!("/{path}")).unwrap_or_default();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{scheme}://{host}{path}{mark}{query}")
}

fn unknown(section: &str, name: &str) -> String {
    match renamed(section, name) {
        Some((room, now)) => format!("[{section}] {name} is called [{room}] {now} now"),
        None => format!("unknown setting [{section}] {name}"),
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a text is expected",
        Kind::Integer => "a whole number of at least 0 is expected",
        Kind::Boolean => "true or false is expected",
        Kind::List => "a list of texts is expected",
        Kind::IntegerOrAuto => "a whole number or \"auto\" is expected",
    }
}
