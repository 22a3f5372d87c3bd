//! Which of the names that are found are announced.

use nightread_domain::BlobRef;
use time::OffsetDateTime;

use crate::cli::AnnounceArgs;
use crate::services::walk::{Names, Selection};

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
        let usual = args.task.iter().flat_map(|task| task.suffixes()).copied();
        let dotted =
            |suffix: &str| format!(".{}", suffix.trim().trim_start_matches(['*', '.']).to_lowercase());
        Ok(Self {
            names: Names::new(&args.matching)?,
            is_a_list: args.names,
            suffixes: named.chain(usual).chain(args.sets.then_some("json")).map(dotted).collect(),
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
            Selection::Taken => true,
            Selection::NoStudy => self.is_a_list || !self.suffixes.is_empty(),
            Selection::LeftOut => false,
        };
        named
            && (self.suffixes.is_empty() || self.suffixes.iter().any(ends))
            && self.min_bytes.is_none_or(|least| facts.bytes.is_some_and(|bytes| bytes >= least))
            && self.max_bytes.is_none_or(|most| facts.bytes.is_some_and(|bytes| bytes <= most))
            && self.modified_since.is_none_or(|since| facts.modified.is_some_and(|at| at >= since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
