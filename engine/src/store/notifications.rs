//! Notifications inside the application: what a user sees, what they did with it, and how it gets there.
//!
//! A broadcast is one row that each of its readers finds; what a reader does with it is a mark of their own. Who sees what is
//! the function `notifications_of` of the migrations. A campaign's message over `in_app` is a row of its contact, whose id
//! follows from the message's: putting it here twice leaves one. Whoever reads it has read the message.

use std::collections::HashSet;

use fanfare_templates::{InApp, Priority};
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Store, StoreError, StoreResult,
    accounts::moment,
    events::{self, TenantEvent},
    listing::{Part, Way},
};
use crate::{
    domain::{
        channel::Channel,
        event::{Event, EventKind},
    },
    id::{ContactId, MessageId, NotificationId, RoleId, TenantId, UserId},
};

/// After how many days a message ends whose template does not say.
const USUAL_DAYS: i32 = 365;

/// A notification as one reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub id: NotificationId,
    /// What it is about: `policy`, `payment`, ..
    pub kind: String,
    pub title: String,
    pub message: String,
    pub data: serde_json::Value,
    pub priority: Priority,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub read_at: Option<Timestamp>,
}

/// Whoever reads: a user within their tenant.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    pub tenant: TenantId,
    pub user: UserId,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    pub unread: Option<bool>,
    pub kind: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Of what the filter lets through.
    pub total: u64,
    /// Of everything.
    pub unread: u64,
}

struct Row {
    id: Uuid,
    kind: String,
    title: String,
    message: String,
    data: serde_json::Value,
    priority: String,
    created_at: jiff_sqlx::Timestamp,
    expires_at: jiff_sqlx::Timestamp,
    read_at: Option<jiff_sqlx::Timestamp>,
}

impl From<Row> for Notification {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            kind: row.kind,
            title: row.title,
            message: row.message,
            data: row.data,
            priority: Priority::named(&row.priority).unwrap_or_default(),
            created_at: row.created_at.to_jiff(),
            expires_at: row.expires_at.to_jiff(),
            read_at: row.read_at.map(jiff_sqlx::Timestamp::to_jiff),
        }
    }
}

/// What a reader sees, by when it was made, and its id.
pub async fn list(
    tx: &mut PgConnection,
    reader: Reader,
    filter: Filter<'_>,
    way: Way,
    part: Part<(Timestamp, NotificationId)>,
) -> StoreResult<Vec<Notification>> {
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                Row,
                r#"select id as "id!", type as "kind!", title as "title!", message as "message!", data as "data!",
                          priority as "priority!", created_at as "created_at!: _", expires_at as "expires_at!: _",
                          read_at as "read_at: _"
                   from notifications_of($1, $2)
                   where ($3::boolean is null or (read_at is null) = $3) and ($4::text is null or type = $4)
                     and ($5::timestamptz is null or (created_at, id) "#
                    + $after
                    + " ($5, $6)) order by "
                    + $order
                    + " offset $7 limit $8",
                reader.tenant.uuid(),
                reader.user.uuid(),
                filter.unread,
                filter.kind,
                moment(part.after.map(|(at, _)| at)) as _,
                part.after.map(|(_, id)| id.uuid()),
                part.offset,
                part.limit,
            )
            .fetch_all(tx)
            .await?
        };
    }
    let rows = match way {
        Way::Up => page!(">", "created_at, id"),
        Way::Down => page!("<", "created_at desc, id desc"),
    };
    Ok(rows.into_iter().map(Notification::from).collect())
}

pub async fn counts(tx: &mut PgConnection, reader: Reader, filter: Filter<'_>) -> StoreResult<Counts> {
    let row = sqlx::query!(
        r#"select count(*) filter (where ($3::boolean is null or (read_at is null) = $3)
                                     and ($4::text is null or type = $4)) as "total!",
                  count(*) filter (where read_at is null) as "unread!"
           from notifications_of($1, $2)"#,
        reader.tenant.uuid(),
        reader.user.uuid(),
        filter.unread,
        filter.kind,
    )
    .fetch_one(tx)
    .await?;
    Ok(Counts { total: row.total.unsigned_abs(), unread: row.unread.unsigned_abs() })
}

/// One of those that a reader sees.
pub async fn get(tx: &mut PgConnection, reader: Reader, id: NotificationId) -> StoreResult<Notification> {
    let row = sqlx::query_as!(
        Row,
        r#"select id as "id!", type as "kind!", title as "title!", message as "message!", data as "data!",
                  priority as "priority!", created_at as "created_at!: _", expires_at as "expires_at!: _",
                  read_at as "read_at: _"
           from notifications_of($1, $2) where id = $3"#,
        reader.tenant.uuid(),
        reader.user.uuid(),
        id.uuid(),
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?.into())
}

/// What is marked as read.
#[derive(Debug, Clone, Copy)]
pub enum Marked {
    One(NotificationId),
    /// Everything that is not newer than this: what came in after a reader looked stays unread.
    UpTo(Timestamp, NotificationId),
    All,
}

/// Marks as read what was not; how many that were. A message of a campaign is read with it.
pub async fn mark_read(tx: &mut PgConnection, reader: Reader, what: Marked) -> StoreResult<u64> {
    let (one, until) = match what {
        Marked::One(id) => (Some(id), None),
        Marked::UpTo(at, id) => (None, Some((at, id))),
        Marked::All => (None, None),
    };
    let rows = sqlx::query!(
        r#"with unread as (
               select id, campaign_id, n from notifications_of($1, $2)
               where read_at is null and ($3::uuid is null or id = $3)
                 and ($4::timestamptz is null or (created_at, id) <= ($4, $5))
           ), marked as (
               insert into notification_marks as known (user_id, notification_id, read_at)
               select $2, id, now() from unread order by id
               on conflict (user_id, notification_id) do update set read_at = coalesce(known.read_at, excluded.read_at)
           )
           select campaign_id, n, clock_timestamp() as "at!: jiff_sqlx::Timestamp" from unread"#,
        reader.tenant.uuid(),
        reader.user.uuid(),
        one.map(NotificationId::uuid),
        moment(until.map(|(at, _)| at)) as _,
        until.map(|(_, id)| id.uuid()),
    )
    .fetch_all(&mut *tx)
    .await?;
    let read: Vec<TenantEvent> = rows
        .iter()
        .filter_map(|row| {
            let message = MessageId { campaign: row.campaign_id?.into(), n: row.n? };
            Some(TenantEvent {
                tenant: reader.tenant,
                channel: None,
                event: read_event(message, reader.user, row.at.to_jiff()),
            })
        })
        .collect();
    if !read.is_empty() {
        events::apply(tx, &read, &[], "api").await?;
    }
    Ok(rows.len() as u64)
}

fn read_event(message: MessageId, user: UserId, at: Timestamp) -> Event {
    Event {
        message,
        kind: EventKind::Read,
        at,
        provider_id: None,
        dedup: user.uuid(),
        reason: None,
        detail: None,
    }
}

/// Takes it out of a reader's sight; whether it was in it.
pub async fn remove(tx: &mut PgConnection, reader: Reader, id: NotificationId) -> StoreResult<bool> {
    let removed = sqlx::query!(
        "insert into notification_marks (user_id, notification_id, removed_at)
         select $2, id, now() from notifications_of($1, $2) where id = $3
         on conflict (user_id, notification_id) do update set removed_at = excluded.removed_at",
        reader.tenant.uuid(),
        reader.user.uuid(),
        id.uuid(),
    );
    Ok(removed.execute(tx).await?.rows_affected() == 1)
}

/// What is told, to whomever.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    pub kind: &'a str,
    pub title: &'a str,
    pub message: &'a str,
    pub data: &'a serde_json::Value,
    pub priority: Priority,
    /// Without one it ends after a year.
    pub expires_at: Option<Timestamp>,
}

/// Whom a broadcast is meant for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hearers {
    /// Everybody who is no customer; only those of these roles and branches where any are named.
    pub staff: bool,
    pub roles: Vec<RoleId>,
    pub branches: Vec<String>,
    pub customers: bool,
}

/// One row for all of them; how many they are now.
pub async fn broadcast(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: NotificationId,
    news: &News<'_>,
    hearers: &Hearers,
) -> StoreResult<u64> {
    let roles: Option<Vec<Uuid>> =
        (!hearers.roles.is_empty()).then(|| hearers.roles.iter().map(|id| id.uuid()).collect());
    let branches = (!hearers.branches.is_empty()).then_some(hearers.branches.as_slice());
    sqlx::query!(
        "insert into notifications (id, tenant_id, to_staff, to_roles, to_branches, to_customers,
                                    type, title, message, data, priority, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce($12, now() + interval '1 year'))",
        id.uuid(),
        tenant.uuid(),
        hearers.staff,
        roles.as_deref(),
        branches,
        hearers.customers,
        news.kind,
        news.title,
        news.message,
        news.data,
        news.priority.as_str(),
        moment(news.expires_at) as _,
    )
    .execute(&mut *tx)
    .await?;
    let readers = sqlx::query_scalar!(
        r#"select count(*) as "readers!" from notifications b
           join users u on u.tenant_id = b.tenant_id
           join roles r on r.id = u.role_id
           where b.tenant_id = $1 and b.id = $2 and hears(b, u, r.slug)"#,
        tenant.uuid(),
        id.uuid(),
    );
    Ok(readers.fetch_one(tx).await?.unsigned_abs())
}

/// Tells single users of the tenant; those that it has were told.
pub async fn tell(
    tx: &mut PgConnection,
    tenant: TenantId,
    told: &[(NotificationId, UserId)],
    news: &News<'_>,
) -> StoreResult<Vec<UserId>> {
    let ids: Vec<Uuid> = told.iter().map(|(id, _)| id.uuid()).collect();
    let users: Vec<Uuid> = told.iter().map(|(_, user)| user.uuid()).collect();
    let rows = sqlx::query_scalar!(
        r#"insert into notifications (id, tenant_id, user_id, type, title, message, data, priority, expires_at)
           select t.id, $1, u.id, $4, $5, $6, $7, $8, coalesce($9, now() + interval '1 year')
           from unnest($2::uuid[], $3::uuid[]) as t (id, user_id)
           join users u on u.id = t.user_id and u.tenant_id = $1
           returning user_id as "user_id!""#,
        tenant.uuid(),
        &ids,
        &users,
        news.kind,
        news.title,
        news.message,
        news.data,
        news.priority.as_str(),
        moment(news.expires_at) as _,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(UserId::from_uuid).collect())
}

/// Over which channels a user wants to hear of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    pub kind: String,
    pub channels: Vec<Channel>,
}

/// Only what a user has said; of everything else they hear over all channels.
pub async fn preferences(tx: &mut PgConnection, reader: Reader) -> StoreResult<Vec<Preference>> {
    let rows = sqlx::query!(
        r#"select type as kind, channels from notification_preferences where tenant_id = $1 and user_id = $2 order by type"#,
        reader.tenant.uuid(),
        reader.user.uuid(),
    )
    .fetch_all(tx)
    .await?;
    let known =
        |words: Vec<String>| -> Vec<Channel> { words.iter().filter_map(|word| word.parse().ok()).collect() };
    Ok(rows.into_iter().map(|row| Preference { kind: row.kind, channels: known(row.channels) }).collect())
}

/// Puts these in the place of all that a user has said before.
pub async fn set_preferences(
    tx: &mut PgConnection,
    reader: Reader,
    wanted: &[Preference],
) -> StoreResult<()> {
    sqlx::query!(
        "delete from notification_preferences where tenant_id = $1 and user_id = $2",
        reader.tenant.uuid(),
        reader.user.uuid(),
    )
    .execute(&mut *tx)
    .await?;
    for preference in wanted {
        let channels: Vec<String> = preference.channels.iter().map(ToString::to_string).collect();
        sqlx::query!(
            "insert into notification_preferences (tenant_id, user_id, type, channels) values ($1, $2, $3, $4)
             on conflict (user_id, type) do update set channels = excluded.channels, updated_at = now()",
            reader.tenant.uuid(),
            reader.user.uuid(),
            preference.kind,
            &channels,
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// A campaign's message to a contact.
#[derive(Debug, Clone)]
pub struct Notice {
    pub message: MessageId,
    pub contact: ContactId,
    pub content: InApp<String>,
}

impl Notice {
    /// Attempts begin at 1: none of them has this key.
    fn id(&self) -> Uuid {
        self.message.idempotency_key(0)
    }
}

impl Store {
    /// Puts messages where their contacts find them. Answers whose contact there is; the others were not put anywhere. A
    /// repetition changes nothing and has the same answer.
    pub async fn put_notices(&self, tenant: TenantId, notices: &[Notice]) -> StoreResult<HashSet<MessageId>> {
        let uuids = |of: fn(&Notice) -> Uuid| notices.iter().map(of).collect::<Vec<_>>();
        let texts =
            |of: fn(&Notice) -> &str| notices.iter().map(|notice| of(notice).to_owned()).collect::<Vec<_>>();
        let data: Vec<serde_json::Value> =
            notices.iter().map(|notice| serde_json::json!(notice.content.data)).collect();
        let days: Vec<i32> =
            notices.iter().map(|notice| notice.content.days.map_or(USUAL_DAYS, i32::from)).collect();
        let numbers: Vec<i32> = notices.iter().map(|notice| notice.message.n).collect();
        let rows = sqlx::query!(
            r#"with given as (
                   select g.* from unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::text[],
                                          $9::integer[], $10::uuid[], $11::integer[])
                       as g (id, contact_id, type, title, message, data, priority, days, campaign_id, n)
                   join contacts c on c.id = g.contact_id and c.tenant_id = $1 and c.erased_at is null
               ), put as (
                   insert into notifications (id, tenant_id, contact_id, type, title, message, data, priority, expires_at,
                                              campaign_id, n)
                   select id, $1, contact_id, type, title, message, data, priority, now() + make_interval(days => days),
                          campaign_id, n
                   from given order by id
                   on conflict (id) do nothing
               )
               select campaign_id as "campaign_id!", n as "n!" from given"#,
            tenant.uuid(),
            &uuids(Notice::id),
            &uuids(|notice| notice.contact.uuid()),
            &texts(|notice| &notice.content.kind),
            &texts(|notice| &notice.content.title),
            &texts(|notice| &notice.content.message),
            &data,
            &texts(|notice| notice.content.priority.as_str()),
            &days,
            &uuids(|notice| notice.message.campaign.uuid()),
            &numbers,
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|row| MessageId { campaign: row.campaign_id.into(), n: row.n }).collect())
    }

    /// Deletes notifications that have ended, the oldest first; how many.
    pub async fn delete_ended_notifications(&self, limit: i64) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let deleted = sqlx::query!(
            "delete from notifications
             where id in (select id from notifications where expires_at <= now() order by expires_at limit $1)",
            limit,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(deleted.rows_affected())
    }
}
