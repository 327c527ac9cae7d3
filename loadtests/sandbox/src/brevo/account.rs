//! `GET /v3/account`: what clients call to see whether a key works.

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use serde_json::json;

use super::{stranger, with_quota};
use crate::reply;
use crate::world::World;

pub(crate) fn show(world: &World, headers: &HeaderMap) -> Response<Body> {
    let Some(desk) = world.brevo_desk(headers) else { return stranger() };
    let body = json!({
        "organization_id": format!("sandbox-{}", desk.number),
        "user_id": desk.number,
        "enterprise": false,
        "email": format!("{}@sandbox.example", desk.account.name),
        "firstName": "Sandbox",
        "lastName": desk.account.name,
        "companyName": "Sandbox",
        "address": {"street": "1 Sandbox Street", "city": "Port Louis", "zipCode": "11101", "country": "Mauritius"},
        "plan": [{"type": "payAsYouGo", "credits": 1_000_000, "creditsType": "sendLimit"}],
        "relay": {"enabled": true, "data": {"userName": "sandbox@example.com", "relay": "smtp-relay.example.com", "port": 587}},
        "marketingAutomation": {"enabled": false},
    });
    with_quota(reply::json(StatusCode::OK, body.to_string()), desk.email_limit.peek(&world.clock))
}
