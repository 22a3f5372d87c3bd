//! A table of a run's results, beside its documents.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use nightread_table::{Batch, Form, Located, Writer};

use super::RESULTS;
use super::summary::Row;
use crate::adapters::storage::folder::FolderStore;
use crate::services::results::documents::bare;
use crate::services::results::output::Output;
use crate::services::results::table::by_name;

/// Writes the rows of every input that has a document, those that were skipped as done among them.
pub(super) fn write(rows: &[Row], out: &Path, file: &Path) -> Result<()> {
    let written = || format!("cannot write {}", file.display());
    let format = by_name(file).map_err(|problem| anyhow!(problem))?;
    let store = FolderStore::of_a_person([(RESULTS.to_owned(), out.to_owned())]);
    let columns = Form::Long.columns();
    let mut writer =
        Writer::new(format, columns.clone(), &[], Output::open(Some(file))?).with_context(written)?;
    for (path, document) in rows.iter().filter_map(Row::stored) {
        let etag = bare(&store.properties_now(path)?.etag);
        let mut batch = Batch::new(&columns);
        let located = Located { path: path.name(), etag: &etag, document };
        // The long form has a place for everything.
        if Form::Long.add(&located, &mut batch).is_ok() {
            writer.write(batch).with_context(written)?;
        }
    }
    writer.finish().with_context(written)?.finish()
}
