//! Every route.

use std::time::Instant;

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::get,
};

use crate::{health, hooks, problem::Problem, service::Service};

pub fn router(service: Service) -> Router {
    Router::new()
        .route("/livez", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/hooks/{account_id}", get(hooks::handshake).post(hooks::receive))
        .fallback(|| async { Problem::NoSuchRoute })
        .method_not_allowed_fallback(|| async { Problem::NoSuchMethod })
        .layer(middleware::from_fn(logged))
        .with_state(service)
}

/// One line a request. Paths hold ids at most; queries, headers, peers and bodies are left out.
async fn logged(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let elapsed_ms = started.elapsed().as_secs_f64() * 1_000.0;
    let status = response.status().as_u16();
    tracing::debug!(%method, path, status, elapsed_ms, "answered");
    response
}
