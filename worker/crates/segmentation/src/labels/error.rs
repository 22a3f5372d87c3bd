//! Why no label map can be made.

use std::fmt::{self, Display};

#[derive(Clone, Debug, PartialEq)]
pub enum LabelError {
    /// Fewer than one class or more than 65,535.
    Classes(usize),
    /// The way back does not fit to the two grids; what is wrong, in words.
    Back(String),
    /// Logits are interpolated axis by axis, and a sheared source has no such way back.
    ShearedLogits,
    Order {
        expected: usize,
        given: usize,
    },
    Length {
        expected: usize,
        given: usize,
    },
    /// NaN or infinity among the logits of a patch, or sums beyond single precision.
    NotFinite {
        patch: usize,
    },
    /// Something failed before, and the sums are not to be trusted.
    Spoilt,
    Incomplete {
        taken: usize,
        patches: usize,
    },
    /// Rules for another number of labels than there are classes.
    Rules {
        classes: usize,
        rules: usize,
    },
}

impl Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classes(classes) => write!(f, "{classes} classes are not between 1 and 65535"),
            Self::Back(what) => write!(f, "the way back to the source's grid is wrong: {what}"),
            Self::ShearedLogits => {
                f.write_str("logits cannot be interpolated on a tilted series: only nearest labels can")
            }
            Self::Order { expected, given } => {
                write!(f, "patch {given} came where patch {expected} was due")
            }
            Self::Length { expected, given } => {
                write!(f, "the network gave {given} values for a patch, not {expected}")
            }
            Self::NotFinite { patch } => write!(f, "the network gave NaN or infinity for patch {patch}"),
            Self::Spoilt => f.write_str("an earlier patch failed: the labels are lost"),
            Self::Incomplete { taken, patches } => {
                write!(f, "only {taken} of {patches} patches were read")
            }
            Self::Rules { classes, rules } => write!(f, "{rules} rules for labels of {classes} classes"),
        }
    }
}

impl std::error::Error for LabelError {}
