//! TemplateVersions: drafts that may be edited, and published ones that stay as they are and are what is sent.

use axum::{
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, request::Parts},
};
use fanfare_engine::{
    domain::permission::{Permission, needs},
    id::{TemplateId, TenantId},
    store::{
        listing::{Order, Way},
        template_versions::{self, Manner, Version},
        templates,
    },
};
use fanfare_templates::Notation;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    TemplateVersionLine, locale, status,
    texts::{Ready, TextFormat, Texts, TextsView, Written},
};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope, Made},
        etag::{IfMatch, Tagged},
        extract::{Body, PathId, Query},
        page::{Pagination, Start, Wanted},
        problem::{Code, Problem, ProblemDetails},
        sort::Sortable,
    },
    routes::Work,
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, change, discard))
        .routes(routes!(publish))
}

/// A template, by id or slug, and the number of a version.
#[derive(Debug)]
pub(super) struct VersionPath {
    template: String,
    version: i32,
}

impl<S: Send + Sync> FromRequestParts<S> for VersionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((template, version)) =
            Path::<(String, i32)>::from_request_parts(parts, state).await.map_err(|_| Code::NotFound)?;
        Ok(Self { template, version })
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct InLocale {
    /// Language of the version; the tenant's, else the first that the template has, if not said.
    pub(super) locale: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateVersionView {
    #[schema(value_type = String)]
    template_id: TemplateId,
    locale: String,
    version: i32,
    /// `published` or `draft`.
    status: &'static str,
    #[serde(flatten)]
    texts: TextsView,
    #[schema(value_type = Option<String>, format = DateTime)]
    published_at: Option<jiff::Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    updated_at: jiff::Timestamp,
}

impl TemplateVersionView {
    fn of(template_id: TemplateId, version: Version) -> Self {
        Self {
            template_id,
            locale: version.locale.clone(),
            version: version.version,
            status: status(version.published_at),
            published_at: version.published_at,
            updated_at: version.updated_at,
            texts: version.into(),
        }
    }
}

/// What versions are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ByVersion;

impl Sortable for ByVersion {
    const FIELDS: &'static [(&'static str, Self)] = &[("version", Self)];
    const USUAL: Order<Self> = (Self, Way::Down);
}

#[derive(Debug, Serialize, ToSchema)]
struct TemplateVersions {
    versions: Vec<TemplateVersionLine>,
    pagination: Pagination,
}

/// The versions of a template, the newest first if no `sort` is said.
#[utoipa::path(get, path = "/api/templates/{template_id}/versions", tag = "templates", security(("bearer" = ["templates:read"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has"), Wanted<ByVersion>),
    responses((status = 200, description = "The versions", body = Envelope<TemplateVersions>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::TemplatesRead>,
    PathId(named): PathId<String>,
    Query(wanted): Query<Wanted<ByVersion>>,
) -> Result<Data<TemplateVersions>, Problem> {
    let window = wanted.window::<(i32, String)>()?;
    let after = match &window.start {
        Start::Page(_) => None,
        Start::After((version, locale)) => Some((*version, locale.as_str())),
    };
    let mut work = Work::read(&service, &may.caller).await?;
    let id = templates::resolve(&mut work.tx, may.caller.tenant, &named, None).await?;
    let total = template_versions::count(&mut work.tx, id).await?;
    let slice = (window.offset(), i64::from(window.limit) + 1);
    let lines = template_versions::list(&mut work.tx, id, wanted.sort.way(), after, slice).await?;
    let (lines, next) = window.cut(lines, |line| (line.version, line.locale.clone()));
    let pagination = window.pagination(u64::try_from(total).unwrap_or_default(), next);
    work.end();
    Ok(Data(TemplateVersions {
        versions: lines.into_iter().map(TemplateVersionLine::from).collect(),
        pagination,
    }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewTemplateVersion {
    /// E-mails have one.
    #[schema(max_length = 1000)]
    subject: Option<String>,
    /// As of a new template.
    #[schema(value_type = Value)]
    content: Value,
    #[serde(default)]
    #[schema(max_items = 100)]
    variables: Vec<String>,
    format: Option<TextFormat>,
    /// `single` or `handlebars`.
    #[schema(value_type = Option<String>)]
    notation: Option<Notation>,
    #[schema(max_length = 1000)]
    preheader: Option<String>,
    text: Option<String>,
    /// Language of the texts; the tenant's, else the first that the template has, if not said.
    #[schema(max_length = 35)]
    locale: Option<String>,
    /// Only keep it: it is published later.
    #[serde(default)]
    draft: bool,
}

/// Adds a version, and publishes it unless it is a draft; publishing needs `templates:publish`, too. Campaigns that are
/// launched already keep the version that they were launched with.
#[utoipa::path(post, path = "/api/templates/{template_id}/versions", tag = "templates", security(("bearer" = ["templates:create"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has")),
    request_body = NewTemplateVersion, responses((status = 201, description = "The version", body = Envelope<TemplateVersionView>)))]
async fn create(
    State(service): State<Service>,
    may: May<needs::TemplatesCreate>,
    PathId(named): PathId<String>,
    Body(new): Body<NewTemplateVersion>,
) -> Result<Made<TemplateVersionView>, Problem> {
    let caller = &may.caller;
    if !new.draft {
        caller.needs(Permission::TemplatesPublish)?;
    }
    let wanted = new.locale.as_deref().map(locale).transpose()?;
    let mut work = Work::begin(&service, caller).await?;
    let id = templates::resolve(&mut work.tx, caller.tenant, &named, None).await?;
    let template = templates::lock(&mut work.tx, caller.tenant, id).await?;
    let locale = in_locale(&mut work, id, wanted).await?;
    let texts = Texts {
        subject: new.subject,
        content: new.content,
        variables: new.variables,
        format: new.format,
        notation: new.notation,
        preheader: new.preheader,
        text: new.text,
    };
    let ready = texts.read(template.channel)?.prepare().await?;
    let number = keep(&mut work, id, &locale, ready, new.draft).await?;
    let detail = json!({"locale": locale, "version": number, "draft": new.draft});
    work.note("template.version", &id.to_string(), detail).await?;
    templates::touch(&mut work.tx, caller.tenant, id).await?;
    let version = template_versions::get(&mut work.tx, id, &locale, Some(number)).await?;
    work.commit().await?;
    Ok(Made(TemplateVersionView::of(id, version)))
}

/// Keeps texts as the next version, published or as a draft; returns its number.
pub(super) async fn keep(
    work: &mut Work<'_>,
    template: TemplateId,
    locale: &str,
    ready: Ready,
    draft: bool,
) -> Result<i32, Problem> {
    let Ready { written: Written { source, notation, variables }, published } = ready;
    let manner = Manner { locale, notation, variables: Some(&variables) };
    if draft {
        return Ok(template_versions::draft_next(&mut work.tx, template, &manner, &source).await?);
    }
    let id = work.new_id();
    Ok(template_versions::publish_next(&mut work.tx, template, id, &manner, &published?).await?)
}

async fn in_locale(
    work: &mut Work<'_>,
    template: TemplateId,
    wanted: Option<String>,
) -> Result<String, Problem> {
    match wanted {
        Some(locale) => Ok(locale),
        None => Ok(template_versions::usual_locale(&mut work.tx, template).await?),
    }
}

/// The version that a path means, with its template.
pub(super) async fn meant(
    work: &mut Work<'_>,
    tenant: TenantId,
    path: &VersionPath,
    query: &InLocale,
) -> Result<(TemplateId, Version), Problem> {
    let wanted = query.locale.as_deref().map(locale).transpose()?;
    let id = templates::resolve(&mut work.tx, tenant, &path.template, None).await?;
    let locale = in_locale(work, id, wanted).await?;
    let version = template_versions::get(&mut work.tx, id, &locale, Some(path.version)).await?;
    Ok((id, version))
}

/// One version, with its texts.
#[utoipa::path(get, path = "/api/templates/{template_id}/versions/{version}", tag = "templates", security(("bearer" = ["templates:read"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has"),
           ("version" = i32, Path, description = "Its number"), InLocale),
    responses((status = 200, description = "The version", body = Envelope<TemplateVersionView>)))]
async fn show(
    State(service): State<Service>,
    may: May<needs::TemplatesRead>,
    path: VersionPath,
    Query(query): Query<InLocale>,
) -> Result<Tagged<Data<TemplateVersionView>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let (id, version) = meant(&mut work, may.caller.tenant, &path, &query).await?;
    work.end();
    Ok(Tagged::new(version.updated_at, Data(TemplateVersionView::of(id, version))))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TemplateDraftChange {
    #[schema(max_length = 1000)]
    subject: Option<String>,
    /// As of a new template.
    #[schema(value_type = Value)]
    content: Value,
    #[serde(default)]
    #[schema(max_items = 100)]
    variables: Vec<String>,
    format: Option<TextFormat>,
    /// `single` or `handlebars`.
    #[schema(value_type = Option<String>)]
    notation: Option<Notation>,
    #[schema(max_length = 1000)]
    preheader: Option<String>,
    text: Option<String>,
}

/// Replaces the texts of a draft.
#[utoipa::path(put, path = "/api/templates/{template_id}/versions/{version}", tag = "templates", security(("bearer" = ["templates:create"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has"),
           ("version" = i32, Path, description = "Its number"), InLocale,
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = TemplateDraftChange, responses((status = 200, description = "The draft", body = Envelope<TemplateVersionView>)))]
async fn change(
    State(service): State<Service>,
    may: May<needs::TemplatesCreate>,
    path: VersionPath,
    Query(query): Query<InLocale>,
    demand: IfMatch,
    Body(change): Body<TemplateDraftChange>,
) -> Result<Tagged<Data<TemplateVersionView>>, Problem> {
    let tenant = may.caller.tenant;
    let mut work = Work::begin(&service, &may.caller).await?;
    let id = templates::resolve(&mut work.tx, tenant, &path.template, None).await?;
    let template = templates::lock(&mut work.tx, tenant, id).await?;
    let (_, before) = meant(&mut work, tenant, &path, &query).await?;
    demand.check(before.updated_at)?;
    let texts = Texts {
        subject: change.subject,
        content: change.content,
        variables: change.variables,
        format: change.format,
        notation: change.notation,
        preheader: change.preheader,
        text: change.text,
    };
    let Ready { written: Written { source, notation, variables }, .. } =
        texts.read(template.channel)?.prepare().await?;
    let manner = Manner { locale: &before.locale, notation, variables: Some(&variables) };
    template_versions::change_draft(&mut work.tx, id, path.version, &manner, &source).await?;
    templates::touch(&mut work.tx, tenant, id).await?;
    let detail = json!({"locale": before.locale, "version": path.version});
    work.note("template.version.change", &id.to_string(), detail).await?;
    let version = template_versions::get(&mut work.tx, id, &before.locale, Some(path.version)).await?;
    work.commit().await?;
    Ok(Tagged::new(version.updated_at, Data(TemplateVersionView::of(id, version))))
}

/// Publishes a draft: it is what is sent from now on.
#[utoipa::path(post, path = "/api/templates/{template_id}/versions/{version}/publish", tag = "templates", security(("bearer" = ["templates:publish"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has"),
           ("version" = i32, Path, description = "Its number"), InLocale,
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, description = "The version", body = Envelope<TemplateVersionView>),
              (status = 409, description = "It is published, or a newer one is", body = ProblemDetails, content_type = "application/problem+json"),
              (status = 422, description = "It can't be read as a template", body = ProblemDetails, content_type = "application/problem+json")))]
async fn publish(
    State(service): State<Service>,
    may: May<needs::TemplatesPublish>,
    path: VersionPath,
    Query(query): Query<InLocale>,
    demand: IfMatch,
) -> Result<Tagged<Data<TemplateVersionView>>, Problem> {
    let tenant = may.caller.tenant;
    let mut work = Work::begin(&service, &may.caller).await?;
    let id = templates::resolve(&mut work.tx, tenant, &path.template, None).await?;
    templates::lock(&mut work.tx, tenant, id).await?;
    let (_, draft) = meant(&mut work, tenant, &path, &query).await?;
    demand.check(draft.updated_at)?;
    let written = Written {
        source: draft.source.clone(),
        notation: draft.notation,
        variables: draft.variables.clone(),
    };
    let published = written.prepare().await?.published?;
    let new = work.new_id();
    template_versions::publish_draft(&mut work.tx, id, &draft, new, &published).await?;
    templates::touch(&mut work.tx, tenant, id).await?;
    let detail = json!({"locale": draft.locale, "version": draft.version});
    work.note("template.publish", &id.to_string(), detail).await?;
    let version = template_versions::get(&mut work.tx, id, &draft.locale, Some(draft.version)).await?;
    work.commit().await?;
    Ok(Tagged::new(version.updated_at, Data(TemplateVersionView::of(id, version))))
}

/// Discards a draft.
#[utoipa::path(delete, path = "/api/templates/{template_id}/versions/{version}", tag = "templates", security(("bearer" = ["templates:create"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has"),
           ("version" = i32, Path, description = "Its number"), InLocale,
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 204, description = "It is gone"),
              (status = 409, description = "It is published, and stays", body = ProblemDetails, content_type = "application/problem+json")))]
async fn discard(
    State(service): State<Service>,
    may: May<needs::TemplatesCreate>,
    path: VersionPath,
    Query(query): Query<InLocale>,
    demand: IfMatch,
) -> Result<StatusCode, Problem> {
    let tenant = may.caller.tenant;
    let mut work = Work::begin(&service, &may.caller).await?;
    let id = templates::resolve(&mut work.tx, tenant, &path.template, None).await?;
    templates::lock(&mut work.tx, tenant, id).await?;
    let (_, draft) = meant(&mut work, tenant, &path, &query).await?;
    demand.check(draft.updated_at)?;
    template_versions::discard_draft(&mut work.tx, id, &draft.locale, draft.version).await?;
    templates::touch(&mut work.tx, tenant, id).await?;
    let detail = json!({"locale": draft.locale, "version": draft.version});
    work.note("template.version.discard", &id.to_string(), detail).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
