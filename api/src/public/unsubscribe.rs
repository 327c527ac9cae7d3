//! Ending marketing over a message's channel: a page that asks, and a POST that does it.

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use fanfare_engine::{
    domain::{address::masked, token::Purpose},
    store::public::Holder,
};
use maud::html;

use super::{Gone, InPath, LARGEST_FORM, holder, page::Page, words::Language};
use crate::service::Service;

/// `GET /u/{token}`: changes nothing.
pub(super) async fn ask(
    State(service): State<Service>,
    InPath(token): InPath<String>,
    headers: HeaderMap,
) -> Result<Page<'static>, Gone> {
    let (holder, language) = holder(&service, Purpose::Unsubscribe, &token, &headers).await?;
    let words = language.words();
    let body = html! {
        p { (told(words.ask_text, &holder, language)) }
        p { (words.still) }
        // To where the page is.
        form method="post" {
            button type="submit" { (words.unsubscribe) }
        }
        (to_preferences(&service, &holder, language))
    };
    let title = words.ask.replace("{}", &holder.organisation);
    Ok(Page { status: StatusCode::OK, language, title: title.into(), body })
}

/// `POST /u/{token}`: by the page's button, or by a mail program with one click.
pub(super) async fn unsubscribe(
    State(service): State<Service>,
    InPath(token): InPath<String>,
    request: Request,
) -> Result<Page<'static>, Gone> {
    let (parts, body) = request.into_parts();
    let (holder, language) = holder(&service, Purpose::Unsubscribe, &token, &parts.headers).await?;
    // Whoever posts to this link wants to be let go; the body only tells how they did it.
    let body = to_bytes(body, LARGEST_FORM).await.unwrap_or_default();
    let one_click = has(&body, b"List-Unsubscribe") && has(&body, b"One-Click");
    let source = if one_click { "one_click" } else { "unsubscribe_page" };
    service.store.unsubscribe(&holder, source).await.map_err(Gone::away(language))?;
    let words = language.words();
    let body = html! {
        p role="status" { (told(words.done_text, &holder, language)) }
        p { (words.still) }
        (to_preferences(&service, &holder, language))
    };
    let title = words.done.replace("{}", &holder.organisation);
    Ok(Page { status: StatusCode::OK, language, title: title.into(), body })
}

/// As a form of either kind holds it.
fn has(body: &[u8], word: &[u8]) -> bool {
    body.windows(word.len()).any(|part| part == word)
}

fn told(words: &str, holder: &Holder, language: Language) -> String {
    words
        .replace("{channel}", language.words().channel(holder.channel))
        .replace("{address}", &masked(&holder.address))
}

fn to_preferences(service: &Service, holder: &Holder, language: Language) -> maud::Markup {
    let url = service.links.url(Purpose::Preferences, holder.message);
    html! {
        @if let Some(url) = url {
            p { a href=(url) rel="nofollow" { (language.words().to_preferences) } }
        }
    }
}
