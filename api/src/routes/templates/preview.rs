//! What a recipient would read: as an answer, which sends nothing, and as a message to colleagues.

use std::collections::BTreeSet;

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    deliver::direct::{DirectContent, DirectError, DirectRequest, Taken},
    domain::{
        address::{self, EmailAddress, PhoneNumber},
        channel::Channel,
        permission::{Permission, needs},
    },
    id::{MessageId, TemplateId},
    store::{
        StoreError,
        people::{self, ContactKey},
        template_versions::{self, Version},
        templates,
        tenants::Tenant,
        users::RowScope,
    },
};
use fanfare_templates::{Compiled, Encoding, Locale, Published, RenderError, Rendered, Source, publish};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{locale, status, texts};
use crate::{
    auth::caller::{Caller, May},
    http::{
        envelope::{Data, Envelope},
        extract::{Body, PathId},
        problem::{Code, FieldError, Problem},
    },
    routes::{Work, contacts::region},
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(preview)).routes(routes!(test))
}

/// Addresses that one test goes to.
const MOST: usize = 5;
/// Characters of an address or an id.
const LONGEST: usize = 320;

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PreviewOf {
    /// Number of the version; the newest published one, else the newest draft, if not said.
    version: Option<i32>,
    /// Language of the version; the contact's, where the template has it, else the tenant's, if not said.
    #[schema(max_length = 35)]
    locale: Option<String>,
    /// E-mail address, phone number or id of a contact whose values are taken. Needs `contacts:read`, too.
    #[schema(max_length = 320)]
    contact: Option<String>,
    /// Values by name, which hold before the contact's. At most 65,536 bytes.
    #[serde(default)]
    #[schema(value_type = Object)]
    values: Map<String, Value>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SmsSegments {
    /// `gsm7`, or `ucs2` as soon as one character is outside of that.
    #[schema(value_type = String)]
    encoding: Encoding,
    /// Of the encoding: septets, or UTF-16 units.
    units: u32,
    /// Parts that are charged.
    count: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TemplatePreview {
    locale: String,
    version: i32,
    /// `published` or `draft`.
    status: &'static str,
    /// Of an e-mail.
    subject: Option<String>,
    html: Option<String>,
    /// Of an e-mail or an SMS.
    text: Option<String>,
    /// Of an SMS.
    segments: Option<SmsSegments>,
    /// What WhatsApp is sent.
    #[schema(value_type = Option<Object>)]
    whatsapp: Option<Value>,
    /// What the application shows.
    #[schema(value_type = Option<Object>)]
    in_app: Option<Value>,
}

impl TemplatePreview {
    fn of(version: &Version, rendered: Rendered) -> Self {
        let empty = Self {
            locale: version.locale.clone(),
            version: version.version,
            status: status(version.published_at),
            subject: None,
            html: None,
            text: None,
            segments: None,
            whatsapp: None,
            in_app: None,
        };
        match rendered {
            Rendered::Email { subject, html, text } => {
                Self { subject: Some(subject), html: Some(html), text: Some(text), ..empty }
            }
            Rendered::Sms { text, segments } => {
                let segments =
                    SmsSegments { encoding: segments.encoding, units: segments.units, count: segments.count };
                Self { text: Some(text), segments: Some(segments), ..empty }
            }
            Rendered::Whatsapp(message) => Self { whatsapp: serde_json::to_value(message).ok(), ..empty },
            Rendered::InApp(notice) => Self { in_app: serde_json::to_value(notice).ok(), ..empty },
        }
    }
}

/// Shows what a recipient would read; sends nothing. The contact is a real one, or the values are given.
#[utoipa::path(post, path = "/api/templates/{template_id}/preview", tag = "templates", security(("bearer" = ["templates:read"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has")),
    request_body = PreviewOf, responses((status = 200, description = "What they would read", body = Envelope<TemplatePreview>)))]
async fn preview(
    State(service): State<Service>,
    may: May<needs::TemplatesRead>,
    PathId(named): PathId<String>,
    Body(wanted): Body<PreviewOf>,
) -> Result<Data<TemplatePreview>, Problem> {
    let caller = &may.caller;
    texts::values(&wanted.values)?;
    let asked = wanted.locale.as_deref().map(locale).transpose()?;
    let tenant = &caller.home;
    let mut work = Work::begin(&service, caller).await?;
    let id = templates::resolve(&mut work.tx, tenant.id, &named, None).await?;
    let (mut values, known) = match &wanted.contact {
        Some(contact) => contact_values(&mut work, caller, contact).await?,
        None => (Map::new(), None),
    };
    values.extend(wanted.values);
    let version = chosen(&mut work, id, (wanted.version, asked), known.as_deref()).await?;
    let published = template_versions::published(&mut work.tx, id, &version.locale, version.version).await?;
    // The audit log says whose values were looked at.
    work.commit().await?;
    let source = version.source.clone();
    let tag = version.locale.clone();
    let links = service.links.samples().into_iter();
    values.extend(links.map(|(name, url)| (name.to_owned(), Value::String(url))));
    let rendered = texts::apart(move || render(published, &source, values, &tag)).await??;
    Ok(Data(TemplatePreview::of(&version, rendered)))
}

/// The version that was asked for; where no language was, that of the contact if the template has it.
async fn chosen(
    work: &mut Work<'_>,
    template: TemplateId,
    (number, asked): (Option<i32>, Option<String>),
    known: Option<&str>,
) -> Result<Version, Problem> {
    if let Some(locale) = asked {
        return Ok(template_versions::get(&mut work.tx, template, &locale, number).await?);
    }
    let known = known.and_then(|tag| Locale::parse(tag).ok());
    for tag in known.iter().flat_map(Locale::fallbacks) {
        match template_versions::get(&mut work.tx, template, tag, number).await {
            Err(StoreError::NotFound { .. }) => {}
            found => return Ok(found?),
        }
    }
    let usual = template_versions::usual_locale(&mut work.tx, template).await?;
    Ok(template_versions::get(&mut work.tx, template, &usual, number).await?)
}

async fn contact_values(
    work: &mut Work<'_>,
    caller: &Caller,
    contact: &str,
) -> Result<(Map<String, Value>, Option<String>), Problem> {
    caller.needs(Permission::ContactsRead)?;
    if caller.scope != RowScope::All {
        let sentence = "You see some of the contacts only: give `values` instead of a contact.";
        return Err(Problem::say(Code::Forbidden, sentence));
    }
    let region = region(&caller.home)?;
    let sound = contact.chars().count() <= LONGEST && !contact.contains('\0');
    let key = ContactKey::parse(contact, &region).filter(|_| sound).ok_or_else(|| {
        Problem::field("contact", "is no e-mail address, phone number or id of a contact (cont_…)")
    })?;
    let found = people::find(&mut work.tx, caller.tenant, &key).await.map_err(|error| match error {
        StoreError::NotFound { .. } => Problem::field("contact", "is nobody that is known"),
        error => error.into(),
    })?;
    work.note("contact.read", &found.id.to_string(), json!({"for": "template.preview"})).await?;
    let facts = match found.facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    };
    Ok((facts, found.locale))
}

fn render(
    published: Option<Published>,
    source: &Source,
    values: Map<String, Value>,
    tag: &str,
) -> Result<Rendered, Problem> {
    let unfit = |error: &dyn std::fmt::Display| {
        Problem::say(Code::Conflict, format!("The version can't be rendered: {error}."))
    };
    let published = match published {
        Some(published) => published,
        None => publish(source).map_err(|error| unfit(&error))?,
    };
    let missing: Vec<FieldError> = published
        .variables()
        .required
        .iter()
        .filter(|name| values.get(*name).is_none_or(Value::is_null))
        .map(|name| FieldError {
            field: format!("values.{name}"),
            message: "is needed by the template, and missing".to_owned(),
        })
        .collect();
    if !missing.is_empty() {
        return Err(Problem::fields(missing));
    }
    let compiled = Compiled::new(&published).map_err(|error| unfit(&error))?;
    let locale = Locale::parse(tag).map_err(|error| unfit(&error))?;
    compiled.render(&Value::Object(values), &locale).map_err(|error| match &error {
        RenderError::MissingVariable { name, .. } => {
            Problem::field(format!("values.{name}"), error.to_string())
        }
        _ => Problem::field("values", error.to_string()),
    })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TemplateTest {
    /// Addresses of active users of the tenant: e-mail addresses, or phone numbers.
    #[schema(min_items = 1, max_items = 5)]
    to: Vec<String>,
    /// Language of the message; the tenant's if not said.
    #[schema(max_length = 35)]
    locale: Option<String>,
    /// Values by name. At most 65,536 bytes.
    #[serde(default)]
    #[schema(value_type = Object)]
    values: Map<String, Value>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TestMessage {
    to: String,
    /// Absent where nothing was taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    message_id: Option<MessageId>,
    /// `accepted`, `suppressed`, or `capped` where the caps of the day had no room for this one.
    status: &'static str,
    /// Why it was not.
    reason: Option<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TestMessages {
    messages: Vec<TestMessage>,
}

/// Sends the newest published version to colleagues: at most five, and nobody who is no user of the tenant. Outside production
/// their addresses are on the allow-list, too. No figure counts these messages.
#[utoipa::path(post, path = "/api/templates/{template_id}/test", tag = "templates", security(("bearer" = ["templates:create"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has")),
    request_body = TemplateTest, responses((status = 202, description = "They are on their way", body = Envelope<TestMessages>)))]
async fn test(
    State(service): State<Service>,
    may: May<needs::TemplatesCreate>,
    PathId(named): PathId<String>,
    Body(send): Body<TemplateTest>,
) -> Result<(StatusCode, Data<TestMessages>), Problem> {
    let caller = &may.caller;
    texts::values(&send.values)?;
    let wanted = send.locale.as_deref().map(locale).transpose()?;
    let tenant = &caller.home;
    let mut work = Work::begin(&service, caller).await?;
    let id = templates::resolve(&mut work.tx, tenant.id, &named, None).await?;
    let template = templates::lock(&mut work.tx, tenant.id, id).await?;
    if !template.active {
        return Err(refused(DirectError::Inactive(template.slug)));
    }
    let to = colleagues(&mut work, tenant, template.channel, &send.to).await?;
    for address in &to {
        work.may_reach(template.channel, address).await?;
    }
    let masked: Vec<String> = to.iter().map(|to| address::masked(to)).collect();
    work.note("template.test", &id.to_string(), json!({"to": masked})).await?;
    work.commit().await?;
    let direct = service.direct.for_tests();
    let mut messages = Vec::with_capacity(to.len());
    for to in to {
        let request = DirectRequest {
            locale: wanted.as_deref(),
            variables: send.values.clone(),
            ..DirectRequest::new(tenant, template.channel, DirectContent::Template(&template.slug), &to)
        };
        match direct.take(request).await {
            Ok(taken) => messages.push(told(to, taken)),
            Err(DirectError::Capped) => messages.push(capped(to)),
            Err(error) => return Err(refused(error)),
        }
    }
    if messages.iter().all(|message| message.message_id.is_none()) {
        return Err(Code::SendCapReached.into());
    }
    Ok((StatusCode::ACCEPTED, Data(TestMessages { messages })))
}

/// The addresses in their normal form; every one is a user's.
async fn colleagues(
    work: &mut Work<'_>,
    tenant: &Tenant,
    channel: Channel,
    to: &[String],
) -> Result<BTreeSet<String>, Problem> {
    if !(1..=MOST).contains(&to.len()) {
        return Err(Problem::field("to", format!("must be 1 to {MOST} addresses")));
    }
    let region = region(tenant)?;
    let mut errors = Vec::new();
    let mut parsed = Vec::with_capacity(to.len());
    for (i, text) in to.iter().enumerate() {
        let sound = text.chars().count() <= LONGEST && !text.contains('\0');
        let address = match channel {
            Channel::Email => EmailAddress::parse(text).map(EmailAddress::into_string),
            Channel::Sms | Channel::Whatsapp => {
                PhoneNumber::parse(text, &region).map(PhoneNumber::into_string)
            }
            Channel::InApp => {
                let sentence = "Notifications inside the application go to contacts, not to colleagues: preview it instead.";
                return Err(Problem::say(Code::Conflict, sentence));
            }
        };
        match address {
            Ok(address) if sound => parsed.push(address),
            Ok(_) => {
                errors.push(FieldError { field: format!("to[{i}]"), message: "is no address".to_owned() })
            }
            Err(error) => errors.push(FieldError { field: format!("to[{i}]"), message: error.to_string() }),
        }
    }
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    let users = people::users_among(&mut work.tx, tenant.id, channel, &parsed).await?;
    let strangers = parsed.iter().enumerate().filter(|(_, address)| !users.contains(*address));
    let errors: Vec<FieldError> = strangers
        .map(|(i, _)| FieldError {
            field: format!("to[{i}]"),
            message: "belongs to no active user of yours".to_owned(),
        })
        .collect();
    if errors.is_empty() { Ok(users) } else { Err(Problem::fields(errors)) }
}

fn told(to: String, taken: Taken) -> TestMessage {
    match taken {
        Taken::Accepted { message, .. } | Taken::Duplicate { message } => {
            TestMessage { to, message_id: Some(message), status: "accepted", reason: None }
        }
        Taken::Refused { message, reason } => TestMessage {
            to,
            message_id: Some(message),
            status: "suppressed",
            reason: Some(reason.sentence()),
        },
    }
}

fn capped(to: String) -> TestMessage {
    TestMessage { to, message_id: None, status: "capped", reason: Some(Code::SendCapReached.detail()) }
}

fn refused(error: DirectError) -> Problem {
    match error {
        DirectError::Store(error) => error.into(),
        DirectError::Render(why) => Problem::field("values", why),
        DirectError::Address(_)
        | DirectError::NoAccount(_)
        | DirectError::NotPublished(_)
        | DirectError::NeedsTemplate(_)
        | DirectError::Schedule(_)
        | DirectError::Capped
        | DirectError::Inactive(_) => Problem::say(Code::Conflict, error.to_string()),
    }
}
