//! Rules across the sections of a manifest, and the files that it names.

use std::collections::BTreeMap;
use std::fs;

use super::bf16;
use super::ensemble;
use super::outputs::check as outputs;
use super::{
    Activation, Calibration, Cam, ClassifierWeights, Manifest, Plan, Precision, Preprocessing, Problem, Task,
};
use crate::digest;

/// More values than any tensor here needs; caps what a manifest can make the worker allocate (1 GiB of float32).
const MAX_ITEM_LEN: usize = 1 << 28;

/// How far the files that a manifest names are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// They may be elsewhere.
    Named,
    Present,
    Verified,
}

/// Rules across sections, and the files themselves.
pub(super) fn check(manifest: &Manifest, files: Files, problems: &mut Vec<Problem>) {
    // "." and ".." have no last component; the folder's real name counts.
    let folder = fs::canonicalize(&*manifest.folder).unwrap_or_else(|_| manifest.folder.to_path_buf());
    let folder_name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if folder_name != manifest.name {
        problems
            .push(Problem::new("name", format!("is {:?}, but the folder is {folder_name:?}", manifest.name)));
    }
    if !is_model_name(&manifest.name) {
        problems.push(Problem::new("name", "must be lower-case letters, digits and hyphens"));
    }
    if !is_semver(&manifest.version) {
        problems.push(Problem::new(
            "version",
            format!("must be a semantic version (major.minor.patch), not {:?}", manifest.version),
        ));
    }
    if let Some(of) = &manifest.ensemble {
        ensemble::check(manifest, of, problems);
        check_labels(manifest, problems);
        check_files(manifest, files, problems);
        return;
    }
    if manifest.fp32.is_none() && manifest.int8.is_none() {
        problems.push(Problem::new("weights", "offers neither fp32 nor int8"));
    }
    let input = &manifest.input;
    if input.item_shape.is_empty() {
        problems.push(Problem::new("input.item_shape", "is empty"));
    }
    let len = input.item_shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
    if len.is_none_or(|len| len > MAX_ITEM_LEN) {
        problems.push(Problem::new("input.item_shape", format!("holds more than {MAX_ITEM_LEN} values")));
    }
    if input.value_range[0] >= input.value_range[1] {
        problems.push(Problem::new("input.value_range", "must be [lowest, highest]"));
    }
    let expected = match (&manifest.task, &manifest.preprocessing) {
        (Task::Radiograph, Preprocessing::Xrv1 { size }) => Some(vec![1, *size, *size]),
        (Task::Radiograph, Preprocessing::Steps(plan)) => {
            check_steps(manifest, plan, problems);
            None
        }
        (Task::Components, Preprocessing::Projections1 { .. }) => None,
        (Task::Segmentation, Preprocessing::Ct(_)) => {
            check_segmentation(manifest, problems);
            None
        }
        (_, preprocessing) => {
            problems.push(Problem::new(
                "preprocessing.id",
                format!("{} does not serve this task", preprocessing.id()),
            ));
            None
        }
    };
    if let Some(expected) = expected.filter(|expected| *expected != input.item_shape) {
        problems.push(Problem::new(
            "input.item_shape",
            format!("must be {expected:?} for the preprocessing's size"),
        ));
    }
    if manifest.window.is_some() && manifest.task != Task::Segmentation {
        problems.push(Problem::new("window", "serves segmentations alone"));
    }
    outputs::check(manifest, problems);
    bf16::check(manifest, problems);
    check_labels(manifest, problems);
    check_files(manifest, files, problems);
}

/// What the steps give against what the network takes.
fn check_steps(manifest: &Manifest, plan: &Plan, problems: &mut Vec<Problem>) {
    let (input, given) = (&manifest.input, plan.item_shape());
    if input.item_shape != given {
        let what = format!(
            "is {:?}, but the steps of preprocessing give {given:?} (layout {}): mend whichever is not the network's",
            input.item_shape,
            plan.layout().as_str()
        );
        problems.push(Problem::new("input.item_shape", what));
    }
    let Some([low, high]) = plan.range() else { return };
    let slack = 1e-3 * (high - low);
    let [least, most] = input.value_range;
    if (least - low).abs() > slack || (most - high).abs() > slack {
        let what = format!(
            "is [{least}, {most}], but the steps of preprocessing give values in [{low:.4}, {high:.4}]: mend \
             whichever is not the network's"
        );
        problems.push(Problem::new("input.value_range", what));
    }
}

/// Voxels along a side of a patch, at least: networks halve it several times.
const LEAST_PATCH: usize = 8;

/// A label map has one byte a voxel.
const MOST_CLASSES: usize = 256;

fn check_segmentation(manifest: &Manifest, problems: &mut Vec<Problem>) {
    if manifest.window.is_none() {
        problems.push(Problem::new("window", "is missing: how the network goes over a volume"));
    }
    let is_patch = match manifest.input.item_shape.as_slice() {
        [1, patch @ ..] => patch.len() == 3 && patch.iter().all(|side| *side >= LEAST_PATCH),
        _ => false,
    };
    if !is_patch {
        let what = format!(
            "must be [1, and the three sides of a patch, {LEAST_PATCH} voxels or more each], not {:?}",
            manifest.input.item_shape
        );
        problems.push(Problem::new("input.item_shape", what));
    }
    if manifest.classes() > MOST_CLASSES {
        let what = format!("must be {} at most: the background is one class more", MOST_CLASSES - 1);
        problems.push(Problem::new("labels", what));
    }
    if manifest.output.heads.iter().any(|head| head.activation != Activation::Softmax) {
        problems.push(Problem::new("output.activation", "must be softmax: a voxel has one label"));
    }
    if manifest.output.has_cam() {
        problems.push(Problem::new("output.cam", "is not read from segmentations"));
    }
}

fn check_labels(manifest: &Manifest, problems: &mut Vec<Problem>) {
    let only_measures = manifest.labels.is_empty() && !manifest.measurements.is_empty();
    if !only_measures && manifest.labels.iter().all(|label| label.suppressed) {
        problems.push(Problem::new("labels", "none is reported"));
    }
    let mut seen = BTreeMap::new();
    for (index, label) in manifest.labels.iter().enumerate() {
        if label.suppressed {
            continue;
        }
        let head = manifest.output.heads.get(label.head);
        let calibrated = head.is_some_and(|head| head.calibration == Calibration::XrvOpNorm);
        if calibrated && label.op_threshold.is_none() {
            problems.push(Problem::new(
                format!("labels[{index}].op_threshold"),
                "is missing (xrv-op-norm needs it)",
            ));
        }
        if let Some(first) = seen.insert(label.name.as_str(), index) {
            problems.push(Problem::new(
                format!("labels[{index}].name"),
                format!("{:?} is labels[{first}] already", label.name),
            ));
        }
    }
}

fn check_files(manifest: &Manifest, files: Files, problems: &mut Vec<Problem>) {
    for precision in Precision::WITH_FILES {
        // A template's weights are not there, and that is no fault.
        if let Some(weights) = manifest.weights(precision).filter(|weights| weights.sha256.is_some()) {
            let at = format!("weights.{precision}.file");
            problems.extend(file_problem(manifest, files, at, (&weights.file, weights.sha256.as_deref())));
            for (index, data) in weights.data.iter().enumerate() {
                let at = format!("weights.{precision}.data[{index}].file");
                problems.extend(file_problem(manifest, files, at, (&data.file, Some(&data.sha256))));
            }
        }
    }
    for (number, head) in manifest.output.heads.iter().enumerate() {
        let Some(Cam::Features { weights: ClassifierWeights::File(listed), .. }) = &head.cam else {
            continue;
        };
        let at = format!("{}.weights_file", outputs::key_of(&manifest.output, number, "cam"));
        problems.extend(file_problem(manifest, files, at, (&listed.file, Some(&listed.sha256))));
    }
    problems.extend(file_problem(manifest, files, "card", (&manifest.card, None)));
    check_maps(manifest, files, problems);
}

/// The group maps and their mask.
pub(super) fn check_maps(manifest: &Manifest, files: Files, problems: &mut Vec<Problem>) {
    let Some(maps) = manifest.maps.as_ref().filter(|maps| maps.sha256.is_some()) else { return };
    let mask = maps.mask.as_ref().map(|mask| ("maps.mask", mask, maps.mask_sha256.as_deref()));
    for (at, file, sha256) in [("maps.file", &maps.file, maps.sha256.as_deref())].into_iter().chain(mask) {
        problems.extend(file_problem(manifest, files, at, (file, sha256)));
    }
}

/// What is wrong with a file that the key `at` names, and its digest.
fn file_problem(
    manifest: &Manifest,
    files: Files,
    at: impl Into<String>,
    (file, sha256): (&str, Option<&str>),
) -> Option<Problem> {
    let what = check_file(manifest, files, file, sha256).err()?;
    Some(Problem::new(at, what))
}

fn check_file(manifest: &Manifest, files: Files, file: &str, sha256: Option<&str>) -> Result<(), String> {
    let path = manifest.path_of(file);
    if files == Files::Named {
        return Ok(());
    }
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

/// Whether a model may have this name, and its folder.
pub fn is_model_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !name.starts_with('-')
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
