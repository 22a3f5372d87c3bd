//! Outputs that a manifest names: heads, their activations, the embedding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::sync::Arc;

use common::{Graph, Models, image, options, runtime};
use futures::executor::block_on;
use nightread_domain::ErrorCode;
use nightread_engine::{
    Activation, Cam, ClassifierWeights, Engine, Manifest, ManifestProblems, Precision, Provider,
    VerifiedModel, scores, sigmoid, softmax,
};

const GRAPH: Graph = Graph::new("heads");

const ONE: &str = "[output]\nlogits = \"logits\"\nactivation = \"sigmoid\"\ncalibration = \"none\"\n";
const TWO: &str = r#"[[output.heads]]
logits = "findings"
activation = "sigmoid"
calibration = "none"
[[output.heads]]
logits = "view"
activation = "softmax"
calibration = "none"
"#;

/// Five labels, as a network with two heads has them: the second and fourth are of the view.
fn labels() -> String {
    let heads = ["findings", "view", "findings", "view", "findings"];
    let label = |(n, head)| format!("[[labels]]\nname = \"L{n}\"\nhead = \"{head}\"\nthreshold = 0.5\n");
    heads.into_iter().enumerate().map(label).collect()
}

fn written(models: &Models, edit: impl Fn(String) -> String) -> Result<Manifest, ManifestProblems> {
    let folder = models.write(&GRAPH);
    let path = folder.join("manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("[[labels]]").unwrap();
    let (_, after) = rest.split_once("[trained_on]").unwrap();
    assert!(before.contains(ONE), "{before}");
    let output = format!("[output]\nembedding = \"embedding\"\n{TWO}");
    let text = format!("{}{}[trained_on]{after}", before.replace(ONE, &output), labels());
    fs::write(&path, edit(text)).unwrap();
    Manifest::load(&folder)
}

fn problems(edit: impl Fn(String) -> String) -> Vec<String> {
    let found = written(&Models::new(), edit).unwrap_err();
    found.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn heads_are_read_and_each_label_has_its_own() {
    let manifest = written(&Models::new(), |text| text).unwrap();
    let heads: Vec<_> = manifest.output.heads.iter().map(|head| (&*head.logits, head.activation)).collect();
    assert_eq!(heads, [("findings", Activation::Sigmoid), ("view", Activation::Softmax)]);
    assert_eq!(manifest.labels.iter().map(|label| label.head).collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
    let shapes: Vec<_> = manifest.outputs().into_iter().map(|shape| (shape.name, shape.axes)).collect();
    let wanted = [("findings", Some(3)), ("view", Some(2)), ("embedding", None)];
    assert_eq!(shapes, wanted.map(|(name, side)| (name.to_owned(), vec![side])));
}

/// One head is one head, wherever it is said: the digest stays that of manifests from before.
#[test]
fn a_lone_head_decides_what_the_short_form_does() {
    let digest = |list: bool| {
        let models = Models::new();
        let folder = models.write(&Graph::new("linear"));
        let path = folder.join("manifest.toml");
        let text = fs::read_to_string(&path).unwrap();
        if list {
            fs::write(&path, text.replace("[output]", "[[output.heads]]")).unwrap();
        }
        Manifest::load(&folder).unwrap().sha256()
    };
    assert_eq!(digest(true), digest(false));
}

#[test]
fn whatever_of_the_heads_decides_a_result_is_in_the_digest() {
    let digest = |from: &str, to: &str| {
        let found = written(&Models::new(), |text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        found.unwrap().sha256()
    };
    let mut seen: Vec<_> = [
        ("schema", "schema"),
        ("activation = \"softmax\"", "activation = \"none\""),
        ("head = \"findings\"", "head = \"view\""),
        ("head = \"view\"", "head = \"findings\""),
        ("embedding = \"embedding\"\n", ""),
        ("embedding = \"embedding\"", "embedding = \"other\""),
    ]
    .map(|(from, to)| digest(from, to))
    .into();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6, "each has a digest of its own");
}

#[test]
fn each_mistake_is_one_line_with_its_place() {
    let replaced = |from: &'static str, to: &'static str| {
        problems(move |text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        })
    };
    let table = [
        ("head = \"view\"\n", "", "labels[1].head is missing: the logits of its head, one of findings, view"),
        (
            "head = \"view\"",
            "head = \"views\"",
            "labels[1].head must be the logits of one of output.heads (findings, view), not \"views\"",
        ),
        (
            "embedding = \"embedding\"",
            "logits = \"logits\"",
            "output.logits is said in each of output.heads where there are heads: move it there",
        ),
        (
            "embedding = \"embedding\"",
            "embedding = \"view\"",
            "output names \"view\" more than once: each output is one thing",
        ),
        (
            "activation = \"softmax\"\ncalibration = \"none\"",
            "activation = \"softmax\"\ncalibration = \"xrv-op-norm\"",
            "output.heads[1].calibration xrv-op-norm needs the sigmoid activation",
        ),
        (
            "activation = \"softmax\"",
            "activation = \"relu\"",
            "output.heads[1].activation must be one of sigmoid, softmax, none, ordinal-coral, ordinal-corn, not \"relu\"",
        ),
        (
            "activation = \"softmax\"",
            "activation = \"softmax\"\ncam = \"cam\"",
            "output.heads[0].cam is missing: heatmaps are made of the labels of every head or of none",
        ),
    ];
    for (from, to, line) in table {
        assert_eq!(replaced(from, to)[0], line);
    }
    let found = problems(|text| text.replace("head = \"view\"", "head = \"findings\""));
    assert_eq!(found, ["output.heads[1].logits \"view\" has no labels: name it as the head of its labels"]);
    let found = problems(|text| {
        text.replacen(
            "logits = \"findings\"\nactivation = \"sigmoid\"",
            "logits = \"findings\"\nactivation = \"none\"\ncam = \"a\"",
            1,
        )
        .replacen("activation = \"softmax\"", "activation = \"softmax\"\ncam = \"b\"", 1)
    });
    assert!(found[0].starts_with("output.heads[0].cam adds up to logits, which"), "{found:?}");
    let found = problems(|text| text.replace(TWO, "heads = []\n"));
    assert_eq!(found[0], "output.heads is empty: name an output of labels");
}

/// Measurements beside labels, or alone; refused in one line.
#[test]
fn measurements_are_read_and_decide() {
    let measurement = |name: &str, output: &str| {
        format!("[[measurements]]\nname = \"{name}\"\nunit = \"a\"\noutput = \"{output}\"\n")
    };
    let with = |added: &str| {
        let added = added.to_owned();
        written(&Models::new(), move |text| text.replace("[trained_on]", &format!("{added}[trained_on]")))
    };
    let both = measurement("Age", "age") + &measurement("Dose", "age");
    let manifest = with(&both).unwrap();
    let shapes: Vec<_> = manifest.outputs().into_iter().map(|shape| (shape.name, shape.axes)).collect();
    assert_eq!(shapes[2], ("age".to_owned(), vec![Some(2)]));
    let digests = [
        manifest.sha256(),
        with("").unwrap().sha256(),
        with(&both.replace("\"a\"", "\"mo\"")).unwrap().sha256(),
        with(&(measurement("Dose", "age") + &measurement("Age", "age"))).unwrap().sha256(),
    ];
    assert_eq!(
        digests.iter().collect::<std::collections::BTreeSet<_>>().len(),
        4,
        "each has a digest of its own"
    );
    for (added, line) in [
        (both.replacen("unit = \"a\"\n", "", 1), "measurements[0].unit is missing"),
        (measurement("L0", "age"), "measurements[0].name \"L0\" is the name of another measurement or label"),
        (
            measurement("Age", "age").repeat(2),
            "measurements[1].name \"Age\" is the name of another measurement or label",
        ),
        (measurement("Age", "view"), "output names \"view\" more than once: each output is one thing"),
    ] {
        assert_eq!(with(&added).unwrap_err().problems[0].to_string(), line);
    }
    let alone = written(&Models::new(), |text| {
        let (before, rest) = text.split_once("[output]").unwrap();
        let (_, after) = rest.split_once("[trained_on]").unwrap();
        format!("{before}{}[trained_on]{after}", measurement("Age", "age"))
    });
    let alone = alone.unwrap();
    assert!(alone.labels.is_empty() && alone.output.heads.is_empty());
    assert_eq!(alone.outputs().len(), 1);
}

/// What maps are made of: read, in the digest, and refused in one line.
#[test]
fn maps_may_be_made_of_features_and_weights() {
    let with = |cam: &str| {
        let models = Models::new();
        let folder = models.write(&Graph::new("linear"));
        fs::write(folder.join("w.npy"), "weights").unwrap();
        let path = folder.join("manifest.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(
            &path,
            text.replace(
                "[[labels]]\nname = \"Label 0\"",
                &format!("cam = {cam}\n[[labels]]\nname = \"Label 0\""),
            ),
        )
        .unwrap();
        Manifest::load(&folder)
    };
    let digest = "9af9a3d1d6a1f4a1b6f1a5a9dbed8d0fd6a3b8ac4d2a1ad7c6f4bfdcf1c4a1e5";
    let named = with("{ features = \"f\", weights = \"w\" }").unwrap();
    let weights = ClassifierWeights::Initialiser("w".to_owned());
    assert_eq!(named.output.heads[0].cam, Some(Cam::Features { features: "f".to_owned(), weights }));
    let outputs: Vec<_> = named.outputs().into_iter().map(|shape| (shape.name, shape.axes.len())).collect();
    assert_eq!(outputs, [("logits".to_owned(), 1), ("f".to_owned(), 3)]);
    let others = ["{ features = \"f\", weights = \"v\" }", "{ features = \"g\", weights = \"w\" }", "\"f\""];
    let mut digests: Vec<_> = others.iter().map(|cam| with(cam).unwrap().sha256()).collect();
    digests.push(named.sha256());
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 4, "each has a digest of its own");
    let file = format!("weights_file = \"w.npy\", weights_sha256 = \"{digest}\"");
    for (cam, line) in [
        ("{ features = \"f\" }".to_owned(), "output.cam.weights is missing"),
        ("{ weights = \"w\" }".to_owned(), "output.cam.features is missing"),
        ("7".to_owned(), "output.cam must be a string, not 7"),
        ("{ features = \"f\", weights_file = \"w.npy\" }".to_owned(), "output.cam.weights_sha256 is missing"),
        (
            format!("{{ features = \"f\", weights = \"w\", {file} }}"),
            "output.cam.weights names an initialiser of the graph, weights_file a file: leave one out",
        ),
        ("{ features = \"logits\", weights = \"w\" }".to_owned(), "output names \"logits\" more than once"),
        (format!("{{ features = \"f\", {file} }}"), "output.cam.weights_file \"w.npy\" has sha256"),
        (
            format!("{{ features = \"f\", {} }}", file.replace("w.npy", "v.npy")),
            "output.cam.weights_file \"v.npy\" is not in the folder",
        ),
    ] {
        let found = with(&cam).unwrap_err().problems[0].to_string();
        assert!(found.starts_with(line), "{found}");
    }
}

#[test]
fn a_network_with_heads_gives_one_list_of_scores() {
    let Some(runtime) = runtime(Provider::Cpu, "a_network_with_heads_gives_one_list_of_scores") else {
        return;
    };
    let models = Models::new();
    let manifest = Arc::new(written(&models, |text| text).unwrap());
    let model = VerifiedModel::open(&manifest, Precision::Fp32).unwrap();
    let key = model.key().clone();
    let engine = Engine::start(&runtime, vec![model], options()).unwrap();
    let outputs = block_on(engine.infer(&key, image(4, 1))).unwrap();
    let [findings, view] = ["findings", "view"].map(|name| outputs.arrays.values(name).unwrap().to_vec());
    assert_eq!(outputs.arrays.values("embedding").unwrap(), image(4, 1));
    let found = scores(&manifest, &outputs.arrays).unwrap();
    let shares = softmax(&view);
    let wanted = [
        sigmoid(f64::from(findings[0])),
        shares[0],
        sigmoid(f64::from(findings[1])),
        shares[1],
        sigmoid(f64::from(findings[2])),
    ];
    assert_eq!(found.len(), wanted.len());
    for (score, wanted) in found.iter().zip(wanted) {
        assert!((f64::from(score.probability) - wanted).abs() < 1e-7, "{score:?} is not {wanted}");
    }
    let sum = found[1].probability + found[3].probability;
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
}

#[test]
fn heads_that_the_network_has_otherwise_are_told_at_the_start() {
    let Some(runtime) = runtime(Provider::Cpu, "heads_that_the_network_has_otherwise_are_told_at_the_start")
    else {
        return;
    };
    let models = Models::new();
    let manifest =
        written(&models, |text| text.replacen("head = \"view\"", "head = \"findings\"", 1)).unwrap();
    let model = VerifiedModel::open(&Arc::new(manifest), Precision::Fp32).unwrap();
    let error = Engine::start(&runtime, vec![model], options()).unwrap_err();
    assert_eq!(error.code, ErrorCode::ModelMismatch);
    for words in ["\"findings\" has 3 along axis 1, not 4", "\"view\" has 2 along axis 1, not 1"] {
        assert!(error.message.contains(words), "{error}");
    }
}
