//! Rules across the sections of a manifest, and the files that it names.

use std::collections::BTreeMap;
use std::fs;

use super::{Activation, Calibration, Manifest, Precision, Preprocessing, Problem, Task};
use crate::digest;

/// More values than any tensor here needs; caps what a manifest can make the worker allocate (1 GiB of float32).
const MAX_ITEM_LEN: usize = 1 << 28;

/// How far the files that a manifest names are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    Present,
    Verified,
}

/// Rules across sections, and the files themselves.
pub(super) fn check(manifest: &Manifest, files: Files, problems: &mut Vec<Problem>) {
    let mut problem = |at: &str, what: String| problems.push(Problem { at: at.to_owned(), what });
    // "." and ".." have no last component; the folder's real name counts.
    let folder = fs::canonicalize(&manifest.folder).unwrap_or_else(|_| manifest.folder.clone());
    let folder_name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if folder_name != manifest.name {
        problem("name", format!("is {:?}, but the folder is {folder_name:?}", manifest.name));
    }
    if !is_slug(&manifest.name) {
        problem("name", "must be lower-case letters, digits and hyphens".to_owned());
    }
    if !is_semver(&manifest.version) {
        problem(
            "version",
            format!("must be a semantic version (major.minor.patch), not {:?}", manifest.version),
        );
    }
    if manifest.fp32.is_none() && manifest.int8.is_none() {
        problem("weights", "offers neither fp32 nor int8".to_owned());
    }
    let input = &manifest.input;
    if input.item_shape.is_empty() {
        problem("input.item_shape", "is empty".to_owned());
    }
    let len = input.item_shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
    if len.is_none_or(|len| len > MAX_ITEM_LEN) {
        problem("input.item_shape", format!("holds more than {MAX_ITEM_LEN} values"));
    }
    if input.value_range[0] >= input.value_range[1] {
        problem("input.value_range", "must be [lowest, highest]".to_owned());
    }
    let expected = match (&manifest.task, &manifest.preprocessing) {
        (Task::Radiograph, Preprocessing::Xrv1 { size }) => Some(vec![1, *size, *size]),
        (Task::Components, Preprocessing::Projections1 { .. }) => None,
        (_, preprocessing) => {
            problem("preprocessing.id", format!("{} does not serve this task", preprocessing.id()));
            None
        }
    };
    if let Some(expected) = expected.filter(|expected| *expected != input.item_shape) {
        problem("input.item_shape", format!("must be {expected:?} for the preprocessing's size"));
    }
    check_labels(manifest, &mut problem);
    check_files(manifest, files, &mut problem);
}

fn check_labels(manifest: &Manifest, problem: &mut impl FnMut(&str, String)) {
    let calibrated = manifest.output.calibration == Calibration::XrvOpNorm;
    if calibrated && manifest.output.activation != Activation::Sigmoid {
        problem("output.calibration", "xrv-op-norm needs the sigmoid activation".to_owned());
    }
    if manifest.labels.iter().all(|label| label.suppressed) {
        problem("labels", "none is reported".to_owned());
    }
    let mut seen = BTreeMap::new();
    for (index, label) in manifest.labels.iter().enumerate() {
        if label.suppressed {
            continue;
        }
        if calibrated && label.op_threshold.is_none() {
            problem(&format!("labels[{index}].op_threshold"), "is missing (xrv-op-norm needs it)".to_owned());
        }
        if let Some(first) = seen.insert(label.name.as_str(), index) {
            problem(&format!("labels[{index}].name"), format!("{:?} is labels[{first}] already", label.name));
        }
    }
}

fn check_files(manifest: &Manifest, files: Files, problem: &mut impl FnMut(&str, String)) {
    let mut look = |at: &str, file: &str, sha256: Option<&str>| {
        if let Err(what) = check_file(manifest, files, file, sha256) {
            problem(at, what);
        }
    };
    for precision in Precision::ALL {
        // A template's weights are not there, and that is no fault.
        if let Some(weights) = manifest.weights(precision).filter(|weights| weights.sha256.is_some()) {
            look(&format!("weights.{precision}.file"), &weights.file, weights.sha256.as_deref());
            for (index, data) in weights.data.iter().enumerate() {
                look(&format!("weights.{precision}.data[{index}].file"), &data.file, Some(&data.sha256));
            }
        }
    }
    look("card", &manifest.card, None);
    check_maps(manifest, files, problem);
}

/// The group maps and their mask.
pub(super) fn check_maps(manifest: &Manifest, files: Files, problem: &mut impl FnMut(&str, String)) {
    let Some(maps) = manifest.maps.as_ref().filter(|maps| maps.sha256.is_some()) else { return };
    let mask = maps.mask.as_ref().map(|mask| ("maps.mask", mask, maps.mask_sha256.as_deref()));
    for (at, file, sha256) in [("maps.file", &maps.file, maps.sha256.as_deref())].into_iter().chain(mask) {
        if let Err(what) = check_file(manifest, files, file, sha256) {
            problem(at, what);
        }
    }
}

fn check_file(manifest: &Manifest, files: Files, file: &str, sha256: Option<&str>) -> Result<(), String> {
    let path = manifest.path_of(file);
    if !path.is_file() {
        return Err(format!("{file:?} is not in the folder"));
    }
    let (Files::Verified, Some(expected)) = (files, sha256) else { return Ok(()) };
    match digest::of_file(&path) {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => Err(format!("{file:?} has sha256 {found}, the manifest says {expected}")),
        Err(error) => Err(format!("{file:?} cannot be read: {error}")),
    }
}

fn is_slug(name: &str) -> bool {
    name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) && !name.starts_with('-')
}

/// `major.minor.patch`, no leading zeros. Pre-release parts are left out: the precision is appended with a hyphen.
fn is_semver(version: &str) -> bool {
    let parts: Vec<_> = version.split('.').collect();
    parts.len() == 3
        && parts.iter().all(|part| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_digit())
                && (*part == "0" || !part.starts_with('0'))
        })
}
