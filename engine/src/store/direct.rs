//! Direct messages: accepted, and their intent committed, in one transaction.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgConnection, types::Json};

use super::{
    Store, StoreError, StoreResult,
    accounts::moment,
    audit::Deed,
    campaigns::Pins,
    prices::{PriceLine, price},
};
use crate::{
    domain::{
        channel::{Channel, MessageClass, text_enum},
        outcome::Reason,
        price::Price,
        references::References,
    },
    id::{AccountId, CampaignId, ContactId, MessageId, ProcessId, TemplateId, TenantId},
};

/// One message to one person, rendered and checked as far as that goes without the database.
#[derive(Debug, Clone)]
pub struct DirectMessage<'a> {
    pub tenant: TenantId,
    /// Gathers the day's messages of one template; see [`Store::direct_campaign`].
    pub campaign: CampaignId,
    pub account: AccountId,
    pub channel: Channel,
    pub class: MessageClass,
    pub variant: i16,
    pub contact: Option<ContactId>,
    pub address: &'a str,
    pub variables: &'a serde_json::Value,
    pub business_key: Option<&'a str>,
    /// Who sends it right away; `None` leaves it to the queue.
    pub sender: Option<ProcessId>,
    pub not_before: Option<Timestamp>,
    pub references: &'a References,
    /// What the audit log says of it unless it was accepted before; its subject is the message.
    pub deed: Option<&'a Deed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acceptance {
    /// Durable; with a sender its intent is committed too. With the prices of its account that may hold for its address.
    Accepted(MessageId, Vec<Price>),
    /// Durable as a message that must not be sent.
    Refused(MessageId, Reason),
    /// A message with this business key was accepted before: this one.
    Duplicate(MessageId),
    /// Not taken in: the day's messages to such numbers are used up.
    Capped,
}

/// What the direct messages of a day, or of the hour in which they are due, have in common.
#[derive(Debug, Clone, Copy)]
pub struct Gathering {
    pub tenant: TenantId,
    pub template: TemplateId,
    pub channel: Channel,
    pub class: MessageClass,
    /// Of those for later: the hour.
    pub due: Option<Timestamp>,
    /// Looks at the template, which no figure counts.
    pub test: bool,
}

text_enum! {
    /// What came of a wish to stop one message.
    Cancellation {
        /// It will not leave; also when that was said before.
        Cancelled => "cancelled",
        /// It has left, or may have.
        TooLate => "too_late",
        /// It is one of a campaign's, which is cancelled as a whole.
        OfCampaign => "of_campaign",
    }
}

/// Stops a direct message whose intent was not committed; `None` when the tenant has no such message. With the commit the
/// stop may be acknowledged: an intent needs the row that this changes.
pub async fn cancel(
    tx: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> StoreResult<Option<Cancellation>> {
    let verdict = sqlx::query_scalar!(
        "select cancel_direct($1, $2, $3)",
        tenant.uuid(),
        message.campaign.uuid(),
        message.n
    )
    .fetch_one(tx)
    .await?;
    verdict.map(|verdict| verdict.parse().map_err(StoreError::Corrupt)).transpose()
}

impl Store {
    /// The campaign row that gathers direct messages of one template on one day, made when it is missing. Those that are
    /// `due` in a later hour have one of their own: until then nobody looks for work in it.
    pub async fn direct_campaign(
        &self,
        id: CampaignId,
        gathering: &Gathering,
        pins: &Pins,
    ) -> StoreResult<CampaignId> {
        let variants: Vec<uuid::Uuid> = pins.variants.iter().map(|id| id.uuid()).collect();
        let route: Vec<uuid::Uuid> = pins.route.iter().map(|id| id.uuid()).collect();
        let found = sqlx::query_scalar!(
            "insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, state, launched_at,
                                    variants, locales, variables, route, test, scheduled_at)
             select $1, $2, 'direct',
                    coalesce(to_char($11::timestamptz at time zone 'UTC', 'YYYY-MM-DD HH24:00'),
                             to_char(now() at time zone 'UTC', 'YYYY-MM-DD'))
                        || ' ' || md5($6::uuid[]::text || $9::uuid[]::text)
                        || case when $10::boolean then ' test' else '' end,
                    $3, $4, $5, 'sending', now(), $6, $7, $8, $9, $10, $11
             on conflict (template_id, name) where kind = 'direct' do update set name = excluded.name
             returning id",
            id.uuid(),
            gathering.tenant.uuid(),
            gathering.channel.as_str(),
            gathering.class.as_str(),
            gathering.template.uuid(),
            &variants,
            &pins.locales,
            &pins.variables,
            &route,
            gathering.test,
            moment(gathering.due) as _,
        )
        .fetch_one(self.pool())
        .await?;
        Ok(found.into())
    }

    pub async fn accept_direct(
        &self,
        message: &DirectMessage<'_>,
        lease: Duration,
    ) -> StoreResult<Acceptance> {
        let (names, values): (Vec<String>, Vec<String>) =
            message.references.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).unzip();
        let deed = message.deed;
        let row = sqlx::query!(
            r#"with taken as materialized (
                   select verdict, campaign, n, reason
                   from accept_direct($1, $2, $3, $4, $5, $6, $7, $8, $9, business_key_hash($10), $11,
                                      make_interval(secs => $12), $13, $14, $15)
               ), noted as (
                   insert into audit_pending (tenant_id, at, actor, action, subject, detail, request_id)
                   select $1, $16::timestamptz, $17::text, $18, message_text(campaign, n), $19::text::json, $20
                   from taken where $17 is not null and verdict in ('accepted', 'refused')
               )
               select verdict as "verdict!", campaign as "campaign!", n as "n!", reason,
                      (select json_agg(json_build_array(prefix, valid_from, micros, currency)) from prices
                       where tenant_id = $1 and account_id = $3 and channel = $4
                         and starts_with(ltrim($8, '+'), prefix)) as "prices: Json<Vec<PriceLine>>"
               from taken"#,
            message.tenant.uuid(),
            message.campaign.uuid(),
            message.account.uuid(),
            message.channel.as_str(),
            message.class.as_str(),
            message.variant,
            message.contact.map(|id| id.uuid()) as _,
            message.address,
            message.variables.to_string(),
            message.business_key as _,
            message.sender.map(|id| id.uuid()) as _,
            lease.as_secs_f64(),
            moment(message.not_before) as _,
            &names,
            &values,
            moment(deed.map(|deed| deed.at)) as _,
            deed.map(|deed| deed.actor.as_str()) as _,
            deed.map(|deed| deed.action) as _,
            deed.map(|deed| deed.detail.to_string()) as _,
            deed.and_then(|deed| deed.request_id.as_deref()) as _,
        )
        .fetch_one(self.pool())
        .await?;
        let id = MessageId { campaign: row.campaign.into(), n: row.n };
        let prices = row.prices.map_or_else(Vec::new, |Json(lines)| lines);
        Ok(match row.verdict.as_str() {
            "accepted" => Acceptance::Accepted(id, prices.into_iter().map(price).collect()),
            "duplicate" => Acceptance::Duplicate(id),
            "capped" => Acceptance::Capped,
            _ => {
                let reason = row.reason.as_deref().unwrap_or_default();
                Acceptance::Refused(id, reason.parse().map_err(StoreError::Corrupt)?)
            }
        })
    }
}
