//! Whether items suffice to judge by, told before anything is computed.

use std::collections::BTreeSet;

use nightread_engine::{LEAST_EVALUATED, Manifest, sha256_of};

use super::archive::Archive;
use super::interval::Groups;
use super::mistakes::{SHOWN, SHOWN_TO_MEND, listed, none_of};
use super::pairs::Item;
use super::truth::{Known, by_class};
use crate::app::WrongUse;

/// Values may leave the manifest's range by this share of it, as far as the engine lets them.
const BEYOND: f64 = 1e-3;

/// Share of the range that values take up, at least: items of another scale lie within it and are wrong.
const TAKEN: f64 = 0.01;

/// Items that can be judged by.
#[derive(Debug)]
pub(super) struct Sufficient {
    /// SHA-256 over the sorted digests of the items' values, one a line; lower-case hexadecimal.
    pub items_sha256: String,
    /// What there is to say of them.
    pub notes: Vec<String>,
}

/// # Errors
/// All that they lack.
pub(super) fn check(
    manifest: &Manifest,
    items: &[Item],
    archive: &mut Archive,
) -> Result<Sufficient, WrongUse> {
    let mut problems = Vec::new();
    if items.len() < LEAST_EVALUATED {
        let count = items.len();
        problems.push(format!(
            "evaluation: {count} items, {LEAST_EVALUATED} are needed at least: prepare more files"
        ));
    }
    let items_sha256 = check_values(manifest, items, archive, &mut problems)?;
    none_of(&problems)?;
    let patients = Groups::new(items.iter().map(|item| item.patient.as_str())).count();
    if patients < 2 {
        let what = "evaluation: all items are of one patient: an interval needs several";
        return Err(WrongUse(what.to_owned()));
    }
    let mut notes = vec![format!("{} items of {patients} patients to judge by", items.len())];
    notes.extend(check_labels(manifest, items)?);
    Ok(Sufficient { items_sha256, notes })
}

/// Shapes, numbers that are none, and a range that is not the manifest's. The digest of all values.
fn check_values(
    manifest: &Manifest,
    items: &[Item],
    archive: &mut Archive,
    problems: &mut Vec<String>,
) -> Result<String, WrongUse> {
    let input = &manifest.input;
    let [low, high] = input.value_range;
    let slack = BEYOND * (high - low);
    let (mut misshapen, mut broken, mut outside) = (Vec::new(), Vec::new(), Vec::new());
    let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
    let mut digests = Vec::with_capacity(items.len());
    for Item { name, .. } in items {
        let (shape, values) = archive.array(name, input.item_len())?;
        if shape != input.item_shape {
            misshapen.push(format!("{name} {shape:?}"));
            continue;
        }
        if !values.iter().all(|value| value.is_finite()) {
            broken.push(name);
            continue;
        }
        let range = low - slack..=high + slack;
        if !values.iter().all(|value| range.contains(&f64::from(*value))) {
            outside.push(name);
        }
        least = values.iter().copied().fold(least, f32::min);
        most = values.iter().copied().fold(most, f32::max);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        digests.push(sha256_of(&bytes));
    }
    if !misshapen.is_empty() {
        let (count, names, wanted) = (misshapen.len(), listed(misshapen, SHOWN), &input.item_shape);
        problems.push(format!(
            "{count} items of another form, the manifest's input is {wanted:?}: {names}; prepare them for this model"
        ));
    }
    if !broken.is_empty() {
        let (count, names) = (broken.len(), listed(broken, SHOWN));
        problems.push(format!(
            "{count} items with NaN or infinite values: {names}; prepare them anew or take them out"
        ));
    }
    let told = format!("values from {least} to {most}, value_range is [{low}, {high}]");
    if !outside.is_empty() {
        let (count, names) = (outside.len(), listed(outside, SHOWN));
        problems.push(format!(
            "{count} items with {told}: {names}; prepare them for this model, or mend input.value_range"
        ));
    } else if f64::from(most - least) < TAKEN * (high - low) {
        problems.push(format!("items have {told}: prepare them for this model, or mend input.value_range"));
    }
    digests.sort_unstable();
    let lines: String = digests.into_iter().flat_map(|digest| [digest, "\n".to_owned()]).collect();
    Ok(sha256_of(lines.as_bytes()))
}

/// What is told of the labels. Errors: what is wrong with all of them together.
fn check_labels(manifest: &Manifest, items: &[Item]) -> Result<Option<String>, WrongUse> {
    if by_class(manifest) {
        return check_classes(manifest, items);
    }
    let reported: Vec<_> =
        manifest.labels.iter().enumerate().filter(|(_, label)| !label.suppressed).collect();
    let mut left_out = Vec::new();
    for (index, label) in &reported {
        let count = |wanted: bool| {
            let is_so =
                |item: &&Item| matches!(&item.known, Known::Labels(truths) if truths[*index] == Some(wanted));
            items.iter().filter(is_so).count()
        };
        let lacks = match (count(true), count(false)) {
            (0, 0) => "no truth",
            (0, _) => "no positives",
            (_, 0) => "no negatives",
            _ => continue,
        };
        left_out.push(format!("{} ({lacks})", label.name));
    }
    let names = listed(&left_out, SHOWN_TO_MEND);
    if left_out.len() == reported.len() {
        let what = "no label has positives and negatives among the items to judge by";
        return Err(WrongUse(format!("{what}: {names}; add items")));
    }
    let told =
        format!("AUC is the mean over {} of {} labels", reported.len() - left_out.len(), reported.len());
    Ok(Some(if left_out.is_empty() { told } else { format!("{told}, left out: {names}") }))
}

fn check_classes(manifest: &Manifest, items: &[Item]) -> Result<Option<String>, WrongUse> {
    let present: BTreeSet<usize> = items
        .iter()
        .filter_map(|item| match item.known {
            Known::Class(class) => class,
            Known::Labels(_) => None,
        })
        .collect();
    let name = |class: usize| manifest.labels[class].name.as_str();
    if present.len() < 2 {
        let found = present.first().map_or("none", |class| name(*class));
        let what = "truth of the evaluation has one class or none";
        return Err(WrongUse(format!("{what} ({found}): add items of others")));
    }
    let absent: Vec<_> = (0..manifest.labels.len())
        .filter(|class| !present.contains(class))
        .map(name)
        .filter(|name| !name.is_empty())
        .collect();
    Ok((!absent.is_empty()).then(|| format!("classes that no item has: {}", listed(absent, SHOWN_TO_MEND))))
}
