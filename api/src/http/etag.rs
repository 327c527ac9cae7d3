//! Conditions on edits: a thing is answered with an `ETag`, and an edit that bears it as `If-Match` is refused when somebody
//! else was quicker. The tag is the moment of the last change, in microseconds: two changes of one row never share it.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;

use super::problem::{Code, Problem};

/// An answer with the tag of what it shows.
#[derive(Debug)]
pub(crate) struct Tagged<T>(pub(crate) Timestamp, pub(crate) T);

impl<T: IntoResponse> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        let tag = HeaderValue::from_str(&tag(self.0)).expect("digits in quotes");
        response.headers_mut().insert(header::ETAG, tag);
        response
    }
}

fn tag(changed: Timestamp) -> String {
    format!("\"{}\"", changed.as_microsecond())
}

/// What an edit demands of the thing that it edits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IfMatch(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::read(&parts.headers)
    }
}

impl IfMatch {
    fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::IF_MATCH) else { return Ok(Self::default()) };
        let text =
            value.to_str().map_err(|_| Problem::field("If-Match", "must be an ETag as it was answered"))?;
        Ok(Self((text != "*").then(|| text.to_owned())))
    }

    /// To be asked of the row under the lock of the edit.
    pub(crate) fn check(&self, changed: Timestamp) -> Result<(), Problem> {
        let current = tag(changed);
        let named = |tags: &String| tags.split(',').any(|one| one.trim() == current);
        if self.0.as_ref().is_none_or(named) { Ok(()) } else { Err(Code::Changed.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(text: &'static str) -> IfMatch {
        let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(text))]);
        IfMatch::read(&headers).expect("readable")
    }

    #[test]
    fn only_what_was_read_may_be_edited() {
        let changed = Timestamp::from_microsecond(1_700_000_000_000_001).expect("in range");
        assert_eq!(IfMatch::default().check(changed), Ok(()));
        assert_eq!(demand("*").check(changed), Ok(()));
        assert_eq!(demand("\"1\", \"1700000000000001\"").check(changed), Ok(()));
        assert_eq!(demand("\"1700000000000000\"").check(changed), Err(Code::Changed.into()));
        assert_eq!(demand("W/\"1700000000000001\"").check(changed), Err(Code::Changed.into()));
    }
}
