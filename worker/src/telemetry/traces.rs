//! Distributed traces: the announcer's `traceparent` becomes the parent of the job's span, and spans go to an OTLP
//! collector over HTTP. Built with the feature `otlp`; without it these functions do nothing.

use tracing::Span;

#[cfg(feature = "otlp")]
mod otlp {
    use std::collections::HashMap;

    use opentelemetry::propagation::TextMapPropagator;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    use tracing_subscriber::filter::{LevelFilter, Targets};

    /// Set by whoever runs a collector; without it nothing is exported.
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

    /// Sends what is left when dropped.
    #[derive(Debug)]
    pub struct Exporting(SdkTracerProvider);

    impl Drop for Exporting {
        fn drop(&mut self) {
            if let Err(error) = self.0.shutdown() {
                tracing::warn!(%error, "the last traces were not sent");
            }
        }
    }

    pub fn start() -> Result<Option<(SdkTracer, Exporting)>, ExporterBuildError> {
        if std::env::var_os(ENDPOINT).is_none_or(|endpoint| endpoint.is_empty()) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().build()?;
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder().with_service_name("nightread").build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Some((provider.tracer("nightread"), Exporting(provider))))
    }

    /// Spans and events of this program alone: those of the storage client name blobs, and names may identify people.
    pub fn own() -> Targets {
        Targets::new().with_target("nightread", LevelFilter::INFO)
    }

    pub fn adopt(span: &Span, traceparent: &str) {
        let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
        // A malformed header gives an empty context; then the span begins a trace of its own.
        let _adopted = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
}

#[cfg(feature = "otlp")]
pub use otlp::{Exporting, own, start};

/// Makes the announcer's trace the parent of a job's span.
#[cfg_attr(not(feature = "otlp"), allow(unused_variables))]
pub fn adopt(span: &Span, traceparent: Option<&str>) {
    #[cfg(feature = "otlp")]
    if let Some(traceparent) = traceparent {
        otlp::adopt(span, traceparent);
    }
}
