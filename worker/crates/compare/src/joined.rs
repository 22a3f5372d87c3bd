//! Which documents of two sides are of one study.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::mem::discriminant;

use nightread_domain::ErrorCode;
use serde::Serialize;

use super::cohorts::{Cohorts, CompareError, Reading, Study, Which};

/// Why a study of one side has nothing to be compared with on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    MissingInA,
    MissingInB,
    FailedInA,
    FailedInB,
    /// The two documents are of different bytes under one name.
    OtherBytes,
    /// One is of a radiograph, say, and the other of a scan.
    OtherTask,
}

impl Reason {
    pub const ALL: [Self; 6] = [
        Self::MissingInA,
        Self::MissingInB,
        Self::FailedInA,
        Self::FailedInB,
        Self::OtherBytes,
        Self::OtherTask,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingInA => "missing in A",
            Self::MissingInB => "missing in B",
            Self::FailedInA => "failed in A only",
            Self::FailedInB => "failed in B only",
            Self::OtherBytes => "other bytes on each side",
            Self::OtherTask => "another kind of study on each side",
        }
    }
}

/// A study that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnpairedStudy {
    pub study: String,
    pub reason: Reason,
    /// Of a failure.
    pub code: Option<&'static str>,
}

/// How many studies could not be compared, and the first of them by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unpaired {
    /// All of the reasons together.
    pub studies: usize,
    pub missing_in_a: usize,
    pub missing_in_b: usize,
    pub failed_in_a: usize,
    pub failed_in_b: usize,
    pub other_bytes: usize,
    pub other_task: usize,
    pub named: Vec<UnpairedStudy>,
}

impl Unpaired {
    pub fn count(&self, reason: Reason) -> usize {
        match reason {
            Reason::MissingInA => self.missing_in_a,
            Reason::MissingInB => self.missing_in_b,
            Reason::FailedInA => self.failed_in_a,
            Reason::FailedInB => self.failed_in_b,
            Reason::OtherBytes => self.other_bytes,
            Reason::OtherTask => self.other_task,
        }
    }

    fn add(&mut self, reason: Reason, study: &Study, code: Option<ErrorCode>, shown: usize) {
        self.studies += 1;
        *match reason {
            Reason::MissingInA => &mut self.missing_in_a,
            Reason::MissingInB => &mut self.missing_in_b,
            Reason::FailedInA => &mut self.failed_in_a,
            Reason::FailedInB => &mut self.failed_in_b,
            Reason::OtherBytes => &mut self.other_bytes,
            Reason::OtherTask => &mut self.other_task,
        } += 1;
        if self.named.len() < shown {
            let code = code.map(ErrorCode::as_str);
            self.named.push(UnpairedStudy { study: study.key.to_string(), reason, code });
        }
    }
}

/// The studies of two sides, joined.
#[derive(Debug, Default)]
pub(crate) struct Joined<'a> {
    /// Read on both sides, with payloads of one kind, in the order of their names.
    pub pairs: Vec<[&'a Study; 2]>,
    pub unpaired: Unpaired,
    pub failed_in_both: usize,
    /// Failures of both sides together, by code.
    pub failures: BTreeMap<&'static str, [usize; 2]>,
}

impl<'a> Joined<'a> {
    /// Joins what was taken; names at most `shown` of the studies that cannot be.
    ///
    /// # Errors
    /// [`CompareError::Twice`], and [`CompareError::NoCommonStudy`].
    pub(crate) fn of(cohorts: &'a Cohorts, shown: usize) -> Result<Self, CompareError> {
        let a = sorted(cohorts, Which::A)?;
        let b = sorted(cohorts, Which::B)?;
        let mut joined = Self::default();
        let mut common = 0;
        let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (Some(one), Some(other)) => one.key.cmp(&other.key),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let one = if order.is_le() { left.next() } else { None };
            let other = if order.is_ge() { right.next() } else { None };
            joined.count_failures([one, other]);
            match (one, other) {
                (Some(one), Some(other)) => {
                    common += 1;
                    joined.meet([one, other], shown);
                }
                (Some(one), None) => joined.unpaired.add(Reason::MissingInB, one, None, shown),
                (None, Some(other)) => joined.unpaired.add(Reason::MissingInA, other, None, shown),
                (None, None) => break,
            }
        }
        if common == 0 {
            return Err(CompareError::NoCommonStudy { a: a.len(), b: b.len() });
        }
        Ok(joined)
    }

    fn count_failures(&mut self, sides: [Option<&&Study>; 2]) {
        for (side, study) in sides.into_iter().enumerate() {
            if let Some(Reading::Failed(code)) = study.map(|study| &study.reading) {
                self.failures.entry(code.map_or("unknown", ErrorCode::as_str)).or_default()[side] += 1;
            }
        }
    }

    fn meet(&mut self, [one, other]: [&'a Study; 2], shown: usize) {
        let differ = one.digest.is_some() && other.digest.is_some() && one.digest != other.digest;
        match (&one.reading, &other.reading) {
            _ if differ => self.unpaired.add(Reason::OtherBytes, one, None, shown),
            (Reading::Failed(_), Reading::Failed(_)) => self.failed_in_both += 1,
            (Reading::Failed(code), _) => self.unpaired.add(Reason::FailedInA, one, *code, shown),
            (_, Reading::Failed(code)) => self.unpaired.add(Reason::FailedInB, one, *code, shown),
            (read_by_one, read_by_other) if discriminant(read_by_one) == discriminant(read_by_other) => {
                self.pairs.push([one, other]);
            }
            _ => self.unpaired.add(Reason::OtherTask, one, None, shown),
        }
    }
}

/// The studies of a side by name, each of which must be there once.
fn sorted(cohorts: &Cohorts, side: Which) -> Result<Vec<&Study>, CompareError> {
    let mut studies: Vec<&Study> = cohorts.side(side).studies.iter().collect();
    studies.sort_unstable_by(|one, other| one.key.cmp(&other.key).then(one.model.cmp(&other.model)));
    let twice = studies.windows(2).find(|pair| pair[0].key == pair[1].key);
    if let Some([one, other]) = twice {
        let models = [one, other].map(|study| cohorts.models.get(study.model).cloned());
        if let [Some(one_model), Some(other_model)] = models {
            let models = Box::new([one_model, other_model]);
            return Err(CompareError::Twice { side, study: one.key.to_string(), models });
        }
    }
    Ok(studies)
}
