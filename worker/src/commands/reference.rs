//! `nightread reference`: the pages that are made from the code.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::reference;

pub(super) fn run(out: &Path) -> Result<ExitCode> {
    for (name, text) in reference::pages() {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
