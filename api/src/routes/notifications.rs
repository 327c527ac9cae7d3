//! Notifications inside the application: everybody's own, and broadcasts to many.
//!
//! What readers do with their own is not in the audit log: it changes nothing for anybody else, and a broadcast to 100,000
//! would write 100,000 deeds.

mod input;

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    domain::permission::needs,
    id::{NotificationId, UserId},
    store::{
        StoreError,
        listing::{Order, Way},
        notifications::{self, Filter, Marked, News, Notification, Preference, Reader},
        users,
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::input::{Audience, NewBroadcast, PreferenceView, Preferences};
use super::Work;
use crate::{
    auth::caller::{Caller, May},
    http::{
        envelope::{Data, Envelope, Made},
        etag::{IfMatch, Tag, Tagged},
        extract::{Body, PathId, Query},
        page::{Pagination, Wanted},
        problem::{Code, Problem},
        sort::Sortable,
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(delete))
        .routes(routes!(read))
        .routes(routes!(read_all))
        .routes(routes!(broadcast))
        .routes(routes!(preferences, set_preferences))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NotificationView {
    #[schema(value_type = String, example = "ntf_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    id: NotificationId,
    /// What it is about: `policy`, `payment`, `commission`, `withdrawal`, `claim`, `system`, or a word of your own.
    #[serde(rename = "type")]
    kind: String,
    title: String,
    message: String,
    #[schema(value_type = Object)]
    data: serde_json::Value,
    /// `low`, `medium`, `high` or `urgent`.
    priority: &'static str,
    is_read: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    read_at: Option<Timestamp>,
    /// From then on it is no longer listed, and then deleted.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Notification> for NotificationView {
    fn from(known: Notification) -> Self {
        Self {
            id: known.id,
            kind: known.kind,
            title: known.title,
            message: known.message,
            data: known.data,
            priority: known.priority.as_str(),
            is_read: known.read_at.is_some(),
            read_at: known.read_at,
            expires_at: known.expires_at,
            created_at: known.created_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Notifications {
    notifications: Vec<NotificationView>,
    /// Of all, whatever the list was filtered by.
    unread_count: u64,
    pagination: Pagination,
}

/// What notifications are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ByMoment;

impl Sortable for ByMoment {
    const FIELDS: &'static [(&'static str, Self)] = &[("createdAt", Self)];
    const USUAL: Order<Self> = (Self, Way::Down);
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Listing {
    /// true: only what is unread; false: only what is read.
    unread: Option<bool>,
    /// Only of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
}

fn reader(caller: &Caller) -> Result<Reader, Problem> {
    Ok(Reader { tenant: caller.tenant, user: caller.user()?.0 })
}

/// Your own notifications, the newest first if no `sort` is said: yours, those of the contact that you are, and broadcasts to you.
#[utoipa::path(get, path = "/api/notifications", tag = "notifications", security(("bearer" = ["notifications:read"])),
    params(Wanted<ByMoment>, Listing), responses((status = 200, description = "The notifications", body = Envelope<Notifications>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::NotificationsRead>,
    Query(wanted): Query<Wanted<ByMoment>>,
    Query(Listing { unread, kind }): Query<Listing>,
) -> Result<Data<Notifications>, Problem> {
    let window = wanted.window::<(Timestamp, NotificationId)>()?;
    // A word that no type can be would match nothing; one with a NUL the database would not even take.
    let kind = kind.map(|kind| input::kind("type", &kind).map(|()| kind)).transpose()?;
    let (reader, filter) = (reader(&may.caller)?, Filter { unread, kind: kind.as_deref() });
    let mut work = Work::read(&service, &may.caller).await?;
    let counts = notifications::counts(&mut work.tx, reader, filter).await?;
    let found = notifications::list(&mut work.tx, reader, filter, wanted.sort.way(), window.part()).await?;
    let (found, next) = window.cut(found, |last| (last.created_at, last.id));
    work.end();
    Ok(Data(Notifications {
        pagination: window.pagination(counts.total, next),
        unread_count: counts.unread,
        notifications: found.into_iter().map(NotificationView::from).collect(),
    }))
}

/// Marks one as read. A message of a campaign counts as read with it.
#[utoipa::path(patch, path = "/api/notifications/{notification_id}/read", tag = "notifications",
    security(("bearer" = ["notifications:read"])),
    params(("notification_id" = String, Path, description = "`ntf_…`")),
    responses((status = 200, description = "The notification", body = Envelope<NotificationView>)))]
async fn read(
    State(service): State<Service>,
    may: May<needs::NotificationsRead>,
    PathId(id): PathId<NotificationId>,
) -> Result<Data<NotificationView>, Problem> {
    let reader = reader(&may.caller)?;
    let mut work = Work::begin(&service, &may.caller).await?;
    notifications::mark_read(&mut work.tx, reader, Marked::One(id)).await?;
    let known = notifications::get(&mut work.tx, reader, id).await?;
    work.commit().await?;
    Ok(Data(known.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct UpTo {
    /// Only this one and older ones: what came in since it was listed stays unread.
    #[param(value_type = Option<String>, example = "ntf_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    up_to: Option<NotificationId>,
}

#[derive(Debug, Serialize, ToSchema)]
struct MarkedRead {
    /// How many were unread.
    marked: u64,
}

/// Marks all of your own as read.
#[utoipa::path(patch, path = "/api/notifications/read-all", tag = "notifications",
    security(("bearer" = ["notifications:read"])), params(UpTo),
    responses((status = 200, description = "How many were unread", body = Envelope<MarkedRead>)))]
async fn read_all(
    State(service): State<Service>,
    may: May<needs::NotificationsRead>,
    Query(UpTo { up_to }): Query<UpTo>,
) -> Result<Data<MarkedRead>, Problem> {
    let reader = reader(&may.caller)?;
    let mut work = Work::begin(&service, &may.caller).await?;
    let what = match up_to {
        None => Marked::All,
        Some(id) => {
            let newest = notifications::get(&mut work.tx, reader, id).await.map_err(|error| match error {
                StoreError::NotFound { .. } => Problem::field("upTo", "is none of your notifications"),
                error => error.into(),
            })?;
            Marked::UpTo(newest.created_at, id)
        }
    };
    let marked = notifications::mark_read(&mut work.tx, reader, what).await?;
    work.commit().await?;
    Ok(Data(MarkedRead { marked }))
}

/// Takes one out of your list; other readers of a broadcast keep it.
#[utoipa::path(delete, path = "/api/notifications/{notification_id}", tag = "notifications",
    security(("bearer" = ["notifications:read"])),
    params(("notification_id" = String, Path, description = "`ntf_…`")),
    responses((status = 204, description = "It is gone")))]
async fn delete(
    State(service): State<Service>,
    may: May<needs::NotificationsRead>,
    PathId(id): PathId<NotificationId>,
) -> Result<StatusCode, Problem> {
    let reader = reader(&may.caller)?;
    let mut work = Work::begin(&service, &may.caller).await?;
    if !notifications::remove(&mut work.tx, reader, id).await? {
        return Err(Code::NotFound.into());
    }
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize, ToSchema)]
struct BroadcastView {
    /// One for all who hear a broadcast; one for each of single users.
    #[schema(value_type = Vec<String>)]
    ids: Vec<NotificationId>,
    /// How many users see it now. Whoever joins later does not.
    readers: u64,
}

/// Tells many: the staff, or those of some roles and branches, and customers; or single users.
#[utoipa::path(post, path = "/api/notifications/broadcast", tag = "notifications",
    security(("bearer" = ["notifications:broadcast"])), request_body = NewBroadcast,
    responses((status = 201, description = "What was made, and who sees it", body = Envelope<BroadcastView>)))]
async fn broadcast(
    State(service): State<Service>,
    may: May<needs::NotificationsBroadcast>,
    Body(new): Body<NewBroadcast>,
) -> Result<Made<BroadcastView>, Problem> {
    let (caller, now) = (&may.caller, service.clock.now());
    let audience = new.check(now)?;
    let data = serde_json::Value::Object(new.data);
    let news = News {
        kind: &new.kind,
        title: &new.title,
        message: &new.message,
        data: &data,
        priority: new.priority,
        expires_at: new.expires_at,
    };
    let mut work = Work::begin(&service, caller).await?;
    let view = match audience {
        Audience::Users(users) => {
            let told: Vec<(NotificationId, UserId)> =
                users.into_iter().map(|user| (service.ids.next(now), user)).collect();
            let reached = notifications::tell(&mut work.tx, caller.tenant, &told, &news).await?;
            input::all_known(&told, &reached)?;
            BroadcastView { ids: told.into_iter().map(|(id, _)| id).collect(), readers: reached.len() as u64 }
        }
        Audience::Hearers(named) => {
            let id = service.ids.next(now);
            let hearers = named.resolve(&mut work.tx, caller.tenant).await?;
            let readers = notifications::broadcast(&mut work.tx, caller.tenant, id, &news, &hearers).await?;
            BroadcastView { ids: vec![id], readers }
        }
    };
    let subject = view.ids.first().map(ToString::to_string).unwrap_or_default();
    let detail = json!({"type": new.kind, "priority": new.priority, "audience": new.audience, "readers": view.readers});
    work.note("notification.broadcast", &subject, detail).await?;
    work.commit().await?;
    Ok(Made(view))
}

/// What you want to be told of, and over which channels.
#[utoipa::path(get, path = "/api/notifications/preferences", tag = "notifications",
    security(("bearer" = ["notifications:read"])),
    responses((status = 200, description = "Of each type", body = Envelope<Preferences>)))]
async fn preferences(
    State(service): State<Service>,
    may: May<needs::NotificationsRead>,
) -> Result<Tagged<Data<Preferences>>, Problem> {
    let reader = reader(&may.caller)?;
    let mut work = Work::read(&service, &may.caller).await?;
    let said = notifications::preferences(&mut work.tx, reader).await?;
    work.end();
    Ok(Tagged::whole(Preferences::with_usual(said)))
}

/// Says over which channels you want to be told of which types. Types that are not named have all channels again. What is
/// not wanted `in_app` is not listed.
#[utoipa::path(put, path = "/api/notifications/preferences", tag = "notifications",
    security(("bearer" = ["notifications:read"])),
    params(("If-Match" = Option<String>, Header, description = "The ETag that was read")), request_body = Preferences,
    responses((status = 200, description = "Of each type", body = Envelope<Preferences>)))]
async fn set_preferences(
    State(service): State<Service>,
    may: May<needs::NotificationsRead>,
    demand: IfMatch,
    Body(wanted): Body<Preferences>,
) -> Result<Tagged<Data<Preferences>>, Problem> {
    let reader = reader(&may.caller)?;
    let wanted: Vec<Preference> = wanted.check()?;
    let mut work = Work::begin(&service, &may.caller).await?;
    users::lock(&mut work.tx, may.caller.tenant, reader.user).await?;
    let before = notifications::preferences(&mut work.tx, reader).await?;
    demand.check(Tag::of(&Preferences::with_usual(before)))?;
    notifications::set_preferences(&mut work.tx, reader, &wanted).await?;
    let detail: Vec<PreferenceView> = wanted.iter().cloned().map(PreferenceView::from).collect();
    work.note("notification_preferences.change", &reader.user.to_string(), json!(detail)).await?;
    work.commit().await?;
    Ok(Tagged::whole(Preferences::with_usual(wanted)))
}
