//! `/healthz`, `/ready` and `/metrics`, on a thread and runtime of their own so that they answer under load.
//!
//! - `/healthz`: this process lives. Never depends on broker or storage: a scale set replaces machines by it, and an
//!   outage elsewhere must not replace the fleet. Fails only when the engine is poisoned. The body is what the Azure
//!   application health extension asks for.
//! - `/ready`: models are warm and the broker session is up.
//! - `/metrics`: Prometheus text.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::adapters::http::{self, Bounds};
use crate::app;
use crate::services::writing::Writing;

/// Probes and scrapers are few.
pub const MAX_CONNECTIONS: usize = 32;

/// What the endpoints ask of the worker.
pub trait Vitals: Send + Sync + 'static {
    /// `Err` with the reason when only a restart helps.
    fn alive(&self) -> Result<(), String>;
    /// `Err` with what is not up yet.
    fn ready(&self) -> Result<(), String>;
    /// Prometheus text.
    fn metrics(&self) -> String;
}

/// The running server; stops when dropped.
#[derive(Debug)]
pub struct HealthServer {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl HealthServer {
    /// Binds at once, so that a taken port is an error of the start and not of later. What is served as metrics is also written
    /// to a receiver, if there is one.
    pub fn start(address: SocketAddr, vitals: Arc<dyn Vitals>, writing: Option<Writing>) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = app::runtime::one_thread()?;
        let thread = std::thread::Builder::new().name("health".to_owned()).spawn(move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        let written = writing.map(|writing| {
                            let vitals = Arc::clone(&vitals);
                            tokio::spawn(writing.go_on(move || vitals.metrics(), stopped.clone()))
                        });
                        http::serve(listener, router(vitals), Bounds::new(MAX_CONNECTIONS), stopped).await;
                        if let Some(written) = written {
                            // It holds nothing that its panic could have broken.
                            let _ended = written.await;
                        }
                    }
                    Err(error) => tracing::error!(%error, "the health endpoints do not start"),
                }
            });
        })?;
        Ok(Self { stop, thread: Some(thread), address })
    }

    /// Where it listens; tells the port that was chosen when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // The thread holds nothing that its panic could have broken.
            let _joined = thread.join();
        }
    }
}

/// Asked by scale sets and by probes.
pub const ALIVE: &str = "/healthz";
pub const READY: &str = "/ready";
pub const METRICS: &str = "/metrics";

/// As the Application Health extension of a scale set wants it.
pub fn alive_body() -> serde_json::Value {
    json!({ "ApplicationHealthState": "Healthy" })
}

fn router(vitals: Arc<dyn Vitals>) -> Router {
    Router::new()
        .route(ALIVE, get(healthz))
        .route(READY, get(ready))
        .route(METRICS, get(metrics))
        .with_state(vitals)
}

async fn healthz(State(vitals): State<Arc<dyn Vitals>>) -> Response {
    match vitals.alive() {
        Ok(()) => Json(alive_body()).into_response(),
        Err(reason) => {
            let body = Json(json!({ "ApplicationHealthState": "Unhealthy", "reason": reason }));
            (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
        }
    }
}

async fn ready(State(vitals): State<Arc<dyn Vitals>>) -> Response {
    match vitals.ready() {
        Ok(()) => Json(json!({ "ready": true })).into_response(),
        Err(waiting) => {
            let body = Json(json!({ "ready": false, "waiting_for": waiting }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

async fn metrics(State(vitals): State<Arc<dyn Vitals>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], vitals.metrics()).into_response()
}
