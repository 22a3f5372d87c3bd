//! Models are data: a folder with a manifest, a model card and weights, checked before anything is loaded.

mod bf16;
mod catalogue;
mod check;
mod decides;
mod ensemble;
mod files;
mod folder;
mod outputs;
mod parse;
mod reader;
mod segmentation;
mod steps;

use std::fmt;
use std::path::{Path, PathBuf};

pub use nightread_domain::Task;
pub use nightread_domain::result::{Code, Laterality};
use nightread_domain::{ErrorCode, JobError, Stage};
pub use nightread_steps::Plan;

use crate::digest;

pub use bf16::{Bf16, Bf16Evidence, GREATEST_LOSS, LEAST_AGREEMENT, LEAST_EVALUATED, TARGET as BF16_TARGET};
pub use catalogue::Catalogue;
pub use check::is_model_name;
pub use ensemble::{Combine, Ensemble, Member};
pub use folder::ModelFolder;
pub use outputs::{Activation, ArrayShape, Calibration, Cam, ClassifierWeights, Head, Measurement, Output};
pub use segmentation::{
    AxisOrder, CtPreprocessing, CtRecipe, Intensity, Orientation, Padding, Placement, Resample, SegmentRule,
    Weighting, Window,
};

/// The name every manifest has in its folder.
pub const MANIFEST_FILE: &str = "manifest.toml";

/// What a network is computed in. It is part of the version in the result's path, so that one data set never mixes two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Precision {
    Fp32,
    /// Weights of their own, quantised.
    Int8,
    /// The FP32 weights, computed in bfloat16 by OpenVINO on a processor with AMX.
    Bf16,
}

impl Precision {
    pub const ALL: [Self; 3] = [Self::Fp32, Self::Int8, Self::Bf16];

    /// Those that have files of their own.
    pub const WITH_FILES: [Self; 2] = [Self::Fp32, Self::Int8];

    /// `fp32`, `int8` or `bf16`, as in manifests, settings and result paths.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
        }
    }

    /// Whether `auto` may choose it. Not every machine can compute in bfloat16, so it is asked for by name only.
    pub const fn is_automatic(self) -> bool {
        !matches!(self, Self::Bf16)
    }

    /// The precision whose files are read for it.
    pub(crate) const fn of_files(self) -> Self {
        match self {
            Self::Fp32 | Self::Bf16 => Self::Fp32,
            Self::Int8 => Self::Int8,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.as_str() == text)
            .ok_or_else(|| format!("precision must be fp32, int8 or bf16, not {text:?}"))
    }
}

/// A file beside the manifest that holds tensors of an ONNX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    pub file: String,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// The weights of one precision: an ONNX file beside the manifest, and those that it keeps tensors in.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    pub file: String,
    /// Lower-case hexadecimal; absent in a bring-your-own template.
    pub sha256: Option<String>,
    /// Every further file of the weights ("external data").
    pub data: Vec<DataFile>,
    /// The quantisation scheme, for INT8.
    pub target: Option<String>,
    /// Measured agreement and accuracy: without it INT8 is refused.
    pub evidence: Option<Evidence>,
}

impl Weights {
    /// SHA-256 of all of them, lower-case hexadecimal: of the ONNX file where it holds them all, else of what `sha256sum` prints
    /// for all their files, sorted by name. `None` where they are not there.
    pub fn digest(&self) -> Option<String> {
        let graph = self.sha256.as_ref()?;
        if self.data.is_empty() {
            return Some(graph.clone());
        }
        let data = self.data.iter().map(|data| (&data.file, &data.sha256));
        let mut files: Vec<_> = std::iter::once((&self.file, graph)).chain(data).collect();
        files.sort();
        let lines: Vec<_> = files.into_iter().map(|(file, sha256)| format!("{sha256}  {file}\n")).collect();
        Some(digest::of_bytes(lines.concat().as_bytes()))
    }
}

/// What was measured before INT8 weights were offered.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    pub calibration_sha256: String,
    pub calibration_items: usize,
    /// Share of items on which FP32 and INT8 give the same findings, in [0, 1].
    pub agreement: f64,
    /// The accuracy measure that `fp32` and `int8` give, for example `auc`.
    pub metric: String,
    /// Value, low and high end of its confidence interval.
    pub fp32: [f64; 3],
    pub int8: [f64; 3],
    pub evaluated_items: usize,
}

/// The one input tensor: float32, `(batch, item_shape...)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: String,
    /// Without the leading, dynamic batch dimension.
    pub item_shape: Vec<usize>,
    /// Lowest and highest value that preprocessing yields.
    pub value_range: [f64; 2],
}

impl Input {
    /// Number of float32 values in one item.
    pub fn item_len(&self) -> usize {
        self.item_shape.iter().product()
    }

    /// An item whose values are all in the middle of the range.
    pub(crate) fn middle_item(&self) -> Vec<f32> {
        let [low, high] = self.value_range;
        vec![f64::midpoint(low, high) as f32; self.item_len()]
    }
}

/// How bytes become the input tensor: an identifier that code implements, with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Preprocessing {
    /// `xrv-1`: normalise to [-1024, 1024], centre crop, scikit-image antialiased resize to `size` x `size`.
    Xrv1 { size: usize },
    /// `projections-1`: sums over the three axes, anterior-posterior crop from `crop_offset_y`, joint min-max, `scale`,
    /// then per channel `(x - mean) / std`.
    Projections1 { crop_offset_y: usize, scale: f64, mean: [f64; 3], std: [f64; 3] },
    /// `ct-totalseg-1`, `ct-nnunet-1`, `ct-monai-1`: a volume of Hounsfield units on the network's grid.
    Ct(CtPreprocessing),
    /// `steps-1`: a list of steps, `[[preprocessing]]`.
    Steps(Plan),
    /// `members`: those of an ensemble have their own.
    Members,
}

impl Preprocessing {
    /// The identifier written into manifests and results.
    pub const fn id(&self) -> &'static str {
        match self {
            Self::Xrv1 { .. } => "xrv-1",
            Self::Projections1 { .. } => "projections-1",
            Self::Ct(ct) => ct.recipe.as_str(),
            Self::Steps(_) => "steps-1",
            Self::Members => "members",
        }
    }
}

/// One output column; of a segmentation the columns after that of the background.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    pub name: String,
    /// Place of its head among [`Output::heads`]. Labels of one head have its columns in their order.
    pub head: usize,
    pub code: Option<Code>,
    /// Probability at and above which a finding is positive; absent on a suppressed label, and of segmentations.
    pub threshold: Option<f64>,
    /// Operating point for `xrv-op-norm`.
    pub op_threshold: Option<f64>,
    /// An untrained output: never reported.
    pub suppressed: bool,
    /// Coarse family, for example the network a component belongs to.
    pub family: Option<String>,
    /// What becomes of the voxels of a segment.
    pub segment: SegmentRule,
}

/// What the model has seen, for the input gate to warn.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedOn {
    /// View positions; empty for scans.
    pub views: Vec<String>,
    pub age_years: Option<[f64; 2]>,
    pub min_side_px: Option<usize>,
    pub modality_words: String,
    /// Whether all of it was simulated, so that nothing is known about real studies.
    pub simulated: bool,
    /// Whether it is so little that the model shows no more than that the chain works.
    pub demonstration: bool,
}

/// Where weights and data come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Provenance {
    pub data: String,
    pub citation: String,
    pub url: String,
    pub licence: String,
    pub not_for: String,
}

/// Spatial maps that an fMRI scan is regressed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    pub file: String,
    /// Lower-case hexadecimal; absent in a bring-your-own template.
    pub sha256: Option<String>,
    pub count: usize,
    /// Voxels along x, y, z.
    pub grid: [usize; 3],
    /// Voxel index to millimetres.
    pub affine: [[f64; 4]; 4],
    /// A file beside the manifest: the voxels of the brain, which take part. Without it a scan's coverage cannot be
    /// judged.
    pub mask: Option<String>,
    /// Of the mask, lower-case hexadecimal.
    pub mask_sha256: Option<String>,
    pub sign_convention: Option<String>,
    pub des_norm: Option<bool>,
}

/// A validated manifest: everything the worker knows about a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The folder it was read from.
    pub folder: ModelFolder,
    pub name: String,
    /// Semantic version, without precision.
    pub version: String,
    pub task: Task,
    pub description: String,
    /// File name of the model card.
    pub card: String,
    /// How to obtain and export the weights, when they may not be shipped.
    pub bring_your_own: Option<String>,
    /// Of an ensemble, which has no network of its own: no weights, no input, no outputs.
    pub ensemble: Option<Ensemble>,
    pub fp32: Option<Weights>,
    pub int8: Option<Weights>,
    /// That the FP32 weights may be computed in bfloat16.
    pub bf16: Option<Bf16>,
    pub input: Input,
    pub preprocessing: Preprocessing,
    /// How a network whose input is a patch goes over a volume.
    pub window: Option<Window>,
    pub output: Output,
    pub labels: Vec<Label>,
    /// Numbers that the network estimates; none of most.
    pub measurements: Vec<Measurement>,
    pub trained_on: TrainedOn,
    pub source: Provenance,
    pub maps: Option<Maps>,
}

/// Can the model be used as it lies there?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    Ready,
    /// A bring-your-own template: the weights are missing, and this is how to get them.
    WeightsMissing(String),
    /// The manifest offers no weights of this precision.
    NotOffered,
}

impl Manifest {
    /// Reads and validates `<folder>/manifest.toml`, and checks the digest of every file it names.
    pub fn load(folder: &Path) -> Result<Self, ManifestProblems> {
        parse::load(folder, check::Files::Verified)
    }

    /// As [`Manifest::load`], but files must only exist: their digests are checked when a model is opened.
    pub fn read(folder: &Path) -> Result<Self, ManifestProblems> {
        parse::load(folder, check::Files::Present)
    }

    /// As [`Manifest::load`], of the manifest alone: the files that it names need not be there.
    pub fn described(folder: &Path) -> Result<Self, ManifestProblems> {
        parse::load(folder, check::Files::Named)
    }

    /// Compares the group maps and their mask with the digests that the manifest gives them.
    pub fn verify_maps(&self) -> Result<(), ManifestProblems> {
        let mut problems = Vec::new();
        check::check_maps(self, check::Files::Verified, &mut problems);
        if problems.is_empty() {
            return Ok(());
        }
        Err(ManifestProblems { path: self.folder.join(MANIFEST_FILE), problems })
    }

    /// The classes of a segmentation: the background, which is class 0, and the labels.
    pub fn classes(&self) -> usize {
        self.labels.len() + 1
    }

    /// The weights that a precision is computed with, when the manifest offers it: of bf16 those of FP32.
    pub fn weights(&self, precision: Precision) -> Option<&Weights> {
        match precision {
            Precision::Fp32 => self.fp32.as_ref(),
            Precision::Int8 => self.int8.as_ref(),
            Precision::Bf16 => self.bf16.as_ref().and(self.fp32.as_ref()),
        }
    }

    /// Can this precision be opened?
    pub fn availability(&self, precision: Precision) -> Availability {
        if let Some(ensemble) = &self.ensemble {
            // The catalogue takes none whose members are not there.
            return if ensemble.offers(precision) { Availability::Ready } else { Availability::NotOffered };
        }
        match self.weights(precision) {
            None => Availability::NotOffered,
            Some(weights) if weights.sha256.is_some() => Availability::Ready,
            Some(_) => Availability::WeightsMissing(self.bring_your_own.clone().unwrap_or_default()),
        }
    }

    /// The precisions that can be opened, FP32 first.
    pub fn precisions(&self) -> impl Iterator<Item = Precision> + '_ {
        Precision::ALL.into_iter().filter(|precision| self.availability(*precision) == Availability::Ready)
    }

    /// The path of a file that the manifest names.
    pub fn path_of(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }
}

/// One thing wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, for example `labels[3].threshold`.
    pub at: String,
    pub what: String,
}

impl Problem {
    fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self { at: at.into(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.what)
    }
}

/// Everything wrong with one manifest, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestProblems {
    pub path: PathBuf,
    pub problems: Vec<Problem>,
}

impl fmt::Display for ManifestProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {} problem(s):", self.path.display(), self.problems.len())?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestProblems {}

impl From<ManifestProblems> for JobError {
    fn from(problems: ManifestProblems) -> Self {
        Self::new(Stage::Start, ErrorCode::ModelMismatch, problems.to_string())
    }
}
