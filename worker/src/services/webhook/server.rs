//! The endpoint: who may post, the handshake before it, and the answer after the broker's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use nightread_domain::announcement::MAX_BODY_BYTES;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::events::{Asked, Refused, asked};
use crate::adapters::amqp::Publisher;
use crate::adapters::http::Connection;
use crate::settings::WebhookSettings;
use crate::telemetry::metrics;

/// Senders at once; each may hold a mebibyte.
pub(super) const MAX_CONNECTIONS: usize = 128;

/// Publications at once; further ones wait their turn.
const MAX_PUBLICATIONS: usize = 64;

/// A sender that is slower than this with its body is not waited for, nor is a broker with its confirmation at the end.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What a sender that has to come again is told to wait.
const RETRY_AFTER_SECONDS: &str = "10";

/// What all requests share.
#[derive(Debug)]
pub(super) struct Webhook {
    settings: WebhookSettings,
    publisher: Arc<Publisher>,
    publications: Semaphore,
    published: AtomicU64,
}

impl Webhook {
    pub fn new(settings: WebhookSettings, publisher: Arc<Publisher>) -> Self {
        Self {
            settings,
            publisher,
            publications: Semaphore::new(MAX_PUBLICATIONS),
            published: AtomicU64::new(0),
        }
    }

    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    pub async fn is_ready(&self) -> bool {
        self.publisher.is_reachable().await.is_ok()
    }

    /// By the Authorization header, or by `access_token` in the query, as CloudEvents' webhooks have it.
    fn is_known(&self, request: &Request) -> bool {
        let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.split_once(' '));
        let bearer =
            bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let query = request.uri().query().unwrap_or_default();
        let in_query = query.split('&').find_map(|pair| pair.strip_prefix("access_token="));
        let token = self.settings.token.reveal().as_bytes();
        // Comparing takes the same time however much of a guess is right.
        let is_token = |shown: &str| bool::from(shown.as_bytes().ct_eq(token));
        bearer.is_some_and(is_token) || in_query.is_some_and(is_token)
    }

    /// The abuse protection of CloudEvents' webhooks: a sender asks whether it may, and how fast.
    fn handshake(&self, headers: &HeaderMap) -> Response {
        let origin = headers.get("webhook-request-origin").and_then(|value| value.to_str().ok());
        let allowed = origin.is_some_and(|origin| {
            self.settings.origins.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin))
        });
        let (Some(origin), true) = (origin, allowed) else {
            return (StatusCode::FORBIDDEN, [(header::ALLOW, "POST, OPTIONS")]).into_response();
        };
        let rate = self.settings.per_minute.map_or_else(|| "*".to_owned(), |rate| rate.to_string());
        let mut answer = (StatusCode::OK, [(header::ALLOW, "POST, OPTIONS")]).into_response();
        for (name, value) in [("webhook-allowed-origin", origin), ("webhook-allowed-rate", &rate)] {
            if let Ok(value) = value.parse() {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }

    async fn take(
        &self,
        headers: &HeaderMap,
        body: Body,
        connection: Option<&Connection>,
    ) -> Result<Response, Refused> {
        let waits = |waiting| connection.into_iter().for_each(|connection| connection.waits(waiting));
        waits(true);
        let body = tokio::time::timeout(PATIENCE, to_bytes(body, MAX_BODY_BYTES)).await;
        waits(false);
        let Ok(_turn) = self.publications.acquire().await else {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "the webhook stops".to_owned()));
        };
        let body = match body {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => {
                let told = format!("a request has at most {MAX_BODY_BYTES} bytes");
                return Err((StatusCode::PAYLOAD_TOO_LARGE, "message_too_large", told));
            }
            Err(_) => {
                return Err((
                    StatusCode::REQUEST_TIMEOUT,
                    "timeout",
                    "the body did not come in time".to_owned(),
                ));
            }
        };
        match asked(headers, body)? {
            Asked::Validate(code) => Ok(Json(json!({ "validationResponse": code })).into_response()),
            Asked::Publish(message) => match self.publisher.announce(&message).await {
                Ok(()) => {
                    self.published.fetch_add(1, Ordering::Relaxed);
                    Ok(StatusCode::NO_CONTENT.into_response())
                }
                Err(error) => {
                    metrics::publish_failed();
                    tracing::warn!(%error, "an event is not taken; its sender is asked to come again");
                    Err((
                        StatusCode::SERVICE_UNAVAILABLE,
                        error.code.as_str(),
                        "the broker is away".to_owned(),
                    ))
                }
            },
        }
    }
}

pub(super) fn router(webhook: Arc<Webhook>) -> Router {
    Router::new().route("/events", any(answer)).with_state(webhook)
}

async fn answer(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    let kind = match *request.method() {
        Method::POST => "post",
        Method::OPTIONS => "options",
        _ => "other",
    };
    let answer = answered(&webhook, request).await;
    metrics::webhook_answered(kind, answer.status().as_u16());
    answer
}

async fn answered(webhook: &Webhook, request: Request) -> Response {
    if !webhook.is_known(&request) {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::OPTIONS => webhook.handshake(&parts.headers),
        Method::POST => {
            let connection = parts.extensions.get::<Arc<Connection>>().map(Arc::as_ref);
            webhook.take(&parts.headers, body, connection).await.unwrap_or_else(refused)
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST, OPTIONS")]).into_response(),
    }
}

fn refused((status, code, message): Refused) -> Response {
    let body = Json(json!({ "error": { "code": code, "message": message } }));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return (status, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], body).into_response();
    }
    (status, body).into_response()
}
