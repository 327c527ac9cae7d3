//! The frame of every page.

use std::{borrow::Cow, sync::LazyLock};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::words::Language;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1.0625rem/1.5 system-ui,sans-serif;margin:0;padding:1.5rem;color:#1c2024;background:#f6f7f8}\
main{max-width:34rem;margin:4vh auto;padding:1.5rem 2rem;background:#fff;border-radius:.75rem;border:1px solid #d5d9dd}\
h1{font-size:1.4rem;line-height:1.3;margin:0 0 1rem}\
fieldset{border:0;padding:0;margin:0 0 1rem}\
legend{padding:0;margin-bottom:.5rem}\
label{display:block;padding:.5rem 0}\
input{width:1.15rem;height:1.15rem;vertical-align:-.2rem;margin-right:.6rem}\
button{font:inherit;padding:.65rem 1.2rem;margin:.25rem .5rem .25rem 0;border-radius:.5rem;border:1px solid #1d4ed8;background:#1d4ed8;color:#fff;cursor:pointer}\
button.plain{background:transparent;color:inherit;border-color:#6b7280}\
a{color:#1d4ed8}\
small{display:block;color:#4b5563}\
:focus-visible{outline:3px solid #f59e0b;outline-offset:2px}\
@media (prefers-color-scheme:dark){body{color:#e6e8ea;background:#101214}main{background:#181b1e;border-color:#33383d}a{color:#93b4ff}small{color:#a7adb4}}";

/// The one style is allowed by its hash; everything else that a page could load is not.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("plain ASCII")
});

#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) status: StatusCode,
    pub(super) language: Language,
    pub(super) title: Cow<'a, str>,
    pub(super) body: Markup,
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        let page = html! {
            (DOCTYPE)
            html lang=(self.language.tag()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex, nofollow";
                    meta name="referrer" content="no-referrer";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        h1 { (self.title) }
                        (self.body)
                    }
                }
            }
        };
        let headers = [
            (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
            (header::CONTENT_LANGUAGE, HeaderValue::from_static(self.language.tag())),
        ];
        (self.status, headers, Html(page.into_string())).into_response()
    }
}
