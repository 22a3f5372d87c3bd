//! `[weights.bf16]`: that the FP32 weights may be computed in bfloat16, by what was measured.

use super::reader::Reader;
use super::{Activation, Manifest, Problem, Task};

/// How bf16 is computed: by OpenVINO, with FP32 weights that it rounds itself.
pub const TARGET: &str = "openvino-bf16";

/// Share of items with the same decisions as FP32, at least.
pub const LEAST_AGREEMENT: f64 = 0.99;

/// What the metric may lose against FP32.
pub const GREATEST_LOSS: f64 = 0.005;

/// Items to judge by, at least: of fewer, one that is decided otherwise is more than the share that may be.
pub const LEAST_EVALUATED: usize = 100;

/// Figures of a manifest have four decimals, so that a difference of two may be off by one.
const ROUNDING: f64 = 1.01e-4;

const METRICS: [(&str, &str); 2] = [("auc", "auc"), ("accuracy", "accuracy")];

const AGAIN: &str =
    "take [weights.bf16] and its evidence out, and let `nightread models gate` measure on a machine with AMX";

/// The record of a measurement, without which bf16 is not offered.
#[derive(Clone, Debug, PartialEq)]
pub struct Bf16 {
    /// [`TARGET`].
    pub target: String,
    /// The processor that computed, by its own name.
    pub processor: String,
    /// The library that computed, for example `ONNX Runtime 1.24.1`.
    pub runtime: String,
    /// [`Weights::digest`](super::Weights::digest) of the FP32 weights, lower-case hexadecimal.
    pub fp32_sha256: String,
    pub evidence: Bf16Evidence,
}

/// What was measured before bf16 was offered.
#[derive(Clone, Debug, PartialEq)]
pub struct Bf16Evidence {
    /// Over the sorted digests of the items, lower-case hexadecimal.
    pub items_sha256: String,
    pub evaluated_items: usize,
    /// Share of items on which FP32 and bf16 give the same findings, in [0, 1].
    pub agreement: f64,
    /// Greatest difference of a number that the network gives: that bf16 was computed at all.
    pub difference: f64,
    /// `auc` or `accuracy`.
    pub metric: String,
    /// Value, low and high end of its confidence interval.
    pub fp32: [f64; 3],
    pub bf16: [f64; 3],
}

impl Bf16 {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let target = reader.choice("target", &[(TARGET, TARGET)]);
        let (processor, runtime) = (reader.text("processor"), reader.text("runtime"));
        let fp32_sha256 = reader.sha256("fp32_sha256");
        let evidence = reader.table("evidence", Bf16Evidence::read);
        Some(Self {
            target: target?.to_owned(),
            processor: processor?,
            runtime: runtime?,
            fp32_sha256: fp32_sha256?,
            evidence: evidence?,
        })
    }
}

impl Bf16Evidence {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let items_sha256 = reader.sha256("items_sha256");
        let evaluated_items = reader.count("evaluated_items");
        let agreement = reader.share("agreement");
        let difference = reader.number("difference");
        let metric = reader.choice("metric", &METRICS);
        let (fp32, bf16) = (reader.interval("fp32"), reader.interval("bf16"));
        Some(Self {
            items_sha256: items_sha256?,
            evaluated_items: evaluated_items?,
            agreement: agreement?,
            difference: difference?,
            metric: metric?.to_owned(),
            fp32: fp32?,
            bf16: bf16?,
        })
    }

    /// What keeps it from being enough: the key, and what is wrong with it.
    fn shortfalls(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let Self {
            evaluated_items,
            agreement,
            difference,
            metric,
            fp32: [before, ..],
            bf16: [after, ..],
            ..
        } = self;
        if *evaluated_items < LEAST_EVALUATED {
            found.push(("evaluated_items", format!("is {evaluated_items}, fewer than {LEAST_EVALUATED}")));
        }
        if *agreement < LEAST_AGREEMENT {
            found.push(("agreement", format!("is {agreement}, below {LEAST_AGREEMENT}")));
        }
        if *difference <= 0.0 {
            found.push(("difference", format!("is {difference}: nothing was computed in bfloat16")));
        }
        if before - after > GREATEST_LOSS + ROUNDING {
            let what =
                format!("loses {:.4} of {metric} against fp32, more than {GREATEST_LOSS}", before - after);
            found.push(("bf16", what));
        }
        found
    }
}

/// Whether the record is of these FP32 weights, and enough.
pub(super) fn check(manifest: &Manifest, problems: &mut Vec<Problem>) {
    let Some(record) = &manifest.bf16 else { return };
    if let Some(what) = manifest.unjudged() {
        problems.push(Problem::new("weights.bf16", format!("{what}: take it out, with its evidence")));
    }
    match manifest.fp32.as_ref().and_then(super::Weights::digest) {
        Some(digest) if digest == record.fp32_sha256 => {}
        Some(digest) => {
            let what = format!("is of other FP32 weights than those here, {digest}: {AGAIN}");
            problems.push(Problem::new("weights.bf16.fp32_sha256", what));
        }
        None => problems
            .push(Problem::new("weights.bf16", format!("has no [weights.fp32] to compute with: {AGAIN}"))),
    }
    for (key, what) in record.evidence.shortfalls() {
        problems.push(Problem::new(format!("weights.bf16.evidence.{key}"), format!("{what}: {AGAIN}")));
    }
}

impl Manifest {
    /// Why no other precision can be held against FP32 by decisions on single items; in words, none where it can.
    pub fn unjudged(&self) -> Option<&'static str> {
        let is_ordinal = |head: &super::Head| {
            matches!(head.activation, Activation::OrdinalCoral | Activation::OrdinalCorn)
        };
        if self.task == Task::Segmentation {
            Some("is judged by findings, and a segmentation has none")
        } else if self.ensemble.is_some() {
            Some("is measured of one network, and an ensemble has several")
        } else if !self.measurements.is_empty() {
            Some("is judged by decisions, and [[measurements]] are numbers")
        } else if self.output.heads.iter().any(is_ordinal) {
            Some("is judged by labels that are there or not, and these are grades in order")
        } else {
            None
        }
    }
}
