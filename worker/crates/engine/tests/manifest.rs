//! Manifests and catalogues: what is refused, and that everything wrong is told at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{Graph, Models};
use nightread_domain::ErrorCode;
use nightread_engine::{
    Activation, Availability, Catalogue, Manifest, ManifestProblems, Precision, Preprocessing, Task,
    VerifiedModel,
};
use proptest::prelude::*;

const GRAPH: Graph = Graph::new("linear");

/// A model folder whose manifest was edited.
fn edited(models: &Models, edit: impl Fn(String) -> String) -> Result<Manifest, ManifestProblems> {
    let folder = models.write(&GRAPH);
    let path = folder.join("manifest.toml");
    fs::write(&path, edit(fs::read_to_string(&path).unwrap())).unwrap();
    Manifest::load(&folder)
}

/// The problems of an edited manifest, as lines.
fn problems(edit: impl Fn(String) -> String) -> Vec<String> {
    let found = edited(&Models::new(), edit).unwrap_err();
    found.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_whole_manifest_is_read_whole() {
    let models = Models::new();
    let manifest = edited(&models, |text| text).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("linear", "1.0.0"));
    assert_eq!(manifest.task, Task::Radiograph);
    assert_eq!(manifest.input.item_shape, [1, 4, 4]);
    assert_eq!(manifest.input.item_len(), 16);
    assert_eq!(manifest.preprocessing, Preprocessing::Xrv1 { size: 4 });
    assert_eq!(manifest.preprocessing.id(), "xrv-1");
    assert_eq!(manifest.output.heads[0].activation, Activation::Sigmoid);
    assert_eq!(manifest.labels.len(), 3);
    assert_eq!(manifest.trained_on.age_years, Some([0.0, 99.0]));
    assert_eq!(manifest.precisions().collect::<Vec<_>>(), [Precision::Fp32]);
    assert_eq!(manifest.availability(Precision::Int8), Availability::NotOffered);
    assert_eq!(Manifest::read(&models.path().join("linear")).unwrap(), manifest);
}

#[test]
fn every_problem_is_told_at_once() {
    let found = problems(|text| {
        text.replace("schema = 1", "schema = 2\nshiny = true")
            .replace("name = \"linear\"", "name = \"Curved\"")
            .replace("version = \"1.0.0\"", "version = \"1.0-beta\"")
            .replace("card = \"README.md\"", "card = \"CARD.md\"")
            .replace("value_range = [-1024.0, 1024.0]", "value_range = [1.0, -1.0]")
            .replace("item_shape = [1, 4, 4]", "item_shape = [1, 4, 5]")
            .replace("name = \"Label 2\"", "name = \"Label 0\"")
            .replace("cam = \"cam\"", "")
            .replace("not_for = \"anything\"", "not_for = \"anything\"\nauthor = \"me\"")
    });
    let expected = [
        "schema must be 1, not 2",
        "source.author is not a known key",
        "shiny is not a known key",
        "name is \"Curved\", but the folder is \"linear\"",
        "name must be lower-case letters, digits and hyphens",
        "version must be a semantic version (major.minor.patch), not \"1.0-beta\"",
        "input.value_range must be [lowest, highest]",
        "input.item_shape must be [1, 4, 4] for the preprocessing's size",
        "labels[2].name \"Label 0\" is labels[0] already",
        "card \"CARD.md\" is not in the folder",
    ];
    assert_eq!(found, expected);
}

#[test]
fn wrong_kinds_and_missing_keys_are_told_for_every_section() {
    let found = problems(|text| {
        text.replace("name = \"linear\"", "name = 7")
            .replace("task = \"radiograph\"", "task = \"poetry\"")
            .replace("item_shape = [1, 4, 4]", "item_shape = [1, 0, 4]")
            .replace("value_range = [-1024.0, 1024.0]", "value_range = [nan, 1.0]")
            .replace("id = \"xrv-1\"\nsize = 4", "id = \"xrv-2\"\nsize = 4")
            .replace("activation = \"sigmoid\"", "activation = \"relu\"")
            .replace("name = \"Label 1\"\nthreshold = 0.5", "name = \"Label 1\"\nthreshold = 1.0")
            .replace("name = \"Label 2\"\nthreshold = 0.5", "name = \"Label 2\"")
            .replace("age_years = [0.0, 99.0]", "age_years = [0.0]")
            .replace("licence = \"Apache-2.0\"\n", "")
    });
    let expected = [
        "name must be a string, not 7",
        "task must be one of radiograph, components, segmentation, not \"poetry\"",
        "input.item_shape must be a list of whole numbers from 1, not [1, 0, 4]",
        "input.value_range must be a list of 2 finite numbers, not [nan, 1.0]",
        "preprocessing.id must be one of xrv-1, projections-1, ct-totalseg-1, ct-nnunet-1, ct-monai-1, not \"xrv-2\"; or give a list of steps, [[preprocessing]]",
        "preprocessing.size is not a known key",
        "output.activation must be one of sigmoid, softmax, none, ordinal-coral, ordinal-corn, not \"relu\"",
        "labels[1].threshold must lie between 0 and 1, both excluded",
        "labels[2].threshold is missing",
        "trained_on.age_years must be a list of 2 finite numbers, not [0.0]",
        "source.licence is missing",
    ];
    assert_eq!(found, expected);
}

#[test]
fn files_are_beside_the_manifest_and_have_their_digests() {
    for name in [
        "/etc/passwd",
        "../linear/model.onnx",
        "a/b.onnx",
        "a\\\\b.onnx",
        "..",
        ".",
        ".hidden",
        "c:model.onnx",
    ] {
        let found = problems(|text| text.replace("\"model.onnx\"", &format!("\"{name}\"")));
        assert!(found[0].starts_with("weights.fp32.file must name a file beside the manifest"), "{found:?}");
    }
    let found = problems(|text| text.replace("\"model.onnx\"", "\"absent.onnx\""));
    assert_eq!(found, ["weights.fp32.file \"absent.onnx\" is not in the folder"]);
    for digest in ["abc", &"G".repeat(64), &"A".repeat(64)] {
        let found = problems(|text| replace_digest(&text, digest));
        assert_eq!(found, ["weights.fp32.sha256 must be a sha256 in 64 lower-case hexadecimal digits"]);
    }
    let other = "0".repeat(64);
    let models = Models::new();
    let found = edited(&models, |text| replace_digest(&text, &other)).unwrap_err().to_string();
    assert!(found.contains("weights.fp32.file \"model.onnx\" has sha256"), "{found}");
    // A cheap reading does not look; opening the model does.
    let manifest = Manifest::read(&models.path().join("linear")).unwrap();
    let error = VerifiedModel::open(&Arc::new(manifest), Precision::Fp32).unwrap_err();
    assert_eq!(error.code, ErrorCode::ModelMismatch);
}

#[test]
fn group_maps_are_read_and_their_files_looked_for() {
    let section = |more: &str| {
        format!(
            "\n[maps]\nfile = \"maps.nii.gz\"\nsha256 = \"{}\"\ncount = 20\ngrid = [45, 54, 45]\n\
             affine = [[-4.0, 0.0, 0.0, 90.0], [0.0, 4.0, 0.0, -126.0], [0.0, 0.0, 4.0, -72.0], [0, 0, 0, 1]]\n{more}",
            // The digest of no bytes.
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )
    };
    let found = problems(|text| text + &section("mask = \"mask.nii.gz\"\n"));
    assert_eq!(
        found,
        [
            "maps.mask_sha256 is missing",
            "maps.file \"maps.nii.gz\" is not in the folder",
            "maps.mask \"mask.nii.gz\" is not in the folder"
        ]
    );
    let found = problems(|text| {
        text + &section("mask = \"../mask.nii.gz\"\n")
            .replace("45, 54, 45", "45, 54")
            .replace("[0, 0, 0, 1]", "[1]")
    });
    assert!(
        found[0].contains("maps.grid") && found[1].contains("maps.affine") && found[2].contains("maps.mask")
    );
    let models = Models::new();
    let folder = models.write(&GRAPH);
    fs::write(folder.join("maps.nii.gz"), b"").unwrap();
    let maps = edited(&models, |text| text + &section("des_norm = true\n")).unwrap().maps.unwrap();
    assert_eq!((maps.count, maps.grid, maps.des_norm), (20, [45, 54, 45], Some(true)));
    assert!((maps.affine[1][3] + 126.0).abs() < f64::EPSILON);
}

fn replace_digest(text: &str, digest: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.starts_with("sha256 = ") { format!("sha256 = \"{digest}\"\n") } else { format!("{line}\n") }
    });
    lines.collect()
}

#[test]
fn calibration_needs_an_operating_point_for_every_reported_label() {
    let calibrated = |text: String| text.replace("calibration = \"none\"", "calibration = \"xrv-op-norm\"");
    let found = problems(calibrated);
    let missing = |l: usize| format!("labels[{l}].op_threshold is missing (xrv-op-norm needs it)");
    assert_eq!(found, [missing(0), missing(1), missing(2)]);
    let models = Models::new();
    let manifest = edited(&models, |text| {
        calibrated(text)
            .replace("name = \"Label 0\"\n", "name = \"Label 0\"\nop_threshold = 0.03\n")
            // Untrained outputs have no names and need nothing.
            .replace("name = \"Label 1\"\nthreshold = 0.5", "name = \"\"\nsuppressed = true")
            .replace("name = \"Label 2\"\nthreshold = 0.5", "name = \"\"\nsuppressed = true")
    });
    assert_eq!(manifest.unwrap().labels.iter().filter(|label| label.suppressed).count(), 2);
    let found = problems(|text| calibrated(text).replace("\"sigmoid\"", "\"softmax\""));
    assert_eq!(found[0], "output.calibration xrv-op-norm needs the sigmoid activation");
}

#[test]
fn int8_is_offered_only_with_its_evidence() {
    let without = "[weights.int8]\nfile = \"model.onnx\"\ntarget = \"u8s8-reduce-range\"\nsha256 = \"";
    let digest = |text: &str| text.split("sha256 = \"").nth(1).unwrap()[..64].to_owned();
    let add = |text: String, more: &str| {
        let table = format!("{without}{}\"\n{more}[input]", digest(&text));
        text.replace("[input]", &table)
    };
    assert_eq!(problems(|text| add(text, "")), ["weights.int8.evidence is missing"]);
    let evidence = |agreement: &str, int8: &str| {
        format!(
            "[weights.int8.evidence]\ncalibration_sha256 = \"{}\"\ncalibration_items = 100\nagreement = {agreement}\n\
             metric = \"auc\"\nfp32 = [0.95, 0.93, 0.97]\nint8 = {int8}\nevaluated_items = 300\n",
            "a".repeat(64)
        )
    };
    let found = problems(|text| add(text, &evidence("1.5", "[0.9, 0.95, 0.97]")));
    assert_eq!(
        found,
        [
            "weights.int8.evidence.agreement must lie in [0, 1]",
            "weights.int8.evidence.int8 must be [value, low, high] with low <= value <= high",
        ]
    );
    let models = Models::new();
    let manifest = edited(&models, |text| add(text, &evidence("0.99", "[0.94, 0.92, 0.96]"))).unwrap();
    assert_eq!(manifest.precisions().collect::<Vec<_>>(), [Precision::Fp32, Precision::Int8]);
    let model = VerifiedModel::open(&Arc::new(manifest), Precision::Int8).unwrap();
    assert_eq!(model.key().version, "1.0.0-int8");
}

/// The manifest's text with a record of bf16, of which `from` became `to`.
fn with_bf16(text: &str, (from, to): (&str, &str)) -> String {
    let digest = &text.split("sha256 = \"").nth(1).unwrap()[..64];
    let record = format!(
        "[weights.bf16]\ntarget = \"openvino-bf16\"\nprocessor = \"Some Xeon\"\nruntime = \"ONNX Runtime 1.24.1\"\n\
         fp32_sha256 = \"{digest}\"\n[weights.bf16.evidence]\nitems_sha256 = \"{}\"\nevaluated_items = 398\n\
         agreement = 0.9975\ndifference = 0.0213\nmetric = \"auc\"\nfp32 = [0.95, 0.93, 0.97]\nbf16 = [0.9449, 0.92, 0.96]\n",
        "a".repeat(64)
    );
    assert!(record.contains(from), "{from}");
    text.replace("[input]", &format!("{}[input]", record.replace(from, to)))
}

#[test]
fn bf16_is_the_fp32_weights_with_a_record_of_their_own() {
    let models = Models::new();
    let manifest = edited(&models, |text| with_bf16(&text, ("", ""))).unwrap();
    assert_eq!(manifest.precisions().collect::<Vec<_>>(), [Precision::Fp32, Precision::Bf16]);
    assert!(!Precision::Bf16.is_automatic() && "bf16".parse() == Ok(Precision::Bf16));
    let manifest = Arc::new(manifest);
    let fp32 = VerifiedModel::open(&manifest, Precision::Fp32).unwrap();
    let bf16 = VerifiedModel::open(&manifest, Precision::Bf16).unwrap();
    assert_eq!((bf16.key().version.as_str(), bf16.sha256()), ("1.0.0-bf16", fp32.sha256()));
    assert_eq!(
        manifest.files().iter().copied().collect::<Vec<_>>(),
        ["README.md", "manifest.toml", "model.onnx"]
    );

    let without = Arc::new(edited(&models, |text| text).unwrap());
    let error = VerifiedModel::open(&without, Precision::Bf16).unwrap_err();
    assert!(error.message.contains("does not offer bf16; it offers: fp32"), "{error}");
}

#[test]
fn bf16_is_offered_only_with_sound_evidence_of_these_weights() {
    let again = ": take [weights.bf16] and its evidence out, and let `nightread models gate` measure on a machine with AMX";
    for (change, words) in [
        (
            ("agreement = 0.9975", "agreement = 0.9899"),
            "weights.bf16.evidence.agreement is 0.9899, below 0.99",
        ),
        (
            ("0.9449, 0.92", "0.9447, 0.92"),
            "weights.bf16.evidence.bf16 loses 0.0053 of auc against fp32, more than 0.005",
        ),
        (
            ("evaluated_items = 398", "evaluated_items = 99"),
            "weights.bf16.evidence.evaluated_items is 99, fewer than 100",
        ),
        (
            ("difference = 0.0213", "difference = 0.0"),
            "weights.bf16.evidence.difference is 0: nothing was computed in bfloat16",
        ),
    ] {
        assert_eq!(problems(|text| with_bf16(&text, change)), [format!("{words}{again}")]);
    }
    for (change, words) in [
        (
            ("target = \"openvino-bf16\"", "target = \"bf16\""),
            "weights.bf16.target must be one of openvino-bf16, not \"bf16\"",
        ),
        (("processor = \"Some Xeon\"\n", ""), "weights.bf16.processor is missing"),
        (
            ("metric = \"auc\"", "metric = \"dice\""),
            "weights.bf16.evidence.metric must be one of auc, accuracy, not \"dice\"",
        ),
        (("agreement = 0.9975", "agreement = 99.75"), "weights.bf16.evidence.agreement must lie in [0, 1]"),
        (("target", "file = \"other.onnx\"\ntarget"), "weights.bf16.file is not a known key"),
    ] {
        assert_eq!(problems(|text| with_bf16(&text, change)), [words]);
    }
    let others = problems(|text| {
        let digest = text.split("sha256 = \"").nth(1).unwrap()[..64].to_owned();
        let [here, other] = [digest, "0".repeat(64)].map(|digest| format!("fp32_sha256 = \"{digest}"));
        with_bf16(&text, ("", "")).replace(&here, &other)
    });
    assert!(
        others.len() == 1 && others[0].starts_with("weights.bf16.fp32_sha256 is of other FP32 weights"),
        "{others:?}"
    );
    let without =
        problems(|text| text.replace("[input]", "[weights.bf16]\ntarget = \"openvino-bf16\"\n[input]"));
    assert!(without.contains(&"weights.bf16.evidence is missing".to_owned()), "{without:?}");
}

#[test]
fn bring_your_own_is_listed_and_refused_when_used() {
    let models = Models::new();
    models.write(&GRAPH);
    let template = models.write(&Graph::new("cam"));
    let path = template.join("manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    let without: String =
        text.lines().filter(|line| !line.starts_with("sha256")).flat_map(|line| [line, "\n"]).collect();
    fs::write(&path, &without).unwrap();
    let broken = Catalogue::load(models.path()).unwrap();
    assert_eq!(broken.iter().map(|manifest| manifest.name.as_str()).collect::<Vec<_>>(), ["linear"]);
    let found = broken.problems()[0].to_string();
    assert_eq!(broken.get("cam").unwrap_err().code, ErrorCode::ModelMismatch);
    assert!(found.contains("weights.fp32.sha256 is missing"), "{found}");
    fs::write(&path, without.replace("[weights.fp32]", "bring_your_own = \"ask the owner\"\n[weights.fp32]"))
        .unwrap();
    fs::remove_file(template.join("model.onnx")).unwrap();
    let catalogue = Catalogue::load(models.path()).unwrap();
    assert_eq!(
        catalogue.iter().map(|manifest| manifest.name.as_str()).collect::<Vec<_>>(),
        ["cam", "linear"]
    );
    let manifest = catalogue.get("cam").unwrap();
    assert_eq!(
        manifest.availability(Precision::Fp32),
        Availability::WeightsMissing("ask the owner".to_owned())
    );
    let error = VerifiedModel::open(manifest, Precision::Fp32).unwrap_err();
    assert_eq!(error.code, ErrorCode::ModelMissing);
    assert!(error.message.contains("ask the owner"), "{error}");
    let unknown = catalogue.get("nobody").unwrap_err();
    assert_eq!(unknown.code, ErrorCode::ModelMissing);
    assert!(unknown.message.contains("cam, linear"), "{unknown}");
}

#[test]
fn a_catalogue_tells_the_problems_of_all_its_models() {
    let models = Models::new();
    for graph in [&GRAPH, &Graph::new("cam")] {
        let folder = models.write(graph);
        fs::remove_file(folder.join("README.md")).unwrap();
    }
    fs::create_dir(models.path().join("lib")).unwrap();
    fs::create_dir(models.path().join("broken")).unwrap();
    fs::write(models.path().join("broken/manifest.toml"), "schema = ").unwrap();
    let found = Catalogue::load(models.path()).unwrap();
    let names = |path: &Path| path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(
        found.problems().iter().map(|m| names(&m.path)).collect::<Vec<_>>(),
        ["broken", "cam", "linear"]
    );
    assert_eq!(found.get("cam").unwrap_err().code, ErrorCode::ModelMismatch);
    assert!(Catalogue::load(&models.path().join("nowhere")).is_err());
}

/// The models of this repository, weights and all.
#[test]
fn the_shipped_models_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models");
    let catalogue = Catalogue::load(&folder).unwrap();
    assert_eq!(catalogue.problems(), []);
    for manifest in catalogue.iter() {
        Manifest::load(&manifest.folder).unwrap_or_else(|problems| panic!("{problems}"));
        let ready = manifest.precisions().count() > 0;
        assert!(ready || manifest.bring_your_own.is_some(), "{} cannot be used at all", manifest.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever line is damaged: an error or a manifest, never a panic; and no error without a problem.
    #[test]
    fn damage_is_told(line in 0_usize..45, junk in "[a-z0-9\\[\\]\"=.{},\\- ]{0,24}") {
        let models = Models::new();
        let result = edited(&models, |text| {
            let damaged = text.lines().enumerate().map(|(at, old)| if at == line { junk.as_str() } else { old });
            damaged.flat_map(|line| [line, "\n"]).collect()
        });
        if let Err(found) = result {
            prop_assert!(!found.problems.is_empty());
        }
    }
}

#[test]
fn codes_of_labels_are_of_a_length_that_dicom_has_room_for() {
    let coded = |code: &str| {
        edited(&Models::new(), |text| {
            text.replacen("threshold = 0.5", &format!("threshold = 0.5\ncode = {code}"), 1)
        })
    };
    let manifest =
        coded("{ value = \"60046008\", scheme = \"SCT\", meaning = \"Pleural effusion\" }").unwrap();
    assert_eq!(manifest.labels[0].code.as_ref().unwrap().value, "60046008");
    assert!(manifest.labels[1..].iter().all(|label| label.code.is_none()));
    for wrong in [
        "{ value = \"60046008\", scheme = \"SCT\" }",
        "{ value = \"12345678901234567\", scheme = \"SCT\", meaning = \"m\" }",
        "{ value = \"1\", scheme = \"SCT\", meaning = \"a\\\\b\" }",
        "{ value = \"\", scheme = \"SCT\", meaning = \"m\" }",
        "\"60046008\"",
    ] {
        let found = coded(wrong).unwrap_err();
        assert!(
            found.problems.iter().all(|problem| problem.at.starts_with("labels[0].code")),
            "{wrong}: {found}"
        );
    }
}

/// The digest of what a manifest decides, after an edit of its text.
fn decided(edit: impl Fn(String) -> String) -> String {
    edited(&Models::new(), edit).unwrap().sha256()
}

#[test]
fn whatever_decides_a_result_is_in_the_digest_and_nothing_else() {
    let plain = decided(|text| text);
    assert_eq!(
        plain, "19b546919b2afc5e11a7d9c6c490856783ccb74857193980ebf225ca6b292160",
        "digests are kept with results: they never change for a manifest that does not"
    );
    let replaced = |from: &'static str, to: &'static str| {
        decided(move |text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        })
    };
    let deciding = [
        ("threshold = 0.5", "threshold = 0.25"),
        ("name = \"Label 0\"", "name = \"Other\""),
        ("threshold = 0.5", "threshold = 0.5\nfamily = \"F\""),
        ("threshold = 0.5", "threshold = 0.5\nsuppressed = true"),
        ("threshold = 0.5", "threshold = 0.5\nop_threshold = 0.25"),
        ("activation = \"sigmoid\"", "activation = \"softmax\""),
        ("value_range = [-1024.0, 1024.0]", "value_range = [-1024.0, 1023.0]"),
        ("logits = \"logits\"", "logits = \"others\""),
        ("calibration = \"none\"", "calibration = \"none\"\ncam = \"cam\""),
        ("views = [\"PA\"]", "views = [\"PA\", \"AP\"]"),
        ("age_years = [0.0, 99.0]", "age_years = [18.0, 99.0]"),
        ("min_side_px = 4", "min_side_px = 5"),
        ("min_side_px = 4", "min_side_px = 4\nsimulated = true"),
    ];
    let mut seen: Vec<_> = deciding.map(|(from, to)| replaced(from, to)).into();
    seen.push(decided(|text| text.replace("size = 4", "size = 5").replace("[1, 4, 4]", "[1, 5, 5]")));
    seen.push(plain.clone());
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "each has a digest of its own");
    for (from, to) in [
        ("description = \"a model for tests\"", "description = \"other words\""),
        ("version = \"1.0.0\"", "version = \"1.0.1\""),
        ("modality_words = \"numbers\"", "modality_words = \"other words\""),
        ("licence = \"Apache-2.0\"", "licence = \"MIT\""),
        ("threshold = 0.5", "threshold = 0.5\ncode = { value = \"1\", scheme = \"SCT\", meaning = \"One\" }"),
    ] {
        assert_eq!(replaced(from, to), plain, "{from}");
    }
}

/// A step of preprocessing, a map and its mask, as the shipped model for scans has them.
#[test]
fn steps_and_maps_of_scans_are_in_the_digest() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models/fmri-networks-demo");
    let manifest = Manifest::read(&shipped).unwrap();
    let plain = manifest.sha256();
    let mut others = vec![plain];
    let mut note = |change: &dyn Fn(&mut Manifest)| {
        let mut other = manifest.clone();
        change(&mut other);
        others.push(other.sha256());
    };
    let preprocessing = |crop_offset_y, scale, mean, std| {
        move |other: &mut Manifest| {
            other.preprocessing = Preprocessing::Projections1 { crop_offset_y, scale, mean, std };
        }
    };
    let (mean, std) = ([0.5, 0.25, 0.125], [0.5, 0.25, 0.125]);
    note(&preprocessing(3, 1.0, mean, std));
    note(&preprocessing(4, 1.0, mean, std));
    note(&preprocessing(3, 2.0, mean, std));
    note(&preprocessing(3, 1.0, [0.5, 0.25, 0.0], std));
    note(&preprocessing(3, 1.0, mean, [0.5, 0.5, 0.125]));
    note(&|other| other.maps.as_mut().unwrap().sha256 = Some("0".repeat(64)));
    note(&|other| other.maps.as_mut().unwrap().mask_sha256 = Some("1".repeat(64)));
    note(&|other| other.maps.as_mut().unwrap().affine[0][3] += 1.0);
    note(&|other| other.maps.as_mut().unwrap().grid[0] += 1);
    note(&|other| other.maps.as_mut().unwrap().count += 1);
    note(&|other| other.maps.as_mut().unwrap().des_norm = Some(false));
    note(&|other| other.maps.as_mut().unwrap().sign_convention = Some("other".to_owned()));
    let count = others.len();
    others.sort();
    others.dedup();
    assert_eq!(others.len(), count, "each has a digest of its own");
}
