//! One copy of a model's weights for all its sessions.
//!
//! ONNX Runtime shares only initialisers that the caller hands over, and its optimisations make new ones: folded
//! constants, batch norms, filters laid out for this processor. So the graph is optimised once, written to a private
//! folder, and every session opens that graph as it is with the weights held here. What a kernel packs at loading is kept
//! once as well.

use std::fmt::Display;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::{Array1, Axis, Slice};
use nightread_domain::JobError;
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::value::{DynValue, Tensor};
use prost::Message;
use tempfile::TempDir;

use crate::configure::{SessionOptions, configured};
use crate::model::VerifiedModel;
use crate::onnx;
use crate::provider::Provider;
use crate::runtime::Runtime;

const GRAPH: &str = "graph.onnx";
const WEIGHTS: &str = "weights.bin";
/// Smaller initialisers stay in the graph.
const LEAST_BYTES: &str = "1024";
const CACHE_LINE: usize = 64;

/// A model made ready for any number of sessions on one provider.
///
/// Its files in the temporary folder go with it; open sessions need neither.
#[derive(Debug)]
pub struct OptimisedModel {
    model: VerifiedModel,
    /// Absent where each session holds its own weights.
    graph: Option<SharedGraph>,
}

impl OptimisedModel {
    /// Optimises the graph once for all sessions. OpenVINO compiles the graph for each session and shares nothing; where
    /// sharing cannot be had otherwise, that is a warning.
    pub fn new(runtime: &Runtime, model: VerifiedModel, provider: Provider) -> Result<Self, JobError> {
        runtime.require(provider)?;
        let graph = match provider {
            Provider::OpenVino => None,
            Provider::Cpu => {
                let alone =
                    SessionOptions { provider, intra_threads: 1, shares_cores: true, batch_varies: true };
                configured(runtime, alone)
                    .map_err(|error| error.message().to_owned())
                    .and_then(|builder| SharedGraph::make(&builder, model.path()))
                    .inspect_err(|words| {
                        tracing::warn!(model = %model.key(), words, "sessions of this model share no weights");
                    })
                    .ok()
            }
        };
        Ok(Self { model, graph })
    }

    /// For one session, which optimises the graph for itself.
    pub(crate) fn alone(
        runtime: &Runtime,
        model: VerifiedModel,
        provider: Provider,
    ) -> Result<Self, JobError> {
        runtime.require(provider)?;
        Ok(Self { model, graph: None })
    }

    pub fn model(&self) -> &VerifiedModel {
        &self.model
    }

    pub(crate) fn graph(&self) -> Option<&SharedGraph> {
        self.graph.as_ref()
    }
}

/// An optimised graph and its weights. Sessions keep the weights alive; the folder goes with this value.
#[derive(Debug)]
pub(crate) struct SharedGraph {
    folder: TempDir,
    weights: Vec<(String, Arc<DynValue>)>,
    packed: PrepackedWeights,
}

impl SharedGraph {
    /// Optimises the graph in `file` with `plain`, a builder that would open it for itself. Errors are words.
    fn make(plain: &SessionBuilder, file: &Path) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("nightread-model-")
            .tempdir()
            .map_err(|error| format!("no folder for the optimised graph: {error}"))?;
        let graph = folder.path().join(GRAPH);
        optimise(plain.clone(), file, &graph).map_err(|error| error.message().to_owned())?;
        let initialisers = initialisers(&graph)?;
        let weights = if initialisers.is_empty() {
            Vec::new()
        } else {
            let file = File::open(folder.path().join(WEIGHTS)).map_err(|error| error.to_string())?;
            initialisers.into_iter().map(|tensor| tensor.load(&file)).collect::<Result<_, _>>()?
        };
        let shared = Self { folder, weights, packed: PrepackedWeights::new() };
        shared.try_it(plain.clone()).map_err(|error| error.message().to_owned())?;
        Ok(shared)
    }

    /// Not every kernel that packs weights can share them: then a session does not open.
    fn try_it(&self, plain: SessionBuilder) -> ort::Result<()> {
        let (mut builder, graph) = self.hand_over(plain)?;
        builder.commit_from_file(graph)?;
        Ok(())
    }

    /// `builder`, told to use these weights and to leave the graph as it is; and the graph to open.
    pub(crate) fn hand_over(&self, builder: SessionBuilder) -> ort::Result<(SessionBuilder, PathBuf)> {
        let mut builder = builder
            .with_optimization_level(GraphOptimizationLevel::Disable)?
            .with_prepacked_weights(&self.packed)?;
        for (name, value) in &self.weights {
            builder = builder.with_initializer(name, Arc::clone(value))?;
        }
        Ok((builder, self.folder.path().join(GRAPH)))
    }
}

fn optimise(plain: SessionBuilder, file: &Path, graph: &Path) -> ort::Result<()> {
    // It would warn that the graph suits this processor only, which is the aim.
    plain
        .with_log_level(LogLevel::Error)?
        .with_optimized_model_path(graph)?
        .with_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)?
        .with_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", LEAST_BYTES)?
        .commit_from_file(file)?;
    Ok(())
}

/// The single-precision initialisers of the graph that lie in the weights file. Kernels of 8-bit weights pack them for each
/// session and cannot share that: those stay with the sessions.
fn initialisers(graph: &Path) -> Result<Vec<Initialiser>, String> {
    let bytes = std::fs::read(graph).map_err(|error| error.to_string())?;
    let model = onnx::OnnxModel::decode(bytes.as_slice()).map_err(|error| error.to_string())?;
    let all = model.graph.unwrap_or_default().initializer;
    all.into_iter()
        .filter(|tensor| tensor.is_external() && tensor.data_type == onnx::FLOAT)
        .map(Initialiser::of)
        .collect()
}

/// One tensor in the weights file.
#[derive(Debug)]
struct Initialiser {
    name: String,
    dims: Vec<i64>,
    offset: u64,
}

impl Initialiser {
    fn of(tensor: onnx::Tensor) -> Result<Self, String> {
        if tensor.external("location") != Some(WEIGHTS) {
            return Err(format!("initialiser {} lies in another file", tensor.name));
        }
        let offset = tensor.external("offset").map_or(Ok(0), str::parse);
        let offset = offset.map_err(|_| format!("initialiser {} has no sound offset", tensor.name))?;
        Ok(Self { name: tensor.name, dims: tensor.dims, offset })
    }

    fn load(self, file: &File) -> Result<(String, Arc<DynValue>), String> {
        let dims: Vec<usize> = self.dims.iter().map(|dim| *dim as usize).collect();
        let len: usize = dims.iter().product();
        // ONNX Runtime takes only memory of its caller, and kernels read whole cache lines of it.
        let mut values = Array1::from_elem(len + CACHE_LINE / size_of::<f32>(), 0_f32);
        let skipped = values.as_ptr().align_offset(CACHE_LINE);
        values.slice_axis_inplace(Axis(0), Slice::from(skipped..skipped + len));
        let bytes = values.as_slice_mut().map(bytemuck::cast_slice_mut);
        let bytes = bytes.ok_or_else(|| self.unreadable("its memory has gaps"))?;
        file.read_exact_at(bytes, self.offset).map_err(|error| self.unreadable(error))?;
        let values = values.into_shape_with_order(dims).map_err(|error| self.unreadable(error))?;
        let value = Tensor::from_array(values).map_err(|error| self.unreadable(error.message()))?;
        Ok((self.name, Arc::new(value.into_dyn())))
    }

    fn unreadable(&self, what: impl Display) -> String {
        format!("initialiser {} cannot be read: {what}", self.name)
    }
}
