//! WhatsApp templates at Meta: submitted for approval, and where they stand.
//!
//! What is submitted is noted before Meta hears of it. If this process dies in between, or Meta's answer does not come, Meta is
//! asked later; meanwhile the template counts as pending.

use axum::extract::State;
use fanfare_engine::{
    domain::{
        approval::{self, ApprovalStatus, ButtonKind, ButtonText, Category, HeaderText, Submission},
        channel::{Channel, Provider},
        permission::needs,
    },
    id::{AccountId, TenantId},
    providers::SubmitError,
    store::{
        approvals::{self, Approval, Named, Offered},
        kept,
        listing::{Order, Way},
        template_versions::Version,
    },
};
use fanfare_templates::{Source, Whatsapp};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::versions::{InLocale, VersionPath, meant};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope, Made},
        extract::{Body, Query},
        page::{Pagination, Wanted},
        problem::{Code, FieldError, Problem, ProblemDetails},
        sort::Sortable,
    },
    routes::Work,
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(submit)).routes(routes!(list))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApprovalView {
    #[schema(value_type = String)]
    account_id: AccountId,
    /// As Meta knows it.
    name: String,
    language: String,
    locale: String,
    version: i32,
    /// `marketing`, `utility` or `authentication`.
    #[schema(value_type = String)]
    category: Category,
    /// `pending`, `approved`, `rejected`, `paused` or `disabled`. Only an approved one is launched.
    #[schema(value_type = String, example = "pending")]
    status: ApprovalStatus,
    /// Why it is not approved, in Meta's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    submitted_at: jiff::Timestamp,
    /// Since when it stands like this, as far as Meta told.
    #[schema(value_type = String, format = DateTime)]
    status_at: jiff::Timestamp,
}

impl From<Approval> for ApprovalView {
    fn from(approval: Approval) -> Self {
        Self {
            account_id: approval.account,
            name: approval.name,
            language: approval.language,
            locale: approval.locale,
            version: approval.version,
            category: approval.category,
            status: approval.status,
            reason: approval.reason,
            submitted_at: approval.submitted_at,
            status_at: approval.status_at,
        }
    }
}

/// What approvals are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    AccountId,
    SubmittedAt,
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] =
        &[("accountId", Self::AccountId), ("submittedAt", Self::SubmittedAt)];
    const USUAL: Order<Self> = (Self::AccountId, Way::Up);
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ApprovalsQuery {
    /// Language of the version; the tenant's, else the first that the template has, if not said.
    locale: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TemplateApprovals {
    approvals: Vec<ApprovalView>,
    pagination: Pagination,
}

/// The words that Meta is to approve. Name, language and parameters are those of the version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSubmission {
    /// Over which account; the first that serves WhatsApp if not said.
    #[schema(value_type = Option<String>)]
    account_id: Option<AccountId>,
    /// `marketing`, `utility` or `authentication`.
    #[schema(value_type = String, example = "utility")]
    category: Category,
    header: Option<HeaderInput>,
    /// With `{{1}}`, `{{2}}` …, or `{{name}}` of named ones, where the parameters stand.
    #[schema(max_length = 1024, example = "Dear {{1}}, your policy {{2}} ends on {{3}}.")]
    body: String,
    /// A value for each parameter of the body, in order.
    #[serde(default)]
    #[schema(max_items = 100)]
    examples: Vec<String>,
    #[schema(max_length = 60)]
    footer: Option<String>,
    /// In order; those for which the version has values at their index.
    #[serde(default)]
    #[schema(max_items = 10)]
    buttons: Vec<ButtonInput>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HeaderInput {
    /// With `{{1}}` where the version has a value for it.
    #[schema(max_length = 60)]
    text: String,
    #[schema(max_length = 60)]
    example: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum ButtonInput {
    QuickReply {
        #[schema(max_length = 25)]
        text: String,
    },
    Url {
        #[schema(max_length = 25)]
        text: String,
        /// `https://…`, with `{{1}}` where the version has a value for it.
        #[schema(max_length = 2000)]
        url: String,
        /// Of that value.
        #[schema(max_length = 2000)]
        example: Option<String>,
    },
    PhoneNumber {
        #[schema(max_length = 25)]
        text: String,
        #[serde(rename = "phoneNumber")]
        #[schema(max_length = 20)]
        phone_number: String,
    },
    CopyCode {
        #[schema(max_length = 25)]
        text: String,
        #[schema(max_length = 25)]
        example: String,
    },
}

impl From<ButtonInput> for ButtonText {
    fn from(input: ButtonInput) -> Self {
        match input {
            ButtonInput::QuickReply { text } => Self { text, kind: ButtonKind::QuickReply },
            ButtonInput::Url { text, url, example } => Self { text, kind: ButtonKind::Url { url, example } },
            ButtonInput::PhoneNumber { text, phone_number } => {
                Self { text, kind: ButtonKind::PhoneNumber(phone_number) }
            }
            ButtonInput::CopyCode { text, example } => Self { text, kind: ButtonKind::CopyCode { example } },
        }
    }
}

impl NewSubmission {
    /// What is submitted of a version, or everything that is wrong with it.
    fn read(self, version: &Version) -> Result<Submission, Problem> {
        let not =
            || Problem::field("version", "is no message from a template of Meta's: only those are approved");
        let Source::Whatsapp(whatsapp) = &version.source else { return Err(not()) };
        let Whatsapp::Template { name, language, body, .. } = whatsapp else { return Err(not()) };
        let submission = Submission {
            name: name.clone(),
            language: language.clone(),
            category: self.category,
            header: self.header.map(|HeaderInput { text, example }| HeaderText { text, example }),
            body: self.body,
            examples: self.examples,
            names: body.iter().filter_map(|param| param.name.clone()).collect(),
            footer: self.footer,
            buttons: self.buttons.into_iter().map(ButtonText::from).collect(),
        };
        let faults = approval::faults(&submission, whatsapp);
        if faults.is_empty() {
            return Ok(submission);
        }
        let errors = faults.into_iter().map(|(field, message)| FieldError { field, message });
        Err(Problem::fields(errors.collect()))
    }
}

/// The account of the tenant over which a template is submitted.
async fn account(
    work: &mut Work<'_>,
    tenant: TenantId,
    wanted: Option<AccountId>,
) -> Result<AccountId, Problem> {
    let accounts = kept::list(&mut work.tx, tenant).await?;
    let mut whatsapp = accounts.iter().filter(|account| account.provider == Provider::WhatsappCloud);
    match wanted {
        Some(id) => whatsapp.find(|account| account.id == id).map(|account| account.id).ok_or_else(|| {
            Problem::field("accountId", "is no account for WhatsApp: `GET /api/accounts` lists them")
        }),
        None => whatsapp.next().map(|account| account.id).ok_or_else(|| {
            Problem::say(Code::Conflict, format!("No account serves {}: make one first.", Channel::Whatsapp))
        }),
    }
}

/// Submits a published version of a WhatsApp template to Meta. One that Meta refused, paused or approved before is submitted in
/// its place. Meta takes minutes to a day; until then nothing is launched with it.
#[utoipa::path(post, path = "/api/templates/{template_id}/versions/{version}/submit", tag = "templates", security(("bearer" = ["templates:publish"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has"),
           ("version" = i32, Path, description = "Its number"), InLocale),
    request_body = NewSubmission,
    responses((status = 201, description = "Meta has it", body = Envelope<ApprovalView>),
              (status = 409, description = "It is a draft, or waits for Meta, or Meta refuses it, or the account can't submit", body = ProblemDetails, content_type = "application/problem+json"),
              (status = 503, description = "Meta did not say whether it took it: it counts as pending, and is asked for", body = ProblemDetails, content_type = "application/problem+json")))]
async fn submit(
    State(service): State<Service>,
    may: May<needs::TemplatesPublish>,
    path: VersionPath,
    Query(query): Query<InLocale>,
    Body(new): Body<NewSubmission>,
) -> Result<Made<ApprovalView>, Problem> {
    let tenant = may.caller.tenant;
    let mut work = Work::begin(&service, &may.caller).await?;
    let (template, version) = meant(&mut work, tenant, &path, &query).await?;
    if version.published_at.is_none() {
        return Err(Problem::say(Code::Conflict, "This version is a draft: publish it, then submit it."));
    }
    let account = account(&mut work, tenant, new.account_id).await?;
    let submission = new.read(&version)?;
    let handle = service.accounts.get(account).ok_or(Code::NotReady)?;
    let desk = handle.adapter.templates().ok_or(Code::NotReady)?;
    let named = Named { account, name: &submission.name, language: &submission.language };
    let before = approvals::get(&mut work.tx, tenant, named).await?;
    if before.as_ref().is_some_and(|before| before.status == ApprovalStatus::Pending) {
        return Err(Problem::say(
            Code::Conflict,
            "Meta is looking at this template already: wait for its verdict.",
        ));
    }
    let category = submission.category;
    let offered = Offered { template, locale: &version.locale, version: version.version, category };
    approvals::offer(&mut work.tx, tenant, named, offered).await?;
    let detail = json!({"locale": version.locale, "version": version.version, "account": account, "category": category});
    work.note("template.submit", &template.to_string(), detail).await?;
    work.commit().await?;

    let id = before.as_ref().and_then(|before| before.provider_id.as_deref());
    let answer = desk.submit(&submission, id).await;
    let mut work = Work::begin(&service, &may.caller).await?;
    match answer {
        Ok(submitted) => approvals::answered(&mut work.tx, tenant, named, &submitted).await?,
        Err(SubmitError::Away(why)) => {
            tracing::warn!(why, %account, "whether a template was taken is not known yet");
            return Err(Code::NotReady.into());
        }
        Err(error @ (SubmitError::Refused(_) | SubmitError::NoBusiness)) => {
            approvals::withdraw(&mut work.tx, tenant, named, before.as_ref()).await?;
            work.commit().await?;
            return Err(Problem::say(Code::Conflict, format!("It was not submitted: {error}.")));
        }
    }
    let approval = approvals::get(&mut work.tx, tenant, named).await?.ok_or(Code::NotFound)?;
    work.commit().await?;
    Ok(Made(approval.into()))
}

/// Where a version stands at Meta, for each account over which it was the last to be submitted.
#[utoipa::path(get, path = "/api/templates/{template_id}/versions/{version}/approvals", tag = "templates", security(("bearer" = ["templates:read"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has"),
           ("version" = i32, Path, description = "Its number"), Wanted<By>, ApprovalsQuery),
    responses((status = 200, description = "Its approvals", body = Envelope<TemplateApprovals>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::TemplatesRead>,
    path: VersionPath,
    Query(wanted): Query<Wanted<By>>,
    Query(ApprovalsQuery { locale }): Query<ApprovalsQuery>,
) -> Result<Data<TemplateApprovals>, Problem> {
    let tenant = may.caller.tenant;
    let window = wanted.window::<(Option<Timestamp>, AccountId, String, String)>()?;
    let (by, way) = wanted.sort.0;
    let mut work = Work::read(&service, &may.caller).await?;
    let (template, version) = meant(&mut work, tenant, &path, &InLocale { locale }).await?;
    let of = (template, version.locale.as_str(), version.version);
    let all = approvals::of_version(&mut work.tx, tenant, of).await?;
    let (rows, pagination) = window.of_all(all, way, |approval: &Approval| {
        let at = (by == By::SubmittedAt).then_some(approval.submitted_at);
        (at, approval.account, approval.name.clone(), approval.language.clone())
    });
    work.end();
    Ok(Data(TemplateApprovals { approvals: rows.into_iter().map(ApprovalView::from).collect(), pagination }))
}
