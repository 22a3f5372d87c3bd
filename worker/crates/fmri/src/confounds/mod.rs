//! Confounds by BIDS: the table beside a preprocessed scan, and what of it is taken out before the regressions.
//!
//! BIDS derivatives keep them as `<entities>_desc-confounds_timeseries.tsv`: tab-separated, a header line, one row for
//! every volume of the file, `n/a` where a value is not defined.

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::regression::Nuisance;

/// Framewise displacement in millimetres, as fMRIPrep names it.
const DISPLACEMENT: &str = "framewise_displacement";

/// Entities that a scan's name may have and its confounds' has not: they say how volumes were resampled or stored.
const OF_THE_IMAGE: [&str; 6] = ["space-", "res-", "den-", "desc-", "cohort-", "hemi-"];

/// What is to be taken out of a scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Columns to regress out; `*` stands for any characters.
    pub columns: Vec<String>,
    /// Volumes at the beginning to leave out, before the signal is steady.
    pub drop_volumes: usize,
    /// Volumes with a greater framewise displacement than this are left out.
    pub max_displacement_mm: Option<f64>,
}

impl Wanted {
    /// Whether a table is needed.
    pub fn asks_for_table(&self) -> bool {
        !self.columns.is_empty() || self.max_displacement_mm.is_some()
    }
}

/// What was found for a scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    pub nuisance: Nuisance,
    /// Names of the columns that are regressed out.
    pub names: Vec<String>,
    /// Volumes at the beginning that are left out, and others for their displacement.
    pub dropped: usize,
    pub censored: usize,
}

fn invalid(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, ErrorCode::ConfoundsInvalid, message)
}

fn missing(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, ErrorCode::ConfoundsMissing, message)
}

/// A table of confounds; `None` stands for `n/a`.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    names: Vec<String>,
    /// Columns, each with a value for every row.
    columns: Vec<Vec<Option<f64>>>,
    rows: usize,
}

impl Table {
    /// Reads tab-separated text with a header line.
    ///
    /// # Errors
    /// `confounds_invalid` for bytes that are no text, rows of another length than the header's, cells that are neither
    /// a number nor `n/a`, and names that come twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, JobError> {
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("the table of confounds is no text"))?;
        let mut lines = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.trim().is_empty());
        let header = lines.next().ok_or_else(|| invalid("the table of confounds is empty"))?;
        let names: Vec<String> = header.split('\t').map(|name| name.trim().to_owned()).collect();
        if let Some(name) = names.iter().enumerate().find(|(n, name)| names[..*n].contains(name)) {
            return Err(invalid(format!("the column {:?} of the confounds comes twice", name.1)));
        }
        let mut columns = vec![Vec::new(); names.len()];
        let mut rows = 0;
        for line in lines {
            rows += 1;
            let mut cells = 0;
            for (column, cell) in columns.iter_mut().zip(line.split('\t')) {
                column.push(value(cell.trim(), rows)?);
                cells += 1;
            }
            if cells < names.len() || line.split('\t').count() > names.len() {
                let found = line.split('\t').count();
                let text =
                    format!("row {rows} of the confounds has {found} cells, the header {}", names.len());
                return Err(invalid(text));
            }
        }
        Ok(Self { names, columns, rows })
    }

    /// Number of rows: volumes of the scan.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The column of that name; `None` in it stands for `n/a`.
    pub fn column(&self, name: &str) -> Option<&[Option<f64>]> {
        let at = self.names.iter().position(|known| known == name)?;
        self.columns.get(at).map(Vec::as_slice)
    }

    /// The columns that fit a name or pattern, in the table's order.
    fn matching(&self, pattern: &str) -> Vec<usize> {
        (0..self.names.len()).filter(|&n| fits(pattern, &self.names[n])).collect()
    }
}

fn value(cell: &str, row: usize) -> Result<Option<f64>, JobError> {
    if cell.is_empty() || ["n/a", "nan"].contains(&cell.to_ascii_lowercase().as_str()) {
        return Ok(None);
    }
    match cell.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Some(number)),
        _ => Err(invalid(format!("{cell:?} in row {row} of the confounds is no number"))),
    }
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

/// What is taken out of a scan of that many volumes.
///
/// The rule for `n/a`: in the first row of the file a confound takes the value of the second (derivatives begin one
/// volume late; nilearn's rule) and a displacement is none; in volumes that are left out it does not matter; anywhere
/// else the table is refused.
///
/// # Errors
/// `confounds_missing` when a table or a column is asked for and absent; `confounds_invalid` when the table's rows are
/// not the scan's volumes, or `n/a` stands where it must not; `too_few_volumes` when nothing is left.
pub fn find(wanted: &Wanted, table: Option<&Table>, volumes: usize) -> Result<Found, JobError> {
    let dropped = wanted.drop_volumes.min(volumes);
    let mut found = Found { dropped, ..Found::default() };
    let mut left_out: Vec<bool> = (0..volumes).map(|t| t < dropped).collect();
    if wanted.asks_for_table() {
        let table = table.ok_or_else(|| missing("the settings ask for confounds, and no table is there"))?;
        if table.rows != volumes {
            let text = format!("the confounds have {} rows, the scan has {volumes} volumes", table.rows);
            return Err(invalid(text));
        }
        if let Some(limit) = wanted.max_displacement_mm {
            found.censored = censor(table, limit, &mut left_out)?;
        }
        let mut chosen = Vec::new();
        for pattern in &wanted.columns {
            let matching = table.matching(pattern);
            if matching.is_empty() {
                return Err(missing(format!("the confounds have no column {pattern:?}")));
            }
            chosen.extend(matching.into_iter().filter(|n| !chosen.contains(n)).collect::<Vec<_>>());
        }
        for n in chosen {
            found.nuisance.columns.push(filled(table, n, &left_out)?);
            found.names.push(table.names[n].clone());
        }
    }
    if left_out.iter().all(|&out| out) {
        let text = format!("all {volumes} volumes are left out");
        return Err(JobError::new(Stage::Preprocess, ErrorCode::TooFewVolumes, text));
    }
    if left_out.contains(&true) {
        found.nuisance.left_out = left_out;
    }
    Ok(found)
}

/// Marks the volumes that moved too far; their number, without those left out already.
fn censor(table: &Table, limit: f64, left_out: &mut [bool]) -> Result<usize, JobError> {
    let at = table.names.iter().position(|name| name == DISPLACEMENT);
    let at = at.ok_or_else(|| missing(format!("the confounds have no column {DISPLACEMENT:?}")))?;
    let mut censored = 0;
    for (t, (moved, out)) in table.columns[at].iter().zip(left_out.iter_mut()).enumerate() {
        let moved = match moved {
            Some(moved) => *moved,
            None if t == 0 || *out => 0.0,
            None => return Err(invalid(format!("{DISPLACEMENT} is n/a in row {}", t + 1))),
        };
        if moved > limit && !*out {
            *out = true;
            censored += 1;
        }
    }
    Ok(censored)
}

/// A column without `n/a`.
fn filled(table: &Table, n: usize, left_out: &[bool]) -> Result<Vec<f64>, JobError> {
    let column = &table.columns[n];
    let cells = column.iter().enumerate().map(|(t, x)| match x {
        Some(x) => Ok(*x),
        None if left_out[t] => Ok(0.0),
        None if t == 0 && column.len() > 1 && column[1].is_some() => Ok(column[1].unwrap_or_default()),
        None => Err(invalid(format!("the confound {:?} is n/a in row {}", table.names[n], t + 1))),
    });
    cells.collect()
}

/// Names of the files beside a scan that belong to it, without a folder: the JSON sidecar, and where its confounds may
/// be. Empty for names that are no scan's.
pub fn sidecars(file: &str) -> (Option<String>, Vec<String>) {
    let Some(stem) = file.strip_suffix(".nii.gz").or_else(|| file.strip_suffix(".nii")) else {
        return (None, Vec::new());
    };
    let parts: Vec<&str> = stem.split('_').collect();
    // The last part is the suffix (bold), unless the name is not BIDS's at all.
    let entities = &parts[..parts.len().saturating_sub(1)];
    let mut tables = Vec::new();
    for left_out in [&OF_THE_IMAGE[..], &["desc-"]] {
        let kept = entities.iter().filter(|e| !left_out.iter().any(|prefix| e.starts_with(prefix)));
        let kept: Vec<&str> = kept.copied().collect();
        for suffix in ["timeseries", "regressors"] {
            let prefix = kept.iter().fold(String::new(), |text, entity| text + entity + "_");
            let name = format!("{prefix}desc-confounds_{suffix}.tsv");
            if !kept.is_empty() && !tables.contains(&name) {
                tables.push(name);
            }
        }
    }
    (Some(format!("{stem}.json")), tables)
}

#[cfg(test)]
mod tests;
