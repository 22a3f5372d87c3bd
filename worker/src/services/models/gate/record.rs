//! `[weights.bf16]`, written into a manifest of which everything else stays as it is.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nightread_engine::{Bf16, Bf16Evidence, MANIFEST_FILE, Manifest};
use tempfile::NamedTempFile;
use toml_edit::{Array, DocumentMut, Item, Table, value};

/// Puts the record in, in place of one that is there.
///
/// # Errors
/// When the manifest cannot be written, or is another one meanwhile: then it stays as it is.
pub(super) fn install(folder: &Path, record: &Bf16) -> Result<()> {
    let path = folder.join(MANIFEST_FILE);
    let before = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    replace(&path, &with_record(&before, record)?)?;
    if let Err(problems) = Manifest::read(folder) {
        replace(&path, &before)?;
        bail!("{} was changed while bf16 was measured, and stays as it is: {problems}", path.display());
    }
    Ok(())
}

/// The text of a manifest with the record.
fn with_record(text: &str, record: &Bf16) -> Result<String> {
    let mut document: DocumentMut = text.parse().context("the manifest is no TOML any more")?;
    let weights = document.get_mut("weights").and_then(Item::as_table_mut);
    let weights = weights.context("the manifest has no [weights] any more")?;
    weights.remove("bf16");
    let Bf16 { target, processor, runtime, fp32_sha256, evidence } = record;
    let mut table = Table::new();
    for (key, text) in
        [("target", target), ("processor", processor), ("runtime", runtime), ("fp32_sha256", fp32_sha256)]
    {
        table.insert(key, value(text));
    }
    table.insert("evidence", Item::Table(evidence_table(evidence)));
    weights.insert("bf16", Item::Table(table));
    Ok(document.to_string())
}

fn evidence_table(evidence: &Bf16Evidence) -> Table {
    let mut table = Table::new();
    table.insert("items_sha256", value(&evidence.items_sha256));
    table.insert("evaluated_items", value(i64::try_from(evidence.evaluated_items).unwrap_or(i64::MAX)));
    table.insert("agreement", value(evidence.agreement));
    table.insert("difference", value(evidence.difference));
    table.insert("metric", value(&evidence.metric));
    for (key, figures) in [("fp32", evidence.fp32), ("bf16", evidence.bf16)] {
        table.insert(key, value(figures.into_iter().collect::<Array>()));
    }
    table
}

/// Renamed into place when it is whole, with the rights of the file that was there.
fn replace(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let unwritable = || format!("cannot write into {}", folder.display());
    let rights = fs::metadata(path).with_context(unwritable)?.permissions();
    let mut file = NamedTempFile::new_in(folder).with_context(unwritable)?;
    file.write_all(text.as_bytes()).with_context(unwritable)?;
    file.as_file().set_permissions(rights).with_context(unwritable)?;
    file.persist(path).with_context(unwritable)?;
    Ok(())
}
