//! Resting-state scans: dual regression on the model's group maps, then one item per component map.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use nightread_domain::result::{Component, ComponentMap, LabelScore};
use nightread_domain::{Body, ErrorCode, JobError, Media, Stage, Warning, WarningCode};
use nightread_engine::{Manifest, Preprocessing, Score, scores};
use nightread_fmri::components::write_time_courses;
use nightread_fmri::projection::{ProjectionOptions, project};
use nightread_fmri::regression::{Options, dual_regression};
use nightread_fmri::volume::{Header, Orientation};
use nightread_fmri::{ComponentMaps, Frame, Grid, GridRelation, MNI_4MM, Peak, Source, VolumeStream};
use serde_json::Value;

use super::{Artefact, NamedIn, Reading, ReadingOptions};
use crate::pipeline::models::Model;
use crate::pipeline::process::{Tools, milliseconds};

const TOP_LABELS: usize = 3;

/// In the names that FSL gives to the maps of stage 2; such a file is read as maps and not regressed, and so is one whose
/// intent code says z or t. A scan that is too short must not pass for maps.
const STAGE_2: &str = "dr_stage2";

/// The label of a map that says nothing; such a map never reaches the network.
const EMPTY: &str = "EMPTY";

/// A fetched blob as the volumes' reader opens it.
struct Opened<'a>(&'a Body);

impl Source for Opened<'_> {
    fn open(&self) -> std::io::Result<Box<dyn std::io::Read + Send + '_>> {
        Ok(self.0.open())
    }
}

/// Everything about a scan but its labels.
struct Prepared {
    inputs: Vec<Option<Vec<f32>>>,
    peaks: Vec<Option<Peak>>,
    flags: Vec<Vec<String>>,
    reading: Reading,
}

pub(super) async fn read(
    body: Body,
    media: Media,
    name: &str,
    model: &Arc<Model>,
    tools: &Tools,
    timing: &mut BTreeMap<String, f64>,
) -> Result<Reading, JobError> {
    let options = tools.reading.clone();
    let described = Arc::clone(model);
    let named_as_maps = name.rsplit('/').next().is_some_and(|file| file.contains(STAGE_2));
    let started = Instant::now();
    let prepared = tools
        .cpu
        .run(Stage::Preprocess, move || prepare(&body, media, named_as_maps, &described, &options))
        .await?;
    timing.insert("preprocess".to_owned(), milliseconds(started.elapsed()));

    let engine = tools.models.engine(&model.key).await?;
    let started = Instant::now();
    let asked = prepared.inputs.iter().enumerate().filter_map(|(index, input)| {
        let answer = engine.infer(&model.key, input.clone()?);
        Some(async move { answer.await.map(|outputs| (index, outputs)) })
    });
    let mut scored: Vec<Option<Vec<Score>>> = vec![None; prepared.inputs.len()];
    for (index, outputs) in try_join_all(asked).await? {
        scored[index] = Some(scores(&model.manifest, &outputs.logits)?);
    }
    timing.insert("infer".to_owned(), milliseconds(started.elapsed()));

    let found = scored.into_iter().zip(prepared.peaks).zip(prepared.flags).enumerate();
    let components =
        found.map(|(index, ((scores, peak), flags))| component(index, scores, peak, flags)).collect();
    Ok(Reading { components: Some(components), ..prepared.reading })
}

fn prepare(
    body: &Body,
    media: Media,
    named_as_maps: bool,
    model: &Model,
    options: &ReadingOptions,
) -> Result<Prepared, JobError> {
    let source = Opened(body);
    let projection = projection(&model.manifest)?;
    let header = VolumeStream::open(&source, &options.scan_limits)?.header().clone();
    let read_as_maps = named_as_maps || header.intent.is_component_map();
    if !read_as_maps {
        header.intent.check_scan()?;
    }
    let input = input_facts(&header, media);
    let regressed = match &model.maps {
        Some(maps) if !read_as_maps => {
            let wanted = Options {
                des_norm: model.manifest.maps.as_ref().and_then(|maps| maps.des_norm).unwrap_or(true),
                resample: options.scans.resample,
                z_maps: options.scans.write_maps,
                threads: options.scan_threads,
                limits: options.scan_limits,
                ..Options::default()
            };
            Some(dual_regression(&source, maps, &wanted).map_err(say_how_maps_are_named)?)
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
    let prepared = if let Some(regressed) = regressed {
        from_regression(&regressed, reading, options)?
    } else {
        let own = Frame { grid: &grid, orientation, called: "the model's grid" };
        from_maps(&source, &header, &own, reading, options)?
    };
    let (maps, mut peaks, mut flags, reading) = prepared;
    // Millimetres of a grid without a place would be invented.
    if model.maps.as_ref().is_some_and(|maps| maps.orientation() == Orientation::Unknown) {
        peaks.fill(None);
    }
    let maps = if maps.grid.dims == grid.dims { maps } else { maps.on_grid(&grid)? };
    let inputs = maps
        .betas
        .iter()
        .map(|map| project(maps.grid.dims, &maps.mask, map, &projection))
        .collect::<Result<Vec<_>, _>>()?;
    for (input, flags) in inputs.iter().zip(&mut flags) {
        if input.is_none() {
            flags.push("constant_map".to_owned());
        }
    }
    Ok(Prepared { inputs, peaks, flags, reading })
}

/// What of a header shaped the reading.
fn input_facts(header: &Header, media: Media) -> BTreeMap<String, Value> {
    let mut input = BTreeMap::from([
        ("media".to_owned(), media.as_str().into()),
        ("volumes".to_owned(), header.volumes.into()),
        ("grid".to_owned(), header.grid.dims.to_vec().into()),
        ("space".to_owned(), header.orientation.space().into()),
        ("qform_code".to_owned(), header.codes[0].into()),
        ("sform_code".to_owned(), header.codes[1].into()),
    ]);
    if let Some(seconds) = header.tr_seconds {
        input.insert("tr_seconds".to_owned(), seconds.into());
    }
    if header.orientation != Orientation::Unknown {
        let rows = header.grid.affine.0.into_iter().chain([[0.0, 0.0, 0.0, 1.0]]);
        input.insert("affine".to_owned(), rows.map(|row| row.to_vec()).collect::<Vec<_>>().into());
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

type Parts = (ComponentMaps, Vec<Option<Peak>>, Vec<Vec<String>>, Reading);

fn from_regression(
    regressed: &nightread_fmri::DualRegression,
    mut reading: Reading,
    options: &ReadingOptions,
) -> Result<Parts, JobError> {
    let flags = regressed.flags.iter().map(|flag| match flag.map(serde_json::to_value) {
        Some(Ok(Value::String(name))) => vec![name],
        _ => Vec::new(),
    });
    if let Ok(Value::Object(facts)) = serde_json::to_value(&regressed.facts) {
        reading.dual_regression = Some(facts.into_iter().collect());
    }
    reading.warnings.extend(regressed.warnings.iter().cloned());
    if options.scans.write_maps
        && let Some(z) = &regressed.maps.z
    {
        let body = regressed.maps.write(z, "z of dual regression, stage 2", Vec::new()).map_err(unwritten)?;
        reading.artefacts.push(Artefact {
            named_in: NamedIn::DualRegression("z_maps"),
            suffix: "z.nii.gz".to_owned(),
            body: body.into(),
        });
    }
    if options.scans.write_time_courses {
        let mut body = Vec::new();
        write_time_courses(&regressed.time_courses, regressed.flags.len(), &mut body).map_err(unwritten)?;
        reading.artefacts.push(Artefact {
            named_in: NamedIn::DualRegression("time_courses"),
            suffix: "timecourses.tsv".to_owned(),
            body: body.into(),
        });
    }
    Ok((regressed.maps.clone(), regressed.peaks.clone(), flags.collect(), reading))
}

/// Maps on the standard 4 mm grid are taken as they are also where the model's own grid lies part of a voxel away.
fn from_maps(
    source: &Opened<'_>,
    header: &Header,
    own: &Frame<'_>,
    mut reading: Reading,
    options: &ReadingOptions,
) -> Result<Parts, JobError> {
    let standard = MNI_4MM.relation(&header.grid) == Some(GridRelation::Same);
    let standard = standard && header.orientation != Orientation::Unknown;
    let target =
        if standard { Frame { grid: &MNI_4MM, orientation: header.orientation, ..*own } } else { *own };
    let (maps, warnings) =
        ComponentMaps::read(source, &target, options.scans.resample, &options.scan_limits)?;
    reading.warnings.extend(warnings);
    let text = "the file was taken for component maps and not regressed";
    reading.warnings.push(Warning::new(WarningCode::ReadAsComponentMaps, text));
    let peaks = maps.peaks();
    let flags = vec![Vec::new(); maps.betas.len()];
    Ok((maps, peaks, flags, reading))
}

fn projection(manifest: &Manifest) -> Result<ProjectionOptions, JobError> {
    match &manifest.preprocessing {
        Preprocessing::Projections1 { crop_offset_y, scale, mean, std } => Ok(ProjectionOptions {
            crop_offset_y: *crop_offset_y,
            scale: *scale as f32,
            mean: mean.map(|x| x as f32),
            std: std.map(|x| x as f32),
        }),
        Preprocessing::Xrv1 { .. } => {
            let text = format!("preprocessing {} cannot prepare scans", manifest.preprocessing.id());
            Err(JobError::new(Stage::Preprocess, ErrorCode::ModelMismatch, text))
        }
    }
}

fn unwritten(error: std::io::Error) -> JobError {
    JobError::new(Stage::Report, ErrorCode::Internal, "component maps cannot be written").with_source(error)
}

fn component(index: usize, scores: Option<Vec<Score>>, peak: Option<Peak>, flags: Vec<String>) -> Component {
    let mut scores = scores.unwrap_or_default();
    scores.sort_by(|a, b| b.probability.partial_cmp(&a.probability).unwrap_or(Ordering::Equal));
    let best = scores.first();
    Component {
        index,
        label: best.map_or_else(|| EMPTY.to_owned(), |score| score.label.clone()),
        family: best.and_then(|score| score.family.clone()).unwrap_or_default(),
        probability: best.map_or(0.0, |score| score.probability),
        top: scores
            .iter()
            .take(TOP_LABELS)
            .map(|score| LabelScore { label: score.label.clone(), probability: score.probability })
            .collect(),
        map: peak.map(|peak| ComponentMap { peak_mni_mm: peak.peak_mni_mm, peak_z: peak.peak_z }),
        flags,
    }
}
