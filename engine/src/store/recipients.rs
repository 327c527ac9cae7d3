//! Recipients: frozen slice by slice, immutable afterwards, loaded by chunk.

use super::{Store, StoreResult};
use crate::{
    domain::chunk::Members,
    id::{CampaignId, ContactId},
};

/// A recipient as a deliverer needs it.
#[derive(Debug)]
pub struct Recipient {
    pub n: i32,
    /// Which of the campaign's pinned variants.
    pub variant: i16,
    pub contact: Option<ContactId>,
    pub address: String,
    /// The pinned values: the text of a JSON array of objects, in which a later one's member holds.
    pub variables: String,
    /// Whether it bears a business key: such a message is resent by a person only.
    pub keyed: bool,
}

/// Recipients of the first slice, of every other one, and of a chunk.
#[derive(Debug, Clone, Copy)]
pub struct SliceSizes {
    pub first: i32,
    pub slice: i32,
    pub chunk: i32,
}

/// How a slice went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slice {
    /// The campaign does not launch (any more).
    Stopped,
    Frozen {
        recipients: i32,
        complete: bool,
    },
}

/// A slice that is written, and becomes part of the audience once the one before it has. Dropped, it was never written.
#[derive(Debug)]
pub struct SliceAhead {
    tx: sqlx::PgTransaction<'static>,
    /// As the database calls it.
    written: String,
}

impl SliceAhead {
    /// [`Slice::Stopped`] where the audience has not come to this slice: somebody was erased meanwhile, or the launch was stopped.
    pub async fn commit(mut self) -> StoreResult<Slice> {
        let slice = sqlx::query!(
            r#"select (slice).taken as "taken!", (slice).complete as "complete!", move_cursor(slice) as "moved!"
               from (select $1::text::written_slice as slice) written"#,
            self.written,
        )
        .fetch_one(&mut *self.tx)
        .await?;
        if !slice.moved {
            return Ok(Slice::Stopped);
        }
        self.tx.commit().await?;
        Ok(Slice::Frozen { recipients: slice.taken, complete: slice.complete })
    }
}

impl Store {
    /// Freezes the next recipients of a launching campaign and cuts them into chunks, all in one commit. The first call
    /// notes the duplicate addresses of the whole audience before.
    pub async fn freeze_slice(&self, campaign: CampaignId, sizes: SliceSizes) -> StoreResult<Slice> {
        let mut tx = self.begin().await?;
        let row = sqlx::query!(
            "select taken, complete from freeze_slice($1, $2, $3, $4)",
            campaign.uuid(),
            sizes.first,
            sizes.slice,
            sizes.chunk,
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(match row.taken.zip(row.complete) {
            Some((recipients, complete)) => Slice::Frozen { recipients, complete },
            None => Slice::Stopped,
        })
    }

    /// Writes the slice that follows number `after`, while those up to it are being frozen. `None` where there is none, or it
    /// can't be written before they are.
    pub async fn write_slice_ahead(
        &self,
        campaign: CampaignId,
        after: i32,
        sizes: SliceSizes,
    ) -> StoreResult<Option<SliceAhead>> {
        let mut tx = self.begin().await?;
        let written = sqlx::query_scalar!(
            "select write_slice_ahead($1, $2, $3, $4)::text",
            campaign.uuid(),
            after,
            sizes.slice,
            sizes.chunk,
        )
        .fetch_one(&mut *tx)
        .await?;
        Ok(written.map(|written| SliceAhead { tx, written }))
    }

    /// The members of a chunk in sending order; the excluded are not among them.
    pub async fn chunk_recipients(
        &self,
        campaign: CampaignId,
        members: &Members,
    ) -> StoreResult<Vec<Recipient>> {
        let recipients = match members {
            Members::Range { first, last } => {
                sqlx::query_as!(
                    Recipient,
                    r#"select n, variant, contact_id as "contact: ContactId", address, variables,
                              business_key is not null as "keyed!"
                       from recipients
                       where campaign_id = $1 and n between $2 and $3 and excluded is null
                       order by n"#,
                    campaign.uuid(),
                    first,
                    last,
                )
                .fetch_all(self.pool())
                .await?
            }
            Members::List(numbers) => {
                sqlx::query_as!(
                    Recipient,
                    // Each by its key: a campaign that no statistics know seems to have one recipient.
                    r#"select r.n as "n!", r.variant as "variant!", r.contact_id as "contact?: ContactId",
                              r.address as "address!", r.variables as "variables!", r.business_key is not null as "keyed!"
                       from unnest($2::integer[]) with ordinality as wanted (n, at)
                       cross join lateral (select * from recipients where campaign_id = $1 and n = wanted.n offset 0) r
                       order by wanted.at"#,
                    campaign.uuid(),
                    numbers,
                )
                .fetch_all(self.pool())
                .await?
            }
        };
        Ok(recipients)
    }
}
