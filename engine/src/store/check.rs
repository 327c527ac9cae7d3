//! A launch that never happens: the same freeze in a transaction that is rolled back.

use jiff::Timestamp;

use super::{
    Store, StoreResult,
    campaigns::{Pins, load, pin, save_state},
    messages::ReasonCount,
    prices,
};
use crate::{
    domain::{campaign::TransitionError, channel::Channel, price::PriceList},
    id::{AccountId, CampaignId, ContactId, TenantId},
    store::campaigns::ChangeError,
};

/// An open dry run; dropping it undoes everything.
#[derive(Debug)]
pub struct DryRun {
    tx: sqlx::PgTransaction<'static>,
    tenant: TenantId,
    campaign: CampaignId,
}

/// A recipient who would be sent to, or whom `refusal` would stop right before the send.
#[derive(Debug)]
pub struct Candidate {
    pub n: i32,
    pub variant: i16,
    pub contact: Option<ContactId>,
    pub address: String,
    pub variables: String,
    pub refusal: Option<String>,
}

/// A recipient whom the freeze itself excludes.
#[derive(Debug)]
pub struct Excluded {
    pub n: i32,
    pub contact: Option<ContactId>,
    pub address: String,
    pub reason: String,
}

impl Store {
    /// Freezes the audience as a launch would do now.
    pub async fn dry_run(
        &self,
        tenant: TenantId,
        id: CampaignId,
        pins: &Pins,
    ) -> Result<DryRun, ChangeError> {
        let now = self.now().await?;
        let mut tx = self.begin().await?;
        let campaign = load(&mut tx, tenant, id, true).await?;
        let launching =
            campaign.state.launch(now).map_err(|refused| TransitionError { change: "checked", ..refused })?;
        pin(&mut tx, id, pins).await?;
        save_state(&mut tx, id, launching).await?;
        loop {
            let slice =
                sqlx::query!("select taken, complete from freeze_slice($1, 10000, 10000, 500)", id.uuid())
                    .fetch_one(&mut *tx)
                    .await?;
            if slice.complete != Some(false) {
                break;
            }
        }
        Ok(DryRun { tx, tenant, campaign: id })
    }
}

impl DryRun {
    /// Recipients that the freeze itself excludes, by reason, and how many there are in all.
    pub async fn excluded(&mut self) -> StoreResult<(i32, Vec<ReasonCount>)> {
        let total = sqlx::query_scalar!("select frozen from campaigns where id = $1", self.campaign.uuid())
            .fetch_one(&mut *self.tx)
            .await?;
        let reasons = sqlx::query_as!(
            ReasonCount,
            r#"select 'excluded' as "state!", excluded as "reason!", count(*) as "recipients!"
               from recipients where campaign_id = $1 and excluded is not null group by excluded order by excluded"#,
            self.campaign.uuid(),
        )
        .fetch_all(&mut *self.tx)
        .await?;
        Ok((total, reasons))
    }

    /// What an account charges now over a channel.
    pub async fn prices(&mut self, account: AccountId, channel: Channel) -> StoreResult<PriceList> {
        let prices = prices::current(&mut self.tx, self.tenant, account, channel).await?;
        Ok(PriceList::at(Timestamp::MAX, prices))
    }

    /// The next candidates after recipient number `after`.
    pub async fn candidates(&mut self, after: i32, limit: i64) -> StoreResult<Vec<Candidate>> {
        Ok(sqlx::query_as!(
            Candidate,
            r#"select p.n, p.variant, p.contact_id as "contact: ContactId", p.address, p.variables, r.reason as "refusal?"
               from (select * from recipients where campaign_id = $1 and n > $2 and excluded is null
                     order by n limit $3) p
               join campaigns k on k.id = p.campaign_id
               left join lateral refusals(k.tenant_id, k.channel, k.class, array[p.contact_id], array[p.address]) r on true
               order by p.n"#,
            self.campaign.uuid(),
            after,
            limit,
        )
        .fetch_all(&mut *self.tx)
        .await?)
    }

    /// The next of those whom the freeze itself excludes, after recipient number `after`.
    pub async fn excluded_recipients(&mut self, after: i32, limit: i64) -> StoreResult<Vec<Excluded>> {
        Ok(sqlx::query_as!(
            Excluded,
            r#"select n, contact_id as "contact: ContactId", address, excluded as "reason!" from recipients
               where campaign_id = $1 and n > $2 and excluded is not null order by n limit $3"#,
            self.campaign.uuid(),
            after,
            limit,
        )
        .fetch_all(&mut *self.tx)
        .await?)
    }

    /// Ends the dry run at once instead of at the drop.
    pub async fn end(self) -> StoreResult<()> {
        Ok(self.tx.rollback().await?)
    }
}
