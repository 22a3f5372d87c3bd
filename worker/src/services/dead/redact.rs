//! What a stranger's message may show on a terminal: no secrets, no images, no control characters.

use serde_json::Value;

pub(super) const HIDDEN: &str = "[redacted]";

/// Nobody writes words of this length; encoded images and keys are.
const LONGEST_WORD: usize = 200;

/// Fields whose value is nobody's business.
const SECRET_NAMES: [&str; 9] = [
    "password",
    "secret",
    "token",
    "authorization",
    "accountkey",
    "connectionstring",
    "sharedaccess",
    "apikey",
    "signature",
];

/// `name=value` pairs of connection strings and signed addresses, in small letters.
const SECRET_PAIRS: [&str; 5] = ["sig=", "accountkey=", "sharedaccesssignature=", "password=", "token="];

/// Whether a field of this name holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    plain == "sig" || plain == "sas" || SECRET_NAMES.iter().any(|secret| plain.contains(secret))
}

/// A JSON value, redacted all the way down.
pub(super) fn json(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(&string)),
        Value::Array(items) => Value::Array(items.into_iter().map(json).collect()),
        Value::Object(fields) => {
            let clean = fields.into_iter().map(|(name, value)| {
                let value = if is_secret(&name) { Value::String(HIDDEN.to_owned()) } else { json(value) };
                (text(&name), value)
            });
            Value::Object(clean.collect())
        }
        other => other,
    }
}

/// A text, word by word: URLs lose their query and their password, pairs their secret, and long words everything.
pub(super) fn text(input: &str) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while !rest.is_empty() {
        let end = rest.find(is_edge).unwrap_or(rest.len());
        out.push_str(&word(&rest[..end]));
        let edge = rest[end..].chars().next();
        out.extend(edge);
        rest = &rest[end + edge.map_or(0, char::len_utf8)..];
    }
    out
}

fn is_edge(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | ',' | ';')
}

/// One line: control characters as escapes, so that a message cannot drive the terminal.
pub(crate) fn line(input: &str) -> String {
    let mut out = String::with_capacity(input.len());
    for c in input.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

fn word(word: &str) -> String {
    let word = address(word);
    // ASCII letters only change, so positions stay.
    let small = word.to_ascii_lowercase();
    if let Some((at, pair)) =
        SECRET_PAIRS.iter().filter_map(|pair| Some((small.find(pair)?, pair))).min_by_key(|(at, _)| *at)
    {
        return format!("{}{HIDDEN}", &word[..at + pair.len()]);
    }
    let length = word.chars().count();
    if length > LONGEST_WORD && !word.contains("://") {
        return format!("[{length} characters]");
    }
    word
}

fn address(word: &str) -> String {
    let Some(start) = word.find("://").map(|at| at + 3) else { return word.to_owned() };
    let (scheme, rest) = word.split_at(start);
    let (path, query) = match rest.split_once('?') {
        Some((path, _)) => (path, format!("?{HIDDEN}")),
        None => (rest, String::new()),
    };
    let host_end = path.find('/').unwrap_or(path.len());
    let path = match path[..host_end].rfind('@') {
        Some(at) => format!("{HIDDEN}{}", &path[at..]),
        None => path.to_owned(),
    };
    format!("{scheme}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn secrets_are_not_shown() {
        let shown = json(json!({
            "data": {"url": "https://a.blob.core.windows.net/incoming/x.png?sv=2022&sig=SECRET", "api": "PutBlob"},
            "password": "SECRET", "x-api-key": "SECRET", "Authorization": "Bearer SECRET", "sas": ["SECRET"],
            "said": "amqps://user:SECRET@host/v and AccountName=a;AccountKey=SECRET;x",
            "signed": "se=1&sig=SECRET", "blob": "incoming/x.png",
        }));
        let text = shown.to_string();
        assert!(!text.contains("SECRET"), "{text}");
        assert_eq!(shown["data"]["url"], "https://a.blob.core.windows.net/incoming/x.png?[redacted]");
        assert_eq!(shown["said"], "amqps://[redacted]@host/v and AccountName=a;AccountKey=[redacted];x");
        assert_eq!((&shown["blob"], &shown["data"]["api"]), (&json!("incoming/x.png"), &json!("PutBlob")));
    }

    #[test]
    fn a_terminal_is_not_driven() {
        assert_eq!(line("a\u{1b}[2Jb\r\n\u{9b}c"), "a\\u{1b}[2Jb\\r\\n\\u{9b}c");
    }

    proptest! {
        #[test]
        fn ordinary_text_stays_and_any_text_is_taken(ordinary in "[a-z0-9/. ]{0,80}", any in any::<String>()) {
            prop_assert_eq!(text(&ordinary), ordinary);
            let _ = line(&text(&any));
        }
    }
}
