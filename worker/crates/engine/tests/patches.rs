//! Networks of volumes on a real ONNX Runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;

use common::{Models, runtime};
use futures::executor::block_on;
use futures::future::{Either, select};
use nightread_domain::result::Laterality;
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{
    AxisOrder, CtPreprocessing, CtRecipe, Health, Intensity, Manifest, Orientation, Padding, PatchEngine,
    PatchOptions, Placement, Precision, Preprocessing, Provider, Resample, Task, VerifiedModel, Weighting,
    Window,
};
use sha2::{Digest, Sha256};

const OPTIONS: PatchOptions = PatchOptions { provider: Provider::Cpu, intra_threads: 1 };
const VOXELS: usize = 8 * 8 * 8;

const MANIFEST: &str = r#"schema = 1
name = "bands"
version = "1.0.0"
task = "segmentation"
description = "classes by value, for tests"
card = "README.md"
[weights.fp32]
file = "model.onnx"
sha256 = "SHA256"
[input]
name = "volume"
item_shape = [1, 8, 8, 8]
value_range = [-2.0, 4.0]
[preprocessing]
id = "ct-monai-1"
spacing_mm = [2.0, 2.0, 3.0]
orientation = "RAS"
axis_order = "xyz"
clip = [-200.0, 400.0]
mean = 0.0
std = 100.0
[window]
overlap = 0.5
weights = "gaussian"
placement = "monai"
padding = "edge"
resample = "labels"
[output]
logits = "logits"
activation = "softmax"
calibration = "none"
[[labels]]
name = "soft"
code = { value = "91727004", scheme = "SCT", meaning = "Soft tissue" }
[[labels]]
name = "hard"
laterality = "left"
min_ml = 0.5
largest_component = true
[trained_on]
modality_words = "numbers"
[source]
data = "none"
citation = "none"
url = "none"
licence = "Apache-2.0"
not_for = "anything"
"#;

fn written(models: &Models, edit: impl Fn(String) -> String) -> PathBuf {
    let folder = models.path().join("bands");
    fs::create_dir_all(&folder).unwrap();
    let weights = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models/bands.onnx")).unwrap();
    fs::write(folder.join("model.onnx"), &weights).unwrap();
    fs::write(folder.join("README.md"), "# A model for tests\n").unwrap();
    let text = MANIFEST.replace("SHA256", &hex::encode(Sha256::digest(&weights)));
    fs::write(folder.join("manifest.toml"), edit(text)).unwrap();
    folder
}

fn opened(models: &Models, edit: impl Fn(String) -> String) -> VerifiedModel {
    let manifest = Manifest::load(&written(models, edit)).unwrap();
    VerifiedModel::open(&Arc::new(manifest), Precision::Fp32).unwrap()
}

#[test]
fn a_manifest_of_a_segmentation_is_read_whole() {
    let models = Models::new();
    let manifest = Manifest::load(&written(&models, |text| text)).unwrap();
    assert_eq!(
        (manifest.task, manifest.classes(), manifest.input.item_len()),
        (Task::Segmentation, 3, VOXELS)
    );
    let ct = CtPreprocessing {
        recipe: CtRecipe::Monai1,
        spacing_mm: [2.0, 2.0, 3.0],
        orientation: Orientation::Ras,
        axis_order: AxisOrder::Xyz,
        intensity: Intensity::Statistics { clip: [-200.0, 400.0], mean: 0.0, std: 100.0 },
        order: None,
        anisotropy: None,
    };
    assert_eq!(manifest.preprocessing, Preprocessing::Ct(ct));
    let window = Window {
        overlap: 0.5,
        weighting: Weighting::Gaussian,
        placement: Placement::Monai,
        padding: Padding::Edge,
        resample: Resample::Labels,
    };
    assert_eq!(manifest.window, Some(window));
    let [soft, hard] = manifest.labels.as_slice() else { panic!("two labels") };
    assert_eq!(soft.code.as_ref().unwrap().value, "91727004");
    assert_eq!((hard.segment.laterality, hard.segment.min_ml), (Some(Laterality::Left), Some(0.5)));
    assert!(hard.segment.largest_component && !soft.segment.largest_component);
    let whole = manifest.sha256();
    for (from, to) in [
        ("std = 100.0", "std = 101.0"),
        ("overlap = 0.5", "overlap = 0.4"),
        ("resample = \"labels\"", "resample = \"logits\""),
        ("ct-monai-1", "ct-nnunet-1"),
        ("\"91727004\"", "\"91727005\""),
        ("min_ml = 0.5", "min_ml = 0.6"),
        ("laterality = \"left\"", "laterality = \"right\""),
    ] {
        let other = Manifest::load(&written(&models, |text| text.replace(from, to))).unwrap();
        assert_ne!(other.sha256(), whole, "{to}");
    }
}

#[test]
fn a_mistake_in_each_field_of_a_segmentation_is_told_in_one_line() {
    for (from, to, told) in [
        ("spacing_mm = [2.0, 2.0, 3.0]", "spacing_mm = [2.0, 0.0, 3.0]", "preprocessing.spacing_mm must lie"),
        (
            "orientation = \"RAS\"",
            "orientation = \"LPS\"",
            "preprocessing.orientation must be one of RAS, as-stored",
        ),
        ("axis_order = \"xyz\"", "axis_order = \"yxz\"", "preprocessing.axis_order must be one of xyz, zyx"),
        ("clip = [-200.0, 400.0]", "clip = [400.0, -200.0]", "preprocessing.clip must be [lowest, highest]"),
        ("std = 100.0", "std = 0.0", "preprocessing.std must be above 0"),
        ("std = 100.0", "range = [0.0, 1.0]", "preprocessing.clip with mean and std, or clip with range"),
        ("overlap = 0.5", "overlap = 1.0", "window.overlap must lie in [0, 0.9]"),
        (
            "weights = \"gaussian\"",
            "weights = \"cosine\"",
            "window.weights must be one of gaussian, constant",
        ),
        ("placement = \"monai\"", "placement = \"random\"", "window.placement must be one of nnunet, monai"),
        ("padding = \"edge\"", "padding = \"air\"", "window.padding must be one of edge, zero"),
        ("resample = \"labels\"", "resample = \"softmax\"", "window.resample must be one of labels, logits"),
        (
            "item_shape = [1, 8, 8, 8]",
            "item_shape = [1, 8, 8]",
            "input.item_shape must be [1, and the three sides",
        ),
        ("activation = \"softmax\"", "activation = \"sigmoid\"", "output.activation must be softmax"),
        ("laterality = \"left\"", "laterality = \"middle\"", "labels[1].laterality must be left or right"),
        ("min_ml = 0.5", "min_ml = -1.0", "labels[1].min_ml must not be below 0"),
        ("scheme = \"SCT\", ", "", "labels[0].code.scheme is missing"),
        ("largest_component = true", "threshold = 0.5", "labels[1].threshold is not a known key"),
        ("task = \"segmentation\"", "task = \"radiograph\"", "labels[1].laterality is not a known key"),
        (
            "id = \"ct-monai-1\"",
            "id = \"ct-monai-2\"",
            "preprocessing.id must be one of xrv-1, projections-1, ct-totalseg-1",
        ),
    ] {
        let models = Models::new();
        let refused = Manifest::load(&written(&models, |text| text.replace(from, to))).unwrap_err();
        let lines: Vec<_> = refused.problems.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.starts_with(told)), "{to}: {lines:?}");
    }
}

#[test]
fn a_patch_is_read_where_it_lies() {
    let Some(runtime) = runtime(Provider::Cpu, "a_patch_is_read_where_it_lies") else { return };
    let models = Models::new();
    let model = opened(&models, |text| text);
    let key = model.key().clone();
    let engine = PatchEngine::start(&runtime, vec![model], OPTIONS).unwrap();
    assert!(engine.cost(&key).unwrap().bytes >= (VOXELS * 4 * 4) as u64);
    let patch: Vec<f32> = (0..VOXELS).map(|at| at as f32 / 100.0).collect();
    let given = patch.clone();
    let read = engine.run(&key, move |patches| {
        let mut read = Vec::new();
        for _ in 0..2 {
            patches.infer(&given, &mut |logits| {
                read.push(logits.to_vec());
                Ok(())
            })?;
        }
        Ok(read)
    });
    let read = block_on(read).unwrap();
    let expected: Vec<f32> = [(0.0, 0.0), (100.0, -50.0), (200.0, -250.0)]
        .iter()
        .flat_map(|(slope, offset)| patch.iter().map(move |x| slope * x + offset))
        .collect();
    for logits in &read {
        assert_eq!(logits.len(), 3 * VOXELS);
        assert!(logits.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3));
    }
    let wrong = engine.run(&key, |patches| patches.infer(&[0.0], &mut |_| Ok(())));
    assert_eq!(block_on(wrong).unwrap_err().code, ErrorCode::InferenceFailed);
    let own = |_: &[f32]| Err(JobError::new(Stage::Infer, ErrorCode::ScoresNotFinite, "for the test"));
    let refused = engine.run(&key, move |patches| patches.infer(&[0.0; VOXELS], &mut { own }));
    assert_eq!(block_on(refused).unwrap_err().code, ErrorCode::ScoresNotFinite);
    assert_eq!(engine.health(), Health::Ready);
}

#[test]
fn a_volume_that_nobody_waits_for_ends_at_its_next_patch_and_a_panic_is_its_own() {
    let name = "a_volume_that_nobody_waits_for_ends_at_its_next_patch_and_a_panic_is_its_own";
    let Some(runtime) = runtime(Provider::Cpu, name) else { return };
    let models = Models::new();
    let model = opened(&models, |text| text);
    let key = model.key().clone();
    let engine = PatchEngine::start(&runtime, vec![model], OPTIONS).unwrap();
    let (began, has_begun) = channel();
    let (go, may_go) = channel::<()>();
    let (ended, has_ended) = channel();
    let long = engine.run(&key, move |patches| {
        began.send(()).unwrap();
        may_go.recv().unwrap();
        let error = patches.infer(&[0.0; VOXELS], &mut |_| Ok(())).unwrap_err();
        ended.send(error.code).unwrap();
        Err::<(), _>(error)
    });
    // Polled once, then dropped while it runs.
    let Either::Right(_) = block_on(select(Box::pin(long), std::future::ready(()))) else {
        panic!("it cannot end yet")
    };
    has_begun.recv().unwrap();
    go.send(()).unwrap();
    assert_eq!(has_ended.recv().unwrap(), ErrorCode::EngineClosed);

    let panicked = engine.run(&key, |_| -> Result<(), JobError> { panic!("hostile") });
    let error = block_on(panicked).unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(error.message.contains("hostile"), "{error}");
    assert_eq!(engine.health(), Health::Ready, "the session had no part in it");
    let after = engine.run(&key, |patches| patches.infer(&[0.0; VOXELS], &mut |_| Ok(())));
    block_on(after).unwrap();
}

#[test]
fn the_volumes_thread_gives_way_to_others() {
    let Some(runtime) = runtime(Provider::Cpu, "the_volumes_thread_gives_way_to_others") else { return };
    let models = Models::new();
    let model = opened(&models, |text| text);
    let key = model.key().clone();
    let engine =
        PatchEngine::start(&runtime, vec![model], PatchOptions { intra_threads: 3, ..OPTIONS }).unwrap();
    let niceness = |stat: &str| -> i64 {
        // The nineteenth field; the second, a name in parentheses, may hold spaces.
        stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(16).unwrap().parse().unwrap()
    };
    let own = niceness(&fs::read_to_string("/proc/thread-self/stat").unwrap());
    let theirs = engine.run(&key, move |_| Ok(fs::read_to_string("/proc/thread-self/stat").unwrap()));
    assert_eq!(niceness(&block_on(theirs).unwrap()), (own + 10).min(19));
    // Threads inside of operators too: the volumes' own and the two that its session started.
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let nice = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
    assert!(nice.filter(|stat| niceness(stat) == (own + 10).min(19)).count() >= 3);
}
