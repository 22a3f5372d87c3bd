//! Facts of the input, of the regression, and times: what documents hold as maps. What no column takes goes, as JSON, into
//! the map's `other` column, so that nothing is lost of documents by a later worker.

use std::collections::{BTreeMap, BTreeSet};

use nightread_domain::ResultDocument;
use serde_json::{Map, Value};

use crate::cell::{Cell, Kind};
use crate::column::{Column, Level};

/// A fact, by its keys from the outside in, and in a list by its place.
struct Fact {
    name: &'static str,
    kind: Kind,
    field: &'static str,
    key: &'static str,
    /// Of a map or a list within.
    inner: Option<&'static str>,
}

const fn fact(name: &'static str, kind: Kind, field: &'static str, key: &'static str) -> Fact {
    Fact { name, kind, field, key, inner: None }
}

const fn within(
    name: &'static str,
    kind: Kind,
    field: &'static str,
    key: &'static str,
    inner: &'static str,
) -> Fact {
    Fact { name, kind, field, key, inner: Some(inner) }
}

const INPUT: &[Fact] = &[
    fact("input_modality", Kind::Text, "input.modality", "modality"),
    fact("input_view", Kind::Text, "input.view", "view"),
    fact("input_body_part", Kind::Text, "input.body_part", "body_part"),
    fact("input_photometric", Kind::Text, "input.photometric", "photometric"),
    fact("input_bits_stored", Kind::Integer, "input.bits_stored", "bits_stored"),
    fact("input_transfer_syntax", Kind::Text, "input.transfer_syntax", "transfer_syntax"),
    fact("input_age_years", Kind::Number, "input.age_years", "age_years"),
    fact("input_width_px", Kind::Integer, "input.width_px", "width_px"),
    fact("input_height_px", Kind::Integer, "input.height_px", "height_px"),
    fact("input_max_value", Kind::Integer, "input.max_value", "max_value"),
    fact("input_volumes", Kind::Integer, "input.volumes", "volumes"),
    within("input_grid_x_voxels", Kind::Integer, "input.grid_voxels", "grid_voxels", "0"),
    within("input_grid_y_voxels", Kind::Integer, "input.grid_voxels", "grid_voxels", "1"),
    within("input_grid_z_voxels", Kind::Integer, "input.grid_voxels", "grid_voxels", "2"),
    fact("input_space", Kind::Text, "input.space", "space"),
    fact("input_qform_code", Kind::Integer, "input.qform_code", "qform_code"),
    fact("input_sform_code", Kind::Integer, "input.sform_code", "sform_code"),
    fact("input_affine_mm", Kind::Json, "input.affine_mm", "affine_mm"),
    fact("input_tr_seconds", Kind::Number, "input.tr_seconds", "tr_seconds"),
    fact("input_tr_from", Kind::Text, "input.tr_from", "tr_from"),
    within("input_spacing_x_mm", Kind::Number, "input.spacing_mm", "spacing_mm", "0"),
    within("input_spacing_y_mm", Kind::Number, "input.spacing_mm", "spacing_mm", "1"),
    within("input_spacing_z_mm", Kind::Number, "input.spacing_mm", "spacing_mm", "2"),
    fact("input_slices", Kind::Integer, "input.slices", "slices"),
    fact("input_slice_step_mm", Kind::Number, "input.slice_step_mm", "slice_step_mm"),
    fact("input_slice_thickness_mm", Kind::Number, "input.slice_thickness_mm", "slice_thickness_mm"),
    fact("input_tilt_degrees", Kind::Number, "input.tilt_degrees", "tilt_degrees"),
    fact("input_axes", Kind::Text, "input.axes", "axes"),
    fact("input_orientation_from", Kind::Text, "input.orientation_from", "orientation_from"),
    fact("input_least_hu", Kind::Integer, "input.least_hu", "least_hu"),
    fact("input_greatest_hu", Kind::Integer, "input.greatest_hu", "greatest_hu"),
    fact("input_voxels_set_to_air", Kind::Integer, "input.voxels_set_to_air", "voxels_set_to_air"),
];

const REGRESSION: &[Fact] = &[
    fact("regression_volumes", Kind::Integer, "regression.volumes", "volumes"),
    fact("regression_volumes_used", Kind::Integer, "regression.volumes_used", "volumes_used"),
    fact("regression_volumes_dropped", Kind::Integer, "regression.volumes_dropped", "volumes_dropped"),
    fact("regression_volumes_censored", Kind::Integer, "regression.volumes_censored", "volumes_censored"),
    fact("regression_tr_seconds", Kind::Number, "regression.tr_seconds", "tr_seconds"),
    fact("regression_voxels_mask", Kind::Integer, "regression.voxels_mask", "voxels_mask"),
    fact("regression_voxels_used", Kind::Integer, "regression.voxels_used", "voxels_used"),
    fact("regression_voxels_constant", Kind::Integer, "regression.voxels_constant", "voxels_constant"),
    fact("regression_voxels_non_finite", Kind::Integer, "regression.voxels_non_finite", "voxels_non_finite"),
    fact("regression_voxels_outside", Kind::Integer, "regression.voxels_outside", "voxels_outside"),
    fact("regression_confounds", Kind::Json, "regression.confounds", "confounds"),
    fact("regression_confounds_rank", Kind::Integer, "regression.confounds_rank", "confounds_rank"),
    fact("regression_rank", Kind::Integer, "regression.rank", "rank"),
    fact("regression_dof", Kind::Integer, "regression.dof", "dof"),
    fact("regression_dof_rule", Kind::Text, "regression.dof_rule", "dof_rule"),
    fact("regression_chance_z", Kind::Number, "regression.chance_z", "chance_z"),
    fact("regression_des_norm", Kind::Flag, "regression.des_norm", "des_norm"),
    fact("regression_grid", Kind::Text, "regression.grid", "grid"),
    fact("regression_mask", Kind::Text, "regression.mask", "mask"),
    within(
        "regression_motion_displacement_mean_mm",
        Kind::Number,
        "regression.motion.displacement_mean_mm",
        "motion",
        "displacement_mean_mm",
    ),
    within(
        "regression_motion_displacement_max_mm",
        Kind::Number,
        "regression.motion.displacement_max_mm",
        "motion",
        "displacement_max_mm",
    ),
    within(
        "regression_motion_displacement_from",
        Kind::Text,
        "regression.motion.displacement_from",
        "motion",
        "displacement_from",
    ),
    within(
        "regression_motion_dvars_from",
        Kind::Text,
        "regression.motion.dvars_from",
        "motion",
        "dvars_from",
    ),
    within(
        "regression_motion_dvars_mean",
        Kind::Number,
        "regression.motion.dvars_mean",
        "motion",
        "dvars_mean",
    ),
    within("regression_motion_dvars_max", Kind::Number, "regression.motion.dvars_max", "motion", "dvars_max"),
    within(
        "regression_motion_standardised_dvars_mean",
        Kind::Number,
        "regression.motion.standardised_dvars_mean",
        "motion",
        "standardised_dvars_mean",
    ),
    within(
        "regression_motion_standardised_dvars_max",
        Kind::Number,
        "regression.motion.standardised_dvars_max",
        "motion",
        "standardised_dvars_max",
    ),
    within("regression_overlap_dice", Kind::Number, "regression.overlap.dice", "overlap", "dice"),
    within("regression_overlap_tissue", Kind::Text, "regression.overlap.tissue", "overlap", "tissue"),
];

/// The stages that are timed, in their order.
const TIMING: &[(&str, &str)] = &[
    ("timing_fetch_ms", "fetch"),
    ("timing_decode_ms", "decode"),
    ("timing_preprocess_ms", "preprocess"),
    ("timing_queue_ms", "queue"),
    ("timing_infer_ms", "infer"),
    ("timing_heatmaps_ms", "heatmaps"),
    ("timing_segments_ms", "segments"),
    ("timing_total_ms", "total"),
];

/// Where facts go that have no column.
const OTHER: [(&str, &str); 3] =
    [("input_other", "input"), ("regression_other", "regression"), ("timing_other_ms", "timing_ms")];

const OTHER_MEANING: &str = "What is there besides, as an object; null where there is nothing.";

pub(super) fn columns() -> impl Iterator<Item = Column> {
    let facts = INPUT.iter().chain(REGRESSION).map(|fact| (fact.name, fact.kind, fact.field, ""));
    let times =
        TIMING.iter().map(|(name, _)| (*name, Kind::Number, "timing_ms", "Milliseconds of this stage."));
    let other = OTHER.iter().map(|(name, field)| (*name, Kind::Json, *field, OTHER_MEANING));
    facts.chain(times).chain(other).map(|(name, kind, field, meaning)| Column {
        name: name.to_owned(),
        kind,
        level: Level::Document,
        field,
        meaning,
    })
}

pub(super) fn cells(document: &ResultDocument, cells: &mut Vec<Cell>) {
    static NOTHING: BTreeMap<String, Value> = BTreeMap::new();
    let regression = document.regression().unwrap_or(&NOTHING);
    let others =
        [(INPUT, &document.input), (REGRESSION, regression)].map(|(facts, map)| of_map(facts, map, cells));
    let mut timed = 0;
    for (_, stage) in TIMING {
        let found = document.timing_ms.get(*stage).copied();
        timed += usize::from(found.is_some());
        cells.push(Cell::number(found));
    }
    cells.extend(others);
    cells.push(if timed == document.timing_ms.len() { Cell::Null } else { other_times(&document.timing_ms) });
}

/// Pushes the cells of a map, and gives that of what is left over.
fn of_map(facts: &[Fact], map: &BTreeMap<String, Value>, cells: &mut Vec<Cell>) -> Cell {
    if map.is_empty() {
        cells.extend(facts.iter().map(|_| Cell::Null));
        return Cell::Null;
    }
    let mut taken = BTreeSet::new();
    let mut unfit = BTreeSet::new();
    for fact in facts {
        let Some(value) = map.get(fact.key) else {
            cells.push(Cell::Null);
            continue;
        };
        taken.insert(fact.key);
        let cell = part(value, fact.inner).and_then(|value| Cell::fact(fact.kind, value));
        if cell.is_none() {
            unfit.insert(fact.key);
        }
        cells.push(cell.unwrap_or_default());
    }
    if taken.len() == map.len() && unfit.is_empty() {
        return Cell::Null;
    }
    let left = map.iter().filter(|(key, _)| !taken.contains(key.as_str()) || unfit.contains(key.as_str()));
    let rest: Map<String, Value> = left.map(|(key, value)| (key.clone(), value.clone())).collect();
    Cell::json(&rest)
}

fn part<'v>(value: &'v Value, inner: Option<&str>) -> Option<&'v Value> {
    match (value, inner) {
        (value, None) => Some(value),
        (Value::Object(map), Some(key)) => map.get(key),
        (Value::Array(list), Some(place)) => place.parse::<usize>().ok().and_then(|place| list.get(place)),
        _ => None,
    }
}

fn other_times(times: &BTreeMap<String, f64>) -> Cell {
    let unknown = times.iter().filter(|(stage, _)| TIMING.iter().all(|(_, known)| known != stage));
    let rest: BTreeMap<&String, &f64> = unknown.collect();
    Cell::json(&rest)
}
