//! What comes in: bodies, queries and paths, read strictly. A field that is unknown, missing or of the wrong kind is named.

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, header, request::Parts},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    incoming::{LARGEST, LARGEST_OF_STRANGERS, whole},
    objects::Objects,
    problem::{Code, FieldError, Problem},
};
use crate::auth::caller::SignedIn;

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

/// The query of a URL.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// The one id in a path; what is no id of its kind names nothing.
#[derive(Debug)]
pub(crate) struct PathId<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Code::WrongContentType.into());
        }
        let most =
            if SignedIn::seen(request.extensions()).is_some() { LARGEST } else { LARGEST_OF_STRANGERS };
        read(&whole(request.into_body(), most).await?).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads JSON; the error bears the path to what was wrong.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    keepable(bytes)?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(Objects(&mut json)).map_err(|error| {
        if error.inner().is_data() {
            Problem::field(named(&error.path().to_string()), error.inner().to_string())
        } else {
            Problem::say(Code::Malformed, format!("The body is no JSON: {}.", error.inner()))
        }
    })?;
    json.end().map_err(|error| Problem::say(Code::Malformed, format!("The body is no JSON: {error}.")))?;
    Ok(value)
}

/// The database keeps any text but one with NUL in it: such a one is named here, whatever field it is meant for.
fn keepable(bytes: &[u8]) -> Result<(), Problem> {
    // JSON has no other way to write it.
    if !std::str::from_utf8(bytes).is_ok_and(|text| text.contains("\\u0000")) {
        return Ok(());
    }
    // What is no JSON is told where it is read.
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Ok(()) };
    let mut errors = Vec::new();
    find_nul(&value, String::new(), &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(Problem::fields(errors)) }
}

fn find_nul(value: &Value, path: String, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(text) if text.contains('\0') => {
            errors.push(nul(if path.is_empty() { "body" } else { &path }))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| find_nul(item, format!("{path}[{at}]"), errors));
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if name.contains('\0') {
                    errors.push(nul(&place.replace('\0', "\u{fffd}")));
                }
                find_nul(field, place, errors);
            }
        }
        _ => {}
    }
}

fn nul(field: &str) -> FieldError {
    FieldError { field: field.to_owned(), message: "holds the character NUL, which no text may".to_owned() }
}

fn named(path: &str) -> String {
    if path == "." { "body".to_owned() } else { path.to_owned() }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let fields = form_urlencoded::parse(query.as_bytes());
        if let Some((name, _)) = fields.clone().find(|(_, value)| value.contains('\0')) {
            return Err(Problem::fields(vec![nul(&name)]));
        }
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(fields))
            .map(Self)
            .map_err(|error| Problem::field(named(&error.path().to_string()), error.inner().to_string()))
    }
}

impl<T: std::str::FromStr + Send, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|_| Code::NotFound)?;
        text.parse().map(Self).map_err(|_| Code::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_an_object_is_an_object() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            #[serde(default)]
            free: serde_json::Map<String, Value>,
            inner: Option<Box<Asked>>,
        }
        for (json, field) in [
            ("[]", "body"),
            ("null", "body"),
            (r#"{"free": null}"#, "free"),
            (r#"{"free": []}"#, "free"),
            (r#"{"inner": [{}, null]}"#, "inner"),
            (r#"{"inner": {"inner": []}}"#, "inner.inner"),
        ] {
            let problem = format!("{:?}", read::<Asked>(json.as_bytes()).expect_err(json));
            assert!(problem.contains(&format!("field: \"{field}\"")), "{json}: {problem}");
        }
        let sound = read::<Asked>(br#"{"free": {"a": [1, null, {"b": 2.5}]}, "inner": {"inner": null}}"#)
            .expect("sound");
        assert_eq!(Value::Object(sound.free), serde_json::json!({"a": [1, null, {"b": 2.5}]}));
        assert_eq!(sound.inner.map(|inner| (inner.free.len(), inner.inner)), Some((0, None)));
    }

    #[test]
    fn every_text_with_nul_is_named() {
        let refused = |json: &str| format!("{:?}", read::<Value>(json.as_bytes()).expect_err(json));
        let problem = refused(r#"{"a": [{"b": "x\u0000"}, "\u0000"], "c": "d", "\u0000": 1}"#);
        for field in ["a[0].b", "a[1]", "\u{fffd}"] {
            assert!(problem.contains(&format!("field: \"{field}\"")), "{field}: {problem}");
        }
        assert!(refused(r#""\u0000""#).contains("field: \"body\""));
        assert_eq!(read::<String>(br#""\\u0000""#), Ok("\\u0000".to_owned()), "a text about it");
    }
}
