//! The files beside a scan that belong to it by BIDS: its JSON sidecar, and its table of confounds.

use bytes::Bytes;
use nightread_domain::{BlobRef, BlobStore, ErrorClass, ErrorCode, JobError, Stage, Warning, WarningCode};
use nightread_fmri::confounds::{self, Table, Wanted};
use serde_json::Value;

const MAX_JSON_BYTES: u64 = 4 << 20;
const MAX_TABLE_BYTES: u64 = 256 << 20;

/// What was found beside a scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sidecars {
    /// Repetition time by the JSON sidecar, in seconds.
    pub tr_seconds: Option<f64>,
    /// The table of confounds.
    pub table: Option<Table>,
    /// A table that nothing is asked of, and that cannot be read: it tells no motion.
    pub doubt: Option<Warning>,
}

/// Reads what is there. A table that the settings ask nothing of is read for what it tells of motion.
///
/// # Errors
/// `confounds_missing` when a table is asked for and absent; `confounds_invalid` of one that is asked for; those of the store.
pub(super) async fn beside(
    scan: &BlobRef,
    wanted: &Wanted,
    store: &dyn BlobStore,
) -> Result<Sidecars, JobError> {
    let (folder, file) = scan.name().rsplit_once('/').unwrap_or(("", scan.name()));
    let (json, tables) = confounds::sidecars(file);
    let mut found = Sidecars::default();
    if let Some(name) = json {
        let body = read(scan, folder, &name, MAX_JSON_BYTES, store).await?;
        found.tr_seconds = body.as_deref().and_then(repetition_time);
    }
    for name in &tables {
        match read(scan, folder, name, MAX_TABLE_BYTES, store).await {
            Ok(None) => {}
            Ok(Some(body)) => match Table::parse(&body) {
                Ok(table) => {
                    found.table = Some(table);
                    return Ok(found);
                }
                Err(error) => return doubted(found, wanted, error),
            },
            Err(error) => return doubted(found, wanted, error),
        }
    }
    if !wanted.asks_for_table() {
        return Ok(found);
    }
    let text = match tables.first() {
        Some(name) => format!("the settings ask for confounds, and there is no {name} beside the scan"),
        None => format!(
            "the settings ask for confounds, and {file:?} is no BIDS name that they could be found by"
        ),
    };
    Err(JobError::new(Stage::Preprocess, ErrorCode::ConfoundsMissing, text))
}

/// A table that nothing is asked of fails no scan, unless asking again may help.
fn doubted(mut found: Sidecars, wanted: &Wanted, error: JobError) -> Result<Sidecars, JobError> {
    if wanted.asks_for_table() || error.class != ErrorClass::Permanent {
        return Err(error);
    }
    found.doubt = Some(Warning::new(WarningCode::ConfoundsNotRead, error.in_full()));
    Ok(found)
}

async fn read(
    scan: &BlobRef,
    folder: &str,
    file: &str,
    limit: u64,
    store: &dyn BlobStore,
) -> Result<Option<Bytes>, JobError> {
    let name = if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") };
    let blob = BlobRef::new(scan.container(), name)?;
    Ok(store.read(&blob, limit).await?.map(|(body, _)| body))
}

/// A sidecar that is no JSON, or says no time in seconds, says nothing: the header is asked then.
fn repetition_time(json: &[u8]) -> Option<f64> {
    let sidecar: Value = serde_json::from_slice(json).ok()?;
    sidecar.get("RepetitionTime")?.as_f64().filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_times_are_read() {
        assert_eq!(repetition_time(br#"{"RepetitionTime": 2.2, "TaskName": "rest"}"#), Some(2.2));
        for said in [&br#"{"RepetitionTime": "2"}"#[..], b"{}", b"not json", br#"{"RepetitionTime": -1}"#] {
            assert_eq!(repetition_time(said), None);
        }
    }
}
