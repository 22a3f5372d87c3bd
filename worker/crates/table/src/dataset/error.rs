//! What goes wrong with data sets.

use std::fmt;

use crate::write::WriteError;

/// Under this key a part's footer has what the data set was asked for.
pub(super) const ASKED: &str = "nightread.table";

/// Why a data set was not written.
#[derive(Debug)]
pub enum DataSetError {
    /// In words, for whoever named the folder.
    Refused(String),
    Write(WriteError),
}

impl fmt::Display for DataSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => f.write_str(why),
            Self::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DataSetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(_) => None,
            Self::Write(error) => Some(error),
        }
    }
}

impl<E: Into<WriteError>> From<E> for DataSetError {
    fn from(error: E) -> Self {
        Self::Write(error.into())
    }
}
