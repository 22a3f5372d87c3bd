//! From the text of a manifest to a validated [`Manifest`], noting every problem.

use std::fs;
use std::path::Path;

use toml::Table;

use super::bf16::Bf16;
use super::check::{Files, check};
use super::outputs::read as outputs;
use super::reader::Reader;
use super::segmentation::{CtPreprocessing, CtRecipe, SegmentRule, Window};
use super::steps;
use super::{
    Code, DataFile, Ensemble, Evidence, Head, Input, Label, MANIFEST_FILE, Manifest, ManifestProblems, Maps,
    Output, Precision, Preprocessing, Problem, Provenance, Task, TrainedOn, Weights,
};

/// A manifest is a page or two; more is not one.
const MAX_BYTES: u64 = 1 << 20;
pub(super) fn load(folder: &Path, files: Files) -> Result<Manifest, ManifestProblems> {
    let path = folder.join(MANIFEST_FILE);
    let table = match read(&path) {
        Ok(table) => table,
        Err(what) => {
            return Err(ManifestProblems { path, problems: vec![Problem::new(MANIFEST_FILE, what)] });
        }
    };
    let mut problems = Vec::new();
    let mut reader = Reader::new("", table, &mut problems);
    let manifest = document(&mut reader, folder);
    reader.finish();
    if let Some(manifest) = &manifest {
        check(manifest, files, &mut problems);
    }
    match manifest {
        Some(manifest) if problems.is_empty() => Ok(manifest),
        _ => Err(ManifestProblems { path, problems }),
    }
}

fn read(path: &Path) -> Result<Table, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > MAX_BYTES {
        return Err(format!("is {size} bytes long, more than {MAX_BYTES}"));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    text.parse::<Table>().map_err(|error| format!("is not TOML: {}", error.to_string().trim_end()))
}

/// Reads every section even when an earlier one failed, so that all problems come out.
fn document(reader: &mut Reader<'_>, folder: &Path) -> Option<Manifest> {
    if let Some(schema) = reader.count("schema").filter(|schema| *schema != 1) {
        reader.problem("schema", format!("must be 1, not {schema}"));
    }
    let name = reader.text("name");
    let version = reader.text("version");
    let task = reader.choice("task", &Task::ALL.map(|task| (task.as_str(), task)));
    let description = reader.text("description");
    let card = reader.file("card");
    if reader.has("ensemble") {
        let about = About { name, version, task, description, card };
        return ensemble(reader, folder, about);
    }
    let bring_your_own = reader.text_if("bring_your_own");
    let template = bring_your_own.is_some();
    let weights = reader.table("weights", |reader| {
        let fp32 = reader.table_if("fp32", |reader| weights(reader, Precision::Fp32, template));
        let int8 = reader.table_if("int8", |reader| weights(reader, Precision::Int8, template));
        let bf16 = reader.table_if("bf16", Bf16::read);
        Some((fp32, int8, bf16))
    });
    let input = reader.table("input", |reader| {
        let name = reader.text("name");
        let item_shape = reader.counts("item_shape");
        let value_range = reader.numbers("value_range");
        Some(Input { name: name?, item_shape: item_shape?, value_range: value_range? })
    });
    let preprocessing = if reader.is_list("preprocessing") {
        steps::read(reader).map(Preprocessing::Steps)
    } else {
        reader.table("preprocessing", preprocessing)
    };
    let window = reader.table_if("window", Window::read);
    let only_measures = reader.has("measurements") && !reader.has("labels");
    let output = if only_measures && !reader.has("output") {
        Some(Output::default())
    } else {
        reader.table("output", |reader| outputs::output(reader, only_measures))
    };
    let measurements = reader.tables_if("measurements", outputs::measurement).unwrap_or_default();
    let heads = output.as_ref().map(|output| output.heads.as_slice());
    let labels = if only_measures {
        Some(Vec::new())
    } else {
        reader.tables("labels", |reader| label(reader, task, heads))
    };
    let trained_on = reader.table("trained_on", trained_on);
    let source = reader.table("source", source);
    let maps = reader.table_if("maps", |reader| maps(reader, template));
    let (fp32, int8, bf16) = weights?;
    Some(Manifest {
        folder: folder.to_owned().into(),
        name: name?,
        version: version?,
        task: task?,
        description: description?,
        card: card?,
        bring_your_own,
        ensemble: None,
        fp32,
        int8,
        bf16,
        input: input?,
        preprocessing: preprocessing?,
        window,
        output: output?,
        labels: labels?.into_iter().collect::<Option<_>>()?,
        measurements: measurements.into_iter().collect::<Option<_>>()?,
        trained_on: trained_on?,
        source: source?,
        maps,
    })
}

/// What the first lines of a manifest say.
struct About {
    name: Option<String>,
    version: Option<String>,
    task: Option<Task>,
    description: Option<String>,
    card: Option<String>,
}

/// The rest of a manifest of several networks.
fn ensemble(reader: &mut Reader<'_>, folder: &Path, about: About) -> Option<Manifest> {
    Ensemble::leave_out(reader);
    let ensemble = reader.table("ensemble", Ensemble::read);
    let labels = reader.tables("labels", |reader| label(reader, about.task, None));
    let trained_on = reader.table("trained_on", trained_on);
    let source = reader.table("source", source);
    Some(Manifest {
        folder: folder.to_owned().into(),
        name: about.name?,
        version: about.version?,
        task: about.task?,
        description: about.description?,
        card: about.card?,
        bring_your_own: None,
        ensemble: Some(ensemble?),
        fp32: None,
        int8: None,
        bf16: None,
        input: Input::of_members(),
        preprocessing: Preprocessing::Members,
        window: None,
        output: Output::default(),
        labels: labels?.into_iter().collect::<Option<_>>()?,
        measurements: Vec::new(),
        trained_on: trained_on?,
        source: source?,
        maps: None,
    })
}

fn weights(reader: &mut Reader<'_>, precision: Precision, template: bool) -> Option<Weights> {
    let file = reader.file("file");
    let sha256 = if template { reader.sha256_if("sha256") } else { reader.sha256("sha256") };
    let data = reader.tables_if("data", |reader| {
        let (file, sha256) = (reader.file("file"), reader.sha256("sha256"));
        Some(DataFile { file: file?, sha256: sha256? })
    });
    let (target, evidence) = match precision {
        Precision::Fp32 | Precision::Bf16 => (None, None),
        // INT8 without measured evidence is not offered at all.
        Precision::Int8 => (Some(reader.text("target")), Some(reader.table("evidence", measured))),
    };
    Some(Weights {
        file: file?,
        sha256,
        data: data.unwrap_or_default().into_iter().collect::<Option<_>>()?,
        target: target.map_or(Some(None), |target| target.map(Some))?,
        evidence: evidence.map_or(Some(None), |evidence| evidence.map(Some))?,
    })
}

fn measured(reader: &mut Reader<'_>) -> Option<Evidence> {
    let calibration_sha256 = reader.sha256("calibration_sha256");
    let calibration_items = reader.count("calibration_items");
    let agreement = reader.share("agreement");
    let metric = reader.text("metric");
    let fp32 = reader.interval("fp32");
    let int8 = reader.interval("int8");
    let evaluated_items = reader.count("evaluated_items");
    Some(Evidence {
        calibration_sha256: calibration_sha256?,
        calibration_items: calibration_items?,
        agreement: agreement?,
        metric: metric?,
        fp32: fp32?,
        int8: int8?,
        evaluated_items: evaluated_items?,
    })
}

fn preprocessing(reader: &mut Reader<'_>) -> Option<Preprocessing> {
    match reader.text("id")?.as_str() {
        "xrv-1" => Some(Preprocessing::Xrv1 { size: reader.count("size")? }),
        "projections-1" => {
            let crop_offset_y = reader.whole("crop_offset_y");
            let scale = reader.number("scale");
            let mean = reader.numbers("mean");
            let std = reader.numbers::<3>("std");
            if std.is_some_and(|std| std.iter().any(|s| *s <= 0.0)) {
                reader.problem("std", "must be above 0 in every channel");
            }
            Some(Preprocessing::Projections1 {
                crop_offset_y: crop_offset_y?,
                scale: scale?,
                mean: mean?,
                std: std?,
            })
        }
        other => {
            if let Some(recipe) = CtRecipe::ALL.into_iter().find(|recipe| recipe.as_str() == other) {
                return CtPreprocessing::read(reader, recipe).map(Preprocessing::Ct);
            }
            let known: Vec<_> =
                ["xrv-1", "projections-1"].into_iter().chain(CtRecipe::ALL.map(CtRecipe::as_str)).collect();
            let what = format!(
                "must be one of {}, not {other:?}; or give a list of steps, [[preprocessing]]",
                known.join(", ")
            );
            reader.problem("id", what);
            None
        }
    }
}

/// A code is given whole or not at all.
fn code(reader: &mut Reader<'_>) -> Option<Code> {
    let value = reader.text("value");
    let scheme = reader.text("scheme");
    let meaning = reader.text("meaning");
    // DICOM bounds them: SH, SH and LO.
    for (key, text, most) in [("value", &value, 16), ("scheme", &scheme, 16), ("meaning", &meaning, 64)] {
        let Some(text) = text else { continue };
        if text.chars().count() > most || text.contains('\\') || text.chars().any(char::is_control) {
            reader.problem(key, format!("must have {most} characters at most, and no backslash"));
        }
    }
    Some(Code { value: value?, scheme: scheme?, meaning: meaning? })
}

fn label(reader: &mut Reader<'_>, task: Option<Task>, heads: Option<&[Head]>) -> Option<Label> {
    let suppressed = reader.flag_if("suppressed").unwrap_or(false);
    let name = if suppressed { reader.any_text("name") } else { reader.text("name") };
    let head = outputs::head_of(reader, heads);
    let code = reader.table_if("code", code);
    if task == Some(Task::Segmentation) {
        let segment = SegmentRule::read(reader);
        let label = Label {
            name: name?,
            head: head?,
            code,
            threshold: None,
            op_threshold: None,
            suppressed,
            family: None,
            segment,
        };
        return Some(label);
    }
    let threshold = if suppressed { reader.number_if("threshold") } else { reader.number("threshold") };
    let op_threshold = reader.number_if("op_threshold");
    for (key, value) in [("threshold", threshold), ("op_threshold", op_threshold)] {
        if value.is_some_and(|value| value <= 0.0 || value >= 1.0) {
            reader.problem(key, "must lie between 0 and 1, both excluded");
        }
    }
    let family = reader.text_if("family");
    if threshold.is_none() && !suppressed {
        return None;
    }
    let segment = SegmentRule::default();
    Some(Label { name: name?, head: head?, code, threshold, op_threshold, suppressed, family, segment })
}

fn trained_on(reader: &mut Reader<'_>) -> Option<TrainedOn> {
    let views = reader.texts_if("views").unwrap_or_default();
    let age_years = reader.numbers_if::<2>("age_years");
    if age_years.is_some_and(|[low, high]| low < 0.0 || low > high) {
        reader.problem("age_years", "must be [lowest, highest] from 0");
    }
    let min_side_px = reader.count_if("min_side_px");
    let modality_words = reader.text("modality_words");
    let simulated = reader.flag_if("simulated").unwrap_or(false);
    let demonstration = reader.flag_if("demonstration").unwrap_or(false);
    Some(TrainedOn {
        views,
        age_years,
        min_side_px,
        modality_words: modality_words?,
        simulated,
        demonstration,
    })
}

fn source(reader: &mut Reader<'_>) -> Option<Provenance> {
    let data = reader.text("data");
    let citation = reader.text("citation");
    let url = reader.text("url");
    let licence = reader.text("licence");
    let not_for = reader.text("not_for");
    Some(Provenance { data: data?, citation: citation?, url: url?, licence: licence?, not_for: not_for? })
}

fn maps(reader: &mut Reader<'_>, template: bool) -> Option<Maps> {
    let file = reader.file("file");
    let sha256 = if template { reader.sha256_if("sha256") } else { reader.sha256("sha256") };
    let count = reader.count("count");
    let grid = reader.counts("grid").and_then(|grid| {
        let three = <[usize; 3]>::try_from(grid).ok();
        if three.is_none() {
            reader.problem("grid", "must be the three numbers of voxels along x, y, z");
        }
        three
    });
    let affine = reader.matrix("affine");
    let mask = reader.file_if("mask");
    // A mask that is there is checked as the maps are.
    let mask_sha256 = match &mask {
        Some(_) if !template => reader.sha256("mask_sha256"),
        _ => reader.sha256_if("mask_sha256"),
    };
    let sign_convention = reader.text_if("sign_convention");
    let des_norm = reader.flag_if("des_norm");
    Some(Maps {
        file: file?,
        sha256,
        count: count?,
        grid: grid?,
        affine: affine?,
        mask,
        mask_sha256,
        sign_convention,
        des_norm,
    })
}
