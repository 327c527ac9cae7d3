//! What Brevo's e-mail and SMS webhooks have in common: one event a request, or many.

use serde_json::Value;

use crate::{
    domain::event::EventKind,
    id::MessageId,
    providers::{HookError, HookItem, loose},
};

/// Reads a body with `item`. It is one event, a list of them, or an object that holds the list: the form of a batch is
/// not documented.
pub(super) fn parse(body: &[u8], item: impl Fn(&Value) -> Vec<HookItem>) -> Result<Vec<HookItem>, HookError> {
    let body: Value = serde_json::from_slice(body).map_err(|_| HookError::Malformed)?;
    let events = match &body {
        Value::Array(events) => events.as_slice(),
        Value::Object(fields) => match fields.get("events") {
            Some(Value::Array(events)) => events.as_slice(),
            _ => std::slice::from_ref(&body),
        },
        _ => return Err(HookError::Malformed),
    };
    if !events.iter().all(Value::is_object) {
        return Err(HookError::Malformed);
    }
    Ok(events.iter().flat_map(item).collect())
}

/// The first of our message ids among the tags, in whichever form they come.
pub(super) fn tagged(event: &Value) -> Option<MessageId> {
    let tags = loose::list(event.get("tag")).into_iter().chain(loose::list(event.get("tags")));
    tags.flat_map(|tag| tag.split(',').filter_map(|t| t.trim().parse().ok()).collect::<Vec<_>>()).next()
}

/// Whether a message can have several events of this kind, each at its own time.
pub(super) const fn repeats(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Deferred
            | EventKind::SoftBounced
            | EventKind::Opened
            | EventKind::Clicked
            | EventKind::Replied
    )
}
