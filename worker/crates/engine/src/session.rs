//! One ONNX Runtime session of one model, checked against its manifest.

use std::sync::Arc;

use ndarray::ArrayD;
use nightread_domain::{ErrorCode, JobError, Stage};
use ort::session::Session;
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use crate::configure::{SessionOptions, configured};
use crate::manifest::{ArrayShape, Input, Manifest, Precision};
use crate::model::{ModelKey, VerifiedModel};
use crate::outputs::Arrays;
use crate::provider::Provider;
use crate::runtime::Runtime;
use crate::shared::{OptimisedModel, SharedGraph};

/// How ONNX Runtime says that it got no memory: its arena, and the allocator under it.
const NO_MEMORY: [&str; 2] = ["Failed to allocate memory", "bad_alloc"];

/// An output that the manifest promises.
#[derive(Debug)]
struct Declared {
    name: Arc<str>,
    axes: Vec<Option<usize>>,
}

impl From<ArrayShape> for Declared {
    fn from(ArrayShape { name, axes }: ArrayShape) -> Self {
        Self { name: name.into(), axes }
    }
}

impl Declared {
    /// `[2, 14, any]`, for a batch of two.
    fn words(&self, count: usize) -> String {
        let axes = self.axes.iter().map(|side| side.map_or_else(|| "any".to_owned(), |n| n.to_string()));
        let all: Vec<_> = std::iter::once(count.to_string()).chain(axes).collect();
        format!("[{}]", all.join(", "))
    }
}

/// An open session. Used by one thread at a time.
#[derive(Debug)]
pub struct ModelSession {
    session: Session,
    manifest: Arc<Manifest>,
    key: ModelKey,
    provider: Provider,
    outputs: Vec<Declared>,
    /// `(n, item_shape...)`; the first entry is set before each run.
    shape: Vec<usize>,
    /// Where the items of a batch are put side by side.
    staging: Vec<f32>,
}

impl ModelSession {
    /// Opens the model and compares inputs and outputs with the manifest.
    ///
    /// Errors: `model_mismatch` when the graph cannot be loaded or differs, `runtime_mismatch` when the provider cannot be
    /// used.
    pub fn open(runtime: &Runtime, model: &VerifiedModel, options: SessionOptions) -> Result<Self, JobError> {
        Self::open_prepared(
            runtime,
            &OptimisedModel::new(runtime, model.clone(), options.provider, None)?,
            options,
        )
    }

    /// As [`ModelSession::open`]; all sessions opened from one [`OptimisedModel`] share its weights, and have its provider,
    /// whichever `options` name.
    pub fn open_prepared(
        runtime: &Runtime,
        prepared: &OptimisedModel,
        options: SessionOptions,
    ) -> Result<Self, JobError> {
        let options = SessionOptions { provider: prepared.provider(), ..options };
        let model = prepared.model();
        let key = model.key();
        let session = match prepared.graph() {
            Some(graph) => match from_graph(runtime, graph, options, model.precision()) {
                Err(words) if graph.is_gone() => {
                    tracing::warn!(model = %key, words, "the optimised graph that was kept went away");
                    let session = from_weights(runtime, model, options)?;
                    model.verify()?;
                    session
                }
                opened => opened.map_err(|words| unloadable(key, options.provider, &words))?,
            },
            None => from_weights(runtime, model, options)?,
        };
        let manifest = Arc::clone(model.manifest());
        let differences = differences(&manifest, session.inputs(), session.outputs());
        if !differences.is_empty() {
            return Err(mismatch(
                ErrorCode::ModelMismatch,
                format!("{key} differs from its manifest: {}", differences.join("; ")),
            ));
        }
        let shape = std::iter::once(0).chain(manifest.input.item_shape.iter().copied()).collect();
        Ok(Self {
            session,
            outputs: manifest.outputs().into_iter().map(Declared::from).collect(),
            manifest,
            key: key.clone(),
            provider: options.provider,
            shape,
            staging: Vec::new(),
        })
    }

    /// The provider that computes this session.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Runs the items as one batch; every item must hold `item_len` values. The manifest's outputs for each item, in order.
    ///
    /// Errors: `inference_failed` when ONNX Runtime refuses or gives outputs of another shape, `engine_failed` when it gets no
    /// memory.
    pub fn run(&mut self, items: &[&[f32]]) -> Result<Vec<Arrays>, JobError> {
        let count = items.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let item_len = self.manifest.input.item_len();
        if let Some(wrong) = items.iter().find(|item| item.len() != item_len) {
            return Err(self.failed(&format!("an item has {} values, not {item_len}", wrong.len())));
        }
        let data: &[f32] = if let [single] = items {
            single
        } else {
            self.staging.clear();
            for item in items {
                self.staging.extend_from_slice(item);
            }
            &self.staging
        };
        self.shape[0] = count;
        let input = self.manifest.input.name.as_str();
        match run_batch(&mut self.session, input, &self.shape, data, &self.outputs) {
            Ok(Ok(outputs)) => Ok(outputs),
            Ok(Err(words)) => Err(self.failed(&words)),
            Err(error) => Err(self.refused(error.message())),
        }
    }

    /// Runs one item and has `take` read the values of the manifest's first output, row-major, where they lie.
    ///
    /// Errors: as [`ModelSession::run`].
    pub(crate) fn run_one(&mut self, item: &[f32], take: &mut dyn FnMut(&[f32])) -> Result<(), JobError> {
        let item_len = self.manifest.input.item_len();
        if item.len() != item_len {
            return Err(self.failed(&format!("an item has {} values, not {item_len}", item.len())));
        }
        self.shape[0] = 1;
        let input = self.manifest.input.name.as_str();
        match run_lying(&mut self.session, input, &self.shape, item, &self.outputs, take) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(words)) => Err(self.failed(&words)),
            Err(error) => Err(self.refused(error.message())),
        }
    }

    /// What ONNX Runtime says of a run. A machine without memory is no item's fault: another item would meet the same.
    fn refused(&self, words: &str) -> JobError {
        if NO_MEMORY.iter().any(|said| words.contains(said)) {
            return JobError::new(Stage::Infer, ErrorCode::MemoryRefused, format!("{}: {words}", self.key));
        }
        self.failed(words)
    }

    fn failed(&self, words: &str) -> JobError {
        JobError::new(Stage::Infer, ErrorCode::InferenceFailed, format!("{}: {words}", self.key))
    }
}

/// Opens the model's own files, of which ONNX Runtime makes what it needs.
fn from_weights(
    runtime: &Runtime,
    model: &VerifiedModel,
    options: SessionOptions,
) -> Result<Session, JobError> {
    let mut builder =
        configured(runtime, options, model.precision()).map_err(|error| unusable(model.key(), &error))?;
    builder
        .commit_from_file(model.path())
        .map_err(|error| unloadable(model.key(), options.provider, error.message()))
}

/// Opens what was optimised before. Errors are words.
fn from_graph(
    runtime: &Runtime,
    graph: &SharedGraph,
    options: SessionOptions,
    precision: Precision,
) -> Result<Session, String> {
    let opened = configured(runtime, options, precision).and_then(|builder| {
        let (mut builder, file) = graph.hand_over(builder)?;
        builder.commit_from_file(file)
    });
    opened.map_err(|error| error.message().to_owned())
}

fn unloadable(key: &ModelKey, provider: Provider, words: &str) -> JobError {
    mismatch(ErrorCode::ModelMismatch, format!("{key} cannot be loaded with {provider}: {words}"))
}

/// One run over the values of `shape`; its outputs for each item, or in words how they differ from what is declared.
fn run_batch(
    session: &mut Session,
    input: &str,
    shape: &[usize],
    data: &[f32],
    declared: &[Declared],
) -> Result<Result<Vec<Arrays>, String>, ort::Error> {
    let given = session.run(ort::inputs![input => TensorRef::from_array_view((shape, data))?])?;
    let mut outputs = vec![Arrays::default(); shape[0]];
    for declared in declared {
        let (shape, values) = given[&*declared.name].try_extract_tensor::<f32>()?;
        if let Err(words) = split(declared, shape, values, &mut outputs) {
            return Ok(Err(words));
        }
    }
    Ok(Ok(outputs))
}

/// As [`run_batch`], for one item whose first output is read where it lies.
fn run_lying(
    session: &mut Session,
    input: &str,
    shape: &[usize],
    data: &[f32],
    declared: &[Declared],
    take: &mut dyn FnMut(&[f32]),
) -> Result<Result<(), String>, ort::Error> {
    let given = session.run(ort::inputs![input => TensorRef::from_array_view((shape, data))?])?;
    let Some(declared) = declared.first() else { return Ok(Err("no output is declared".to_owned())) };
    let (shape, values) = given[&*declared.name].try_extract_tensor::<f32>()?;
    if let Err(words) = axes_of_items(declared, shape, 1) {
        return Ok(Err(words));
    }
    take(values);
    Ok(Ok(()))
}

/// The axes of one item in an output of `count` items. Errors are words.
fn axes_of_items(declared: &Declared, shape: &[i64], count: usize) -> Result<Vec<usize>, String> {
    let axes: Option<Vec<usize>> = shape.iter().map(|side| usize::try_from(*side).ok()).collect();
    let axes = axes.filter(|axes| {
        axes.len() == 1 + declared.axes.len()
            && axes[0] == count
            && axes[1..].iter().zip(&declared.axes).all(|(&side, &wanted)| fits(side, wanted))
    });
    match axes {
        Some(mut axes) => Ok(axes.split_off(1)),
        None => Err(format!("output {:?} has shape {shape:?}, not {}", declared.name, declared.words(count))),
    }
}

/// One output of a whole batch, split into those of its items. Errors are words.
fn split(declared: &Declared, shape: &[i64], values: &[f32], outputs: &mut [Arrays]) -> Result<(), String> {
    let name = &declared.name;
    let item = axes_of_items(declared, shape, outputs.len())?;
    let size = item.iter().product::<usize>();
    for (index, arrays) in outputs.iter_mut().enumerate() {
        let values = values.get(index * size..(index + 1) * size).unwrap_or_default().to_vec();
        let array = ArrayD::from_shape_vec(item.as_slice(), values);
        arrays.push(name, array.map_err(|error| format!("output {name:?}: {error}"))?);
    }
    Ok(())
}

/// Everything in which the graph differs from the manifest.
fn differences(manifest: &Manifest, inputs: &[Outlet], outputs: &[Outlet]) -> Vec<String> {
    let mut found = Vec::new();
    let Input { name, item_shape, .. } = &manifest.input;
    let batch = if manifest.window.is_some() { Dim::One } else { Dim::Dynamic("batch") };
    let mut wanted = vec![batch];
    wanted.extend(item_shape.iter().map(|side| Dim::Fixed(*side)));
    compare("input", name, inputs, &wanted, &mut found);
    for extra in inputs.iter().filter(|input| input.name() != name) {
        found.push(format!("input {:?} is not in the manifest", extra.name()));
    }
    for ArrayShape { name, axes } in manifest.outputs() {
        let axes = axes.into_iter().map(|side| side.map_or(Dim::Any, Dim::Fixed));
        let wanted: Vec<_> = std::iter::once(batch).chain(axes).collect();
        compare("output", &name, outputs, &wanted, &mut found);
    }
    found
}

#[derive(Clone, Copy, Debug)]
enum Dim {
    /// Must be left open in the graph.
    Dynamic(&'static str),
    /// One item at a time: open, or fixed at 1.
    One,
    Fixed(usize),
    Any,
}

fn compare(kind: &str, name: &str, outlets: &[Outlet], wanted: &[Dim], found: &mut Vec<String>) {
    let Some(outlet) = outlets.iter().find(|outlet| outlet.name() == name) else {
        let names: Vec<_> = outlets.iter().map(Outlet::name).collect();
        found.push(format!("no {kind} {name:?} (there are: {})", names.join(", ")));
        return;
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        found.push(format!("{kind} {name:?} is not a tensor"));
        return;
    };
    if *ty != TensorElementType::Float32 {
        found.push(format!("{kind} {name:?} holds {ty}, not f32"));
    }
    if shape.len() != wanted.len() {
        found.push(format!("{kind} {name:?} has {} dimensions, not {}", shape.len(), wanted.len()));
        return;
    }
    for (axis, (dim, wanted)) in shape.iter().zip(wanted).enumerate() {
        match wanted {
            Dim::Dynamic(what) if *dim >= 0 => {
                found.push(format!("{kind} {name:?} has its {what} dimension fixed at {dim}"));
            }
            Dim::One if *dim >= 0 && *dim != 1 => {
                found.push(format!("{kind} {name:?} has its batch dimension fixed at {dim}, not open or 1"));
            }
            // The graph may leave open what the manifest fixes; the run itself checks again.
            Dim::Fixed(size) if *dim >= 0 && *dim != *size as i64 => {
                found.push(format!("{kind} {name:?} has {dim} along axis {axis}, not {size}"));
            }
            _ => {}
        }
    }
}

/// Whether a side is as long as declared; where nothing is, any but an empty one is.
fn fits(side: usize, wanted: Option<usize>) -> bool {
    wanted.map_or(side > 0, |wanted| side == wanted)
}

fn unusable(key: &ModelKey, error: &ort::Error) -> JobError {
    mismatch(ErrorCode::RuntimeMismatch, format!("{key}: {}", error.message()))
}

fn mismatch(code: ErrorCode, message: String) -> JobError {
    JobError::new(Stage::Start, code, message)
}
