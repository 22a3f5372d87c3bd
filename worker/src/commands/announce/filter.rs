//! Which of the names that are found are announced.

use nightread_domain::BlobRef;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, UtcDateTime};

use time::format_description::well_known::Rfc3339;

use super::args::AnnounceArgs;

/// What is known of a blob before it is read; lists of names know nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub bytes: Option<u64>,
    pub modified: Option<OffsetDateTime>,
}

/// All conditions; a blob meets every one.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    glob: Option<Glob>,
    /// Lower case, with their dot.
    suffixes: Vec<String>,
    min_bytes: Option<u64>,
    max_bytes: Option<u64>,
    pub modified_since: Option<OffsetDateTime>,
}

impl Filter {
    pub fn new(args: &AnnounceArgs) -> Self {
        let named = args.suffix.iter().map(String::as_str);
        let usual = args.media.iter().flat_map(|media| media.suffixes()).copied();
        let dotted =
            |suffix: &str| format!(".{}", suffix.trim().trim_start_matches(['*', '.']).to_lowercase());
        Self {
            glob: args.glob.as_deref().map(Glob::new),
            suffixes: named.chain(usual).map(dotted).collect(),
            min_bytes: args.min_bytes,
            max_bytes: args.max_bytes,
            modified_since: args.modified_since,
        }
    }

    /// Whether conditions ask for what a list of names cannot know.
    pub fn needs_facts(&self) -> bool {
        self.min_bytes.is_some() || self.max_bytes.is_some() || self.modified_since.is_some()
    }

    pub fn takes(&self, blob: &BlobRef, facts: Facts) -> bool {
        let name = blob.name();
        let ends = |suffix: &String| {
            let at = name.len().wrapping_sub(suffix.len());
            name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        self.glob.as_ref().is_none_or(|glob| glob.matches(name))
            && (self.suffixes.is_empty() || self.suffixes.iter().any(ends))
            && self.min_bytes.is_none_or(|least| facts.bytes.is_some_and(|bytes| bytes >= least))
            && self.max_bytes.is_none_or(|most| facts.bytes.is_some_and(|bytes| bytes <= most))
            && self.modified_since.is_none_or(|since| facts.modified.is_some_and(|at| at >= since))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Char(char),
    /// `?`: one character that is no slash.
    One,
    /// `*`: any number of characters that are no slash.
    Segment,
    /// `**`: anything.
    Any,
    /// `**/`: nothing, or anything up to a slash.
    Folders,
}

/// A pattern over a whole name.
#[derive(Clone, Debug)]
struct Glob(Vec<Piece>);

impl Glob {
    fn new(pattern: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            let at_start = matches!(pieces.last(), None | Some(Piece::Char('/') | Piece::Folders));
            let (piece, length) = match first {
                '*' if rest.starts_with("**/") && at_start => (Piece::Folders, 3),
                '*' if rest.starts_with("**") => (Piece::Any, 2),
                '*' => (Piece::Segment, 1),
                '?' => (Piece::One, 1),
                other => (Piece::Char(other), other.len_utf8()),
            };
            pieces.push(piece);
            rest = &rest[length..];
        }
        Self(pieces)
    }

    /// By the set of positions that the pattern may have reached: linear in the name, whatever the pattern.
    fn matches(&self, name: &str) -> bool {
        let pieces = &self.0;
        let mut reached = vec![false; pieces.len() + 1];
        reached[0] = true;
        self.pass_empty(&mut reached, true);
        for character in name.chars() {
            let mut next = vec![false; pieces.len() + 1];
            for (at, piece) in pieces.iter().enumerate().filter(|(at, _)| reached[*at]) {
                match piece {
                    Piece::Char(wanted) if *wanted == character => next[at + 1] = true,
                    Piece::One if character != '/' => next[at + 1] = true,
                    Piece::Segment if character != '/' => next[at] = true,
                    Piece::Any | Piece::Folders => next[at] = true,
                    _ => {}
                }
            }
            self.pass_empty(&mut next, character == '/');
            reached = next;
        }
        reached[pieces.len()]
    }

    /// Stars may stand for nothing; `**/` only where a segment begins.
    fn pass_empty(&self, reached: &mut [bool], at_segment: bool) {
        for (at, piece) in self.0.iter().enumerate() {
            let may = match piece {
                Piece::Segment | Piece::Any => true,
                Piece::Folders => at_segment,
                Piece::Char(_) | Piece::One => false,
            };
            if reached[at] && may {
                reached[at + 1] = true;
            }
        }
    }
}

/// `72h`, `30m`, `7d`, `90s`, a date, or a time in RFC 3339; no later than now.
pub(super) fn since(text: &str) -> Result<OffsetDateTime, String> {
    let wrong = || "72h, 30m, 7d, 2026-01-31 or 2026-01-31T12:00:00Z is expected".to_owned();
    let now: OffsetDateTime = UtcDateTime::now().into();
    let unit = match text.chars().last() {
        Some('s') => Some(1),
        Some('m') => Some(60),
        Some('h') => Some(3_600),
        Some('d') => Some(86_400),
        _ => None,
    };
    let at = match unit {
        Some(seconds) => {
            let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
            now.checked_sub(Duration::seconds(i64::from(count) * seconds)).ok_or_else(wrong)?
        }
        None => match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(at) => at,
            Err(_) => Date::parse(text, format_description!("[year]-[month]-[day]"))
                .map_err(|_| wrong())?
                .midnight()
                .assume_utc(),
        },
    };
    if at > now { Err("a time that has passed is expected".to_owned()) } else { Ok(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_know_segments() {
        for (pattern, name, fits) in [
            ("*.dcm", "a.dcm", true),
            ("*.dcm", "ward/a.dcm", false),
            ("**/*.dcm", "ward/3/a.dcm", true),
            ("**/*.dcm", "a.dcm", true),
            ("ward/**", "ward/3/a.dcm", true),
            ("ward/**", "wards/3", false),
            ("ward?/a*b", "ward3/a--b", true),
            ("ward?/a*b", "ward//a--b", false),
            ("**/x/**/y", "x/y", true),
            ("**/x/**/y", "a/x/b/c/y", true),
            ("**/x/**/y", "ax/y", false),
            ("a**b", "a/x/b", true),
            ("ü*", "üb", true),
            ("", "a", false),
            ("**", "", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), fits, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_pattern_full_of_stars_ends() {
        assert!(!Glob::new(&"*a".repeat(60)).matches(&"a".repeat(59)));
        assert!(Glob::new(&"**a".repeat(60)).matches(&"ab/a".repeat(60)));
    }

    #[test]
    fn times_are_read_in_every_form() {
        let now: OffsetDateTime = UtcDateTime::now().into();
        let ago = |text| ((now - since(text).expect(text)).as_seconds_f64() / 60.0).round() as i64;
        assert_eq!([ago("30m"), ago("72h"), ago("7d"), ago("120s")], [30, 72 * 60, 7 * 24 * 60, 2]);
        assert_eq!(since("2026-01-31").expect("a date").unix_timestamp(), 1_769_817_600);
        assert_eq!(since("2026-01-31T01:00:00+01:00").expect("a time").unix_timestamp(), 1_769_817_600);
        for wrong in ["", "h", "-3h", "3w", "yesterday", "2999-01-01", "99999999999d", "ü"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn facts_that_are_unknown_meet_no_condition() {
        let blob = BlobRef::parse("incoming/A.DCM").expect("a name");
        let filter = Filter { suffixes: vec![".dcm".to_owned()], max_bytes: Some(10), ..Filter::default() };
        assert!(filter.takes(&blob, Facts { bytes: Some(10), modified: None }));
        assert!(!filter.takes(&blob, Facts { bytes: Some(11), modified: None }));
        assert!(!filter.takes(&blob, Facts::default()));
        let short = BlobRef::parse("incoming/dcm").expect("a name");
        assert!(!filter.takes(&short, Facts { bytes: Some(1), modified: None }));
    }
}
