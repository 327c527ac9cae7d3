//! Liveness, readiness and metrics.
//!
//! Alive means that this process answers. Ready means that it can do its work: Postgres answers and its schema is the
//! one that this program knows. Redis is reported only, because the engine works without it, more slowly.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use fanfare_engine::{
    domain::channel::{Channel, Lane, MessageClass},
    store::{Connections, health::Schema},
};
use serde_json::{Value, json};

use crate::{
    allocations::allocations,
    http::problem::{Code, Problem},
    service::Service,
};

/// A probe that takes longer is as good as one that failed.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn alive() -> Json<Value> {
    Json(json!({"success": true, "data": {"status": "alive"}}))
}

pub(crate) async fn ready(State(service): State<Service>) -> Result<Json<Value>, Problem> {
    let not_ready = |why: &str| Problem::say(Code::NotReady, why.to_owned());
    match tokio::time::timeout(PATIENCE, service.store.schema()).await {
        Err(_) => return Err(not_ready("Postgres does not answer in time.")),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            return Err(not_ready("Postgres cannot be reached."));
        }
        Ok(Ok(Schema::Behind { missing })) => {
            return Err(not_ready(&format!("The schema lacks {missing} migrations: run `fanfare migrate`.")));
        }
        Ok(Ok(Schema::Ahead { unknown })) => {
            return Err(not_ready(&format!(
                "The schema has {unknown} migrations of a newer version: run that version."
            )));
        }
        Ok(Ok(Schema::Current)) => {}
    }
    let redis = if redis_answers(&service).await { "answers" } else { "away" };
    Ok(Json(
        json!({"success": true, "data": {"status": "ready", "postgres": "answers", "schema": "current", "redis": redis}}),
    ))
}

async fn redis_answers(service: &Service) -> bool {
    let lane = Lane { channel: Channel::Email, class: MessageClass::Transactional };
    matches!(tokio::time::timeout(PATIENCE, service.queue.depth(lane, service.clock.now())).await, Ok(Ok(_)))
}

pub(crate) async fn metrics(State(service): State<Service>) -> Response {
    let Connections { idle, used } = service.store.connections();
    for (state, count) in [("idle", idle), ("used", used)] {
        #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
        metrics::gauge!(fanfare_engine::metrics::POOL, "state" => state).set(count as f64);
    }
    metrics::counter!(fanfare_engine::metrics::ALLOCATIONS).absolute(allocations());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], service.metrics.render())
        .into_response()
}
