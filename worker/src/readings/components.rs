//! Resting-state scans: dual regression on the model's group maps, then one item per component map.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use nightread_domain::result::{ArtefactKind, Component, ComponentMap, LabelScore, Payload};
use nightread_domain::study::Part;
use nightread_domain::{Body, ErrorCode, JobError, Stage, Warning, WarningCode};
use nightread_engine::{Manifest, Preprocessing, Score, scores};
use nightread_fmri::confounds::{Found, Table, Wanted, find};
use nightread_fmri::motion::Motion;
use nightread_fmri::projection::{ProjectionOptions, project};
use nightread_fmri::regression::{Flag, Options};
use nightread_fmri::{ComponentMaps, DualRegression, MNI_4MM, Peak, dual_regression_beside};
use nightread_volume::{
    Frame, Grid, GridRelation, Header, Orientation, PLAUSIBLE_TR, ScanSource, VolumeStream,
};
use serde_json::Value;

use super::derivatives::{self, Measured};
use super::sidecars::{self, Sidecars};
use super::{Reader, Reading, ReadingOptions};
use crate::compute::verified::Model;
use crate::flow::timing::Timing;

const TOP_LABELS: usize = 3;

/// In the names that FSL gives to the maps of stage 2; such a file is read as maps and not regressed, and so is one whose
/// intent code says z or t. A scan that is too short must not pass for maps.
const STAGE_2: &str = "dr_stage2";

/// The label of a map that says nothing; such a map never reaches the network.
const EMPTY: &str = "EMPTY";

/// z from fewer degrees of freedom says little; there is none.
pub(super) const MIN_DOF: usize = 10;

/// A fetched blob as the volumes' reader opens it.
struct BodySource<'a>(&'a Body);

impl ScanSource for BodySource<'_> {
    fn open(&self) -> std::io::Result<Box<dyn std::io::Read + Send + '_>> {
        Ok(self.0.open())
    }
}

/// Everything about a scan but its labels.
struct PreparedMaps {
    inputs: Vec<Option<Vec<f32>>>,
    notes: Vec<Notes>,
    reading: Reading,
    /// How the scan was regressed, where it was.
    regression: Option<BTreeMap<String, Value>>,
}

/// What is known of a component beside its label.
#[derive(Clone, Debug, Default)]
struct Notes {
    peak: Option<Peak>,
    group_correlation: Option<f64>,
    peak_at_chance: Option<bool>,
    flags: Vec<String>,
    /// The scan does not cover the component: no label.
    withheld: bool,
}

/// The name of the blob tells component maps as FSL names them, and what may lie beside a scan.
pub(super) async fn read(
    Part { blob: scan, body }: Part,
    model: &Arc<Model>,
    reader: &Reader,
    timing: &mut Timing,
) -> Result<Reading, JobError> {
    let options = reader.options.clone();
    let described = Arc::clone(model);
    let named_as_maps = scan.name().rsplit('/').next().is_some_and(|file| file.contains(STAGE_2));
    let beside = if reader.options.sidecars && !named_as_maps {
        sidecars::beside(&scan, &options.scans.nuisance, &*reader.beside).await?
    } else {
        Sidecars::default()
    };
    let started = Instant::now();
    let prepared = reader
        .cpu
        .run(Stage::Preprocess, move || prepare(&body, named_as_maps, &beside, &described, &options))
        .await?;
    timing.record("preprocess", started.elapsed());

    let engine = reader.models.engine(&model.key).await?;
    let started = Instant::now();
    let asked = prepared.inputs.iter().enumerate().filter_map(|(index, input)| {
        let answer = engine.infer(&model.key, input.clone()?);
        Some(async move { answer.await.map(|outputs| (index, outputs)) })
    });
    let mut scored: Vec<Option<Vec<Score>>> = vec![None; prepared.inputs.len()];
    for (index, outputs) in try_join_all(asked).await? {
        scored[index] = Some(scores(&model.manifest, &outputs.arrays)?);
    }
    timing.record("infer", started.elapsed());

    let found = scored.into_iter().zip(prepared.notes).enumerate();
    let components = found.map(|(index, (scores, notes))| component(index, scores, notes)).collect();
    let payload = Payload::Components { components, regression: prepared.regression };
    Ok(Reading { payload: Some(payload), ..prepared.reading })
}

fn prepare(
    body: &Body,
    named_as_maps: bool,
    beside: &Sidecars,
    model: &Model,
    options: &ReadingOptions,
) -> Result<PreparedMaps, JobError> {
    let source = BodySource(body);
    let projection = projection(&model.manifest)?;
    let header = VolumeStream::open(&source, &options.scan_limits)?.header().clone();
    let read_as_maps = named_as_maps || header.intent.is_map_of_t_or_z();
    if !read_as_maps {
        header.intent.check_time_series()?;
    }
    let mut input = input_facts(&header);
    let tr_seconds = beside.tr_seconds.or(header.tr_seconds);
    if let Some(seconds) = tr_seconds {
        input.insert("tr_seconds".to_owned(), seconds.into());
        let from = if beside.tr_seconds.is_some() { "sidecar" } else { "header" };
        input.insert("tr_from".to_owned(), from.into());
    }
    let mut taken_out = Found::default();
    let regressed = match &model.maps {
        Some(maps) if !read_as_maps => {
            let wanted = Options {
                des_norm: model.manifest.maps.as_ref().and_then(|maps| maps.des_norm).unwrap_or(true),
                resample: options.scans.resample,
                z_maps: options.scans.files.contains(&ArtefactKind::ZMaps),
                t_maps: options.scans.files.contains(&ArtefactKind::TMaps),
                min_dof: MIN_DOF,
                threads: options.scan_threads,
                limits: options.scan_limits,
                ..Options::default()
            };
            taken_out = find(&options.scans.nuisance, beside.table.as_ref(), header.volumes)?;
            let regressed = dual_regression_beside(&source, maps, &taken_out.nuisance, &wanted);
            let mut regressed = regressed.map_err(say_how_maps_are_named)?;
            regressed.facts.tr_seconds = tr_seconds;
            Some(regressed)
        }
        Some(_) => None,
        None if read_as_maps => None,
        None => {
            let text = format!("{} comes without group maps: it reads component maps only", model.facts.name);
            return Err(JobError::new(Stage::Preprocess, ErrorCode::NoUsableComponents, text));
        }
    };
    let mut reading = Reading { input, warnings: header.warnings.clone(), ..Reading::default() };
    if header.simulated {
        let text = "the file says that it was simulated by Nightread: it shows no person's brain";
        reading.warnings.push(Warning::new(WarningCode::Simulated, text));
    }
    let (grid, orientation) = input_grid(model);
    if let Some(seconds) = beside.tr_seconds {
        // The sidecar wins, so that no doubt about the header's is left.
        reading.warnings.retain(|warning| warning.code != WarningCode::ImplausibleTr.as_str());
        if !PLAUSIBLE_TR.contains(&seconds) {
            let text = format!("the sidecar's repetition time of {seconds} s is not plausible");
            reading.warnings.push(Warning::new(WarningCode::ImplausibleTr, text));
        }
    }
    let Mapped { maps, mut notes, regression, mut reading } = if let Some(regressed) = regressed {
        reading.warnings.extend(beside.doubt.clone());
        let motion = motion(beside, &regressed, &mut reading);
        from_regression(regressed, &taken_out, motion.as_ref(), reading, options)?
    } else {
        let own = Frame { grid: &grid, orientation, called: "the model's grid" };
        from_maps(&source, &header, &own, reading, options)?
    };
    // Millimetres of a grid without a place would be invented.
    if model.maps.as_ref().is_some_and(|maps| maps.orientation() == Orientation::Unknown) {
        for notes in &mut notes {
            notes.peak = None;
        }
    }
    if model.manifest.trained_on.simulated {
        let text =
            format!("{} has seen simulated scans only: its labels are not validated", model.facts.name);
        reading.warnings.push(Warning::new(WarningCode::TrainedOnSimulated, text));
    }
    let maps = if maps.grid.dims == grid.dims { maps } else { maps.on_grid(&grid)? };
    let mut inputs = Vec::with_capacity(notes.len());
    for (map, notes) in maps.betas.iter().zip(&mut notes) {
        let input = if notes.withheld {
            None
        } else {
            let input = project(maps.grid.dims, &maps.mask, map, &projection)?;
            if input.is_none() {
                notes.flags.push("constant_map".to_owned());
            }
            input
        };
        inputs.push(input);
    }
    Ok(PreparedMaps { inputs, notes, reading, regression })
}

/// Motion by the table beside the scan and by the scan itself. A table of other volumes than the scan's is doubted where nothing else
/// refuses it.
fn motion(beside: &Sidecars, regressed: &DualRegression, reading: &mut Reading) -> Option<Motion> {
    let volumes = regressed.facts.volumes;
    let table = beside.table.as_ref();
    if let Some(rows) = table.map(Table::rows).filter(|&rows| rows != volumes) {
        let text =
            format!("the confounds have {rows} rows, the scan has {volumes} volumes: they tell no motion");
        reading.warnings.push(Warning::new(WarningCode::ConfoundsNotRead, text));
    }
    Motion::of(table, volumes, &regressed.dvars)
}

/// What of a header shaped the reading.
fn input_facts(header: &Header) -> BTreeMap<String, Value> {
    let mut input = BTreeMap::from([
        ("volumes".to_owned(), header.volumes.into()),
        ("grid_voxels".to_owned(), header.grid.dims.to_vec().into()),
        ("space".to_owned(), header.orientation.space().into()),
        ("qform_code".to_owned(), header.codes[0].into()),
        ("sform_code".to_owned(), header.codes[1].into()),
    ]);
    if header.orientation != Orientation::Unknown {
        let rows = header.grid.affine.0.into_iter().chain([[0.0, 0.0, 0.0, 1.0]]);
        input.insert("affine_mm".to_owned(), rows.map(|row| row.to_vec()).collect::<Vec<_>>().into());
    }
    input
}

/// The grid that inputs are made on, and how a header places it: that of the model's own maps, which it was trained on, where they have the input's
/// size.
fn input_grid(model: &Model) -> (Grid, Orientation) {
    let own = model.maps.as_ref().map(|maps| (*maps.grid(), maps.orientation()));
    own.filter(|(grid, _)| grid.dims == MNI_4MM.dims).unwrap_or((MNI_4MM, Orientation::Sform(4)))
}

fn say_how_maps_are_named(mut error: JobError) -> JobError {
    if error.code == ErrorCode::NotFourDimensional {
        error.message =
            format!("{}; a component map has {STAGE_2} in its name or intent code 3 or 5", error.message);
    }
    error
}

/// Component maps with what is known of each.
struct Mapped {
    maps: ComponentMaps,
    notes: Vec<Notes>,
    regression: Option<BTreeMap<String, Value>>,
    reading: Reading,
}

fn from_regression(
    regressed: DualRegression,
    taken_out: &Found,
    motion: Option<&Motion>,
    mut reading: Reading,
    options: &ReadingOptions,
) -> Result<Mapped, JobError> {
    let measured = Measured {
        regressed: &regressed,
        motion,
        left_out: &taken_out.nuisance.left_out,
        confounds: &taken_out.names,
    };
    reading.artefacts.extend(derivatives::artefacts(&measured, &options.scans.files)?);
    let DualRegression { maps, flags, peaks, correlations, facts, warnings, .. } = regressed;
    let each = flags.iter().zip(&peaks).zip(&correlations);
    let notes = each.map(|((flag, peak), correlation)| {
        let flags = match flag.map(serde_json::to_value) {
            Some(Ok(Value::String(name))) => vec![name],
            _ => Vec::new(),
        };
        let z = peak.and_then(|peak| peak.peak_z);
        let peak_at_chance = z.map(|z| z.abs() <= facts.chance_z);
        let withheld = *flag == Some(Flag::LowCoverage);
        Notes { peak: *peak, peak_at_chance, group_correlation: *correlation, flags, withheld }
    });
    let notes = notes.collect();
    let mut regression = None;
    if let Ok(Value::Object(facts)) = serde_json::to_value(&facts) {
        let mut facts: BTreeMap<String, Value> = facts.into_iter().collect();
        if options.scans.nuisance != Wanted::default() {
            facts.insert("volumes_dropped".to_owned(), taken_out.dropped.into());
            facts.insert("volumes_censored".to_owned(), taken_out.censored.into());
            facts.insert("confounds".to_owned(), taken_out.names.clone().into());
        }
        if let Some(motion) = motion.and_then(|motion| serde_json::to_value(motion.facts()).ok()) {
            facts.insert("motion".to_owned(), motion);
        }
        regression = Some(facts);
    }
    reading.warnings.extend(warnings);
    Ok(Mapped { maps, notes, regression, reading })
}

/// Maps on the standard 4 mm grid are taken as they are also where the model's own grid lies part of a voxel away.
fn from_maps(
    source: &BodySource<'_>,
    header: &Header,
    own: &Frame<'_>,
    mut reading: Reading,
    options: &ReadingOptions,
) -> Result<Mapped, JobError> {
    let standard = MNI_4MM.relation(&header.grid) == Some(GridRelation::Same);
    let standard = standard && header.orientation != Orientation::Unknown;
    let target =
        if standard { Frame { grid: &MNI_4MM, orientation: header.orientation, ..*own } } else { *own };
    let (maps, warnings) =
        ComponentMaps::read(source, &target, options.scans.resample, &options.scan_limits)?;
    reading.warnings.extend(warnings);
    let text = "the file was taken for component maps and not regressed";
    reading.warnings.push(Warning::new(WarningCode::ReadAsComponentMaps, text));
    let notes = maps.peaks().into_iter().map(|peak| Notes { peak, ..Notes::default() }).collect();
    Ok(Mapped { maps, notes, regression: None, reading })
}

fn projection(manifest: &Manifest) -> Result<ProjectionOptions, JobError> {
    match &manifest.preprocessing {
        Preprocessing::Projections1 { crop_offset_y, scale, mean, std } => Ok(ProjectionOptions {
            crop_offset_y: *crop_offset_y,
            scale: *scale as f32,
            mean: mean.map(|x| x as f32),
            std: std.map(|x| x as f32),
        }),
        Preprocessing::Xrv1 { .. }
        | Preprocessing::Ct(_)
        | Preprocessing::Steps(_)
        | Preprocessing::Members => {
            let text = format!("preprocessing {} cannot prepare scans", manifest.preprocessing.id());
            Err(JobError::new(Stage::Preprocess, ErrorCode::ModelMismatch, text))
        }
    }
}

fn component(index: usize, scores: Option<Vec<Score>>, notes: Notes) -> Component {
    let mut scores = scores.unwrap_or_default();
    scores.sort_by(|a, b| b.probability.partial_cmp(&a.probability).unwrap_or(Ordering::Equal));
    let best = scores.first();
    let label = best.map_or_else(|| EMPTY.to_owned(), |score| score.label.clone());
    Component {
        index,
        label: (!notes.withheld).then_some(label),
        family: best.and_then(|score| score.family.clone()).unwrap_or_default(),
        probability: best.map_or(0.0, |score| score.probability),
        top: scores
            .iter()
            .take(TOP_LABELS)
            .map(|score| LabelScore { label: score.label.clone(), probability: score.probability })
            .collect(),
        map: notes.peak.map(|peak| ComponentMap {
            peak_mni_mm: peak.peak_mni_mm,
            peak_z: peak.peak_z,
            group_correlation: notes.group_correlation,
            peak_at_chance: notes.peak_at_chance,
        }),
        flags: notes.flags,
    }
}
