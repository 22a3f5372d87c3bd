//! What reviewing tools import: Label Studio's tasks, FiftyOne's labels. One document after another, in flat memory.

use std::io::{self, Write};

use nightread_domain::ResultDocument;
use serde_json::{Map, Value, json};

/// The tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// A list of tasks with predictions, by Label Studio's basic JSON.
    LabelStudio,
    /// `labels.json` of a `FiftyOneImageClassificationDataset`.
    FiftyOne,
}

/// Writes documents for a tool.
#[derive(Debug)]
pub struct Exporter<W: Write> {
    tool: Export,
    output: W,
    written: u64,
}

impl<W: Write> Exporter<W> {
    /// # Errors
    /// What the output says.
    pub fn new(tool: Export, mut output: W) -> io::Result<Self> {
        output.write_all(match tool {
            Export::LabelStudio => b"[",
            Export::FiftyOne => b"{\"classes\": null, \"labels\": {",
        })?;
        Ok(Self { tool, output, written: 0 })
    }

    /// Adds a document's JSON, which [`Export::of`] made.
    ///
    /// # Errors
    /// What the output says.
    pub fn write(&mut self, piece: &str) -> io::Result<()> {
        self.output.write_all(if self.written == 0 { b"\n" } else { b",\n" })?;
        self.written += 1;
        self.output.write_all(piece.as_bytes())
    }

    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(match self.tool {
            Export::LabelStudio => b"\n]\n",
            Export::FiftyOne => b"\n}}\n",
        })?;
        Ok(self.output)
    }
}

impl Export {
    /// A radiograph's JSON, its image at `images` and the study's name; `None` for what these tools cannot show: scans, and
    /// studies that failed.
    pub fn of(self, document: &ResultDocument, images: &str) -> Option<String> {
        document.payload.as_ref()?.findings()?;
        let image = format!("{images}{}", document.study.name);
        Some(match self {
            Self::LabelStudio => task(document, &image).to_string(),
            Self::FiftyOne => format!("{}: {}", Value::from(image), labels(document)),
        })
    }

    /// Whether an image has but one place, so that the results of two models cannot be written beside each other.
    pub const fn has_one_place(self) -> bool {
        matches!(self, Self::FiftyOne)
    }
}

/// For a labelling configuration with `<Image name="image" value="$image"/>` and
/// `<Choices name="findings" toName="image" choice="multiple">`. The choices are the positive findings; the scores of all
/// stand in the data.
fn task(document: &ResultDocument, image: &str) -> Value {
    let findings = document.findings();
    let positive: Vec<_> = findings.iter().filter(|finding| finding.positive).collect();
    let choices: Vec<&str> = positive.iter().map(|finding| finding.label.as_str()).collect();
    let surest = findings.iter().map(|finding| finding.probability).reduce(f32::max);
    let probabilities: Map<String, Value> =
        findings.iter().map(|finding| (finding.label.clone(), number(finding.probability))).collect();
    let result = if choices.is_empty() {
        json!([])
    } else {
        json!([{
            "from_name": "findings",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": choices},
        }])
    };
    json!({
        "data": {
            "image": image,
            "study_container": document.study.container,
            "study_name": document.study.name,
            "study_sha256": document.study.sha256,
            "probabilities": probabilities,
            "notice": document.notice,
        },
        "predictions": [{
            "model_version": format!("{} {}", document.model.name, document.model.version_in_paths()),
            "score": surest.map(number),
            "result": result,
        }],
    })
}

/// As documents have it: the shortest decimals that are this number of single precision.
fn number(single: f32) -> Value {
    single.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// Every finding is a classification with its probability as confidence.
fn labels(document: &ResultDocument) -> Value {
    let classifications = document.findings().iter().map(|finding| {
        json!({
            "label": finding.label,
            "confidence": number(finding.probability),
            "attributes": {
                "positive": finding.positive,
                "threshold": number(finding.threshold),
                "model": document.model.name,
                "model_version": document.model.version_in_paths(),
            },
        })
    });
    classifications.collect()
}
