//! The names of what lies in a cache.

/// The graph of an entry, the weights beside it, and its record.
pub(crate) const GRAPH: &str = "graph.onnx";
pub(crate) const WEIGHTS: &str = "weights.bin";
pub(super) const RECORD: &str = "record";
