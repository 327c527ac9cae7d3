//! Users: invited, changed, blocked. Nobody gives somebody a role that allows more than they may do themselves, nor changes
//! anybody who may do more.

use std::time::Duration;

use axum::extract::State;
use fanfare_engine::{
    domain::{
        address::{EmailAddress, PhoneNumber, Region},
        permission::needs,
    },
    id::{ContactId, UserId},
    store::{
        StoreError, contacts,
        listing::{Order, Way},
        roles, sessions,
        sign_in::{self, LinkPurpose},
        users::{self, By, NewUser, RowScope, User, UserFacts, UserFilter, UserStatus},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Work, auth::UserView, contacts::sight, roles::by_slug};
use crate::{
    auth::{
        caller::{Caller, May},
        mail,
        tokens::{self, Kind},
    },
    http::{
        envelope::{Data, Envelope, Made},
        etag::{IfMatch, Tagged},
        extract::{Body, PathId, Query},
        page::{Pagination, Wanted},
        problem::{Code, FieldError, Problem},
        sort::Sortable,
    },
    pages,
    service::Service,
};

/// How long an invitation or a link for a new password is good.
const LINK_LIFETIME: Duration = Duration::from_hours(72);
const LONGEST_NAME: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list, invite)).routes(routes!(show, change)).routes(routes!(reset))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
struct Which {
    /// `invited`, `active` or `blocked`.
    #[param(value_type = Option<String>)]
    status: Option<UserStatus>,
    /// A role's slug.
    role: Option<String>,
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] = &[("createdAt", Self::CreatedAt), ("email", Self::Email)];
    const USUAL: Order<Self> = (Self::CreatedAt, Way::Up);
}

#[derive(Debug, Serialize, ToSchema)]
struct Users {
    users: Vec<UserView>,
    pagination: Pagination,
}

/// The users of the tenant, in the order in which they came if no `sort` is said.
#[utoipa::path(get, path = "/api/users", tag = "users", security(("bearer" = ["users:read"])), params(Wanted<By>, Which),
    responses((status = 200, description = "The users", body = Envelope<Users>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::UsersRead>,
    Query(wanted): Query<Wanted<By>>,
    Query(Which { status, role }): Query<Which>,
) -> Result<Data<Users>, Problem> {
    let window = wanted.window()?;
    let filter = UserFilter { status, role: role.as_deref() };
    let mut work = Work::read(&service, &may.caller).await?;
    let (rows, total) =
        users::list(&mut work.tx, may.caller.tenant, &filter, wanted.sort.0, &window.part()).await?;
    let (rows, next) = window.cut(rows, User::place);
    work.seen("user.list", "users", json!({"users": rows.len()})).await?;
    let users = rows.into_iter().map(UserView::from).collect();
    Ok(Data(Users { users, pagination: window.pagination(total, next) }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Invitation {
    #[schema(max_length = 254)]
    email: String,
    #[schema(min_length = 1, max_length = 100)]
    first_name: String,
    #[serde(default)]
    #[schema(max_length = 100)]
    last_name: String,
    #[schema(max_length = 40)]
    phone: Option<String>,
    /// A role's slug.
    #[schema(max_length = 63)]
    role: String,
    /// The person that they are: they read their notifications. An agent or a customer is the one with this address if nobody
    /// is named.
    #[schema(value_type = Option<String>)]
    contact_id: Option<ContactId>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Link {
    /// Good once, for three days; it is not told again.
    token: String,
    /// The route that takes it.
    path: String,
    /// Where they open it.
    url: String,
    /// Whether it was mailed to them, too; otherwise hand it on.
    mailed: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct Invited {
    user: UserView,
    invitation: Link,
}

/// Invites somebody by mail. Without an account for e-mail, hand the link on to them: it sets their password.
#[utoipa::path(post, path = "/api/users", tag = "users", security(("bearer" = ["users:update"])), request_body = Invitation,
    responses((status = 201, description = "The user, and their invitation", body = Envelope<Invited>)))]
async fn invite(
    State(service): State<Service>,
    may: May<needs::UsersUpdate>,
    Body(new): Body<Invitation>,
) -> Result<Made<Invited>, Problem> {
    let caller = &may.caller;
    caller.sees_everybody(
        "You see only some of the contacts, and whoever is invited sees those of everybody at first.",
    )?;
    let email =
        EmailAddress::parse(&new.email).map_err(|error| Problem::field("email", error.to_string()))?;
    let phone = person(&new.first_name, &new.last_name, new.phone.as_deref(), &caller.home.region)?;
    let mut work = Work::begin(&service, caller).await?;
    let role = grantable(&mut work, caller, &new.role).await?;
    let mut contact = contact(&mut work, new.contact_id).await?;
    if contact.is_none() && is_bound(&role) {
        contact = users::contact_of(&mut work.tx, caller.tenant, email.as_str()).await?;
    }
    be_somebody(&role, contact)?;
    let id = service.ids.next(service.clock.now());
    let user = NewUser {
        id,
        tenant: caller.tenant,
        email: email.as_str(),
        first_name: &new.first_name,
        last_name: &new.last_name,
        phone: phone.as_ref().map(PhoneNumber::as_str),
        role: role.id,
        password_hash: None,
        contact,
    };
    users::create(&mut work.tx, &user).await?;
    let invitation = link(&service, &mut work, caller, (LinkPurpose::Invitation, id)).await?;
    let user = users::get(&mut work.tx, caller.tenant, id).await?;
    work.note("user.invite", &id.to_string(), json!({"role": role.slug})).await?;
    work.commit().await?;
    let invitation = invitation.mailed(&service, &user).await;
    Ok(Made(Invited { user: user.into(), invitation }))
}

/// One user.
#[utoipa::path(get, path = "/api/users/{user_id}", tag = "users", security(("bearer" = ["users:read"])),
    params(("user_id" = String, Path, description = "`usr_…`")),
    responses((status = 200, description = "The user", body = Envelope<UserView>)))]
async fn show(
    State(service): State<Service>,
    may: May<needs::UsersRead>,
    PathId(id): PathId<UserId>,
) -> Result<Tagged<Data<UserView>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let user = users::get(&mut work.tx, may.caller.tenant, id).await?;
    work.seen("user.read", &id.to_string(), json!({})).await?;
    Ok(Tagged::new(user.updated_at, Data(user.into())))
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum RowScopeName {
    All,
    Branch,
    Assigned,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserChange {
    #[schema(min_length = 1, max_length = 100)]
    first_name: String,
    #[serde(default)]
    #[schema(max_length = 100)]
    last_name: String,
    #[schema(max_length = 40)]
    phone: Option<String>,
    /// A role's slug.
    #[schema(max_length = 63)]
    role: String,
    /// Whether they may not sign in any more; ends their sessions.
    #[serde(default)]
    blocked: bool,
    row_scope: RowScopeName,
    /// Where `rowScope` is `branch`.
    #[schema(max_length = 100)]
    branch: Option<String>,
    /// The person that they are. An agent or a customer stays who they were if nobody is named.
    #[schema(value_type = Option<String>)]
    contact_id: Option<ContactId>,
}

/// Changes a user.
#[utoipa::path(put, path = "/api/users/{user_id}", tag = "users", security(("bearer" = ["users:update"])), request_body = UserChange,
    params(("user_id" = String, Path, description = "`usr_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, description = "The user", body = Envelope<UserView>)))]
async fn change(
    State(service): State<Service>,
    may: May<needs::UsersUpdate>,
    PathId(id): PathId<UserId>,
    demand: IfMatch,
    Body(change): Body<UserChange>,
) -> Result<Tagged<Data<UserView>>, Problem> {
    let caller = &may.caller;
    let phone = person(&change.first_name, &change.last_name, change.phone.as_deref(), &caller.home.region)?;
    let scope = scope(&change)?;
    let mut work = Work::begin(&service, caller).await?;
    let user = users::lock(&mut work.tx, caller.tenant, id).await?;
    demand.check(user.updated_at)?;
    within_reach(caller, &user)?;
    if scope != caller.scope {
        caller.sees_everybody("You can't let somebody see other contacts than you do yourself.")?;
    }
    let role = grantable(&mut work, caller, &change.role).await?;
    let named = contact(&mut work, change.contact_id).await?;
    // Their address alone makes nobody a contact here: whoever registered by themselves may have given anybody's.
    let contact = named.or(user.contact.filter(|_| is_bound(&role)));
    if role.id != user.role {
        be_somebody(&role, contact)?;
    }
    let facts = UserFacts {
        first_name: &change.first_name,
        last_name: &change.last_name,
        phone: phone.as_ref().map(PhoneNumber::as_str),
        role: role.id,
        blocked: change.blocked,
        scope: &scope,
        contact,
    };
    users::change(&mut work.tx, caller.tenant, id, &facts).await?;
    if change.blocked {
        sessions::revoke_others(&mut work.tx, id, None, "the user was blocked").await?;
    }
    let changed = users::get(&mut work.tx, caller.tenant, id).await?;
    let detail = json!({"before": {"role": user.role_slug, "status": user.status}, "after": {"role": role.slug, "status": changed.status}});
    work.note("user.change", &id.to_string(), detail).await?;
    work.commit().await?;
    Ok(Tagged::new(changed.updated_at, Data(changed.into())))
}

/// Makes a link by which a user sets a new password, or, while they are invited, their first one, and mails it to them.
#[utoipa::path(post, path = "/api/users/{user_id}/link", tag = "users", security(("bearer" = ["users:update"])),
    params(("user_id" = String, Path, description = "`usr_…`")),
    responses((status = 201, description = "The link; an older one is good no more", body = Envelope<Link>)))]
async fn reset(
    State(service): State<Service>,
    may: May<needs::UsersUpdate>,
    PathId(id): PathId<UserId>,
) -> Result<Made<Link>, Problem> {
    let caller = &may.caller;
    let mut work = Work::begin(&service, caller).await?;
    let user = users::lock(&mut work.tx, caller.tenant, id).await?;
    within_reach(caller, &user)?;
    let purpose =
        if user.status == UserStatus::Invited { LinkPurpose::Invitation } else { LinkPurpose::PasswordReset };
    let link = link(&service, &mut work, caller, (purpose, id)).await?;
    work.note("user.link", &id.to_string(), json!({"purpose": purpose})).await?;
    work.commit().await?;
    Ok(Made(link.mailed(&service, &user).await))
}

async fn link(
    service: &Service,
    work: &mut Work<'_>,
    caller: &Caller,
    (purpose, user): (LinkPurpose, UserId),
) -> Result<NewLink, Problem> {
    let (token, hash) = tokens::make(Kind::Link, &service.ids);
    sign_in::make_link(&mut work.tx, caller.tenant, (purpose, user), &hash, LINK_LIFETIME).await?;
    Ok(NewLink { purpose, token })
}

/// A link that is in the database, and that nobody knows yet.
struct NewLink {
    purpose: LinkPurpose,
    token: String,
}

impl NewLink {
    /// To be called once the link is committed: a mail can't be taken back.
    async fn mailed(self, service: &Service, user: &User) -> Link {
        let Self { purpose, token } = self;
        let mailed = user.status != UserStatus::Blocked
            && mail::send(service, user, (purpose, &token), LINK_LIFETIME).await;
        Link {
            path: format!("/api/auth/{}/{token}", pages::route(purpose)),
            url: pages::link(&service.base_url, purpose, &token),
            token,
            mailed,
        }
    }
}

/// The role of this name, if the caller may give it away.
async fn grantable(work: &mut Work<'_>, caller: &Caller, slug: &str) -> Result<roles::Role, Problem> {
    let role = by_slug(work, slug).await?;
    if caller.permissions.includes(&role.permissions) {
        Ok(role)
    } else {
        Err(Problem::say(
            Code::Forbidden,
            "You can't give somebody a role that allows more than you may do yourself.",
        ))
    }
}

/// A contact that was named, if the caller sees it.
async fn contact(work: &mut Work<'_>, named: Option<ContactId>) -> Result<Option<ContactId>, Problem> {
    let Some(id) = named else { return Ok(None) };
    match contacts::get(&mut work.tx, sight(work.caller), id).await {
        Ok(_) => Ok(Some(id)),
        Err(StoreError::NotFound { .. }) => {
            Err(Problem::field("contactId", "is no contact: `GET /api/contacts` lists them"))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_bound(role: &roles::Role) -> bool {
    roles::BOUND.contains(&role.slug.as_str())
}

/// That somebody in this role is a contact, where the role is for those.
fn be_somebody(role: &roles::Role, contact: Option<ContactId>) -> Result<(), Problem> {
    if contact.is_some() || !is_bound(role) {
        return Ok(());
    }
    let why = format!("must say which contact this {} is", role.slug);
    Err(Problem::field("contactId", why))
}

fn within_reach(caller: &Caller, user: &User) -> Result<(), Problem> {
    if caller.permissions.includes(&user.permissions)
        && (caller.scope == RowScope::All || caller.scope == user.scope)
    {
        Ok(())
    } else {
        Err(Problem::say(
            Code::Forbidden,
            "This user may do or see more than you: somebody who may do as much has to do it.",
        ))
    }
}

fn scope(change: &UserChange) -> Result<RowScope, Problem> {
    match (change.row_scope, change.branch.as_deref()) {
        (RowScopeName::All, _) => Ok(RowScope::All),
        (RowScopeName::Assigned, _) => Ok(RowScope::Assigned),
        (RowScopeName::Branch, Some(branch)) if is_name(branch) && !branch.is_empty() => {
            Ok(RowScope::Branch(branch.to_owned()))
        }
        (RowScopeName::Branch, _) => Err(Problem::field(
            "branch",
            format!("must have 1 to {LONGEST_NAME} characters where rowScope is `branch`"),
        )),
    }
}

/// Checks a person's names, and reads their phone number as it is written in this country.
pub(super) fn person(
    first_name: &str,
    last_name: &str,
    phone: Option<&str>,
    region: &str,
) -> Result<Option<PhoneNumber>, Problem> {
    let mut errors = Vec::new();
    let mut wrong =
        |field: &str, message: String| errors.push(FieldError { field: field.to_owned(), message });
    if first_name.trim().is_empty() || !is_name(first_name) {
        wrong("firstName", format!("must have 1 to {LONGEST_NAME} characters"));
    }
    if !is_name(last_name) {
        wrong("lastName", format!("must have at most {LONGEST_NAME} characters"));
    }
    let region = Region::parse(region).map_err(|error| {
        tracing::error!(%error, "a tenant's country is none");
        Problem::from(Code::Broken)
    })?;
    let phone = phone.map(|text| PhoneNumber::parse(text, &region)).transpose();
    let phone = phone.map_err(|error| wrong("phone", error.to_string())).unwrap_or_default();
    if errors.is_empty() { Ok(phone) } else { Err(Problem::fields(errors)) }
}

fn is_name(text: &str) -> bool {
    text.chars().count() <= LONGEST_NAME && !text.contains('\0')
}
