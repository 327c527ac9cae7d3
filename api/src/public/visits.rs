//! Opens and clicks. Where a link leads stands in the template that the message was made of, and in the values that were pinned with
//! it; nothing in the request says it.

use axum::{
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use fanfare_engine::{
    domain::{
        token::{Purpose, ShortLink},
        visitor::{self, Machine},
    },
    feedback::visits::{Deed, Visit},
    id::MessageId,
    store::public::Holder,
};

use super::{Gone, InPath, asked, holder, message, of_message, words::Language};
use crate::service::Service;

/// One transparent point.
const PICTURE: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// `GET /o/{token}.gif`
pub(super) async fn open(
    State(service): State<Service>,
    InPath(token): InPath<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Gone> {
    let token = token.strip_suffix(".gif").unwrap_or(&token);
    let message = message(&service, Purpose::Open, token, &headers)?;
    note(&service, message, Deed::Open, machine(&method, &headers));
    Ok(([(header::CONTENT_TYPE, "image/gif")], PICTURE).into_response())
}

/// `GET /c/{token}/{link}`
pub(super) async fn click(
    State(service): State<Service>,
    InPath((token, link)): InPath<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Gone> {
    let (holder, language) = holder(&service, Purpose::Click, &token, &headers).await?;
    lead(&service, &holder, language, link, machine(&method, &headers)).await
}

/// `GET /s/{code}`: a link of an SMS.
pub(super) async fn short(
    State(service): State<Service>,
    InPath(code): InPath<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Gone> {
    let asked = asked(&headers);
    let ShortLink { campaign, n, link } = service.links.read_short(&code).ok_or(Gone::NoSuchLink(asked))?;
    let campaign = service.store.campaign_of_short(campaign).await.map_err(Gone::away(asked))?;
    let message = MessageId { campaign: campaign.ok_or(Gone::NoSuchLink(asked))?, n };
    let (holder, language) = of_message(&service, message, asked).await?;
    lead(&service, &holder, language, link, machine(&method, &headers)).await
}

/// To where the letter's link led for this recipient.
async fn lead(
    service: &Service,
    holder: &Holder,
    language: Language,
    link: String,
    machine: Option<Machine>,
) -> Result<Response, Gone> {
    let plan = service.direct.plans.get(&service.store, holder.message.campaign).await;
    let plan = plan.map_err(Gone::away(language))?;
    let destination = usize::try_from(holder.variant).ok().and_then(|at| {
        let variant = plan.variants.get(at)?;
        let link = variant.tracked.iter().find(|known| known.id() == link)?;
        let written = link.destination(&holder.variables, &variant.locale).ok()?;
        visitor::destination(&written)
    });
    let destination = destination.ok_or(Gone::NoSuchLink(language))?;
    let page = destination.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect();
    note(service, holder.message, Deed::Click { link, page }, machine);
    Ok((StatusCode::FOUND, [(header::LOCATION, destination)]).into_response())
}

fn note(service: &Service, message: MessageId, deed: Deed, machine: Option<Machine>) {
    service.visits.note(Visit { message, deed, at: service.clock.now(), machine });
}

fn machine(method: &Method, headers: &HeaderMap) -> Option<Machine> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let purpose = text("sec-purpose").or_else(|| text("purpose")).or_else(|| text("x-moz"));
    visitor::Request { head: method == Method::HEAD, purpose, user_agent: text("user-agent") }.machine()
}
