//! Every route of the sandbox.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{get, post, put};

use crate::sends::{self, SendRoute};
use crate::world::World;
use crate::{brevo, control, whatsapp};

pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/v3/smtp/email", post(send))
        .route("/v3/smtp/statistics/events", get(email_events))
        .route("/v3/transactionalSMS/send", post(send))
        .route("/v3/transactionalSMS/sms", post(send))
        .route("/v3/transactionalSMS/statistics/events", get(sms_events))
        .route("/v3/account", get(account))
        .route("/{version}/{phone_number_id}/messages", post(send))
        .route("/{version}/{business_account_id}/message_templates", get(templates).post(submit_template))
        .route("/{version}/{phone_number_id}", get(phone_number).post(change_template))
        .route("/sandbox/clock", get(control::clock))
        .route(
            "/sandbox/faults",
            get(control::faults).post(control::set_faults).delete(control::clear_faults),
        )
        .route("/sandbox/webhooks", put(control::set_webhooks).get(control::webhooks))
        .route("/sandbox/webhooks/emit", post(control::emit))
        .route("/sandbox/whatsapp/verify", post(control::verify_whatsapp))
        .route("/sandbox/whatsapp/inbound", post(control::whatsapp_inbound))
        .route("/sandbox/whatsapp/preference", post(control::whatsapp_preference))
        .route("/sandbox/whatsapp/template", put(control::whatsapp_template))
        .route("/sandbox/audit", get(control::audit).delete(control::reset_audit))
        .route("/sandbox/audit/messages", get(control::audit_messages))
        .route("/sandbox/audit/message/{id}", get(control::audit_message))
        .route("/sandbox/audit/arrivals", get(control::audit_arrivals))
        .fallback(|| async { brevo::no_such_path() })
        .with_state(world)
}

async fn send(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match SendRoute::of(&parts.method, parts.uri.path()) {
        Some(route) => sends::answer(&world, route, &parts, body).await,
        None => brevo::no_such_path(),
    }
}

async fn email_events(State(world): State<Arc<World>>, headers: HeaderMap, uri: Uri) -> Response<Body> {
    brevo::events::email(&world, &headers, &uri)
}

async fn sms_events(State(world): State<Arc<World>>, headers: HeaderMap, uri: Uri) -> Response<Body> {
    brevo::events::sms(&world, &headers, &uri)
}

async fn account(State(world): State<Arc<World>>, headers: HeaderMap) -> Response<Body> {
    brevo::account::show(&world, &headers)
}

async fn phone_number(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    Path((_version, phone_number_id)): Path<(String, String)>,
) -> Response<Body> {
    whatsapp::phone_number(&world, &headers, &phone_number_id)
}

async fn templates(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    Path((_version, business)): Path<(String, String)>,
    uri: Uri,
) -> Response<Body> {
    whatsapp::templates::list(&world, &headers, &business, &uri)
}

async fn submit_template(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    Path((_version, business)): Path<(String, String)>,
    body: Bytes,
) -> Response<Body> {
    whatsapp::templates::submit(&world, &headers, &business, &body)
}

async fn change_template(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    Path((_version, template)): Path<(String, String)>,
    body: Bytes,
) -> Response<Body> {
    whatsapp::templates::change(&world, &headers, &template, &body)
}
