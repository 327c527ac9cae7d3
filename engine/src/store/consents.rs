//! What people said about marketing, channel by channel, and what they would rather have. The rule that reads consents is
//! the function `refusals` of the migrations; whoever takes one back waits for [`super::Store::grace`] after the commit.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::{StoreError, StoreResult};
use crate::{
    domain::channel::{Channel, text_enum},
    id::{ContactId, TenantId},
};

text_enum! {
    /// What holds where a person has said nothing.
    ConsentRule {
        /// Marketing needs a yes.
        OptIn => "opt_in",
        /// Marketing needs the absence of a no.
        OptOut => "opt_out",
    }
}

/// The latest word of a person about marketing on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    pub channel: Channel,
    pub granted: bool,
    /// Where it was said, for whoever asks for proof.
    pub source: String,
    pub recorded_at: Timestamp,
}

/// What a person would rather have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preferences {
    /// In the order in which they want to be written to; marketing goes over no other, unless none is named.
    pub channels: Vec<Channel>,
}

pub async fn rule(tx: &mut PgConnection, tenant: TenantId) -> StoreResult<ConsentRule> {
    let rule = sqlx::query_scalar!(
        r#"select consent_rule as "rule: ConsentRule" from tenants where id = $1"#,
        tenant.uuid(),
    );
    rule.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(tenant))
}

/// Of a contact that was read before.
pub async fn of(tx: &mut PgConnection, contact: ContactId) -> StoreResult<Vec<Consent>> {
    let rows = sqlx::query!(
        r#"select channel as "channel: Channel", granted as "granted!", source,
                  recorded_at as "recorded_at: jiff_sqlx::Timestamp"
           from consents where contact_id = $1 and granted is not null order by channel"#,
        contact.uuid(),
    );
    let consents = rows.fetch_all(tx).await?.into_iter().map(|row| Consent {
        channel: row.channel,
        granted: row.granted,
        source: row.source,
        recorded_at: row.recorded_at.to_jiff(),
    });
    Ok(consents.collect())
}

/// Records words about channels; an older one than is known changes nothing.
pub async fn record(tx: &mut PgConnection, contact: ContactId, consents: &[Consent]) -> StoreResult<()> {
    for consent in consents {
        sqlx::query!(
            "insert into consents as known (contact_id, channel, granted, source, recorded_at) values ($1, $2, $3, $4, $5)
             on conflict (contact_id, channel) do update
                 set granted = excluded.granted, source = excluded.source, recorded_at = excluded.recorded_at
                 -- A row without a word about consent stands for a preference.
                 where known.granted is null or known.recorded_at <= excluded.recorded_at",
            contact.uuid(),
            consent.channel.as_str(),
            consent.granted,
            consent.source,
            consent.recorded_at.to_sqlx() as _,
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Of a contact that was read before; nothing was said where there is no row.
pub async fn preferences(tx: &mut PgConnection, contact: ContactId) -> StoreResult<Preferences> {
    let row = sqlx::query_scalar!(
        "select channels from contact_preferences where contact_id = $1",
        contact.uuid(),
    );
    let Some(channels) = row.fetch_optional(tx).await? else { return Ok(Preferences::default()) };
    let channels: Result<Vec<Channel>, String> = channels.iter().map(|text| text.parse()).collect();
    Ok(Preferences { channels: channels.map_err(StoreError::Corrupt)? })
}

/// Names what a person would rather have. Where channels are named, marketing over others stops: whoever calls waits for
/// [`super::Store::grace`] after the commit.
pub async fn prefer(tx: &mut PgConnection, contact: ContactId, preferences: &Preferences) -> StoreResult<()> {
    let channels: Vec<String> =
        preferences.channels.iter().map(|channel| channel.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into contact_preferences (contact_id, channels) values ($1, $2)
         on conflict (contact_id) do update set channels = excluded.channels, updated_at = clock_timestamp()",
        contact.uuid(),
        &channels,
    )
    .execute(tx)
    .await?;
    Ok(())
}
