//! Reads a TOML table key by key and notes every problem on the way, so that a person mends a manifest in one go.

use std::path::Path;

use toml::{Table, Value};

use super::Problem;

/// One table of the document: what was read is taken out, what is left at the end is an unknown key.
pub(super) struct Reader<'p> {
    path: String,
    table: Table,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Reader<'p> {
    pub(super) fn new(path: impl Into<String>, table: Table, problems: &'p mut Vec<Problem>) -> Self {
        Self { path: path.into(), table, problems }
    }

    /// The key's full name in the document, for people.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether the key holds a list: `[[key]]`, and not `[key]`.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(Value::is_array)
    }

    /// Whether the key holds a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(Value::is_table)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes a key that has no place here.
    pub(super) fn refuse(&mut self, key: &str, what: &str) {
        if self.table.remove(key).is_some() {
            self.problem(key, what);
        }
    }

    pub(super) fn problem(&mut self, key: &str, what: impl Into<String>) {
        let at = self.at(key);
        self.problems.push(Problem::new(at, what));
    }

    /// A value of the wanted kind, or `None` when the key is absent; another kind is a problem.
    fn take<T>(&mut self, key: &str, kind: &str, convert: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.table.remove(key)?;
        let converted = convert(&value);
        if converted.is_none() {
            let found = match value {
                Value::Table(_) => "a table".to_owned(),
                value => shortened(&value.to_string()),
            };
            self.problem(key, format!("must be {kind}, not {found}"));
        }
        converted
    }

    fn needed<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if !self.table.contains_key(key) {
            self.problem(key, "is missing");
        }
        read(self)
    }

    pub(super) fn text_if(&mut self, key: &str) -> Option<String> {
        let text = self.take(key, "a string", as_text)?;
        if text.trim().is_empty() {
            self.problem(key, "is empty");
            return None;
        }
        Some(text)
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.needed(key, |reader| reader.text_if(key))
    }

    /// One of a closed set of words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.problem(key, format!("must be one of {}, not {text:?}", names.join(", ")));
        }
        found
    }

    /// A string that may be empty.
    pub(super) fn any_text(&mut self, key: &str) -> Option<String> {
        self.needed(key, |reader| reader.take(key, "a string", as_text))
    }

    pub(super) fn flag_if(&mut self, key: &str) -> Option<bool> {
        self.take(key, "true or false", Value::as_bool)
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        self.needed(key, |reader| reader.flag_if(key))
    }

    pub(super) fn number_if(&mut self, key: &str) -> Option<f64> {
        self.take(key, "a finite number", as_number)
    }

    pub(super) fn number(&mut self, key: &str) -> Option<f64> {
        self.needed(key, |reader| reader.number_if(key))
    }

    /// A share, in [0, 1].
    pub(super) fn share(&mut self, key: &str) -> Option<f64> {
        let share = self.number(key);
        if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            self.problem(key, "must lie in [0, 1]");
        }
        share
    }

    /// A figure with the interval around it.
    pub(super) fn interval(&mut self, key: &str) -> Option<[f64; 3]> {
        let values = self.numbers::<3>(key);
        if values.is_some_and(|[value, low, high]| !(low <= value && value <= high)) {
            self.problem(key, "must be [value, low, high] with low <= value <= high");
        }
        values
    }

    pub(super) fn count_if(&mut self, key: &str) -> Option<usize> {
        self.take(key, "a whole number from 1", as_count)
    }

    pub(super) fn count(&mut self, key: &str) -> Option<usize> {
        self.needed(key, |reader| reader.count_if(key))
    }

    pub(super) fn whole(&mut self, key: &str) -> Option<usize> {
        self.needed(key, |reader| {
            reader.take(key, "a whole number from 0", |value| value.as_integer()?.try_into().ok())
        })
    }

    pub(super) fn texts_if(&mut self, key: &str) -> Option<Vec<String>> {
        self.take(key, "a list of strings", |value| list(value, as_text))
    }

    pub(super) fn counts(&mut self, key: &str) -> Option<Vec<usize>> {
        self.needed(key, |reader| {
            reader.take(key, "a list of whole numbers from 1", |value| list(value, as_count))
        })
    }

    pub(super) fn number_list_if(&mut self, key: &str) -> Option<Vec<f64>> {
        self.take(key, "a list of finite numbers", |value| list(value, as_number))
    }

    /// A list of `N` whole numbers from 1.
    pub(super) fn counts_of_if<const N: usize>(&mut self, key: &str) -> Option<[usize; N]> {
        self.take(key, &format!("a list of {N} whole numbers from 1"), |value| {
            list(value, as_count)?.try_into().ok()
        })
    }

    pub(super) fn numbers_if<const N: usize>(&mut self, key: &str) -> Option<[f64; N]> {
        self.take(key, &format!("a list of {N} finite numbers"), |value| {
            list(value, as_number)?.try_into().ok()
        })
    }

    pub(super) fn numbers<const N: usize>(&mut self, key: &str) -> Option<[f64; N]> {
        self.needed(key, |reader| reader.numbers_if(key))
    }

    pub(super) fn matrix<const R: usize, const C: usize>(&mut self, key: &str) -> Option<[[f64; C]; R]> {
        self.needed(key, |reader| {
            reader.take(key, &format!("a {R} x {C} list of lists of finite numbers"), |value| {
                list(value, |row| list(row, as_number)?.try_into().ok())?.try_into().ok()
            })
        })
    }

    /// A name of a file beside the manifest: no separators, so that a manifest reaches nothing else.
    pub(super) fn file(&mut self, key: &str) -> Option<String> {
        self.needed(key, |reader| reader.file_if(key))
    }

    pub(super) fn file_if(&mut self, key: &str) -> Option<String> {
        let name = self.text_if(key)?;
        let plain = Path::new(&name).file_name().is_some_and(|last| last == name.as_str());
        if !plain || name.contains(['/', '\\', ':', '\0']) || name.starts_with('.') {
            self.problem(key, format!("must name a file beside the manifest, without separators: {name:?}"));
            return None;
        }
        Some(name)
    }

    /// A SHA-256 in 64 lower-case hexadecimal digits.
    pub(super) fn sha256_if(&mut self, key: &str) -> Option<String> {
        let digest = self.text_if(key)?;
        if digest.len() != 64 || !digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            self.problem(key, "must be a sha256 in 64 lower-case hexadecimal digits");
            return None;
        }
        Some(digest)
    }

    pub(super) fn sha256(&mut self, key: &str) -> Option<String> {
        self.needed(key, |reader| reader.sha256_if(key))
    }

    /// A sub-table, read to its end by `read`.
    pub(super) fn table_if<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Option<T> {
        let table = self.take(key, "a table", |value| value.as_table().cloned())?;
        let mut reader = Reader::new(self.at(key), table, self.problems);
        let parsed = read(&mut reader);
        reader.finish();
        parsed
    }

    pub(super) fn table<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Option<T> {
        self.needed(key, |reader| reader.table_if(key, read))
    }

    /// A list of tables (`[[key]]`); a broken one leaves a `None`, so that positions stay true.
    pub(super) fn tables<T>(
        &mut self,
        key: &str,
        read: impl FnMut(&mut Reader<'_>) -> Option<T>,
    ) -> Option<Vec<Option<T>>> {
        self.needed(key, |reader| reader.tables_if(key, read))
    }

    pub(super) fn tables_if<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Reader<'_>) -> Option<T>,
    ) -> Option<Vec<Option<T>>> {
        let items = self.take(key, "a list of tables", |value| value.as_array().cloned())?;
        let mut parsed = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{}[{index}]", self.at(key));
            if let Value::Table(table) = item {
                let mut reader = Reader::new(path, table, self.problems);
                parsed.push(read(&mut reader));
                reader.finish();
            } else {
                self.problems.push(Problem::new(path, "must be a table"));
                parsed.push(None);
            }
        }
        Some(parsed)
    }

    /// Ends the table: whatever nobody asked for is unknown.
    pub(super) fn finish(&mut self) {
        for key in std::mem::take(&mut self.table).keys() {
            self.problem(key, "is not a known key");
        }
    }
}

fn list<T>(value: &Value, convert: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    value.as_array()?.iter().map(convert).collect()
}

fn as_text(value: &Value) -> Option<String> {
    value.as_str().map(ToOwned::to_owned)
}

fn as_number(value: &Value) -> Option<f64> {
    let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))?;
    number.is_finite().then_some(number)
}

fn as_count(value: &Value) -> Option<usize> {
    value.as_integer()?.try_into().ok().filter(|count| *count > 0)
}

/// Enough of a value to recognise it.
fn shortened(text: &str) -> String {
    const KEPT: usize = 60;
    let mut start: String = text.chars().take(KEPT).collect();
    if start.len() < text.len() {
        start.push_str("...");
    }
    start
}
