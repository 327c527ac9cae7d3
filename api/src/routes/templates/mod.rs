//! Templates, and in [`versions`] what they say, in [`preview`] what a recipient would read.
//!
//! A template belongs to one channel and one class. Without a class it is `marketing`: that asks for consent and heeds every
//! unsubscribe, so a class that was forgotten keeps a message from somebody, with a reason that can be read, and never
//! brings one to somebody who had refused it.

mod approvals;
mod diff;
mod preview;
mod texts;
mod versions;

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    domain::{
        channel::{Channel, MessageClass},
        permission::{Permission, needs},
        slug::{is_slug, slug_of},
    },
    id::TemplateId,
    store::{
        listing::{Order, Way},
        template_list::{self, By, Filter, Shown},
        template_versions::{self, VersionLine},
        templates::{self, TemplateHead},
    },
};
use fanfare_templates::{Locale, Notation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::texts::{TextFormat, Texts, TextsView};
use super::Work;
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope, Made},
        etag::{IfMatch, Tagged},
        extract::{Body, PathId, Query},
        page::{Pagination, Wanted},
        problem::{Problem, ProblemDetails},
        sort::{Sort, Sortable},
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, change, delete))
        .merge(versions::routes())
        .merge(approvals::routes())
        .merge(preview::routes())
        .merge(diff::routes())
}

/// Templates in one answer: each may hold a quarter of a megabyte.
const MOST: u32 = 100;
/// Versions that are listed with a template; all of them have a list of their own.
const NEWEST: i64 = 20;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateView {
    #[schema(value_type = String, example = "tmpl_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    id: TemplateId,
    slug: String,
    name: String,
    /// `email`, `sms`, `whatsapp` or `in_app`.
    #[schema(value_type = String)]
    r#type: Channel,
    /// `transactional`, `obligation` or `marketing`.
    #[schema(value_type = String)]
    class: MessageClass,
    /// Otherwise nothing new is sent with it.
    active: bool,
    /// Of the version whose texts these are: the newest published one, else the newest draft.
    locale: Option<String>,
    version: Option<i32>,
    status: Option<&'static str>,
    #[serde(flatten)]
    texts: TextsView,
    #[schema(value_type = String, format = DateTime)]
    created_at: jiff::Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: jiff::Timestamp,
}

/// `published` or `draft`.
const fn status(published_at: Option<jiff::Timestamp>) -> &'static str {
    if published_at.is_some() { "published" } else { "draft" }
}

impl From<Shown> for TemplateView {
    fn from(shown: Shown) -> Self {
        let Shown { template, newest } = shown;
        Self {
            id: template.id,
            slug: template.slug,
            name: template.name,
            r#type: template.channel,
            class: template.class,
            active: template.active,
            locale: newest.as_ref().map(|version| version.locale.clone()),
            version: newest.as_ref().map(|version| version.version),
            status: newest.as_ref().map(|version| status(version.published_at)),
            texts: newest.map(TextsView::from).unwrap_or_default(),
            created_at: template.created_at,
            updated_at: template.updated_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Templates {
    templates: Vec<TemplateView>,
    pagination: Pagination,
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] = &[("name", Self::Name), ("createdAt", Self::CreatedAt)];
    const USUAL: Order<Self> = (Self::Name, Way::Up);
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Listed {
    /// `email`, `whatsapp`, `sms` or `in_app`; several with commas between them.
    r#type: Option<String>,
    /// Only those in use, or only those that are not.
    active: Option<bool>,
    /// From 1; not together with `cursor`.
    page: Option<u32>,
    /// At most 100; 20 if not said.
    limit: Option<u32>,
    /// `nextCursor` of the list before.
    cursor: Option<String>,
    #[serde(default)]
    #[param(schema_with = Sort::<By>::schema)]
    sort: Sort<By>,
}

/// Templates, by name if no `sort` is said.
#[utoipa::path(get, path = "/api/templates", tag = "templates", security(("bearer" = ["templates:read"])), params(Listed),
    responses((status = 200, description = "The templates", body = Envelope<Templates>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::TemplatesRead>,
    Query(listed): Query<Listed>,
) -> Result<Data<Templates>, Problem> {
    let channels = listed.r#type.as_deref().map(channels).transpose()?;
    let filter = Filter { id: None, channels, active: listed.active };
    if listed.limit.is_some_and(|limit| limit > MOST) {
        return Err(Problem::field("limit", format!("must be between 1 and {MOST}")));
    }
    let Listed { page, limit, cursor, sort, .. } = listed;
    let window = Wanted { page, limit, cursor, sort }.window()?;
    let mut work = Work::read(&service, &may.caller).await?;
    let total = template_list::count(&mut work.tx, may.caller.tenant, &filter).await?;
    let found = template_list::list(&mut work.tx, may.caller.tenant, &filter, sort.0, &window.part()).await?;
    let (found, next) = window.cut(found, Shown::place);
    let pagination = window.pagination(u64::try_from(total).unwrap_or_default(), next);
    work.end();
    Ok(Data(Templates { templates: found.into_iter().map(TemplateView::from).collect(), pagination }))
}

fn channels(text: &str) -> Result<Vec<Channel>, Problem> {
    let parsed: Result<_, String> =
        text.split(',').take(Channel::ALL.len() + 1).map(|one| one.trim().parse()).collect();
    parsed.map_err(|error| Problem::field("type", error.chars().take(200).collect::<String>()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewTemplate {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// `email`, `sms`, `whatsapp` or `in_app`; stays.
    #[schema(value_type = String)]
    r#type: Channel,
    /// E-mails have one.
    #[schema(max_length = 1000)]
    subject: Option<String>,
    /// An e-mail's body, an SMS, a WhatsApp text; for WhatsApp's other kinds an object, whose `kind` says which. At most
    /// 262,144 bytes.
    #[schema(value_type = Value)]
    content: Value,
    /// The names that may stand in single braces.
    #[serde(default)]
    #[schema(max_items = 100)]
    variables: Vec<String>,
    /// What an e-mail's `content` is; seen from the content if not said.
    format: Option<TextFormat>,
    /// `single`: variables are written `{name}`, and all other braces are text. `handlebars`: `{{name}}`, with blocks and
    /// helpers. Seen from the texts if not said.
    #[schema(value_type = Option<String>)]
    notation: Option<Notation>,
    /// What mail programs show after the subject.
    #[schema(max_length = 1000)]
    preheader: Option<String>,
    /// The plain-text part of an e-mail; made of its HTML if not said. At most 262,144 bytes.
    text: Option<String>,
    /// `transactional`, `obligation` or `marketing`, which asks for consent; `marketing` if not said. Stays.
    #[schema(value_type = Option<String>)]
    class: Option<MessageClass>,
    /// For URLs and commands, unique in its channel; made of the name if not said. Stays.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    slug: Option<String>,
    /// Language of the texts, such as `en` or `fr-MU`; the tenant's if not said.
    #[schema(max_length = 35)]
    locale: Option<String>,
    /// Only keep it: it is published later.
    #[serde(default)]
    draft: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateCreated {
    #[schema(value_type = String)]
    template_id: TemplateId,
    message: &'static str,
}

/// Makes a template, and publishes its first version unless it is a draft; publishing needs `templates:publish`, too.
#[utoipa::path(post, path = "/api/templates", tag = "templates", security(("bearer" = ["templates:create"])),
    request_body = NewTemplate, responses((status = 201, description = "It is made", body = Envelope<TemplateCreated>)))]
async fn create(
    State(service): State<Service>,
    may: May<needs::TemplatesCreate>,
    Body(new): Body<NewTemplate>,
) -> Result<Made<TemplateCreated>, Problem> {
    let caller = &may.caller;
    if !new.draft {
        caller.needs(Permission::TemplatesPublish)?;
    }
    named(&new.name)?;
    if new.slug.as_deref().is_some_and(|slug| !is_slug(slug)) {
        return Err(Problem::field(
            "slug",
            "must begin with a-z or a digit and go on with a-z, digits and -, 63 at most",
        ));
    }
    let locale = new.locale.as_deref().map(locale).transpose()?.unwrap_or_else(|| caller.home.locale.clone());
    let (channel, class, draft) = (new.r#type, new.class.unwrap_or(MessageClass::Marketing), new.draft);
    let texts = Texts {
        subject: new.subject,
        content: new.content,
        variables: new.variables,
        format: new.format,
        notation: new.notation,
        preheader: new.preheader,
        text: new.text,
    };
    let ready = texts.read(channel)?.prepare().await?;
    let mut work = Work::begin(&service, caller).await?;
    let slug = match new.slug {
        Some(slug) => slug,
        None => {
            templates::free_slug(&mut work.tx, caller.tenant, channel, &slug_of(&new.name, "template"))
                .await?
        }
    };
    let id: TemplateId = service.ids.next(service.clock.now());
    let head = TemplateHead { slug: &slug, channel, class, name: &new.name };
    templates::create(&mut work.tx, caller.tenant, id, &head).await?;
    versions::keep(&mut work, id, &locale, ready, draft).await?;
    let detail = json!({"slug": slug, "type": channel, "class": class, "locale": locale, "draft": draft});
    work.note("template.create", &id.to_string(), detail).await?;
    work.commit().await?;
    Ok(Made(TemplateCreated { template_id: id, message: "Template created successfully" }))
}

fn named(name: &str) -> Result<(), Problem> {
    let sound = (1..=100).contains(&name.chars().count()) && !name.contains('\0') && !name.trim().is_empty();
    if sound {
        Ok(())
    } else {
        Err(Problem::field("name", "must have 1 to 100 characters, not all blank, and no NUL"))
    }
}

/// A language tag in its usual form.
fn locale(text: &str) -> Result<String, Problem> {
    Locale::parse(text).map(String::from).map_err(|error| Problem::field("locale", error.to_string()))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateVersionLine {
    locale: String,
    version: i32,
    /// `published` or `draft`.
    status: &'static str,
    #[schema(value_type = Option<String>, format = DateTime)]
    published_at: Option<jiff::Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    updated_at: jiff::Timestamp,
}

impl From<VersionLine> for TemplateVersionLine {
    fn from(line: VersionLine) -> Self {
        Self {
            locale: line.locale,
            version: line.version,
            status: status(line.published_at),
            published_at: line.published_at,
            updated_at: line.updated_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct TemplateWithVersions {
    #[serde(flatten)]
    template: TemplateView,
    /// The newest 20.
    versions: Vec<TemplateVersionLine>,
}

/// One template, with its newest versions.
#[utoipa::path(get, path = "/api/templates/{template_id}", tag = "templates", security(("bearer" = ["templates:read"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has")),
    responses((status = 200, description = "The template", body = Envelope<TemplateWithVersions>)))]
async fn show(
    State(service): State<Service>,
    may: May<needs::TemplatesRead>,
    PathId(named): PathId<String>,
) -> Result<Tagged<Data<TemplateWithVersions>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let id = templates::resolve(&mut work.tx, may.caller.tenant, &named, None).await?;
    let shown = template_list::get(&mut work.tx, may.caller.tenant, id).await?;
    let lines = template_versions::list(&mut work.tx, id, Way::Down, None, (0, NEWEST)).await?;
    let versions = lines.into_iter().map(TemplateVersionLine::from).collect();
    work.end();
    Ok(Tagged::new(
        shown.template.updated_at,
        Data(TemplateWithVersions { template: shown.into(), versions }),
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TemplateChange {
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// False: kept for what was sent with it, but nothing new is launched or sent. Needs `templates:publish`, too.
    active: Option<bool>,
}

/// Renames a template, takes it out of use, or back into use.
#[utoipa::path(patch, path = "/api/templates/{template_id}", tag = "templates", security(("bearer" = ["templates:create"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = TemplateChange, responses((status = 200, description = "The template", body = Envelope<TemplateView>)))]
async fn change(
    State(service): State<Service>,
    may: May<needs::TemplatesCreate>,
    PathId(named): PathId<String>,
    demand: IfMatch,
    Body(change): Body<TemplateChange>,
) -> Result<Tagged<Data<TemplateView>>, Problem> {
    let caller = &may.caller;
    if change.active.is_some() {
        caller.needs(Permission::TemplatesPublish)?;
    }
    if let Some(name) = &change.name {
        self::named(name)?;
    }
    let mut work = Work::begin(&service, caller).await?;
    let id = templates::resolve(&mut work.tx, caller.tenant, &named, None).await?;
    let before = templates::lock(&mut work.tx, caller.tenant, id).await?;
    demand.check(before.updated_at)?;
    let (name, active) =
        (change.name.as_deref().unwrap_or(&before.name), change.active.unwrap_or(before.active));
    templates::change(&mut work.tx, caller.tenant, id, name, active).await?;
    let detail = json!({"before": {"name": before.name, "active": before.active}, "after": {"name": name, "active": active}});
    work.note("template.change", &id.to_string(), detail).await?;
    let shown = template_list::get(&mut work.tx, caller.tenant, id).await?;
    work.commit().await?;
    Ok(Tagged::new(shown.template.updated_at, Data(shown.into())))
}

/// Deletes a template with all its versions, if nothing was ever made with it.
#[utoipa::path(delete, path = "/api/templates/{template_id}", tag = "templates", security(("bearer" = ["templates:publish"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 204, description = "It is gone"),
              (status = 409, description = "Campaigns were made with it: set `active` to false instead", body = ProblemDetails, content_type = "application/problem+json")))]
async fn delete(
    State(service): State<Service>,
    may: May<needs::TemplatesPublish>,
    PathId(named): PathId<String>,
    demand: IfMatch,
) -> Result<StatusCode, Problem> {
    let caller = &may.caller;
    let mut work = Work::begin(&service, caller).await?;
    let id = templates::resolve(&mut work.tx, caller.tenant, &named, None).await?;
    let template = templates::lock(&mut work.tx, caller.tenant, id).await?;
    demand.check(template.updated_at)?;
    templates::delete(&mut work.tx, caller.tenant, id).await?;
    work.note("template.delete", &id.to_string(), json!({"slug": template.slug, "type": template.channel}))
        .await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
