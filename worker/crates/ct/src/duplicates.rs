//! Slices at one place: the same image twice, or several volumes in one series.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use nightread_domain::warning::Warning;
use sha2::{Digest, Sha256};

use crate::decode::Decoding;
use crate::error::{CtCode, CtError, CtWarning, CtWarningCode};
use crate::hounsfield::rescale;
use crate::slice::Slice;
use crate::stack::{ONE_PLACE_MM, normal, place};
use crate::volume::Skipped;

/// One of several volumes is taken where it has this share of all places.
const LEAST_SHARE: f64 = 0.9;

/// Slices of which no two are at one place, and what was left out for that.
#[derive(Debug)]
pub struct Settled {
    pub slices: Vec<Slice>,
    pub skipped: Vec<Skipped>,
    pub warnings: Vec<CtWarning>,
    pub file_warnings: Vec<Warning>,
}

/// Ends of the runs of sorted slices that lie at one place.
fn places(slices: &[Slice]) -> Vec<std::ops::Range<usize>> {
    let Some(first) = slices.first() else { return Vec::new() };
    let normal = normal(first);
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    let mut start = f64::NEG_INFINITY;
    for (n, slice) in slices.iter().enumerate() {
        let at = place(slice, normal);
        match runs.last_mut() {
            Some(run) if at - start < ONE_PLACE_MM => run.end = n + 1,
            _ => {
                start = at;
                runs.push(n..n + 1);
            }
        }
    }
    runs
}

/// Leaves out what is there twice; of several volumes takes the largest, where acquisition numbers or times tell them apart.
///
/// # Errors
/// `several_volumes`; those of decoding.
pub fn settle(slices: Vec<Slice>, decoding: &Decoding<'_>) -> Result<Settled, CtError> {
    let runs = places(&slices);
    let mut settled =
        Settled { slices: Vec::new(), skipped: Vec::new(), warnings: Vec::new(), file_warnings: Vec::new() };
    if runs.len() == slices.len() {
        settled.slices = slices;
        return Ok(settled);
    }
    let doubtful: Vec<Slice> =
        runs.iter().filter(|run| run.len() > 1).flat_map(|run| slices[run.clone()].to_vec()).collect();
    let digests = Mutex::new(BTreeMap::new());
    settled.file_warnings = decoding.run(&doubtful, &|index, values| {
        let mut units = vec![0; values.len()];
        rescale(&doubtful[index], values, &mut units);
        let mut digest = Sha256::new();
        for unit in &units {
            digest.update(unit.to_le_bytes());
        }
        digests.lock().unwrap_or_else(PoisonError::into_inner).insert(index, digest.finalize());
    })?;
    let digests = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut doubtful_before = 0;
    let mut left: Vec<Slice> = Vec::new();
    for run in &runs {
        let first = doubtful_before;
        if run.len() > 1 {
            doubtful_before += run.len();
        }
        let mut seen = Vec::new();
        for (n, slice) in slices[run.clone()].iter().enumerate() {
            let digest = digests.get(&(first + n)).filter(|_| run.len() > 1);
            if digest.is_some() && seen.contains(&digest) {
                settled.skipped.push(skipped(slice, "duplicate"));
            } else {
                seen.push(digest);
                left.push(slice.clone());
            }
        }
    }
    let twice = settled.skipped.len();
    if twice > 0 {
        let text = format!("{twice} of the images were there twice, and were left out");
        settled.warnings.push(CtWarning::new(CtWarningCode::DuplicateSlices, text));
    }
    if left.len() == runs.len() {
        settled.slices = left;
        return Ok(settled);
    }
    choose(left, runs.len(), &mut settled)?;
    Ok(settled)
}

fn skipped(slice: &Slice, why: &'static str) -> Skipped {
    let frame = (slice.of.frames > 1).then_some(slice.frame);
    Skipped { part: slice.file.part, member: slice.file.member, frame, why }
}

fn choose(left: Vec<Slice>, places: usize, settled: &mut Settled) -> Result<(), CtError> {
    let by_acquisition = split(&left, |slice| slice.acquisition.map(|n| format!("{n:020}")));
    let by_time = || split(&left, |slice| slice.time.clone());
    let (volumes, what) = match by_acquisition {
        Some(volumes) => (volumes, "AcquisitionNumber"),
        None => match by_time() {
            Some(volumes) => (volumes, "ContentTime"),
            None => return Err(several(left.len(), places, "nothing tells them apart")),
        },
    };
    // Of equal ones the first acquired.
    let count = volumes.len();
    let most = volumes.values().map(Vec::len).max().unwrap_or(0);
    if (most as f64) < LEAST_SHARE * places as f64 {
        return Err(several(left.len(), places, "none of them is whole"));
    }
    let Some((taken, _)) = volumes.iter().find(|(_, members)| members.len() == most) else { return Ok(()) };
    let taken = &volumes[taken];
    for (n, slice) in left.into_iter().enumerate() {
        if taken.contains(&n) {
            settled.slices.push(slice);
        } else {
            settled.skipped.push(skipped(&slice, "another_volume"));
        }
    }
    let text = format!(
        "the series holds {count} volumes by {what}; the largest, of equal ones the first, was taken"
    );
    settled.warnings.push(CtWarning::new(CtWarningCode::SeveralVolumes, text));
    Ok(())
}

fn several(slices: usize, places: usize, why: &str) -> CtError {
    let text =
        format!("the series has {slices} different slices at {places} places: several volumes, and {why}");
    CtError::new(CtCode::SeveralVolumes, text)
}

/// Slices by a name of their volume; `None` unless all have one, and no volume has two at one place.
fn split(slices: &[Slice], name: impl Fn(&Slice) -> Option<String>) -> Option<BTreeMap<String, Vec<usize>>> {
    let mut volumes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (n, slice) in slices.iter().enumerate() {
        volumes.entry(name(slice)?).or_default().push(n);
    }
    // Times that are each slice's own tell slices apart, not volumes.
    let tells = volumes.len() > 1 && 2 * volumes.len() <= slices.len();
    let is_one = |members: &Vec<usize>| {
        let members: Vec<Slice> = members.iter().map(|&n| slices[n].clone()).collect();
        places(&members).len() == members.len()
    };
    (tells && volumes.values().all(is_one)).then_some(volumes)
}
