//! What was done about a policy, a case, or whatever else callers refer to.

use std::collections::BTreeMap;

use axum::extract::{Path, State, rejection::PathRejection};
use fanfare_engine::{
    domain::{permission::needs, references},
    store::message_search,
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Work;
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        problem::{Code, Problem},
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(referred))
}

/// What was done about a reference.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Referred {
    name: String,
    value: String,
    messages: i64,
    /// When a provider last accepted a message; absent if none ever was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_contact_at: Option<Timestamp>,
    /// How often it was tried over each channel.
    #[schema(example = json!({"sms": 2, "whatsapp": 1}))]
    attempts: BTreeMap<&'static str, i64>,
}

/// How often, and when last, somebody was written to about a policy, a case or whatever a reference names. The messages
/// themselves are listed by `GET /api/messages?reference=name:value`.
#[utoipa::path(get, path = "/api/references/{name}/{value}", tag = "messages", security(("bearer" = ["messages:read"])),
    params(("name" = String, Path, description = "As in `policyId`"), ("value" = String, Path, description = "As in `POL123456`")),
    responses((status = 200, description = "Zeros where nothing was sent", body = Envelope<Referred>)))]
async fn referred(
    State(service): State<Service>,
    may: May<needs::MessagesRead>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Data<Referred>, Problem> {
    let Path((name, value)) = path.map_err(|_| Code::NotFound)?;
    if references::pair(&format!("{name}:{value}")) != Some((name.as_str(), value.as_str())) {
        return Err(Code::NotFound.into());
    }
    may.caller.may_list_everybody()?;
    let mut work = Work::read(&service, &may.caller).await?;
    let contacted = message_search::contacted(&mut work.tx, may.caller.tenant, &name, &value).await?;
    work.end();
    Ok(Data(Referred {
        messages: contacted.iter().map(|channel| channel.messages).sum(),
        last_contact_at: contacted.iter().filter_map(|channel| channel.last).max(),
        attempts: contacted.iter().map(|channel| (channel.channel.as_str(), channel.attempts)).collect(),
        name,
        value,
    }))
}
