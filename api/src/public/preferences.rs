//! The preference centre: over which channels a person wants marketing.

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use fanfare_engine::{
    domain::{address::masked, channel::Channel, token::Purpose},
    store::public::{Holder, Wanted},
};
use maud::html;

use super::{Gone, InPath, LARGEST_FORM, holder, page::Page, words::Language};
use crate::service::Service;

/// `GET /p/{token}`
pub(super) async fn show(
    State(service): State<Service>,
    InPath(token): InPath<String>,
    headers: HeaderMap,
) -> Result<Page<'static>, Gone> {
    let (holder, language) = holder(&service, Purpose::Preferences, &token, &headers).await?;
    let wanted = service.store.wanted(&holder).await.map_err(Gone::away(language))?;
    Ok(page(StatusCode::OK, &holder, language, &wanted, None))
}

/// `POST /p/{token}`: the page's form.
pub(super) async fn save(
    State(service): State<Service>,
    InPath(token): InPath<String>,
    request: Request,
) -> Result<Page<'static>, Gone> {
    let (parts, body) = request.into_parts();
    let (holder, language) = holder(&service, Purpose::Preferences, &token, &parts.headers).await?;
    let words = language.words();
    let body = to_bytes(body, LARGEST_FORM).await.unwrap_or_default();
    let Some(channels) = chosen(&body) else {
        let wanted = service.store.wanted(&holder).await.map_err(Gone::away(language))?;
        return Ok(page(StatusCode::BAD_REQUEST, &holder, language, &wanted, Some(words.unclear)));
    };
    let wanted = service.store.want(&holder, &channels).await.map_err(Gone::away(language))?;
    Ok(page(StatusCode::OK, &holder, language, &wanted, Some(words.saved)))
}

/// The channels that the form says; `None` for what is not the form, so that a broken request unsubscribes nobody.
fn chosen(body: &[u8]) -> Option<Vec<Channel>> {
    let mut channels = Vec::new();
    let (mut save, mut none) = (false, false);
    for (name, value) in form_urlencoded::parse(body) {
        match &*name {
            "channel" => channels.push(value.parse().ok()?),
            "save" => save = true,
            "none" => none = true,
            _ => {}
        }
    }
    if none {
        channels.clear();
    }
    (save || none).then_some(channels)
}

fn page(
    status: StatusCode,
    holder: &Holder,
    language: Language,
    wanted: &[Wanted],
    said: Option<&str>,
) -> Page<'static> {
    let words = language.words();
    let body = html! {
        @if let Some(said) = said {
            p role="status" { strong { (said) } }
        }
        form method="post" {
            fieldset {
                legend { (words.preferences_text) }
                @for one in wanted {
                    label {
                        input type="checkbox" name="channel" value=(one.channel.as_str()) checked[one.on] disabled[one.blocked];
                        (words.channel(one.channel)) " – " (masked(&one.address))
                        @if one.blocked {
                            small { (words.blocked) }
                        }
                    }
                }
            }
            p { (words.still) }
            button type="submit" name="save" value="1" { (words.save) }
            button.plain type="submit" name="none" value="1" { (words.none) }
        }
    };
    let title = words.preferences.replace("{}", &holder.organisation);
    Page { status, language, title: title.into(), body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_is_understood() {
        let check = |body: &str, expected: Option<&[Channel]>| {
            assert_eq!(chosen(body.as_bytes()).as_deref(), expected, "{body}");
        };
        check("channel=email&channel=sms&save=1", Some(&[Channel::Email, Channel::Sms]));
        check("save=1", Some(&[]));
        check("channel=email&none=1", Some(&[]));
        check("channel=email", None);
        check("channel=fax&save=1", None);
        check("", None);
        check("{\"save\": 1}", None);
    }
}
