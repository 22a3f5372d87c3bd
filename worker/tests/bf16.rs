//! Bfloat16 by OpenVINO, its gate, and the refusals where a processor has no AMX.
//!
//! AVX-512 computes in bfloat16 too, so that all but the look at the processor is tried without AMX: the gate is told of one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use nightread::services::models::gate::{self, Asked, Gated};
use nightread::settings::{Problems, RawSettings, Settings, keys};
use nightread_engine::{
    Engine, EngineOptions, Manifest, Precision, Processor, Provider, Runtime, Search, VerifiedModel,
    file_sha256, sigmoid,
};
use support::{models, nightread, repository, test_data};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// OpenVINO's library, and this processor as if it had AMX; none where either cannot do bfloat16.
fn able(test: &str) -> Option<(PathBuf, Processor)> {
    let folders = fs::read_dir(repository().join(".cache/onnxruntime")).ok();
    let mut folders = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let library = folders.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("openvino-"));
    let mut processor = Processor::here();
    let able = ["avx512_bf16", "amx_bf16"].iter().any(|name| processor.has(name));
    let Some(library) = library.filter(|_| able) else {
        support::missing(test);
        return None;
    };
    processor.instructions.extend(["amx_tile", "amx_bf16"].map(str::to_owned));
    Some((library, processor))
}

fn settings(models: &Path, library: &Path) -> Settings {
    let mut problems = Problems::default();
    let flags = [(keys::MODELS_DIR, models), (keys::MODELS_RUNTIME, library)]
        .map(|(key, path)| (key, path.display().to_string()));
    let raw = RawSettings::merge(None, &|_| None, &flags, &mut problems);
    Settings::validate(&raw, &mut problems).unwrap_or_else(|| panic!("{problems}"))
}

/// The numbers of the output `logits` for each item.
fn logits(library: &Path, model: VerifiedModel, provider: Provider, items: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let runtime = Runtime::load(&Search::new(Some(library.to_owned()), provider)).unwrap();
    let key = model.key().clone();
    let options = EngineOptions { provider, warm_batches: false, ..EngineOptions::for_cores(1) };
    let engine = Engine::start(&runtime, vec![model], options).unwrap();
    let run = |item: &Vec<f32>| engine.infer(&key, item.clone()).wait().unwrap();
    items.iter().map(|item| run(item).arrays.values("logits").unwrap().to_vec()).collect()
}

fn furthest(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> f32 {
    let pairs = ours.iter().flatten().zip(theirs.iter().flatten());
    pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

/// A small convolutional network, whose answers grow as its input does: it has no biases.
struct Small {
    work: TempDir,
    /// An image whose first number is six.
    image: Vec<f32>,
}

impl Small {
    fn new(library: &Path) -> Self {
        let mut small = Self { work: TempDir::new().unwrap(), image: Vec::new() };
        small.write(0.5);
        let image: Vec<f32> = (0..64 * 64).map(|at| ((at * 31) % 2048) as f32 - 1024.0).collect();
        let first = logits(library, small.open(), Provider::Cpu, std::slice::from_ref(&image))[0][0].abs();
        small.image = image.iter().map(|value| value * 6.0 / first).collect();
        small
    }

    fn models(&self) -> PathBuf {
        self.work.path().join("models")
    }

    fn manifest(&self) -> PathBuf {
        self.models().join("small/manifest.toml")
    }

    /// `threshold` of the first label.
    fn write(&self, threshold: f64) {
        let folder = self.models().join("small");
        fs::create_dir_all(&folder).unwrap();
        let graph = repository().join("worker/crates/engine/tests/models/conv.onnx");
        fs::copy(&graph, folder.join("model.onnx")).unwrap();
        fs::write(folder.join("README.md"), "# For tests\n").unwrap();
        let text = format!(
            "schema = 1\nname = \"small\"\nversion = \"1.0.0\"\ntask = \"radiograph\"\ndescription = \"for tests\"\ncard = \"README.md\"\n\
             # The weights.\n[weights.fp32]\nfile = \"model.onnx\"\nsha256 = \"{}\"\n\
             [input]\nname = \"image\"\nitem_shape = [1, 64, 64]\nvalue_range = [-1024.0, 1024.0]\n\
             [preprocessing]\nid = \"xrv-1\"\nsize = 64\n[output]\nlogits = \"logits\"\nactivation = \"sigmoid\"\ncalibration = \"none\"\n\
             [[labels]]\nname = \"A\"\nthreshold = {threshold}\n[[labels]]\nname = \"B\"\nthreshold = 0.5\n[[labels]]\nname = \"C\"\nthreshold = 0.5\n\
             [trained_on]\nmodality_words = \"numbers\"\n\
             [source]\ndata = \"none\"\ncitation = \"none\"\nurl = \"none\"\nlicence = \"Apache-2.0\"\nnot_for = \"anything\"\n",
            file_sha256(&graph).unwrap()
        );
        fs::write(self.manifest(), text).unwrap();
    }

    fn open(&self) -> VerifiedModel {
        let manifest = Manifest::load(&self.models().join("small")).unwrap();
        VerifiedModel::open(&Arc::new(manifest), Precision::Fp32).unwrap()
    }

    /// The gate over the image times each of `scales`, of which those above `from` have the label A.
    fn gate(&self, scales: &[f32], from: f32, library: &Path, processor: &Processor) -> Gated {
        let (items, truth) = (self.work.path().join("items.npz"), self.work.path().join("truth.csv"));
        let mut archive = ZipWriter::new(File::create(&items).unwrap());
        let mut rows = "file,patient,split,A,B,C\n".to_owned();
        for (number, scale) in scales.iter().enumerate() {
            let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            archive.start_file(format!("{number}.png.npy"), stored).unwrap();
            let values: Vec<f32> = self.image.iter().map(|value| value * scale).collect();
            archive.write_all(&nightread_radiograph::npy(&values, &[1, 64, 64])).unwrap();
            writeln!(rows, "{number}.png,p{},evaluation,{},,", number / 2, u8::from(*scale > from)).unwrap();
        }
        archive.finish().unwrap();
        fs::write(&truth, rows).unwrap();
        let asked = Asked { name: "small".to_owned(), items, truth, leave_out: false };
        gate::run(&asked, &settings(&self.models(), library), processor).unwrap()
    }

    /// `nightread process --precision bf16` on OpenVINO.
    fn process(&self, library: &Path, provider: &str) -> Output {
        let mut command = nightread();
        command.args(["process", "--precision", "bf16", "--model", "small", "--models"]).arg(self.models());
        // Nothing of it is read before bf16 is refused.
        let file = self.work.path().join("a.png");
        fs::write(&file, "no image").unwrap();
        command.arg("--out").arg(self.work.path().join("out")).arg(file);
        command.env("NIGHTREAD_MODELS_RUNTIME", library).env("NIGHTREAD_MODELS_PROVIDER", provider);
        command.output().unwrap()
    }
}

#[test]
fn a_network_that_decides_alike_gets_its_record_and_one_that_does_not_gets_none() {
    let Some((library, processor)) = able("a_network_that_decides_alike_gets_its_record") else { return };
    let small = Small::new(&library);
    let before = fs::read_to_string(small.manifest()).unwrap();

    // All lie within 1.2 % of a threshold, and bfloat16 has eight bits.
    let near: Vec<f32> = (0..120).map(|step| 1.0 + 1e-4 * step as f32).collect();
    let middle: Vec<f32> = small.image.iter().map(|value| value * 1.006).collect();
    let logit = logits(&library, small.open(), Provider::Cpu, &[middle])[0][0];
    small.write(sigmoid(f64::from(logit)));
    let at_threshold = fs::read_to_string(small.manifest()).unwrap();
    let refused = small.gate(&near, 1.006, &library, &processor);
    assert!(refused.reasons().iter().any(|reason| reason.starts_with("agreement 0.")), "{refused:?}");
    assert_eq!(fs::read_to_string(small.manifest()).unwrap(), at_threshold);
    let told = refused.as_json();
    assert!(told["written"] == false && told["difference"].as_f64().unwrap() > 1e-4, "{told}");
    let refused = small.process(&library, "openvino");
    assert_ne!(refused.status.code(), Some(0));

    // All are far from it.
    small.write(0.5);
    let apart: Vec<f32> =
        (0..120).map(|step| if step < 60 { 0.7 } else { 1.0 } + 2e-3 * step as f32).collect();
    let passed = small.gate(&apart, 1.0, &library, &processor);
    assert_eq!(passed.reasons(), [] as [String; 0], "{passed:?}");
    let told = passed.as_json();
    assert_eq!((&told["written"], &told["agreement"]), (&true.into(), &1.0.into()), "{told}");
    assert_eq!(told["processor"], processor.name.as_str());
    assert!(
        passed.notes().iter().any(|note| note.contains("1 of 3 labels, left out: B (no truth)")),
        "{passed:?}"
    );
    let after = fs::read_to_string(small.manifest()).unwrap();
    let mut lines = after.lines();
    assert!(before.lines().all(|line| lines.any(|other| other == line)), "{after}");
    let manifest =
        Manifest::load(&small.models().join("small")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(manifest.precisions().collect::<Vec<_>>(), [Precision::Fp32, Precision::Bf16]);
    assert_eq!(manifest.bf16.unwrap().processor, processor.name);

    // It is offered, and runs only where it can.
    let listed =
        nightread().args(["models", "--format", "json", "--models"]).arg(small.models()).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["models"][0]["precisions"], serde_json::json!(["fp32", "bf16"]));
    let words = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    for provider in ["cpu", "auto"] {
        let on = small.process(&library, provider);
        assert!(
            on.status.code() == Some(1) && words(&on).contains("bf16 is computed by OpenVINO alone"),
            "{}",
            words(&on)
        );
    }
    if let Err(unfit) = Processor::here().require_bf16() {
        let here = small.process(&library, "openvino");
        assert!(here.status.code() == Some(1) && words(&here).contains(&unfit.message), "{}", words(&here));
        assert!(words(&here).contains(&processor.name), "{}", words(&here));
        let mut check = nightread();
        check.args(["models", "check", "small", "--format", "json", "--models"]).arg(small.models());
        let checked = check.output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
        assert_eq!((checked.status.code(), &told["problems"]), (Some(0), &serde_json::json!([])), "{told}");
        assert!(told["facts"].to_string().contains("bf16 not run here: "), "{told}");
    }
}

#[test]
fn the_gate_refuses_a_processor_without_amx_by_name() {
    let Err(unfit) = Processor::here().require_bf16() else {
        return support::missing("the_gate_refuses_a_processor_without_amx_by_name");
    };
    let gate = |precision: &str| {
        let mut command = nightread();
        command.args(["models", "gate", "cxr-pneumonia-demo", "--precision", precision]);
        command.args(["--items", "/none.npz", "--truth", "/none.csv"]).output().unwrap()
    };
    let refused = gate("bf16");
    let words = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), words.lines().count()), (Some(1), 1), "{words}");
    assert!(words.contains(&Processor::here().name) && words.contains(&unfit.message), "{words}");
    assert_eq!(gate("int8").status.code(), Some(2));
}

/// The values of each array of an archive, and its name.
fn arrays(path: &Path) -> Vec<(String, Vec<f32>)> {
    let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    (0..archive.len())
        .map(|number| {
            let mut entry = archive.by_index(number).unwrap();
            let mut bytes = Vec::new();
            std::io::copy(&mut entry, &mut bytes).unwrap();
            (entry.name().to_owned(), nightread_engine::read_npy(&bytes).unwrap().1)
        })
        .collect()
}

/// The demonstration model on X-rays that its training did not see: single precision stays what it is on OpenVINO, bfloat16 is
/// another kind of number, and the gate tells how much of a difference that makes.
#[test]
fn the_demonstration_model_goes_through_the_gate() {
    const TEST: &str = "the_demonstration_model_goes_through_the_gate";
    let Some((library, processor)) = able(TEST) else { return };
    let Some(folder) = test_data("xray/kermany") else { return support::missing(TEST) };
    let work = TempDir::new().unwrap();
    let copy = work.path().join("models/cxr-pneumonia-demo");
    fs::create_dir_all(&copy).unwrap();
    for file in fs::read_dir(models().join("cxr-pneumonia-demo")).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }

    let mut rows = csv::Reader::from_path(folder.join("labels.csv")).unwrap();
    let mut truth = "file,patient,Pneumonia\n".to_owned();
    let mut files = Vec::new();
    let mut taken = [0; 2];
    for row in rows.records().map(Result::unwrap).filter(|row| &row[1] == "val") {
        let has = usize::from(&row[2] != "NORMAL");
        taken[has] += 1;
        if taken[has] <= 75 {
            files.push(folder.join(&row[0]));
            writeln!(truth, "{},{},{has}", &row[0], &row[4]).unwrap();
        }
    }
    let (items, csv) = (work.path().join("items.npz"), work.path().join("truth.csv"));
    fs::write(&csv, truth).unwrap();
    let mut prepare = nightread();
    prepare.args(["prepare", "--model", "cxr-pneumonia-demo", "--out"]).arg(&items).args(&files);
    let prepared = prepare.output().unwrap();
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));

    let manifest = Arc::new(Manifest::read(&copy).unwrap());
    let few: Vec<_> = arrays(&items).into_iter().map(|(_, values)| values).step_by(15).collect();
    let fp32 = || VerifiedModel::open(&manifest, Precision::Fp32).unwrap();
    let expected = logits(&library, fp32(), Provider::Cpu, &few);
    let single = furthest(&expected, &logits(&library, fp32(), Provider::OpenVino, &few));
    let bf16 = VerifiedModel::try_bf16(&manifest, &processor).unwrap();
    let reduced = furthest(&expected, &logits(&library, bf16, Provider::OpenVino, &few));
    println!("logits of FP32 on OpenVINO differ by {single:.2e}, of bf16 by {reduced:.2e}");
    assert!(single <= 1e-4, "FP32 on OpenVINO differs by {single}");
    assert!((1e-3..0.5).contains(&reduced), "bf16 differs by {reduced}");

    let asked = Asked { name: "cxr-pneumonia-demo".to_owned(), items, truth: csv, leave_out: false };
    let gated = gate::run(&asked, &settings(&work.path().join("models"), &library), &processor).unwrap();
    println!("{}", gated.as_text());
    let told = gated.as_json();
    assert_eq!(gated.reasons(), [] as [String; 0], "{told}");
    assert!(told["evaluated_items"] == 150 && told["metric"] == "auc", "{told}");
    assert!(
        told["agreement"].as_f64().unwrap() >= 0.99 && told["fp32"][0].as_f64().unwrap() > 0.98,
        "{told}"
    );
    let manifest = Manifest::load(&copy).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(manifest.precisions().collect::<Vec<_>>(), Precision::ALL);
    let comment = "# greatest Youden index on the choosing half";
    assert!(fs::read_to_string(copy.join("manifest.toml")).unwrap().contains(comment));
}
