//! What a comparison may find before a rollout is held.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The most that is let pass: so many, or so large a share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    Count(u64),
    /// In percent, from 0 to 100.
    Percent(f64),
}

impl Limit {
    /// Whether `found` of `of` are no more than this.
    pub fn allows(self, found: u64, of: u64) -> bool {
        match self {
            Self::Count(most) => found <= most,
            // As a product, so that 1 of 100 is 1 % to the last bit.
            Self::Percent(most) => found as f64 * 100.0 <= most * of as f64,
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = match text.strip_suffix('%') {
            Some(share) => {
                let share = share.trim_end().parse().ok().filter(|share| (0.0..=100.0).contains(share));
                share.map(Self::Percent)
            }
            None => text.parse().ok().map(Self::Count),
        };
        limit.ok_or_else(|| format!("{text:?} is neither a count like 20 nor a share like 1%"))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(most) => write!(f, "{most}"),
            Self::Percent(most) => write!(f, "{most}%"),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The limits of one comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RolloutLimits {
    /// Of flips, over all that was compared and for each label; none for no limit.
    pub flips: Option<Limit>,
    /// Of studies that are missing or failed on one side, and of documents that cannot be read.
    pub unpaired: Limit,
}

impl Default for RolloutLimits {
    fn default() -> Self {
        Self { flips: None, unpaired: Limit::Count(0) }
    }
}

/// One limit, held against what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitCheck {
    /// `flips`, `flips of <label>`, `unpaired studies`.
    pub what: String,
    pub found: u64,
    /// What `found` is a part of.
    pub of: u64,
    pub limit: Limit,
    pub passed: bool,
}

impl LimitCheck {
    pub(crate) fn new(what: impl Into<String>, found: u64, of: u64, limit: Limit) -> Self {
        Self { what: what.into(), found, of, limit, passed: limit.allows(found, of) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_said_alike() {
        for text in ["0", "20", "0%", "1%", "0.05%", "100%"] {
            assert_eq!(text.parse::<Limit>().expect(text).to_string(), text);
        }
        for bad in ["", "%", "-1", "1.5", "101%", "-1%", "NaN%", "inf%", "one"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_limit_lets_pass_what_it_names_and_no_more() {
        assert!(Limit::Percent(1.0).allows(1, 100) && !Limit::Percent(1.0).allows(2, 100));
        assert!(Limit::Percent(0.1).allows(3, 3000) && !Limit::Percent(0.1).allows(4, 3000));
        assert!(Limit::Count(2).allows(2, 2) && !Limit::Count(2).allows(3, 1000));
        assert!(Limit::Percent(0.0).allows(0, 0) && !Limit::Count(0).allows(1, 9));
    }
}
