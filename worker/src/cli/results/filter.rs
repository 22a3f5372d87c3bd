//! Which documents are meant, as it is typed.

use clap::{Args, ValueEnum};
use nightread_domain::Status;
use time::OffsetDateTime;

use crate::cli::announce::since;

/// Which documents are meant.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// Only results of this model (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub model: Vec<String>,
    /// Only results of this version of a model, without its precision: 1.0.0 (may be repeated)
    #[arg(long, value_name = "VERSION")]
    pub model_version: Vec<String>,
    /// Only results of this precision: fp32, int8 or bf16
    #[arg(long, value_name = "NAME")]
    pub precision: Option<String>,
    /// Only studies that were read, or only those that failed
    #[arg(long, value_enum, value_name = "STATUS")]
    pub status: Option<StatusName>,
    /// Only studies whose names, without their container, begin so
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Only what was read since: 72h, 30m, 7d, a date, or a time (RFC 3339)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub read_from: Option<OffsetDateTime>,
    /// Only what was read before: as --read-from
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub read_to: Option<OffsetDateTime>,
}

/// Whether a study was read, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusName {
    Ok,
    Failed,
}

impl From<StatusName> for Status {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Ok => Self::Ok,
            StatusName::Failed => Self::Failed,
        }
    }
}
