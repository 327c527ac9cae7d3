//! Pages for recipients: the one kind of route that nobody signs in for. A signed token in the path says for which message it
//! stands and what for (see [`fanfare_engine::domain::token`]); whoever holds it is taken for whom the message was sent to.
//!
//! Nothing is changed by a GET, since gateways and mail programs follow every link; an unsubscription by POST needs no further step
//! (RFC 8058). A token that is none, or is for something else, gets the same answer whatever is wrong with it. The pages hold no
//! script, load nothing, set no cookie, and are in no index.

mod page;
mod preferences;
mod unsubscribe;
mod visits;
mod words;

use axum::{
    Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use fanfare_engine::{
    domain::token::Purpose,
    id::MessageId,
    store::{StoreError, public::Holder},
};

use serde::de::DeserializeOwned;

use self::{page::Page, words::Language};
use crate::{auth::peer, service::Service};

/// Of a form, or of what a mail program sends.
const LARGEST_FORM: usize = 16 << 10;

pub(crate) fn routes(service: Service) -> Router<Service> {
    Router::new()
        .route("/u/{token}", get(unsubscribe::ask).post(unsubscribe::unsubscribe))
        .route("/p/{token}", get(preferences::show).post(preferences::save))
        .route("/o/{token}", get(visits::open))
        .route("/c/{token}/{link}", get(visits::click))
        .route("/s/{code}", get(visits::short))
        .layer(from_fn_with_state(service, limited))
}

/// The part of a path that holds no token: what a log may show.
pub(crate) fn without_token(path: &str) -> &str {
    match path.get(..3) {
        Some(kind @ ("/u/" | "/p/" | "/o/" | "/c/" | "/s/")) => kind,
        _ => path,
    }
}

async fn limited(State(service): State<Service>, request: Request, next: Next) -> Response {
    let mut response = match service.limits.visitor(peer(&request)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    response.headers_mut().insert("x-robots-tag", HeaderValue::from_static("noindex, nofollow, noarchive"));
    response
}

/// Why there is no page.
#[derive(Debug)]
enum Gone {
    /// Whatever is wrong with the link.
    NoSuchLink(Language),
    Away(Language),
}

impl Gone {
    fn away(language: Language) -> impl FnOnce(StoreError) -> Self {
        move |error| {
            tracing::error!(%error, "a page for a recipient could not be made");
            Self::Away(language)
        }
    }
}

impl IntoResponse for Gone {
    fn into_response(self) -> Response {
        let (status, language, words) = match self {
            Self::NoSuchLink(language) => (StatusCode::NOT_FOUND, language, language.words().no_such_link),
            Self::Away(language) => (StatusCode::SERVICE_UNAVAILABLE, language, language.words().away),
        };
        let (title, text) = words;
        Page { status, language, title: title.into(), body: maud::html! { p { (text) } } }.into_response()
    }
}

/// What stands in the path, whatever it is.
#[derive(Debug)]
struct InPath<T>(T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Gone;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Gone> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path)).map_err(|_| Gone::NoSuchLink(asked(&parts.headers)))
    }
}

/// The message of a token.
fn message(service: &Service, purpose: Purpose, token: &str, headers: &HeaderMap) -> Result<MessageId, Gone> {
    service.links.read(purpose, token).ok_or_else(|| Gone::NoSuchLink(asked(headers)))
}

/// Whom the token's message was sent to, and in which language they read.
async fn holder(
    service: &Service,
    purpose: Purpose,
    token: &str,
    headers: &HeaderMap,
) -> Result<(Holder, Language), Gone> {
    let asked = asked(headers);
    of_message(service, message(service, purpose, token, headers)?, asked).await
}

async fn of_message(
    service: &Service,
    message: MessageId,
    asked: Language,
) -> Result<(Holder, Language), Gone> {
    let holder = service.store.holder(message).await.map_err(Gone::away(asked))?;
    let holder = holder.ok_or(Gone::NoSuchLink(asked))?;
    let language = Language::of(&holder.locale);
    Ok((holder, language))
}

/// What a browser would rather read, where nobody is known yet.
fn asked(headers: &HeaderMap) -> Language {
    let text = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    text.map_or(Language::English, Language::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_show_no_token() {
        for (path, shown) in [
            ("/u/AXU", "/u/"),
            ("/c/AXU/0f", "/c/"),
            ("/o/AX.gif", "/o/"),
            ("/api/users", "/api/users"),
            ("/", "/"),
        ] {
            assert_eq!(without_token(path), shown);
        }
    }
}
