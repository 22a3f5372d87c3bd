//! The inference engine: models described by manifests, run on CPUs by ONNX Runtime. The only crate that names `ort`.
//!
//! ```no_run
//! # async fn example() -> Result<(), nightread_domain::JobError> {
//! use nightread_engine::{Catalogue, Engine, EngineOptions, VerifiedModel, Precision, Provider, Runtime, Search, scores};
//!
//! let runtime = Runtime::load(&Search::new(None, Provider::Cpu))?;
//! let catalogue = Catalogue::load("models".as_ref())?;
//! let model = VerifiedModel::open(catalogue.get("cxr-pneumonia-demo")?, Precision::Fp32)?;
//! let (key, manifest) = (model.key().clone(), model.manifest().clone());
//! let engine = Engine::start(&runtime, vec![model], EngineOptions::for_cores(2))?;
//!
//! let tensor = vec![0.0; manifest.input.item_len()]; // from preprocessing
//! let outputs = engine.infer(&key, tensor).await?; // any executor; dropping the future cancels
//! for score in scores(&manifest, &outputs.arrays)? {
//!     println!("{} {:.3} {}", score.label, score.probability, score.positive);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`Catalogue`] and [`Manifest`]: what models there are; every problem reported at once; a broken one is left out and told.
//! - [`GraphFacts`]: what an ONNX file says of itself, for whoever writes a manifest.
//! - [`VerifiedModel`]: one precision of one model, its weights read and their digest checked.
//! - [`Runtime`]: the shared library, found by [`Search`] and loaded once for the process.
//! - [`Engine`]: N threads, each with its own session of every model, pulling batches from one pure [`Batcher`](batcher).
//!   A batch forms exactly when a session is free. A failed batch is run again member by member; a panic is contained,
//!   fails its members and turns [`Engine::health`] to [`Health::Failed`].
//! - [`PatchEngine`]: one thread of low priority for networks that go over a volume patch by patch; what each patch gives is read
//!   where it lies.
//! - [`Outputs`]: the network's arrays by name, of any rank; the manifest says which there are.
//! - [`scores`](scores()): activation, calibration and thresholds, for readings whose outputs are labels.
//! - [`combined`]: the scores of several networks as those of one, of an [`Ensemble`].
//! - [`Cams`]: class-activation maps, the network's own or made of its features and its classifier's weights.
//! - [`OptimisedModel`]: a model optimised once, whose sessions share one copy of its weights.
//! - [`GraphCache`]: optimised graphs, kept between runs; [`room`] bounds it, and other caches.
//! - [`tune`] and [`trial`]: short timings, for choices that are measured.
//!
//! Everything here blocks except [`Inference`], which is a future without an executor.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod activations;
pub mod batcher;
mod cache;
mod cams;
mod configure;
mod digest;
mod engine;
mod ensemble;
mod graph;
mod inference;
mod initialiser;
mod library;
mod manifest;
mod measurements;
mod memory;
mod model;
mod npy;
mod onnx;
mod options;
mod ordinal;
mod outputs;
mod panics;
mod patches;
mod pool;
mod processor;
mod provider;
pub mod room;
mod runtime;
mod scores;
mod session;
mod shared;
mod stored;
#[cfg(test)]
mod testing;
pub mod trial;
pub mod tune;

pub use activations::{log_odds, op_norm, sigmoid, softmax};
pub use cache::{GraphCache, LIMIT_BYTES as CACHE_BYTES};
pub use cams::Cams;
pub use configure::SessionOptions;
pub use digest::{is_sha256, of_bytes as sha256_of, of_file as file_sha256};
pub use engine::Engine;
pub use ensemble::combined;
pub use graph::{Element, GraphFacts, Port, Side};
pub use inference::Inference;
pub use library::Search;
pub use manifest::{
    Activation, ArrayShape, Availability, AxisOrder, BF16_TARGET, Bf16, Bf16Evidence, Calibration, Cam,
    Catalogue, ClassifierWeights, Code, Combine, CtPreprocessing, CtRecipe, DataFile, Ensemble, Evidence,
    GREATEST_LOSS, Head, Input, Intensity, LEAST_AGREEMENT, LEAST_EVALUATED, Label, Laterality,
    MANIFEST_FILE, Manifest, ManifestProblems, Maps, Member, ModelFolder, Orientation, Output, Padding,
    Placement, Plan, Precision, Preprocessing, Problem, Provenance, Resample, SegmentRule, Task, TrainedOn,
    Weighting, Weights, Window, is_model_name,
};
pub use measurements::measurements;
pub use memory::be_nice;
pub use model::{ModelKey, VerifiedModel};
pub use ndarray::ArrayD;
pub use npy::read as read_npy;
pub use options::EngineOptions;
pub use outputs::{Arrays, Outputs, Timing};
pub use patches::{Cost, NICENESS, PatchEngine, PatchOptions, Patches};
pub use pool::{Close, Health, Stats};
pub use processor::Processor;
pub use provider::Provider;
pub use runtime::{Runtime, TELEMETRY_OFF, telemetry_is_off};
pub use scores::{Score, scores};
pub use session::ModelSession;
pub use shared::OptimisedModel;
