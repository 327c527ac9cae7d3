//! Templates that somebody submits: kept as pending until the control says what Meta says.

use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, Response, StatusCode, Uri, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::GraphError;
use crate::reply;
use crate::world::{WhatsappDesk, World};

/// A template as it was submitted, with where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Submitted {
    #[serde(skip)]
    business: String,
    id: String,
    name: String,
    language: String,
    category: String,
    status: String,
    rejected_reason: String,
    components: Value,
}

/// Everything that was submitted since the start.
#[derive(Debug, Default)]
pub(crate) struct Submissions(Mutex<Vec<Submitted>>);

const FIRST_ID: usize = 900_001;

impl Submissions {
    fn with<T>(&self, change: impl FnOnce(&mut Vec<Submitted>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What Meta says of a template; false when nobody submitted it.
    pub(crate) fn judge(&self, name: &str, status: &str, reason: Option<&str>) -> bool {
        self.with(|all| {
            let mut found = false;
            for template in all.iter_mut().filter(|template| template.name == name) {
                status.clone_into(&mut template.status);
                reason.unwrap_or("NONE").clone_into(&mut template.rejected_reason);
                found = true;
            }
            found
        })
    }
}

fn desk<'w>(world: &'w World, headers: &HeaderMap) -> Result<&'w WhatsappDesk, GraphError> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        token.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(|| GraphError::of_code(104))?;
    world.whatsapp_desk_of_token(token).ok_or_else(|| GraphError::of_code(190))
}

fn business<'w>(world: &'w World, headers: &HeaderMap, id: &str) -> Result<&'w str, GraphError> {
    let own = &desk(world, headers)?.account.business_account_id;
    if own == id { Ok(own) } else { Err(missing()) }
}

fn missing() -> GraphError {
    GraphError::parameter("Object with this id does not exist or cannot be loaded due to missing permissions")
}

fn answer(world: &World, answer: Result<Value, GraphError>) -> Response<Body> {
    match answer {
        Ok(body) => reply::json(StatusCode::OK, body.to_string()),
        Err(error) => error.response(world.dice.draw()),
    }
}

#[derive(Deserialize)]
struct Order {
    name: String,
    language: String,
    category: String,
    components: Vec<Value>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    category: Option<String>,
    components: Vec<Value>,
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, GraphError> {
    serde_json::from_slice(body).map_err(|error| GraphError::parameter(error.to_string()))
}

#[derive(Deserialize)]
struct Part {
    #[serde(default = "usual")]
    limit: usize,
    #[serde(default)]
    after: String,
}

const fn usual() -> usize {
    25
}

/// Each parameter has an example, and there is one body.
fn check(components: &[Value]) -> Result<(), GraphError> {
    let bodies: Vec<&Value> = components.iter().filter(|component| component["type"] == "BODY").collect();
    let [body] = bodies[..] else { return Err(GraphError::parameter("a template has one BODY")) };
    let text = body["text"].as_str().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| GraphError::missing("components['text']"))?;
    let wanted = text.matches("{{").count();
    let examples = &body["example"];
    let given = examples["body_text"][0].as_array().or_else(|| examples["body_text_named_params"].as_array());
    if wanted > 0 && given.map_or(0, Vec::len) != wanted {
        return Err(GraphError::parameter("the BODY lacks examples of its parameters"));
    }
    Ok(())
}

/// `POST /{version}/{business-account-id}/message_templates`.
pub(crate) fn submit(world: &World, headers: &HeaderMap, id: &str, body: &[u8]) -> Response<Body> {
    let submitted = || {
        let business = business(world, headers, id)?.to_owned();
        let Order { name, language, category, components } = read(body)?;
        check(&components)?;
        if !["MARKETING", "UTILITY", "AUTHENTICATION"].contains(&category.as_str()) {
            return Err(GraphError::parameter("Param category is not valid"));
        }
        world.submissions.with(|all| {
            if all
                .iter()
                .any(|known| known.business == business && known.name == name && known.language == language)
            {
                return Err(GraphError::parameter("Content in this language already exists"));
            }
            let id = (FIRST_ID + all.len()).to_string();
            let answer = json!({"id": id, "status": "PENDING", "category": category});
            let (status, rejected_reason) = ("PENDING".to_owned(), "NONE".to_owned());
            let components = Value::Array(components);
            all.push(Submitted {
                business,
                id,
                name,
                language,
                category,
                status,
                rejected_reason,
                components,
            });
            Ok(answer)
        })
    };
    answer(world, submitted())
}

/// `POST /{version}/{template-id}`: other words in the place of those.
pub(crate) fn change(world: &World, headers: &HeaderMap, id: &str, body: &[u8]) -> Response<Body> {
    let changed = || {
        let business = desk(world, headers)?.account.business_account_id.clone();
        let Change { category, components } = read(body)?;
        check(&components)?;
        world.submissions.with(|all| {
            let known = all.iter_mut().find(|known| known.business == business && known.id == id);
            let known = known.ok_or_else(missing)?;
            if known.status == "PENDING" {
                return Err(GraphError::parameter("a template in review can't be changed"));
            }
            known.components = Value::Array(components);
            known.category = category.unwrap_or_else(|| known.category.clone());
            "PENDING".clone_into(&mut known.status);
            Ok(json!({"success": true}))
        })
    };
    answer(world, changed())
}

/// `GET /{version}/{business-account-id}/message_templates`, by pages of `limit` after the id `after`.
pub(crate) fn list(world: &World, headers: &HeaderMap, id: &str, uri: &Uri) -> Response<Body> {
    let listed = || {
        let business = business(world, headers, id)?;
        let Query(Part { limit, after }) =
            Query::try_from_uri(uri).map_err(|error| GraphError::parameter(error.to_string()))?;
        Ok(world.submissions.with(|all| {
            let rest: Vec<&Submitted> =
                all.iter().filter(|known| known.business == business && known.id > after).collect();
            let page = &rest[..limit.min(rest.len())];
            let mut body = json!({"data": page});
            if let Some(last) = page.last() {
                body["paging"] = json!({"cursors": {"after": last.id}});
                if page.len() < rest.len() {
                    body["paging"]["next"] = json!("https://graph.facebook.com/next");
                }
            }
            body
        }))
    };
    answer(world, listed())
}
