//! The list of contacts: found by how a word begins, filtered, in one of a few orders.

use axum::extract::State;
use fanfare_engine::{
    contacts::person,
    domain::{permission::needs, search},
    id::UserId,
    store::{
        contacts::{self, By, Contact, Filter, Part, Place},
        listing::{Order, Way},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{person::ContactView, sight};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        extract::Query,
        page::{Counted, Pagination, Start, Wanted},
        problem::Problem,
        sort::Sortable,
    },
    routes::Work,
    service::Service,
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wish {
    /// Words, each of which begins a word of the name, the e-mail address, its domain or the phone number. 100 characters.
    /// Of words that fit more than 10,000 people, 10,000 of these are looked at: another word narrows them.
    q: Option<String>,
    /// The whole address.
    email: Option<String>,
    /// A language as contacts have it, such as `fr-MU`.
    locale: Option<String>,
    /// As contacts have it, such as `Indian/Mauritius`.
    time_zone: Option<String>,
    /// Its name, as contacts have it.
    branch: Option<String>,
    /// `usr_…`.
    #[param(value_type = Option<String>)]
    assigned_to: Option<UserId>,
    /// At or after this moment, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    created_after: Option<Timestamp>,
    /// Before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
    /// At or after this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_after: Option<Timestamp>,
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] = &[("createdAt", Self::CreatedAt), ("name", Self::Name)];
    const USUAL: Order<Self> = (Self::CreatedAt, Way::Down);
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Contacts {
    contacts: Vec<ContactView>,
    pagination: Pagination,
}

/// Contacts, the newest first if no `sort` is said. By name, all that the filters leave is read.
#[utoipa::path(get, path = "/api/contacts", tag = "contacts", security(("bearer" = ["contacts:read"])), params(Wanted<By>, Wish),
    responses((status = 200, description = "The contacts", body = Envelope<Contacts>)))]
pub(super) async fn list(
    State(service): State<Service>,
    may: May<needs::ContactsRead>,
    Query(wanted): Query<Wanted<By>>,
    Query(wish): Query<Wish>,
) -> Result<Data<Contacts>, Problem> {
    let caller = &may.caller;
    let window = wanted.window::<Counted<Place>>()?;
    let terms = Terms::of(&wish)?;
    let filter = terms.filter(&wish);
    let mut work = Work::read(&service, caller).await?;
    let after = match &window.start {
        Start::After(last) => Some(&last.place),
        Start::Page(_) => None,
    };
    let part =
        Part { order: wanted.sort.0, after, offset: window.offset(), limit: i64::from(window.limit) + 1 };
    let rows = contacts::list(&mut work.tx, sight(caller), filter, part).await?;
    let limit = usize::try_from(window.limit).unwrap_or(usize::MAX);
    let total = match window.counted().or_else(|| window.total(rows.len(), rows.len() > limit)) {
        Some(total) => total,
        None => contacts::count(&mut work.tx, sight(caller), filter).await?,
    };
    let (rows, next) = window.cut(rows, |last: &Contact| Counted {
        place: Place { id: last.id, name: last.name.clone().unwrap_or_default() },
        total,
    });
    work.seen("contact.list", "contacts", json!({"contacts": rows.len(), "searched": wish.q.is_some()}))
        .await?;
    let contacts = rows.into_iter().map(ContactView::from).collect();
    Ok(Data(Contacts { contacts, pagination: window.pagination(total, next) }))
}

/// What of a wish has to be read first.
struct Terms {
    found_by: Option<String>,
    email: Option<String>,
}

impl Terms {
    fn of(wish: &Wish) -> Result<Self, Problem> {
        let texts = [
            ("locale", &wish.locale),
            ("timeZone", &wish.time_zone),
            ("branch", &wish.branch),
            ("q", &wish.q),
        ];
        for (field, text) in texts {
            let Some(text) = text else { continue };
            if text.contains('\0') || text.chars().count() > search::LONGEST {
                let most = search::LONGEST;
                return Err(Problem::field(
                    field,
                    format!("must have at most {most} characters, and no NUL"),
                ));
            }
        }
        let found_by = match &wish.q {
            Some(typed) => {
                let query = search::text_query(typed);
                Some(query.ok_or_else(|| Problem::field("q", "must hold a letter or a digit"))?)
            }
            None => None,
        };
        let email = wish.email.as_deref().map(person::email).transpose();
        let email = email.map_err(|why| Problem::field("email", why))?;
        Ok(Self { found_by, email: email.map(fanfare_engine::domain::address::EmailAddress::into_string) })
    }

    fn filter<'a>(&'a self, wish: &'a Wish) -> Filter<'a> {
        // Nobody is kept from before there were computers, and the database has no words for all that was.
        let kept = |moment: Option<Timestamp>| moment.map(|moment| moment.max(Timestamp::UNIX_EPOCH));
        Filter {
            found_by: self.found_by.as_deref(),
            email: self.email.as_deref(),
            locale: wish.locale.as_deref(),
            time_zone: wish.time_zone.as_deref(),
            branch: wish.branch.as_deref(),
            assigned_to: wish.assigned_to,
            created_after: kept(wish.created_after),
            created_before: kept(wish.created_before),
            updated_after: kept(wish.updated_after),
        }
    }
}
