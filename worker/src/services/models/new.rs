//! `nightread models new`: a model's folder, with all that its ONNX file tells.

use std::fmt::Write;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use nightread_engine::{GraphFacts, MANIFEST_FILE, Side, file_sha256, is_model_name};
use serde_json::{Value, json};

use super::export;
use crate::app::WrongUse;

/// What the weights are called in the new folder.
const WEIGHTS: &str = "model.fp32.onnx";

/// Labels that are written out; a network with more has them in a file somewhere.
const MOST_LABELS: usize = 200;

/// A folder that was begun.
#[derive(Debug)]
pub(crate) struct Begun {
    name: String,
    folder: PathBuf,
    facts: GraphFacts,
    faults: Vec<String>,
}

/// # Errors
/// [`WrongUse`] for a name that no model can have, or that is taken; what the file is refused for; what the disk says.
pub(crate) fn run(name: &str, from: &Path, models: &Path) -> Result<Begun> {
    if !is_model_name(name) {
        return Err(WrongUse(format!("{name:?}: a name has lower-case letters, digits and hyphens")).into());
    }
    let folder = models.join(name);
    if folder.exists() {
        return Err(WrongUse(format!("{} is there already", folder.display())).into());
    }
    let facts = GraphFacts::read(from)?;
    fs::create_dir_all(models).with_context(|| format!("cannot create {}", models.display()))?;
    // Renamed into place when it is whole.
    let made = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(models)
        .with_context(|| format!("cannot write into {}", models.display()))?;
    fs::copy(from, made.path().join(WEIGHTS)).context("the weights cannot be copied")?;
    let mut data = Vec::new();
    for file in &facts.data_files {
        let [Component::Normal(_)] = Path::new(file).components().collect::<Vec<_>>()[..] else {
            let text = format!("{} keeps weights in {file:?}: all must lie beside it", from.display());
            return Err(WrongUse(text).into());
        };
        let beside = from.with_file_name(file);
        fs::copy(&beside, made.path().join(file)).with_context(|| {
            format!("{}, where the graph keeps weights, cannot be copied", beside.display())
        })?;
        data.push((file.clone(), file_sha256(&beside)?));
    }
    fs::write(made.path().join(MANIFEST_FILE), manifest(name, from, &facts, &data))?;
    fs::write(made.path().join("README.md"), card(name))?;
    readable(made.path())?;
    fs::rename(made.path(), &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // It has another name now: there is nothing to clear away.
    let _ = made.keep();
    let faults = export::faults(&facts);
    Ok(Begun { name: name.to_owned(), folder, facts, faults })
}

/// A temporary folder is its maker's alone; a model is everybody's who may read the folder that it lies in.
fn readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

fn manifest(name: &str, from: &Path, facts: &GraphFacts, data: &[(String, String)]) -> String {
    let sides = facts.inputs.first().and_then(|input| input.sides.as_deref()).unwrap_or_default();
    let is_volume = sides.len() == 5;
    let mut text = String::new();
    // Writing into a text cannot fail.
    let mut put = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    let file = from.file_name().map_or_else(Default::default, |file| file.to_string_lossy().into_owned());
    put(&format!("# Begun from {}, written by {}, opset {}.", quoted(&file), facts.producer, facts.opset));
    for input in &facts.inputs {
        put(&format!("#   in:  {}", commented(&input.to_string())));
    }
    for output in &facts.outputs {
        put(&format!("#   out: {}", commented(&output.to_string())));
    }
    put(
        "# What stands in comments from here on is yours to say. `nightread models check` tells what is missing.",
    );
    put("schema = 1");
    put(&format!("name = {}", quoted(name)));
    put("version = \"0.1.0\"");
    put(&format!("task = \"{}\"", if is_volume { "segmentation" } else { "radiograph" }));
    put("# description = \"one line\"");
    put("card = \"README.md\"\n");
    put("[weights.fp32]");
    put(&format!("file = \"{WEIGHTS}\""));
    put(&format!("sha256 = \"{}\"", facts.sha256));
    for (file, sha256) in data {
        put("[[weights.fp32.data]]");
        put(&format!("file = {}\nsha256 = \"{sha256}\"", quoted(file)));
    }
    put("\n[input]");
    let input = facts.inputs.first().map_or("image", |input| input.name.as_str());
    put(&format!("name = {}", quoted(input)));
    put(&item_shape(sides));
    put("# The lowest and the highest value that the way below gives.");
    put("# value_range = [-1.0, 1.0]\n");
    put(if is_volume { WAY_OF_VOLUMES } else { WAY_OF_IMAGES });
    put("[output]");
    let output = facts.outputs.first().map_or("logits", |output| output.name.as_str());
    put(&format!("logits = {}", quoted(output)));
    put(if is_volume {
        "activation = \"softmax\""
    } else {
        "# \"sigmoid\": labels are independent. \"softmax\": one of them. \"none\": probabilities already.\n# Grades in order, one label more than columns: \"ordinal-coral\" or \"ordinal-corn\".\n# activation = \"sigmoid\""
    });
    put("calibration = \"none\"\n");
    put(&labels(facts, is_volume));
    put(ABOUT);
    text
}

fn item_shape(sides: &[Side]) -> String {
    let lengths: Vec<_> = sides.iter().skip(1).map(Side::to_string).collect();
    let are_known = !lengths.is_empty() && sides.iter().skip(1).all(|side| matches!(side, Side::Fixed(_)));
    if are_known {
        format!("item_shape = [{}]", lengths.join(", "))
    } else {
        "# The graph leaves sides open: say those that it was trained with.\n# item_shape = [1, 224, 224]"
            .to_owned()
    }
}

fn labels(facts: &GraphFacts, is_volume: bool) -> String {
    let sides = facts.outputs.first().and_then(|output| output.sides.as_deref()).unwrap_or_default();
    let columns = match sides.get(1) {
        Some(Side::Fixed(columns)) => *columns,
        _ => 1,
    };
    let (first, count) = if is_volume { (1, columns.saturating_sub(1)) } else { (0, columns) };
    let mut text =
        String::from("# In the order of the outputs; one that was never trained: `suppressed = true`.\n");
    for column in (first..first + count).take(MOST_LABELS) {
        let _ = writeln!(text, "# [[labels]]\n# name = \"\"  # column {column}");
        if !is_volume {
            text.push_str("# threshold = 0.5  # a probability at or above it is a positive finding\n");
        }
    }
    if count > MOST_LABELS {
        let _ = writeln!(text, "# ... and {} more", count - MOST_LABELS);
    }
    text
}

/// A TOML string; what a file is called may hold anything.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string().replace('\n', " ")
}

/// Text in a comment stays on its line.
fn commented(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

const WAY_OF_IMAGES: &str = "\
# The way from the stored image to the network's input: what your own script does, step by step, with the library that did it.
# The wrong way gives wrong probabilities without a word; `nightread models parity` holds it against your script.
# This is torchvision's usual one, of an 8-bit PIL image, for a network that began with ImageNet:
# [[preprocessing]]
# step = \"range\"
# to = [0, 255]
# [[preprocessing]]
# step = \"to-uint8\"
# library = \"numpy\"
# [[preprocessing]]
# step = \"resize\"
# library = \"pillow-bilinear\"
# side = \"short\"
# size = 256
# rounding = \"down\"
# [[preprocessing]]
# step = \"crop-centre\"
# library = \"torchvision\"
# size = [224, 224]
# [[preprocessing]]
# step = \"range\"
# to = [0, 1]
# [[preprocessing]]
# step = \"channels\"
# count = 3
# mean = [0.485, 0.456, 0.406]
# std = [0.229, 0.224, 0.225]
# layout = \"NCHW\"
";

const WAY_OF_VOLUMES: &str = "\
# The way from Hounsfield units to the network's grid: ct-nnunet-1, ct-totalseg-1 or ct-monai-1, as the network was trained.
# [preprocessing]
# id = \"ct-nnunet-1\"
# spacing_mm = [1.5, 1.5, 1.5]
# orientation = \"RAS\"
# axis_order = \"zyx\"
# clip = [-1000.0, 1000.0]
# mean = 0.0
# std = 1.0

# [window]
# overlap = 0.5
# weights = \"gaussian\"
# placement = \"nnunet\"
# padding = \"zero\"
# resample = \"logits\"
";

const ABOUT: &str = "\
# What it has seen: results warn about studies outside of it.
# [trained_on]
# views = [\"PA\", \"AP\"]
# age_years = [18.0, 90.0]
# min_side_px = 512
# modality_words = \"adult frontal chest X-rays\"

# [source]
# data = \"\"
# citation = \"\"
# url = \"\"
# licence = \"\"
# not_for = \"diagnosis or any clinical decision\"
";

fn card(name: &str) -> String {
    format!(
        "# {name}\n\nWhat it reads, what it was trained on, how good it is and on which data, and what it must not be used for.\n"
    )
}

impl Begun {
    /// What keeps the graph from being run here.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    pub(crate) fn as_text(&self) -> String {
        let manifest = self.folder.join(MANIFEST_FILE);
        let mut text = format!(
            "{} is there. Fill in what stands in comments, then: nightread models check {}",
            manifest.display(),
            self.name
        );
        if !self.faults.is_empty() {
            let _ = write!(text, "\nExport it anew first:\n{}", export::call(&self.facts));
        }
        text
    }

    pub(crate) fn as_json(&self) -> Value {
        json!({ "name": self.name, "folder": self.folder, "sha256": self.facts.sha256, "faults": self.faults })
    }
}
