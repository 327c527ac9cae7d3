//! What people said about marketing on each channel, and what they would rather have.

use std::collections::BTreeSet;

use axum::extract::State;
use fanfare_engine::{
    contacts::person::Faults,
    domain::{channel::Channel, permission::needs},
    id::ContactId,
    store::{
        consents::{self, Consent, Preferences},
        contacts,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{refused, sight};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        etag::{IfMatch, Tag, Tagged},
        extract::{Body, PathId},
        problem::Problem,
    },
    routes::Work,
    service::Service,
};

const LONGEST_SOURCE: usize = 200;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ConsentView {
    #[schema(value_type = String, example = "email")]
    channel: Channel,
    granted: bool,
    source: String,
    #[schema(value_type = String, format = DateTime)]
    recorded_at: jiff::Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Consents {
    /// What holds on a channel about which nothing was said: `opt_in` (no marketing without a yes) or `opt_out`.
    rule: &'static str,
    /// The latest word about each channel.
    consents: Vec<ConsentView>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewConsents {
    /// Channels that are not named keep their word.
    #[schema(min_items = 1, max_items = 3)]
    consents: Vec<NewConsent>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewConsent {
    /// `email`, `sms` or `whatsapp`.
    #[schema(value_type = String, example = "email")]
    channel: Channel,
    granted: bool,
    /// Where it was said, for whoever asks for proof: `web form 2026-11`.
    #[schema(min_length = 1, max_length = 200)]
    source: String,
    /// When it was said; now if not said. An older word than is known changes nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    recorded_at: Option<jiff::Timestamp>,
}

/// What a contact said about marketing.
#[utoipa::path(get, path = "/api/contacts/{contact_id}/consents", tag = "contacts", security(("bearer" = ["contacts:read"])),
    params(("contact_id" = String, Path, description = "`cont_…`")),
    responses((status = 200, description = "The latest word about each channel", body = Envelope<Consents>)))]
pub(super) async fn show(
    State(service): State<Service>,
    may: May<needs::ContactsRead>,
    PathId(id): PathId<ContactId>,
) -> Result<Tagged<Data<Consents>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    contacts::get(&mut work.tx, sight(&may.caller), id).await?;
    let answer = known(&mut work, id, &may).await?;
    work.seen("contact.read", &id.to_string(), json!({"of": "consents"})).await?;
    Ok(Tagged::whole(answer))
}

/// Records what a contact said about marketing. A no holds for every message whose turn had not come when this is answered.
#[utoipa::path(put, path = "/api/contacts/{contact_id}/consents", tag = "contacts", security(("bearer" = ["contacts:update"])),
    params(("contact_id" = String, Path, description = "`cont_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = NewConsents,
    responses((status = 200, description = "The latest word about each channel", body = Envelope<Consents>)))]
pub(super) async fn record(
    State(service): State<Service>,
    may: May<needs::ContactsUpdate>,
    PathId(id): PathId<ContactId>,
    demand: IfMatch,
    Body(new): Body<NewConsents>,
) -> Result<Tagged<Data<Consents>>, Problem> {
    let caller = &may.caller;
    let said = checked(new.consents, service.store.now().await?)?;
    let mut work = Work::begin(&service, caller).await?;
    contacts::lock(&mut work.tx, sight(caller), id).await?;
    demand.check(Tag::of(&known(&mut work, id, &may).await?))?;
    consents::record(&mut work.tx, id, &said).await?;
    let detail: Vec<_> = said
        .iter()
        .map(|consent| json!({"channel": consent.channel, "granted": consent.granted, "at": consent.recorded_at}))
        .collect();
    work.note("contact.consent", &id.to_string(), json!({"consents": detail})).await?;
    let answer = known(&mut work, id, &may).await?;
    work.commit().await?;
    if said.iter().any(|consent| !consent.granted) {
        service.store.grace(caller.tenant).await?;
    }
    Ok(Tagged::whole(answer))
}

async fn known<P>(work: &mut Work<'_>, id: ContactId, may: &May<P>) -> Result<Consents, Problem> {
    let rule = consents::rule(&mut work.tx, may.caller.tenant).await?.as_str();
    let consents = consents::of(&mut work.tx, id).await?.into_iter().map(|consent| ConsentView {
        channel: consent.channel,
        granted: consent.granted,
        source: consent.source,
        recorded_at: consent.recorded_at,
    });
    Ok(Consents { rule, consents: consents.collect() })
}

fn checked(new: Vec<NewConsent>, now: jiff::Timestamp) -> Result<Vec<Consent>, Problem> {
    let (mut faults, mut channels) = (Faults::default(), BTreeSet::new());
    if new.is_empty() {
        faults.add("consents", "is empty: name a channel");
    }
    let mut said = Vec::with_capacity(Channel::ALL.len());
    for (at, consent) in new.into_iter().enumerate() {
        if !channels.insert(consent.channel) {
            faults.add(format!("consents[{at}].channel"), "comes twice");
            break;
        }
        if consent.source.contains('\0') || !(1..=LONGEST_SOURCE).contains(&consent.source.chars().count()) {
            let why = format!("must have 1 to {LONGEST_SOURCE} characters, and no NUL");
            faults.add(format!("consents[{at}].source"), why);
        }
        let recorded_at = consent.recorded_at.unwrap_or(now);
        if recorded_at > now || recorded_at < jiff::Timestamp::UNIX_EPOCH {
            faults.add(format!("consents[{at}].recordedAt"), "must be a moment in the past");
        }
        said.push(Consent {
            channel: consent.channel,
            granted: consent.granted,
            source: consent.source,
            recorded_at,
        });
    }
    faults.or(said).map_err(refused)
}

/// What a person would rather have. Consents and suppressions decide on what may be sent at all; where channels are named,
/// marketing goes over no other.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wishes {
    /// `email`, `sms`, `whatsapp`, in the order in which the person wants to be written to. None named: any.
    #[schema(value_type = Vec<String>, max_items = 3)]
    channels: Vec<Channel>,
}

impl From<Preferences> for Wishes {
    fn from(Preferences { channels }: Preferences) -> Self {
        Self { channels }
    }
}

/// What a contact would rather have.
#[utoipa::path(get, path = "/api/contacts/{contact_id}/preferences", tag = "contacts", security(("bearer" = ["contacts:read"])),
    params(("contact_id" = String, Path, description = "`cont_…`")),
    responses((status = 200, description = "The preferences", body = Envelope<Wishes>)))]
pub(super) async fn preferences(
    State(service): State<Service>,
    may: May<needs::ContactsRead>,
    PathId(id): PathId<ContactId>,
) -> Result<Tagged<Data<Wishes>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    contacts::get(&mut work.tx, sight(&may.caller), id).await?;
    let wishes = Wishes::from(consents::preferences(&mut work.tx, id).await?);
    work.seen("contact.read", &id.to_string(), json!({"of": "preferences"})).await?;
    Ok(Tagged::whole(wishes))
}

/// Sets what a contact would rather have, in place of what was known of it. Holds for every message whose turn had not come
/// when this is answered.
#[utoipa::path(put, path = "/api/contacts/{contact_id}/preferences", tag = "contacts", security(("bearer" = ["contacts:update"])),
    params(("contact_id" = String, Path, description = "`cont_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = Wishes,
    responses((status = 200, description = "The preferences", body = Envelope<Wishes>)))]
pub(super) async fn prefer(
    State(service): State<Service>,
    may: May<needs::ContactsUpdate>,
    PathId(id): PathId<ContactId>,
    demand: IfMatch,
    Body(wishes): Body<Wishes>,
) -> Result<Tagged<Data<Wishes>>, Problem> {
    let preferences = sound(wishes)?;
    let mut work = Work::begin(&service, &may.caller).await?;
    contacts::lock(&mut work.tx, sight(&may.caller), id).await?;
    demand.check(Tag::of(&Wishes::from(consents::preferences(&mut work.tx, id).await?)))?;
    consents::prefer(&mut work.tx, id, &preferences).await?;
    work.note("contact.prefer", &id.to_string(), json!({"channels": preferences.channels})).await?;
    work.commit().await?;
    if !preferences.channels.is_empty() {
        service.store.grace(may.caller.tenant).await?;
    }
    Ok(Tagged::whole(preferences.into()))
}

fn sound(wishes: Wishes) -> Result<Preferences, Problem> {
    let mut faults = Faults::default();
    let channels: BTreeSet<Channel> = wishes.channels.iter().copied().collect();
    if channels.len() < wishes.channels.len() {
        faults.add("channels", "names a channel twice");
    }
    if channels.contains(&Channel::InApp) {
        faults.add("channels", "must be among email, sms and whatsapp");
    }
    faults.or(Preferences { channels: wishes.channels }).map_err(refused)
}
