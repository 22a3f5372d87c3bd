//! `[output]` and its heads, as they are read.

use super::super::DataFile;
use super::super::reader::Reader;
use super::{Activation, Calibration, Cam, ClassifierWeights, Head, Measurement, Output};

/// `only_measures`: there are measurements and no labels, so that there need be no head.
pub(in crate::manifest) fn output(reader: &mut Reader<'_>, only_measures: bool) -> Option<Output> {
    let embedding = reader.text_if("embedding");
    if only_measures && !reader.has("heads") && !reader.has("logits") {
        return Some(Output { heads: Vec::new(), embedding });
    }
    if !reader.has("heads") {
        return Some(Output { heads: vec![head(reader)?], embedding });
    }
    for key in ["logits", "activation", "calibration", "grade", "cam"] {
        if reader.text_if(key).is_some() {
            reader.problem(key, "is said in each of output.heads where there are heads: move it there");
        }
    }
    let heads: Vec<_> = reader.tables("heads", head)?.into_iter().collect::<Option<_>>()?;
    if heads.is_empty() {
        reader.problem("heads", "is empty: name an output of labels");
        return None;
    }
    Some(Output { heads, embedding })
}

fn head(reader: &mut Reader<'_>) -> Option<Head> {
    let logits = reader.text("logits");
    let activation = reader.choice("activation", &Activation::ALL);
    let calibration =
        reader.choice("calibration", &[("none", Calibration::None), ("xrv-op-norm", Calibration::XrvOpNorm)]);
    let grade = reader.text_if("grade");
    let cam = if reader.is_table("cam") {
        reader.table("cam", features).map(Some)
    } else {
        Some(reader.text_if("cam").map(Cam::Output))
    };
    Some(Head { logits: logits?, activation: activation?, calibration: calibration?, grade, cam: cam? })
}

/// What maps are made of where the network gives none itself.
fn features(reader: &mut Reader<'_>) -> Option<Cam> {
    let features = reader.text("features");
    let weights = if reader.has("weights_file") || reader.has("weights_sha256") {
        if reader.text_if("weights").is_some() {
            reader
                .problem("weights", "names an initialiser of the graph, weights_file a file: leave one out");
        }
        let (file, sha256) = (reader.file("weights_file"), reader.sha256("weights_sha256"));
        file.zip(sha256).map(|(file, sha256)| ClassifierWeights::File(DataFile { file, sha256 }))
    } else {
        reader.text("weights").map(ClassifierWeights::Initialiser)
    };
    Some(Cam::Features { features: features?, weights: weights? })
}

pub(in crate::manifest) fn measurement(reader: &mut Reader<'_>) -> Option<Measurement> {
    let (name, unit, output) = (reader.text("name"), reader.text("unit"), reader.text("output"));
    Some(Measurement { name: name?, unit: unit?, output: output? })
}

/// The place of a label's head. Without it the label is one of the only head; heads that cannot be read are told already.
pub(in crate::manifest) fn head_of(reader: &mut Reader<'_>, heads: Option<&[Head]>) -> Option<usize> {
    let named = reader.text_if("head");
    let Some(heads) = heads else { return Some(0) };
    let Some(named) = named else {
        if let [_] = heads {
            return Some(0);
        }
        let what = format!("is missing: the logits of its head, one of {}", names_of(heads));
        reader.problem("head", what);
        return None;
    };
    let found = heads.iter().position(|head| head.logits == named);
    if found.is_none() {
        let what = format!("must be the logits of one of output.heads ({}), not {named:?}", names_of(heads));
        reader.problem("head", what);
    }
    found
}

fn names_of(heads: &[Head]) -> String {
    heads.iter().map(|head| head.logits.as_str()).collect::<Vec<_>>().join(", ")
}
