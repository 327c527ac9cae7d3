//! Contacts: the people that messages go to. A caller who sees only a branch, or only whom they look after, finds no others.

mod bulk;
mod consents;
mod list;
mod person;
mod timeline;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use fanfare_engine::{
    contacts::person::{Fault, Faults, Person, check_size},
    domain::{
        address::{Region, masked},
        permission::{Permission, needs},
    },
    id::{ContactId, UserId},
    store::{
        StoreError,
        contacts::{self, Contact, Keeper, Sight},
        tenants::Tenant,
        users::RowScope,
    },
};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use self::person::{ContactChange, ContactView, NewContact};
use super::Work;
use crate::{
    auth::caller::{Actor, Caller, May},
    http::{
        envelope::{Data, Envelope, Made},
        etag::{IfMatch, Tagged},
        extract::{Body, PathId},
        problem::{Code, FieldError, Problem},
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list::list, create))
        .routes(routes!(show, change, erase))
        .routes(routes!(bulk::take))
        .routes(routes!(consents::show, consents::record))
        .routes(routes!(consents::preferences, consents::prefer))
        .routes(routes!(timeline::show))
}

/// Nobody is assigned to no user.
const NO_USER: UserId = UserId::from_uuid(Uuid::nil());

/// What the caller sees of the tenant's contacts.
pub(in crate::routes) fn sight(caller: &Caller) -> Sight<'_> {
    let sight = Sight { tenant: caller.tenant, branch: None, agent: None };
    match &caller.scope {
        RowScope::All => sight,
        RowScope::Branch(branch) => Sight { branch: Some(branch), ..sight },
        RowScope::Assigned => Sight { agent: Some(person_behind(caller)), ..sight },
    }
}

/// Of people whom the caller does not see there is nothing else, either, and nothing of those whom nobody knows.
pub(in crate::routes) async fn in_sight(
    work: &mut Work<'_>,
    caller: &Caller,
    contact: Option<ContactId>,
) -> Result<(), Problem> {
    if sees(work, caller, contact).await? { Ok(()) } else { Err(Code::NotFound.into()) }
}

pub(in crate::routes) async fn sees(
    work: &mut Work<'_>,
    caller: &Caller,
    contact: Option<ContactId>,
) -> Result<bool, Problem> {
    if caller.scope == RowScope::All {
        return Ok(true);
    }
    let Some(contact) = contact else { return Ok(false) };
    match contacts::get(&mut work.tx, sight(caller), contact).await {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn person_behind(caller: &Caller) -> UserId {
    match caller.actor {
        Actor::User { user, .. } => user,
        Actor::Key(_) => NO_USER,
    }
}

pub(super) fn refused(faults: Vec<Fault>) -> Problem {
    Problem::fields(
        faults.into_iter().map(|Fault { field, reason }| FieldError { field, message: reason }).collect(),
    )
}

/// Where the tenant's phone numbers belong.
pub(super) fn region(tenant: &Tenant) -> Result<Region, Problem> {
    Region::parse(&tenant.region).map_err(|why| {
        tracing::error!(why, "a tenant's region can't be read");
        Code::Broken.into()
    })
}

/// Adds a contact, or adds to the one with this e-mail address (without one: with this phone number and no address): what
/// is said replaces what was known, what is left out stays, and attributes are added to those that are known.
#[utoipa::path(post, path = "/api/contacts", tag = "contacts", security(("bearer" = ["contacts:create"])),
    request_body = NewContact, responses(
        (status = 201, description = "A new contact", body = Envelope<ContactView>),
        (status = 200, description = "A contact that was known; needs `contacts:update`, too", body = Envelope<ContactView>)))]
async fn create(
    State(service): State<Service>,
    may: May<needs::ContactsCreate>,
    Body(new): Body<NewContact>,
) -> Result<Response, Problem> {
    let caller = &may.caller;
    let (said, branch, assigned_to) = new.parts()?;
    let person = Person::check(said, &region(&caller.home)?).map_err(refused)?;
    let mut work = Work::begin(&service, caller).await?;
    let keeper = keeper(&mut work, caller, branch.as_deref(), assigned_to).await?;
    // Somebody may make the same contact between the look and the insertion; then it is known at the second look.
    for _ in 0..2 {
        if let Some(id) = contacts::known(&mut work.tx, caller.tenant, &person).await? {
            let contact = add_to(&mut work, caller, id, &person, keeper).await?;
            work.commit().await?;
            return Ok(Tagged::new(contact.updated_at, Data(ContactView::from(contact))).into_response());
        }
        let id = service.ids.next(service.clock.now());
        let own = Keeper {
            branch: keeper.branch.or(sight(caller).branch),
            agent: keeper.agent.or(sight(caller).agent),
        };
        if contacts::create(&mut work.tx, caller.tenant, id, &person, own).await? {
            let contact = contacts::get(&mut work.tx, sight(caller), id).await?;
            let detail = json!({"email": shown(&contact.email), "phone": shown(&contact.phone)});
            work.note("contact.create", &id.to_string(), detail).await?;
            work.commit().await?;
            return Ok(Tagged::new(contact.updated_at, Made(ContactView::from(contact))).into_response());
        }
    }
    Err(Problem::say(Code::Conflict, "Somebody else is changing this contact: try again."))
}

async fn add_to(
    work: &mut Work<'_>,
    caller: &Caller,
    id: ContactId,
    person: &Person,
    keeper: Keeper<'_>,
) -> Result<Contact, Problem> {
    caller.needs(Permission::ContactsUpdate)?;
    let known = contacts::get(&mut work.tx, sight(caller), id).await.map_err(|error| match error {
        StoreError::NotFound { .. } => Problem::say(
            Code::Conflict,
            "A contact with this address exists, and it is not one that you look after.",
        ),
        other => other.into(),
    })?;
    let branch = keeper.branch.or(known.branch.as_deref());
    keeps(caller, &known, Keeper { branch, agent: keeper.agent.or(known.assigned_to) })?;
    contacts::tell(&mut work.tx, caller.tenant, id, person, keeper).await?;
    let contact = contacts::get(&mut work.tx, sight(caller), id).await?;
    let mut faults = Faults::default();
    check_size(&contact.attributes, &mut faults);
    faults.or(()).map_err(refused)?;
    if contact == known {
        // All of it is shown.
        work.note("contact.read", &id.to_string(), json!({"for": "contact.create"})).await?;
    } else {
        work.note("contact.change", &id.to_string(), json!({"fields": changed(&known, &contact)})).await?;
    }
    Ok(contact)
}

/// A contact that is known stays whose it is, unless the caller sees all of them.
fn keeps(caller: &Caller, known: &Contact, keeper: Keeper<'_>) -> Result<(), Problem> {
    if keeper.branch == known.branch.as_deref() && keeper.agent == known.assigned_to {
        return Ok(());
    }
    caller.sees_everybody("Whoever sees only some contacts can't say whose they are.")
}

/// Whose a contact is said to be. Somebody who sees only some contacts does not give them away.
async fn keeper<'a>(
    work: &mut Work<'_>,
    caller: &Caller,
    branch: Option<&'a str>,
    agent: Option<UserId>,
) -> Result<Keeper<'a>, Problem> {
    let sight = sight(caller);
    if sight.branch.is_some() && branch.is_some_and(|other| Some(other) != sight.branch) {
        return Err(Problem::say(Code::Forbidden, "You see the contacts of your own branch only."));
    }
    if sight.agent.is_some() && agent.is_some_and(|other| Some(other) != sight.agent) {
        return Err(Problem::say(Code::Forbidden, "You see the contacts that are assigned to you only."));
    }
    if let Some(agent) = agent
        && !contacts::is_agent(&mut work.tx, caller.tenant, agent).await?
    {
        return Err(Problem::field("assignedTo", "is no user of yours"));
    }
    Ok(Keeper { branch, agent })
}

/// One contact.
#[utoipa::path(get, path = "/api/contacts/{contact_id}", tag = "contacts", security(("bearer" = ["contacts:read"])),
    params(("contact_id" = String, Path, description = "`cont_…`")),
    responses((status = 200, description = "The contact", body = Envelope<ContactView>)))]
async fn show(
    State(service): State<Service>,
    may: May<needs::ContactsRead>,
    PathId(id): PathId<ContactId>,
) -> Result<Tagged<Data<ContactView>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let contact = contacts::get(&mut work.tx, sight(&may.caller), id).await?;
    work.seen("contact.read", &id.to_string(), json!({})).await?;
    Ok(Tagged::new(contact.updated_at, Data(contact.into())))
}

/// Changes a contact: fields that are sent are set, null takes one away, and so it is with each attribute; all else stays.
#[utoipa::path(patch, path = "/api/contacts/{contact_id}", tag = "contacts", security(("bearer" = ["contacts:update"])),
    params(("contact_id" = String, Path, description = "`cont_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = ContactChange, responses((status = 200, description = "The contact", body = Envelope<ContactView>)))]
async fn change(
    State(service): State<Service>,
    may: May<needs::ContactsUpdate>,
    PathId(id): PathId<ContactId>,
    demand: IfMatch,
    Body(change): Body<ContactChange>,
) -> Result<Tagged<Data<ContactView>>, Problem> {
    let caller = &may.caller;
    let region = region(&caller.home)?;
    let mut work = Work::begin(&service, caller).await?;
    let known = contacts::lock(&mut work.tx, sight(caller), id).await?;
    demand.check(known.updated_at)?;
    let contact = change.applied(known.clone(), &region)?;
    keeps(caller, &known, Keeper { branch: contact.branch.as_deref(), agent: contact.assigned_to })?;
    if contact.assigned_to != known.assigned_to {
        keeper(&mut work, caller, None, contact.assigned_to).await?;
    }
    contacts::change(&mut work.tx, caller.tenant, &contact).await?;
    let contact = contacts::get(&mut work.tx, sight(caller), id).await?;
    work.note("contact.change", &id.to_string(), json!({"fields": changed(&known, &contact)})).await?;
    work.commit().await?;
    Ok(Tagged::new(contact.updated_at, Data(contact.into())))
}

/// Erases what a contact's own record tells of the person: name, addresses, attributes, consents and preferences. The record
/// stays, without them, for the messages that name it. What was sent, rows of uploaded files, and suppressions still bear
/// what they bore, and a campaign that was launched before still sends: suppress the address first where that must not be.
#[utoipa::path(delete, path = "/api/contacts/{contact_id}", tag = "contacts", security(("bearer" = ["contacts:delete"])),
    params(("contact_id" = String, Path, description = "`cont_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 204, description = "It is erased")))]
async fn erase(
    State(service): State<Service>,
    may: May<needs::ContactsDelete>,
    PathId(id): PathId<ContactId>,
    demand: IfMatch,
) -> Result<StatusCode, Problem> {
    let caller = &may.caller;
    let mut work = Work::begin(&service, caller).await?;
    let known = contacts::lock(&mut work.tx, sight(caller), id).await?;
    demand.check(known.updated_at)?;
    contacts::erase(&mut work.tx, caller.tenant, id).await?;
    work.note("contact.erase", &id.to_string(), json!({})).await?;
    work.commit().await?;
    // A consent that is gone may have been all that allowed marketing.
    service.store.grace(caller.tenant).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The names of the fields in which two states of a contact differ: the audit log does not keep what people are called.
fn changed(before: &Contact, after: &Contact) -> Vec<&'static str> {
    [
        ("name", before.name != after.name),
        ("email", before.email != after.email),
        ("phone", before.phone != after.phone),
        ("locale", before.locale != after.locale),
        ("timeZone", before.time_zone != after.time_zone),
        ("attributes", before.attributes != after.attributes),
        ("branch", before.branch != after.branch),
        ("assignedTo", before.assigned_to != after.assigned_to),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect()
}

fn shown(address: &Option<String>) -> Option<String> {
    address.as_deref().map(masked)
}
