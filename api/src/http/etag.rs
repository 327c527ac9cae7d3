//! Conditions on edits: a thing is answered with an `ETag`, and an edit that bears it as `If-Match` is refused when somebody
//! else was quicker. The tag of a row is the moment of its last change, in microseconds: two changes of one row never share
//! it. What is no row of its own, as a setting or a list that is edited as a whole, has a tag of what it says.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{
    envelope::Data,
    problem::{Code, Problem},
};

/// An `ETag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag(String);

impl From<Timestamp> for Tag {
    fn from(changed: Timestamp) -> Self {
        Self(format!("\"{}\"", changed.as_microsecond()))
    }
}

impl Tag {
    /// Of what is shown, as it is shown.
    pub(crate) fn of(shown: &impl Serialize) -> Self {
        let hash = Sha256::digest(serde_json::to_vec(shown).expect("what is shown is JSON"));
        Self(format!("\"{}\"", hex::encode(&hash[..16])))
    }
}

/// An answer with the tag of what it shows.
#[derive(Debug)]
pub(crate) struct Tagged<T>(Tag, T);

impl<T> Tagged<T> {
    pub(crate) fn new(tag: impl Into<Tag>, answer: T) -> Self {
        Self(tag.into(), answer)
    }
}

impl<T: Serialize> Tagged<Data<T>> {
    /// With the tag of all that it shows.
    pub(crate) fn whole(shown: T) -> Self {
        Self(Tag::of(&shown), Data(shown))
    }
}

impl<T: IntoResponse> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        let tag = HeaderValue::from_str(&self.0.0).expect("letters and digits in quotes");
        response.headers_mut().insert(header::ETAG, tag);
        response
    }
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

    /// To be asked of what is there under the lock of the edit.
    pub(crate) fn check(&self, current: impl Into<Tag>) -> Result<(), Problem> {
        let Tag(current) = current.into();
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

    #[test]
    fn what_says_something_else_has_another_tag() {
        let Tag(shown) = Tag::of(&["a", "b"]);
        assert!(shown.len() == 34 && shown.starts_with('"') && shown.ends_with('"'), "{shown}");
        assert_eq!(Tag::of(&["a", "b"]), Tag(shown));
        assert_ne!(Tag::of(&["a", "b"]), Tag::of(&["ab"]));
    }
}
