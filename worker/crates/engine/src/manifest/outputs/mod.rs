//! What of a network's outputs a manifest names, and what is made of it.

pub(super) mod check;
pub(super) mod read;

use super::{DataFile, Label, Manifest};

/// How what the network gives becomes a probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Labels are independent (multi-label).
    Sigmoid,
    /// Labels exclude one another (single-label).
    Softmax,
    /// The network gives probabilities itself.
    None,
    /// Labels are grades in order, from the least. Column k is the logit of a grade above the k-th: CORAL (Cao et al. 2020) and
    /// whatever else has cumulative links.
    OrdinalCoral,
    /// The same, where column k is the logit of a grade above the k-th among those above the one before: CORN (Shi et al. 2023).
    OrdinalCorn,
}

impl Activation {
    pub(crate) const ALL: [(&'static str, Self); 5] = [
        ("sigmoid", Self::Sigmoid),
        ("softmax", Self::Softmax),
        ("none", Self::None),
        ("ordinal-coral", Self::OrdinalCoral),
        ("ordinal-corn", Self::OrdinalCorn),
    ];

    /// As manifests have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
            Self::None => "none",
            Self::OrdinalCoral => "ordinal-coral",
            Self::OrdinalCorn => "ordinal-corn",
        }
    }

    /// Whether the labels are grades in order.
    pub const fn is_ordinal(self) -> bool {
        matches!(self, Self::OrdinalCoral | Self::OrdinalCorn)
    }

    /// Columns of the output for so many labels: one less for grades, which have a column between each two.
    pub const fn columns(self, labels: usize) -> usize {
        if self.is_ordinal() { labels.saturating_sub(1) } else { labels }
    }
}

/// What is done to the probability afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calibration {
    None,
    /// TorchXRayVision's piecewise-linear `op_norm`: the operating point becomes 0.5.
    XrvOpNorm,
}

/// What the graph gives back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Each label has one of them; none where the network only measures.
    pub heads: Vec<Head>,
    /// Name of the `(batch, numbers)` output of what the network makes of an image before its labels.
    pub embedding: Option<String>,
}

impl Output {
    /// Whether heatmaps can be made: then of every label.
    pub fn has_cam(&self) -> bool {
        self.heads.iter().any(|head| head.cam.is_some())
    }
}

/// An output of labels, with what is done to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Name of the `(batch, labels of this head)` output; of grades `(batch, labels - 1)`.
    pub logits: String,
    pub activation: Activation,
    pub calibration: Calibration,
    /// Of grades: the measurement that tells which grade it is, counted from 0.
    pub grade: Option<String>,
    /// Its class-activation maps.
    pub cam: Option<Cam>,
}

/// Where class-activation maps come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cam {
    /// Name of the `(batch, labels of this head, h, w)` output.
    Output(String),
    /// They are made of the `(batch, channels, h, w)` output that the classifier takes the mean of.
    Features { features: String, weights: ClassifierWeights },
}

/// Where the weights of a linear classifier are, (labels, channels).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassifierWeights {
    /// Name of an initialiser of the ONNX graph.
    Initialiser(String),
    /// A `.npy` file beside the manifest.
    File(DataFile),
}

/// A number with a unit, one column of an output `(batch, numbers)`. Those of one output have its columns in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    pub name: String,
    pub unit: String,
    /// Name of the output.
    pub output: String,
}

/// What the manifest promises of one of the network's outputs: float32, `(batch, axes...)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayShape {
    pub name: String,
    /// Without the leading, dynamic batch dimension; `None` where the graph may choose.
    pub axes: Vec<Option<usize>>,
}

impl Manifest {
    /// Every output that the network must give.
    pub fn outputs(&self) -> Vec<ArrayShape> {
        if self.window.is_some() {
            let [_, patch @ ..] = self.input.item_shape.as_slice() else { return Vec::new() };
            let classes = std::iter::once(self.classes());
            let axes = classes.chain(patch.iter().copied()).map(Some).collect();
            let first = self.output.heads.first();
            return first.map(|head| ArrayShape { name: head.logits.clone(), axes }).into_iter().collect();
        }
        let mut outputs = Vec::new();
        for (number, head) in self.output.heads.iter().enumerate() {
            let count = self.columns(number).count();
            let labels = Some(count);
            let axes = vec![Some(head.activation.columns(count))];
            outputs.push(ArrayShape { name: head.logits.clone(), axes });
            match head.cam.clone() {
                None => {}
                Some(Cam::Output(name)) => outputs.push(ArrayShape { name, axes: vec![labels, None, None] }),
                // Heads may share them.
                Some(Cam::Features { features, .. })
                    if outputs.iter().any(|output| output.name == features) => {}
                Some(Cam::Features { features: name, .. }) => {
                    outputs.push(ArrayShape { name, axes: vec![None; 3] });
                }
            }
        }
        for Measurement { output: name, .. } in &self.measurements {
            if outputs.iter().all(|output| output.name != *name) {
                let columns = self.measurements.iter().filter(|other| other.output == *name).count();
                outputs.push(ArrayShape { name: name.clone(), axes: vec![Some(columns)] });
            }
        }
        let embedding = self.output.embedding.clone();
        outputs.extend(embedding.map(|name| ArrayShape { name, axes: vec![None] }));
        outputs
    }

    /// The labels of one of [`Output::heads`] in the order of its columns or grades, each with its place among all labels.
    pub fn columns(&self, head: usize) -> impl Iterator<Item = (usize, &Label)> {
        self.labels.iter().enumerate().filter(move |(_, label)| label.head == head)
    }
}
