//! What a recipient may see and change who holds a link from a message: whom it was sent to, and what that person wants.
//!
//! There is no caller here: a signed link stands for the person, and names the message, through which the tenant is known.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Store, StoreError, StoreResult,
    consents::{self, Consent},
    events::{self, TenantEvent, TenantWish},
};
use crate::{
    domain::{
        channel::Channel,
        event::{Event, EventKind, Scope},
    },
    id::{CampaignId, ContactId, MessageId, TenantId},
};

/// Whom a message was sent to.
#[derive(Debug, Clone)]
pub struct Holder {
    pub message: MessageId,
    pub tenant: TenantId,
    /// Whose message it was, as people know them.
    pub organisation: String,
    /// The person's, or else the organisation's.
    pub locale: String,
    pub channel: Channel,
    pub address: String,
    pub contact: Option<ContactId>,
    pub variant: i16,
    /// The pinned values.
    pub variables: String,
}

/// Whether marketing goes to an address of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub channel: Channel,
    pub address: String,
    pub on: bool,
    /// Nobody may be written to there, whatever they want: it can't arrive, or they complained.
    pub blocked: bool,
}

/// When the provider took a message, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    pub tenant: TenantId,
    pub accepted_at: Option<Timestamp>,
}

impl Store {
    /// `None` when the message's records are gone.
    pub async fn holder(&self, message: MessageId) -> StoreResult<Option<Holder>> {
        let row = sqlx::query!(
            r#"select k.tenant_id, o.name, coalesce(c.locale, o.locale) as "locale!", k.channel as "channel: Channel",
                      r.address, r.contact_id, r.variant, r.variables
               from recipients r
               join campaigns k on k.id = r.campaign_id
               join tenants o on o.id = k.tenant_id
               left join contacts c on c.id = r.contact_id
               where r.campaign_id = $1 and r.n = $2"#,
            message.campaign.uuid(),
            message.n,
        );
        let row = row.fetch_optional(self.pool()).await?;
        Ok(row.map(|row| Holder {
            message,
            tenant: row.tenant_id.into(),
            organisation: row.name,
            locale: row.locale,
            channel: row.channel,
            address: row.address,
            contact: row.contact_id.map(Into::into),
            variant: row.variant,
            variables: row.variables,
        }))
    }

    /// The campaign that short links call by this number.
    pub async fn campaign_of_short(&self, number: u64) -> StoreResult<Option<CampaignId>> {
        // A number that no campaign can have is none of ours.
        let Ok(number) = i64::try_from(number) else { return Ok(None) };
        let found = sqlx::query_scalar!("select id from campaigns where short_no = $1", number);
        Ok(found.fetch_optional(self.pool()).await?.map(Into::into))
    }

    /// Ends marketing over the message's channel, as its recipient said. When it returns, nothing will be sent there whose intent
    /// was not committed before. To say it twice changes nothing.
    pub async fn unsubscribe(&self, holder: &Holder, source: &'static str) -> StoreResult<()> {
        let now = self.now().await?;
        let mut tx = self.begin().await?;
        set(&mut tx, holder, &[(holder.channel, holder.address.as_str(), false)], now, source).await?;
        tx.commit().await?;
        self.grace(holder.tenant).await
    }

    /// What the person wants, for each channel on which they have an address.
    pub async fn wanted(&self, holder: &Holder) -> StoreResult<Vec<Wanted>> {
        let mut connection = self.pool().acquire().await?;
        wanted(&mut connection, holder).await
    }

    /// Sets what the person wants: marketing over these channels and no others. Returns what holds then.
    pub async fn want(&self, holder: &Holder, channels: &[Channel]) -> StoreResult<Vec<Wanted>> {
        let now = self.now().await?;
        let mut tx = self.begin().await?;
        let before = wanted(&mut tx, holder).await?;
        let changes: Vec<(Channel, &str, bool)> = before
            .iter()
            .map(|one| (one.channel, one.address.as_str(), channels.contains(&one.channel)))
            .filter(|(channel, _, on)| {
                before.iter().any(|one| one.channel == *channel && !one.blocked && one.on != *on)
            })
            .collect();
        set(&mut tx, holder, &changes, now, "preference_page").await?;
        let after = wanted(&mut tx, holder).await?;
        tx.commit().await?;
        self.grace(holder.tenant).await?;
        Ok(after)
    }

    /// Of those of these messages that exist.
    pub async fn taken(&self, messages: &[MessageId]) -> StoreResult<BTreeMap<MessageId, Taken>> {
        let campaigns: Vec<Uuid> = messages.iter().map(|message| message.campaign.uuid()).collect();
        let numbers: Vec<i32> = messages.iter().map(|message| message.n).collect();
        let rows = sqlx::query!(
            r#"select m.campaign_id as "campaign_id!", m.n as "n!", k.tenant_id,
                      taken.at as "at?: jiff_sqlx::Timestamp"
               from (select distinct * from unnest($1::uuid[], $2::integer[]) as m (campaign_id, n)) m
               join campaigns k on k.id = m.campaign_id
               left join lateral (select at from facts_of(m.campaign_id, m.n) where kind = 0
                                  order by attempt limit 1) taken on true"#,
            &campaigns,
            &numbers,
        );
        let rows = rows.fetch_all(self.pool()).await?.into_iter();
        Ok(rows
            .map(|row| {
                let message = MessageId { campaign: row.campaign_id.into(), n: row.n };
                let accepted_at = row.at.map(jiff_sqlx::Timestamp::to_jiff);
                (message, Taken { tenant: row.tenant_id.into(), accepted_at })
            })
            .collect())
    }
}

/// The rule of an intent for marketing (the function `refusals` of the migrations), told channel by channel.
async fn wanted(tx: &mut PgConnection, holder: &Holder) -> StoreResult<Vec<Wanted>> {
    let rows = sqlx::query!(
        r#"select own.channel as "channel!: Channel", own.address as "address!",
                  refusal.reason is null as "on!",
                  coalesce(refusal.reason not in ('unsubscribed', 'no_consent', 'not_preferred'), false) as "blocked!"
           from (
               select $3 as channel, $4 as address
               union
               select way.channel, way.address from contacts c
               cross join lateral (values ('email', c.email), ('sms', c.phone), ('whatsapp', c.phone)) as way (channel, address)
               where c.id = $2 and c.tenant_id = $1 and c.erased_at is null and way.address is not null
                 -- The message's own address is looked at, even if the person has another one by now.
                 and way.channel <> $3
           ) own
           left join lateral refusals($1, own.channel, 'marketing', array[$2], array[own.address]) refusal on true
           order by array_position(array['email', 'sms', 'whatsapp'], own.channel)"#,
        holder.tenant.uuid(),
        holder.contact.map(crate::id::Id::uuid),
        holder.channel.as_str(),
        holder.address,
    );
    let rows = rows.fetch_all(tx).await?.into_iter();
    Ok(rows
        .map(|row| Wanted { channel: row.channel, address: row.address, on: row.on, blocked: row.blocked })
        .collect())
}

/// Writes a person's words down where every intent looks: as consents, and as entries of the list of addresses.
async fn set(
    tx: &mut PgConnection,
    holder: &Holder,
    changes: &[(Channel, &str, bool)],
    now: Timestamp,
    source: &'static str,
) -> StoreResult<()> {
    let wishes: Vec<TenantWish> = changes
        .iter()
        .map(|(channel, address, on)| TenantWish {
            tenant: holder.tenant,
            channel: *channel,
            address: (*address).to_owned(),
            stop: !on,
            scope: Scope::Marketing,
            at: now,
        })
        .collect();
    let left = changes.iter().any(|(channel, _, on)| *channel == holder.channel && !on);
    let events: Vec<TenantEvent> = left
        .then(|| TenantEvent {
            tenant: holder.tenant,
            channel: None,
            event: unsubscribed(holder.message, now),
        })
        .into_iter()
        .collect();
    events::apply(&mut *tx, &events, &wishes, source).await?;
    let Some(contact) = holder.contact else { return Ok(()) };
    if !is_there(&mut *tx, holder.tenant, contact).await? {
        return Ok(());
    }
    let said: Vec<Consent> = changes
        .iter()
        .map(|(channel, _, on)| Consent {
            channel: *channel,
            granted: *on,
            source: source.to_owned(),
            recorded_at: now,
        })
        .collect();
    consents::record(&mut *tx, contact, &said).await?;
    // Whoever named channels, and wants another one now, has named that, too.
    let mut preferences = consents::preferences(&mut *tx, contact).await?;
    let named = preferences.channels.len();
    if named > 0 {
        let wanted = said.iter().filter(|consent| consent.granted).map(|consent| consent.channel);
        let more = wanted.filter(|channel| !preferences.channels.contains(channel));
        // Nobody is asked whether they want to be written to in the application.
        let more: Vec<Channel> = more.filter(|channel| *channel != Channel::InApp).collect();
        preferences.channels.extend(more);
        if preferences.channels.len() > named {
            consents::prefer(tx, contact, &preferences).await?;
        }
    }
    Ok(())
}

/// Erased contacts keep their row, and nothing is noted of them any more.
async fn is_there(tx: &mut PgConnection, tenant: TenantId, contact: ContactId) -> StoreResult<bool> {
    let found = sqlx::query_scalar!(
        "select 1 as one from contacts where id = $1 and tenant_id = $2 and erased_at is null for update",
        contact.uuid(),
        tenant.uuid(),
    );
    Ok(found.fetch_optional(tx).await.map_err(StoreError::from)?.is_some())
}

/// The same for every click of one message.
fn unsubscribed(message: MessageId, at: Timestamp) -> Event {
    let name = [&message.n.to_be_bytes()[..], b"unsubscribed"].concat();
    Event {
        message,
        kind: EventKind::Unsubscribed,
        at,
        provider_id: None,
        dedup: Uuid::new_v5(&message.campaign.uuid(), &name),
        reason: None,
        detail: None,
    }
}
