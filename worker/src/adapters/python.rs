//! Scripts of other people, run by their own Python.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `program` with `arguments`, and gives back what it wrote to its standard output. What it says besides goes to ours.
///
/// # Errors
/// A Python that cannot be run, or whose status is not 0.
pub fn answer(python: &Path, program: &str, arguments: &[&Path]) -> Result<Vec<u8>> {
    let mut child = Command::new(python)
        .arg("-")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be run", python.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A Python that ended already says why by its status.
        let _ = stdin.write_all(program.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{} ended with {}", python.display(), output.status);
    }
    Ok(output.stdout)
}
