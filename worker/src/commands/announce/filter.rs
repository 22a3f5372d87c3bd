//! Which of the names that are found are announced.

use nightread_domain::BlobRef;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, UtcDateTime};

use time::format_description::well_known::Rfc3339;

use super::args::AnnounceArgs;
use crate::commands::walk::{Names, Verdict};

/// What is known of a blob before it is read; lists of names know nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub bytes: Option<u64>,
    pub modified: Option<OffsetDateTime>,
}

/// All conditions; a blob meets every one.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    names: Names,
    /// People made the list of names: what they name is meant.
    is_a_list: bool,
    /// Lower case, with their dot.
    suffixes: Vec<String>,
    min_bytes: Option<u64>,
    max_bytes: Option<u64>,
    pub modified_since: Option<OffsetDateTime>,
}

impl Filter {
    pub fn new(args: &AnnounceArgs) -> Result<Self, globset::Error> {
        let named = args.suffix.iter().map(String::as_str);
        let usual = args.media.iter().flat_map(|media| media.suffixes()).copied();
        let dotted =
            |suffix: &str| format!(".{}", suffix.trim().trim_start_matches(['*', '.']).to_lowercase());
        Ok(Self {
            names: Names::new(&args.matching)?,
            is_a_list: args.names,
            suffixes: named.chain(usual).map(dotted).collect(),
            min_bytes: args.min_bytes,
            max_bytes: args.max_bytes,
            modified_since: args.modified_since,
        })
    }

    pub fn takes(&self, blob: &BlobRef, facts: Facts) -> bool {
        let name = blob.name();
        let ends = |suffix: &String| {
            let at = name.len().wrapping_sub(suffix.len());
            name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        let named = match self.names.verdict(name.as_ref()) {
            Verdict::Taken => true,
            Verdict::NoStudy => self.is_a_list || !self.suffixes.is_empty(),
            Verdict::LeftOut => false,
        };
        named
            && (self.suffixes.is_empty() || self.suffixes.iter().any(ends))
            && self.min_bytes.is_none_or(|least| facts.bytes.is_some_and(|bytes| bytes >= least))
            && self.max_bytes.is_none_or(|most| facts.bytes.is_some_and(|bytes| bytes <= most))
            && self.modified_since.is_none_or(|since| facts.modified.is_some_and(|at| at >= since))
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
    fn what_is_plainly_no_study_is_left_out_unless_somebody_names_it() {
        let blob = BlobRef::parse("incoming/ward/participants.tsv").expect("a name");
        let takes = |filter: Filter| filter.takes(&blob, Facts::default());
        assert!(!takes(Filter::default()));
        assert!(takes(Filter { is_a_list: true, ..Filter::default() }));
        assert!(takes(Filter { suffixes: vec![".tsv".to_owned()], ..Filter::default() }));
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
