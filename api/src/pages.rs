//! The page that a link for a password leads to. It holds nothing of anybody: the link's secret stays in the browser, which
//! posts it with the password to the API.

use axum::{
    Router,
    http::{HeaderName, header},
    response::IntoResponse,
    routing::get,
};
use fanfare_engine::store::sign_in::LinkPurpose;

use crate::service::Service;

/// Its own script, its own origin, inside nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn routes() -> Router<Service> {
    Router::new()
        .route(
            "/password",
            get(|| async { page("text/html; charset=utf-8", include_str!("pages/password.html")) }),
        )
        .route(
            "/password.js",
            get(|| async { page("text/javascript; charset=utf-8", include_str!("pages/password.js")) }),
        )
}

fn page(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text)
}

/// The route that takes a link's token.
pub(crate) const fn route(purpose: LinkPurpose) -> &'static str {
    match purpose {
        LinkPurpose::Invitation => "accept-invitation",
        LinkPurpose::PasswordReset => "reset-password",
    }
}

/// Where a person opens a link.
pub(crate) fn link(base: &str, purpose: LinkPurpose, token: &str) -> String {
    format!("{base}/password#{}/{token}", route(purpose))
}
