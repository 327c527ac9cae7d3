//! Bodies that are taken, and where texts stand in them.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{contract::good_body, open::PASSWORD};

/// In a good body: another number each time.
pub(crate) const NUMBER: &str = "@@number@@";

/// Where texts stand in a body, as JSON pointers.
pub(super) fn texts(document: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#')).unwrap();
        return texts(document, schema, at, found);
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        for one in schema[several].as_array().into_iter().flatten() {
            texts(document, one, at, found);
        }
    }
    let is = |kind: &str| {
        let types = &schema["type"];
        types == kind || types.as_array().is_some_and(|types| types.iter().any(|one| one == kind))
    };
    let anything = ["type", "oneOf", "anyOf", "allOf"].iter().all(|key| schema.get(key).is_none());
    if is("string") || anything {
        found.insert(at.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        texts(document, property, &format!("{at}/{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        texts(document, items, &format!("{at}/0"), found);
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        texts(document, values, &format!("{at}/key"), found);
    }
    if is("object") && schema.get("properties").is_none() && schema.get("additionalProperties").is_none() {
        found.insert(format!("{at}/key"));
    }
}

/// The body with a text at this place; what leads there is made.
pub(super) fn with(body: &Value, pointer: &str, text: Value) -> Value {
    let Some((name, rest)) = pointer.strip_prefix('/').map(|path| path.split_once('/').unwrap_or((path, "")))
    else {
        return text;
    };
    let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
    if name == "0" {
        let first = body.get(0).cloned().unwrap_or(Value::Null);
        return json!([with(&first, &rest, text)]);
    }
    let mut members = body.as_object().cloned().unwrap_or_default();
    let member = members.remove(name).unwrap_or(Value::Null);
    members.insert(name.to_owned(), with(&member, &rest, text));
    Value::Object(members)
}

/// All texts at the end of this path, wherever in the answer it begins; of a list in it, those of all items.
pub(super) fn found<'a>(answer: &'a Value, path: &[&str], all: &mut Vec<&'a str>) {
    at(answer, path, all);
    match answer {
        Value::Array(items) => items.iter().for_each(|item| found(item, path, all)),
        Value::Object(members) => members.values().for_each(|member| found(member, path, all)),
        _ => {}
    }
}

fn at<'a>(value: &'a Value, path: &[&str], all: &mut Vec<&'a str>) {
    match (path, value) {
        ([], Value::String(text)) => all.push(text),
        (["0", rest @ ..], Value::Array(items)) => items.iter().for_each(|item| at(item, rest, all)),
        ([name, rest @ ..], Value::Object(members)) => {
            members.get(*name).into_iter().for_each(|member| at(member, rest, all));
        }
        _ => {}
    }
}

/// A body that is taken, with all its texts where that can be.
pub(crate) fn full(method: &Method, path: &str, soon: &str) -> Value {
    let email = json!({"subject": "S", "content": "<p>Hello</p>", "format": "html", "preheader": "p", "text": "t",
                       "notation": "handlebars"});
    match (method.as_str(), path) {
        ("POST", "/api/keys") => json!({"name": "k", "scopes": ["users:read"]}),
        ("POST", "/api/roles") => {
            json!({"slug": format!("r{NUMBER}"), "name": "n", "description": "d", "permissions": []})
        }
        ("POST", "/api/users") => {
            json!({"email": format!("u{NUMBER}@acme.example"), "firstName": "F", "lastName": "L", "role": "auditor"})
        }
        ("POST", "/api/contacts") => {
            json!({"email": format!("c{NUMBER}@acme.example"), "name": "N", "branch": "b", "attributes": {}})
        }
        ("POST", "/api/suppressions") => json!({"address": "naughty@acme.example", "channel": "email"}),
        ("POST", "/api/templates") => {
            let mut body = email;
            (body["name"], body["type"]) = (json!("T"), json!("email"));
            body
        }
        (_, "/api/templates/{template_id}/versions" | "/api/templates/{template_id}/versions/{version}") => {
            email
        }
        ("PATCH", "/api/templates/{template_id}") => json!({"name": "T"}),
        ("POST", "/api/campaigns") => json!({"name": "N", "type": "sms", "templates": {"sms": "theirs"}}),
        ("POST", "/api/communication/email/send") => {
            json!({"to": "b@acme.example", "subject": "s", "message": "m", "scheduledAt": soon, "references": {}})
        }
        ("POST", "/api/communication/sms/send") => {
            json!({"to": "+23052345678", "message": "m", "scheduledAt": soon, "references": {}})
        }
        ("POST", "/api/communication/whatsapp/send") => {
            json!({"to": "+23052345678", "templateId": "renewal_reminder", "scheduledAt": soon,
                   "parameters": {"name": "n", "policy_number": "p", "expiry_date": "e"}})
        }
        ("POST", "/api/conversions") => json!({"kind": "payment", "reference": "r"}),
        ("POST", "/api/notifications/broadcast") => json!({"title": "t", "message": "m", "data": {}}),
        ("PUT", "/api/notifications/preferences") => {
            json!({"preferences": [{"type": "policy", "channels": ["email"]}]})
        }
        ("POST", "/api/upload/sessions") => {
            json!({"filename": "a.csv", "size": 100, "metadata": {"description": "d"}})
        }
        ("POST", "/api/accounts") => json!({"slug": format!("a{NUMBER}"), "provider": "in_app"}),
        ("PUT", "/api/auth/profile") => json!({"firstName": "A", "lastName": "B"}),
        ("POST", "/api/auth/login") => json!({"email": "nobody@acme.example", "password": PASSWORD}),
        ("POST", "/api/auth/register") => {
            json!({"email": format!("n{NUMBER}@acme.example"), "password": PASSWORD, "firstName": "N"})
        }
        ("POST", "/api/auth/refresh") => json!({"refreshToken": "ffr_x"}),
        ("PUT", "/api/auth/change-password") => {
            json!({"currentPassword": "not this one", "newPassword": PASSWORD})
        }
        (_, "/api/auth/second-factor") => json!({"password": "not this one"}),
        ("POST", "/api/auth/forgot-password") => json!({"email": "nobody@acme.example"}),
        ("PUT", "/api/settings/registration") => json!({"role": "customer"}),
        ("PUT", "/api/settings/send-caps") => json!({"channel": "sms", "prefix": "999", "perDay": 1000}),
        ("POST", "/api/settings/allowed-addresses") => {
            json!({"channel": "email", "address": "a@acme.example"})
        }
        _ => good_body(method, path),
    }
}
