//! What most commands take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Where settings come from: flag over `NIGHTREAD_*` over file over default.
#[derive(Args, Debug)]
pub struct Common {
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE", env = "NIGHTREAD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder of model folders
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}
