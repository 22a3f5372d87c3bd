//! How a session runs, as ONNX Runtime is told.

use ort::ep::{ArbitrarilyConfigurableExecutionProvider, OpenVINO};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use crate::manifest::Precision;
use crate::provider::Provider;
use crate::runtime::Runtime;

/// How a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    pub provider: Provider,
    /// Threads inside one operator, the calling one included.
    pub intra_threads: usize,
    /// Whether other sessions compute beside this one: then idle threads sleep instead of spinning.
    pub shares_cores: bool,
    /// Whether all memory of a run is one block, planned by the sizes of the first. It is for batches of one size; where sizes vary,
    /// and where a run is large, the block comes beside what the first run took, for no time.
    pub memory_plan: bool,
}

pub(crate) fn configured(
    runtime: &Runtime,
    options: SessionOptions,
    precision: Precision,
) -> ort::Result<SessionBuilder> {
    let mut builder = Session::builder(runtime.environment())?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(options.intra_threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(!options.shares_cores)?
        .with_memory_pattern(options.memory_plan)?;
    if options.provider == Provider::OpenVino {
        let config = openvino(options.intra_threads, precision);
        let openvino = OpenVINO::default()
            .with_device_type("CPU")
            .with_arbitrary_config("load_config", config)
            .build()
            .error_on_failure();
        // A graph that OpenVINO cannot take whole is refused rather than run by two providers.
        builder = builder.with_execution_providers([openvino])?.with_disable_cpu_fallback()?;
    }
    Ok(builder)
}

/// What OpenVINO is told. f32 is pinned for all but bf16: on machines with AMX OpenVINO would choose bfloat16 by itself. Threads are not pinned to
/// cores, because sessions that do not know of one another would all choose the first ones.
fn openvino(threads: usize, precision: Precision) -> serde_json::Value {
    let hint = match precision {
        Precision::Fp32 | Precision::Int8 => "f32",
        Precision::Bf16 => "bf16",
    };
    serde_json::json!({ "CPU": {
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads.to_string(),
        "ENABLE_CPU_PINNING": "NO",
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a processor with AMX the answers would show it; elsewhere this alone does.
    #[test]
    fn openvino_computes_in_single_precision_whatever_the_processor_offers() {
        for precision in [Precision::Fp32, Precision::Int8] {
            assert_eq!(openvino(2, precision)["CPU"]["INFERENCE_PRECISION_HINT"], "f32");
        }
    }

    #[test]
    fn openvino_computes_in_bfloat16_where_that_is_asked_for() {
        assert_eq!(openvino(2, Precision::Bf16)["CPU"]["INFERENCE_PRECISION_HINT"], "bf16");
    }
}
