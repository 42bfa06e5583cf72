//! What the admin address answers, page by page.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;

use super::{Readiness, State, Status};

/// What `prometheus_client` writes; Prometheus reads it by this name.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// All that pages are made from.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) metrics: Arc<Registry>,
    pub(super) readiness: Readiness,
    pub(super) status: Status,
}

pub(super) fn router(sources: Sources) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .fallback(nothing_here)
        .with_state(sources)
}

async fn metrics(Extract(sources): Extract<Sources>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &sources.metrics) {
        Ok(()) => page(StatusCode::OK, OPENMETRICS, text),
        Err(error) => failed(&error),
    }
}

async fn ready(Extract(sources): Extract<Sources>) -> Response {
    let state = sources.readiness.get();
    let code = match state {
        State::Ready => StatusCode::OK,
        State::Starting | State::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    page(code, TEXT, format!("{state}\n"))
}

async fn status(Extract(sources): Extract<Sources>) -> Response {
    match serde_json::to_string_pretty(&(sources.status)()) {
        Ok(text) => page(StatusCode::OK, JSON, text + "\n"),
        Err(error) => failed(&error),
    }
}

async fn nothing_here(uri: Uri) -> Response {
    let text = format!(
        "nothing at {}; try\n\
         /metrics  counters and histograms for Prometheus\n\
         /ready    200 once every listener accepts clients, 503 before that and while draining\n\
         /status   what this process is doing, as JSON\n",
        uri.path()
    );
    page(StatusCode::NOT_FOUND, TEXT, text)
}

fn failed(error: &dyn std::fmt::Display) -> Response {
    let text = format!("cannot write this page: {error}\n");
    page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
}

fn page(code: StatusCode, content_type: &'static str, text: String) -> Response {
    let headers: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, content_type)];
    (code, headers, text).into_response()
}
