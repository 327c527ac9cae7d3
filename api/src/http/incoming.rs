//! Bodies on their way in: how large one may be, and why one does not come to its end.

use std::{error::Error, iter::successors, time::Duration};

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use http_body_util::{BodyExt as _, LengthLimitError};
use hyper::body::Incoming;
use tokio::time::timeout;
use tower_http::timeout::{TimeoutBody, TimeoutError};

use super::problem::{Code, Problem};

/// Of a JSON body; files have limits of their own.
pub(crate) const LARGEST: usize = 8 << 20;
/// Of one whose sender nobody knows: more than any form that such people fill in.
pub(crate) const LARGEST_OF_STRANGERS: usize = 64 << 10;

/// Ends a body of which nothing comes for as long as a connection may say nothing.
pub(crate) fn in_time(body: Incoming, idle: Duration) -> Body {
    // One that is empty goes on telling so, to whoever needs none.
    if body.is_end_stream() { Body::new(body) } else { Body::new(TimeoutBody::new(idle, body)) }
}

/// All of a body, if no pause in it is as long as `idle`. One that has come whole costs no timer.
pub(crate) async fn whole_in_time(
    mut body: Incoming,
    most: usize,
    idle: Duration,
) -> Result<Vec<u8>, Problem> {
    let mut whole = Vec::new();
    while let Some(frame) = timeout(idle, body.frame()).await.map_err(|_| Code::Stalled)? {
        let frame = frame.map_err(|error| unfinished(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > most {
            return Err(Code::TooLarge.into());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// All of a body.
pub(crate) async fn whole(body: Body, most: usize) -> Result<Bytes, Problem> {
    to_bytes(body, most).await.map_err(|error| {
        if is::<LengthLimitError>(&error) { Code::TooLarge.into() } else { unfinished(&error) }
    })
}

/// What is said about a body that ended before its end.
pub(crate) fn unfinished(error: &(dyn Error + 'static)) -> Problem {
    if stalled(error) {
        return Code::Stalled.into();
    }
    Problem::say(Code::Malformed, format!("The body broke off: {error}."))
}

/// Whether its sender fell silent.
pub(crate) fn stalled(error: &(dyn Error + 'static)) -> bool {
    is::<TimeoutError>(error)
}

fn is<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    successors(Some(error), |&error| error.source()).any(|error| error.is::<E>())
}
