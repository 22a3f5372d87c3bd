//! Lists that people make: names on standard input, and Azure Blob Inventory reports.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use csv::StringRecord;
use nightread_domain::{BlobRef, ETag};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use super::{BATCH, Batch, Named, Out, Position};
use crate::services::announce::filter::Facts;

/// Longer lines are no names: 63 characters, a slash, and 1,024 characters of four bytes.
const MAX_LINE: u64 = 63 + 1 + 4 * 1024 + 2;

/// `container/path`, one a line. A position counts lines, so the same list has to be given again.
pub(super) fn names(input: impl Read, from: &Position, out: &Out) -> Result<()> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut line = Vec::new();
    let mut batch = Batch::default();
    let (mut count, mut last) = (0, None);
    loop {
        line.clear();
        let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.context("standard input cannot be read")? == 0 {
            break;
        }
        let whole = line.last() == Some(&b'\n') || (line.len() as u64) < MAX_LINE;
        if !whole {
            input.skip_until(b'\n').context("standard input cannot be read")?;
        }
        count += 1;
        let text = std::str::from_utf8(&line).ok().map(str::trim_end).filter(|_| whole);
        if count < from.count {
            continue;
        }
        last = text.map(str::to_owned);
        if count == from.count {
            if last != from.after {
                bail!(
                    "standard input is not the list that the checkpoint was made of: line {count} is another"
                );
            }
            continue;
        }
        match text {
            Some("") => {}
            Some(text) => match BlobRef::parse(text) {
                Ok(blob) => batch.found.push(Named { blob, etag: None, facts: Facts::default() }),
                Err(_) => batch.refused += 1,
            },
            None => batch.refused += 1,
        }
        if batch.found.len() == BATCH {
            batch.position = Position { count, after: last.clone(), ..Position::default() };
            if out.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                return Ok(());
            }
        }
    }
    if count < from.count {
        bail!("standard input is not the list that the checkpoint was made of: it has {count} lines only");
    }
    batch.position = Position { count, after: last, ..Position::default() };
    let _ = out.blocking_send(Ok(batch));
    Ok(())
}

/// The columns of a report that matter; only `Name` has to be there.
struct Columns {
    name: usize,
    etag: Option<usize>,
    bytes: Option<usize>,
    modified: Option<usize>,
    deleted: Option<usize>,
    snapshot: Option<usize>,
    is_current: Option<usize>,
    is_folder: Option<usize>,
    tier: Option<usize>,
    metadata: Option<usize>,
}

/// What a row of a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Blob,
    /// Snapshots, former versions, deleted blobs and folders are not what workers read.
    Other,
    /// In the archive tier, or on its way out of it.
    Archived,
}

impl Columns {
    fn of(header: &StringRecord) -> Option<Self> {
        let find = |name: &str| header.iter().position(|column| column.trim().eq_ignore_ascii_case(name));
        Some(Self {
            name: find("Name")?,
            etag: find("Etag"),
            bytes: find("Content-Length"),
            modified: find("Last-Modified"),
            deleted: find("Deleted"),
            snapshot: find("Snapshot"),
            is_current: find("IsCurrentVersion"),
            is_folder: find("hdi_isfolder"),
            tier: find("AccessTier"),
            metadata: find("Metadata"),
        })
    }

    fn row(&self, row: &StringRecord) -> Row {
        let value =
            |column: Option<usize>| column.and_then(|at| row.get(at)).map(str::trim).unwrap_or_default();
        let says = |column, word: &str| value(column).eq_ignore_ascii_case(word);
        if says(self.deleted, "true")
            || !value(self.snapshot).is_empty()
            || says(self.is_current, "false")
            || says(self.is_folder, "true")
            || marks_a_folder(value(self.metadata))
            || (value(Some(self.name)).ends_with('/') && value(self.bytes) == "0")
        {
            Row::Other
        } else if says(self.tier, "archive") {
            Row::Archived
        } else {
            Row::Blob
        }
    }

    fn named(&self, row: &StringRecord) -> Option<Named> {
        let text = |column: Option<usize>| {
            column.and_then(|at| row.get(at)).map(str::trim).filter(|text| !text.is_empty())
        };
        let blob = BlobRef::parse(row.get(self.name)?).ok()?;
        let etag = text(self.etag).map(|etag| ETag(ETag(etag.to_owned()).strong()));
        let facts = Facts {
            bytes: text(self.bytes).and_then(|text| text.parse().ok()),
            modified: text(self.modified).and_then(time_of),
        };
        Some(Named { blob, etag, facts })
    }
}

/// The column `Metadata` is an object of JSON.
fn marks_a_folder(metadata: &str) -> bool {
    let metadata: BTreeMap<String, String> = serde_json::from_str(metadata).unwrap_or_default();
    let is_mark = |(name, value): (&String, &String)| {
        name.eq_ignore_ascii_case("hdi_isfolder") && value.eq_ignore_ascii_case("true")
    };
    metadata.iter().any(is_mark)
}

fn time_of(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(text, &Rfc2822)).ok()
}

/// Reports in CSV, as Azure Blob Inventory writes them: a header, and names that begin with their container.
pub(super) fn inventory(files: &[PathBuf], from: &Position, out: &Out) -> Result<()> {
    for (part, file) in files.iter().enumerate().skip(from.part) {
        let skip = if part == from.part { from.count } else { 0 };
        if !report(file, part, skip, out)? {
            return Ok(());
        }
        let position = Position { part: part + 1, ..Position::default() };
        if out.blocking_send(Ok(Batch { position, ..Batch::default() })).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// `false` when nobody listens any more.
fn report(file: &Path, part: usize, skip: u64, out: &Out) -> Result<bool> {
    let unreadable = || format!("the inventory report {} cannot be read", file.display());
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(file).with_context(unreadable)?;
    let Some(columns) = Columns::of(reader.headers().with_context(unreadable)?) else {
        bail!("the inventory report {} has no column Name", file.display());
    };
    let mut batch = Batch::default();
    let mut row = StringRecord::new();
    let mut count = 0;
    while reader.read_record(&mut row).with_context(unreadable)? {
        count += 1;
        if count <= skip {
            continue;
        }
        match (columns.row(&row), columns.named(&row)) {
            (Row::Blob, Some(named)) => batch.found.push(named),
            (Row::Blob, None) => batch.refused += 1,
            (Row::Archived, _) => batch.archived += 1,
            (Row::Other, _) => batch.ignored += 1,
        }
        if batch.found.len() == BATCH {
            batch.position = Position { part, count, ..Position::default() };
            if out.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                return Ok(false);
            }
        }
    }
    batch.position = Position { part, count, ..Position::default() };
    Ok(out.blocking_send(Ok(batch)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(run: impl FnOnce(&Out) -> Result<()>) -> Result<(Vec<Named>, Vec<Batch>)> {
        let (out, mut batches) = tokio::sync::mpsc::channel(1000);
        run(&out)?;
        drop(out);
        let (mut found, mut rest) = (Vec::new(), Vec::new());
        while let Some(batch) = batches.blocking_recv() {
            let mut batch = batch?;
            found.append(&mut batch.found);
            rest.push(batch);
        }
        Ok((found, rest))
    }

    #[test]
    fn odd_lines_are_refused_and_the_rest_is_read() {
        let long = "x".repeat(10_000);
        let text =
            format!("incoming/a.png\r\n\nincoming\nincoming/../b\n{long}\nincoming/ü b.png\nincoming/last");
        let mut bytes = text.into_bytes();
        bytes.splice(0..0, b"incoming/\xff\n".iter().copied());
        let (found, batches) =
            gathered(|out| names(bytes.as_slice(), &Position::default(), out)).expect("read");
        let names: Vec<_> = found.iter().map(|named| named.blob.to_string()).collect();
        assert_eq!(names, ["incoming/a.png", "incoming/ü b.png", "incoming/last"]);
        assert_eq!(batches.iter().map(|batch| batch.refused).sum::<u64>(), 4);
    }

    #[test]
    fn a_list_goes_on_where_it_was_and_another_list_is_refused() {
        use std::fmt::Write;
        let mut text = String::new();
        for number in 0..1_800 {
            writeln!(text, "incoming/{number}").expect("a string takes it");
        }
        let (all, batches) = gathered(|out| names(text.as_bytes(), &Position::default(), out)).expect("read");
        assert_eq!((all.len(), batches.len()), (1_800, 4));
        for (done, batch) in batches.iter().enumerate() {
            let (rest, _) =
                gathered(|out| names(text.as_bytes(), &batch.position, out)).expect("the same list");
            assert_eq!(rest.len(), 1_800 - ((done + 1) * BATCH).min(1_800));
        }
        let other = text.replace("incoming/999\n", "incoming/other\n");
        assert!(gathered(|out| names(other.as_bytes(), &batches[1].position, out)).is_err());
        assert!(gathered(|out| names(&text.as_bytes()[..100], &batches[1].position, out)).is_err());
    }

    #[test]
    fn an_inventory_report_names_what_can_be_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rule_1.csv");
        let text = "Name,Creation-Time,Last-Modified,Etag,Content-Length,Snapshot,IsCurrentVersion,hdi_isfolder,Deleted,AccessTier,Metadata\n\
            \"incoming/a, \"\"b\"\".png\",x,2026-01-02T03:04:05.0000000Z,0x8DB,17,,true,,\n\
            incoming/old.png,x,2026-01-02T03:04:05Z,0x8DC,17,,false,,\n\
            incoming/snap.png,x,2026-01-02T03:04:05Z,0x8DC,17,2026-01-01T00:00:00Z,,,\n\
            incoming/folder,x,2026-01-02T03:04:05Z,0x8DC,0,,true,true,\n\
            incoming/gone.png,x,2026-01-02T03:04:05Z,0x8DC,17,,,,True\n\
            incoming,x,2026-01-02T03:04:05Z,0x8DC,17,,,,\n\
            incoming/asleep.png,x,2026-01-02T03:04:05Z,0x8DC,17,,true,,,Archive,\n\
            incoming/marker/,x,2026-01-02T03:04:05Z,0x8DC,0,,true,,,Hot,\n\
            incoming/marked,x,2026-01-02T03:04:05Z,0x8DC,0,,true,,,Hot,\"{\"\"Hdi_isFolder\"\":\"\"true\"\"}\"\n\
            incoming/last.png,x,\"Fri, 02 Jan 2026 03:04:05 GMT\",\"\"\"0x8DD\"\"\",,,,,\n";
        std::fs::write(&file, text).expect("written");
        let files = [file.clone()];
        let (found, batches) = gathered(|out| inventory(&files, &Position::default(), out)).expect("read");
        let names: Vec<_> = found.iter().map(|named| named.blob.name()).collect();
        assert_eq!(names, ["a, \"b\".png", "last.png"]);
        let at = time_of("2026-01-02T03:04:05Z");
        assert_eq!((found[0].facts.bytes, found[0].facts.modified), (Some(17), at));
        assert_eq!((found[1].facts.bytes, found[1].facts.modified), (None, at));
        let etags: Vec<_> = found.iter().map(|named| named.etag.clone().map(|etag| etag.0)).collect();
        assert_eq!(etags, [Some("\"0x8DB\"".to_owned()), Some("\"0x8DD\"".to_owned())]);
        let total = |count: fn(&Batch) -> u64| batches.iter().map(count).sum::<u64>();
        assert_eq!((total(|batch| batch.refused), total(|batch| batch.ignored)), (1, 6));
        assert_eq!(total(|batch| batch.archived), 1);
        let from = Position { count: 1, ..Position::default() };
        let (rest, _) = gathered(|out| inventory(&files, &from, out)).expect("read");
        assert_eq!(rest.len(), 1);
        std::fs::write(&file, "Blob,Etag\nx,y\n").expect("written");
        assert!(gathered(|out| inventory(&files, &Position::default(), out)).is_err());
    }
}
