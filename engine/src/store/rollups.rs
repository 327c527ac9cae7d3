//! What became of campaigns, counted: notes of events, folded into hours of first times.
//!
//! Whoever applies events calls [`note`] in the same transaction. The duty `rollups` calls [`Store::fold_notes`]: it is the
//! only one who counts, so two webhooks about one recipient are never both the first. The same duty compares the numbers with
//! the rows that they sum up ([`Store::check_rollup`]); where they differ, everything is told and counted anew. Numbers are a
//! second behind the events.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, StoreResult};
use crate::{
    domain::{
        event::EventKind,
        measure::{Measure, Measures},
    },
    id::{CampaignId, MessageId},
};

/// Recipients whose marks share a row.
const BLOCK: i32 = 8_192;
const BLOCK_BYTES: usize = 1_024;
/// Notes folded in one transaction: a few hundred thousand recipients.
const NOTES: i64 = 1_000;
/// Recipients of a note that is told anew.
const NOTE_RECIPIENTS: i64 = 5_000;

/// That a recipient has reached something.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    pub message: MessageId,
    /// Which of the campaign's variants the recipient got.
    pub variant: i16,
    pub measures: Measures,
    pub at: Timestamp,
}

/// Notes for the fold, in the transaction that makes it true.
pub async fn note(tx: &mut PgConnection, reached: impl Iterator<Item = Reached> + Send) -> StoreResult<()> {
    let mut notes: BTreeMap<(Uuid, i16, Measures, i64), Vec<u8>> = BTreeMap::new();
    for one in reached.filter(|one| !one.measures.is_empty()) {
        let key = (one.message.campaign.uuid(), one.variant, one.measures, hour(one.at));
        notes.entry(key).or_default().extend(one.message.n.to_be_bytes());
    }
    if notes.is_empty() {
        return Ok(());
    }
    let numbers: Vec<Vec<u8>> = notes.values().cloned().collect();
    sqlx::query!(
        "insert into event_notes (campaign_id, variant, measures, hour, numbers)
         select campaign_id, variant, measures, to_timestamp(hour), numbers
         from unnest($1::uuid[], $2::smallint[], $3::smallint[], $4::bigint[], $5::bytea[])
              as n (campaign_id, variant, measures, hour, numbers)",
        &notes.keys().map(|key| key.0).collect::<Vec<_>>(),
        &notes.keys().map(|key| key.1).collect::<Vec<_>>(),
        &notes.keys().map(|key| key.2.bits()).collect::<Vec<_>>(),
        &notes.keys().map(|key| key.3).collect::<Vec<_>>(),
        &numbers,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The beginning of the hour, in seconds.
fn hour(at: Timestamp) -> i64 {
    at.as_second().div_euclid(3_600) * 3_600
}

struct Note {
    campaign: Uuid,
    variant: i16,
    measures: i16,
    hour: i64,
    numbers: Vec<u8>,
}

impl Note {
    fn numbers(&self) -> impl Iterator<Item = i32> {
        self.numbers.as_chunks::<4>().0.iter().map(|&bytes| i32::from_be_bytes(bytes))
    }
}

type BlockKey = (Uuid, Measure, i32);
type HourKey = (Uuid, i64, Measure, i16);

/// The marks of the recipients that a portion of notes is about.
#[derive(Debug, Default)]
struct Marks(BTreeMap<BlockKey, Vec<u8>>);

impl Marks {
    /// Marks a recipient; says whether for the first time.
    fn set(&mut self, campaign: Uuid, measure: Measure, n: i32) -> bool {
        let bits =
            self.0.entry((campaign, measure, n.div_euclid(BLOCK))).or_insert_with(|| vec![0; BLOCK_BYTES]);
        let at = n.rem_euclid(BLOCK).unsigned_abs() as usize;
        let Some(byte) = bits.get_mut(at / 8) else { return false };
        let first = *byte & 1 << (at % 8) == 0;
        *byte |= 1 << (at % 8);
        first
    }

    /// Marks what notes tell, those of earlier hours first, and counts what was marked for the first time.
    fn tell(&mut self, notes: &mut [Note]) -> BTreeMap<HourKey, i32> {
        notes.sort_by_key(|note| note.hour);
        let mut counts = BTreeMap::new();
        for note in notes {
            for measure in Measures::stored(note.measures).iter() {
                let first = note.numbers().filter(|&n| self.set(note.campaign, measure, n)).count();
                if first > 0 {
                    *counts.entry((note.campaign, note.hour, measure, note.variant)).or_default() +=
                        i32::try_from(first).unwrap_or(i32::MAX);
                }
            }
        }
        counts
    }
}

fn blocks(notes: &[Note]) -> BTreeSet<BlockKey> {
    let of = |note: &Note| {
        let campaign = note.campaign;
        let blocks: BTreeSet<i32> = note.numbers().map(|n| n.div_euclid(BLOCK)).collect();
        Measures::stored(note.measures)
            .iter()
            .flat_map(|measure| {
                blocks.iter().map(move |&block| (campaign, measure, block)).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    notes.iter().flat_map(of).collect()
}

impl Store {
    /// Folds the next notes into marks and hours, all in one commit; how many there were. Of one process at a time.
    pub async fn fold_notes(&self) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let mut notes = sqlx::query_as!(
            Note,
            r#"with taken as (
                   delete from event_notes where id in (select id from event_notes order by id limit $1)
                   returning campaign_id, variant, measures, hour, numbers
               )
               select campaign_id as "campaign!", variant as "variant!", measures as "measures!",
                      extract(epoch from hour)::bigint as "hour!", numbers as "numbers!"
               from taken"#,
            NOTES,
        )
        .fetch_all(&mut *tx)
        .await?;
        if notes.is_empty() {
            return Ok(0);
        }
        let mut marks = load_marks(&mut tx, &blocks(&notes)).await?;
        let counts = marks.tell(&mut notes);
        save_marks(&mut tx, &marks).await?;
        add_hours(&mut tx, &counts).await?;
        let campaigns: BTreeSet<Uuid> = notes.iter().map(|note| note.campaign).collect();
        sqlx::query!(
            "insert into rollup_checks (campaign_id, folded_at) select unnest($1::uuid[]), now()
             on conflict (campaign_id) do update set folded_at = excluded.folded_at",
            &campaigns.into_iter().collect::<Vec<_>>(),
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(notes.len() as u64)
    }

    /// A campaign whose numbers have changed since they were last compared: one at rest, or a busy one once an hour.
    pub async fn unchecked_rollup(&self) -> StoreResult<Option<CampaignId>> {
        let campaign = sqlx::query_scalar!(
            "select campaign_id from rollup_checks
             where folded_at > checked_at
               and (folded_at < now() - interval '1 minute' or checked_at < now() - interval '1 hour')
             order by folded_at limit 1"
        )
        .fetch_optional(self.pool())
        .await?;
        Ok(campaign.map(Into::into))
    }

    /// Compares a campaign's numbers with its events and conversions; where they differ, forgets them and notes all of it
    /// anew, to be folded. Says whether they did.
    pub async fn check_rollup(&self, campaign: CampaignId) -> StoreResult<bool> {
        let mut tx = self.begin_snapshot().await?;
        // What is noted and not folded is in the events already: the next run looks again.
        let waiting = sqlx::query_scalar!(
            r#"select exists (select from event_notes where campaign_id = $1) as "waiting!""#,
            campaign.uuid()
        )
        .fetch_one(&mut *tx)
        .await?;
        if waiting {
            return Ok(false);
        }
        let differs = told(&mut tx, campaign).await? != counted(&mut tx, campaign).await?;
        if differs {
            tell_anew(&mut tx, campaign).await?;
        }
        sqlx::query!("update rollup_checks set checked_at = now() where campaign_id = $1", campaign.uuid())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(differs)
    }
}

async fn load_marks(tx: &mut PgConnection, wanted: &BTreeSet<BlockKey>) -> StoreResult<Marks> {
    let rows = sqlx::query!(
        r#"select m.campaign_id, m.measure as "measure: Measure", m.block, m.bits
           from unnest($1::uuid[], $2::text[], $3::integer[]) as w (campaign_id, measure, block)
           join campaign_marks m using (campaign_id, measure, block)"#,
        &wanted.iter().map(|key| key.0).collect::<Vec<_>>(),
        &wanted.iter().map(|key| key.1.as_str().to_owned()).collect::<Vec<_>>(),
        &wanted.iter().map(|key| key.2).collect::<Vec<_>>(),
    )
    .fetch_all(tx)
    .await?;
    Ok(Marks(rows.into_iter().map(|row| ((row.campaign_id, row.measure, row.block), row.bits)).collect()))
}

async fn save_marks(tx: &mut PgConnection, marks: &Marks) -> StoreResult<()> {
    sqlx::query!(
        "insert into campaign_marks (campaign_id, measure, block, bits)
         select * from unnest($1::uuid[], $2::text[], $3::integer[], $4::bytea[])
         on conflict (campaign_id, measure, block) do update set bits = excluded.bits
             where campaign_marks.bits <> excluded.bits",
        &marks.0.keys().map(|key| key.0).collect::<Vec<_>>(),
        &marks.0.keys().map(|key| key.1.as_str().to_owned()).collect::<Vec<_>>(),
        &marks.0.keys().map(|key| key.2).collect::<Vec<_>>(),
        &marks.0.values().cloned().collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn add_hours(tx: &mut PgConnection, counts: &BTreeMap<HourKey, i32>) -> StoreResult<()> {
    if counts.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into campaign_hours (campaign_id, hour, measure, variant, recipients)
         select campaign_id, to_timestamp(hour), measure, variant, recipients
         from unnest($1::uuid[], $2::bigint[], $3::text[], $4::smallint[], $5::integer[])
              as h (campaign_id, hour, measure, variant, recipients)
         on conflict (campaign_id, hour, measure, variant)
             do update set recipients = campaign_hours.recipients + excluded.recipients",
        &counts.keys().map(|key| key.0).collect::<Vec<_>>(),
        &counts.keys().map(|key| key.1).collect::<Vec<_>>(),
        &counts.keys().map(|key| key.2.as_str().to_owned()).collect::<Vec<_>>(),
        &counts.keys().map(|key| key.3).collect::<Vec<_>>(),
        &counts.values().copied().collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

type Sums = BTreeMap<(Measure, i16), i64>;

/// What each kind of event says, for statements.
fn meanings() -> (Vec<String>, Vec<i16>) {
    let told = EventKind::ALL.iter().map(|&kind| (kind.as_str(), Measures::of(kind)));
    let kinds = told.filter(|(_, measures)| !measures.is_empty());
    kinds.map(|(kind, measures)| (kind.to_owned(), measures.bits())).unzip()
}

/// The numbers that follow from the rows.
async fn told(tx: &mut PgConnection, campaign: CampaignId) -> StoreResult<Sums> {
    let (kinds, bits) = meanings();
    let rows = sqlx::query!(
        r#"select told.bits as "bits!", r.variant as "variant!", count(*) as "recipients!"
           from (
               select n, bit_or(bits) as bits from (
                   select e.n, m.bits from events e join unnest($2::text[], $3::smallint[]) as m (kind, bits) using (kind)
                   where e.campaign_id = $1
                   union all
                   select n, $4::smallint from conversions where campaign_id = $1
               ) said group by n
           ) told
           -- By its key: a campaign that no statistics know seems to have one recipient.
           cross join lateral (select variant from recipients where campaign_id = $1 and n = told.n offset 0) r
           group by told.bits, r.variant"#,
        campaign.uuid(),
        &kinds,
        &bits,
        Measures::CONVERTED.bits(),
    )
    .fetch_all(tx)
    .await?;
    let mut sums = Sums::new();
    for row in rows {
        for measure in Measures::stored(row.bits).iter() {
            *sums.entry((measure, row.variant)).or_default() += row.recipients;
        }
    }
    Ok(sums)
}

/// The numbers that are shown.
async fn counted(tx: &mut PgConnection, campaign: CampaignId) -> StoreResult<Sums> {
    let rows = sqlx::query!(
        r#"select measure as "measure: Measure", variant, sum(recipients)::bigint as "recipients!"
           from campaign_hours where campaign_id = $1 group by measure, variant"#,
        campaign.uuid(),
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.measure, row.variant), row.recipients)).collect())
}

/// Forgets a campaign's numbers, and notes everything that its rows say.
async fn tell_anew(tx: &mut PgConnection, campaign: CampaignId) -> StoreResult<()> {
    sqlx::query!("delete from campaign_marks where campaign_id = $1", campaign.uuid())
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from campaign_hours where campaign_id = $1", campaign.uuid())
        .execute(&mut *tx)
        .await?;
    let (kinds, bits) = meanings();
    sqlx::query!(
        "insert into event_notes (campaign_id, variant, measures, hour, numbers)
         select $1, variant, bits, hour, string_agg(int4send(n), ''::bytea order by n)
         from (
             select said.n, said.bits, date_trunc('hour', said.at, 'UTC') as hour, r.variant,
                    row_number() over (order by said.n) / $5 as part
             from (
                 select e.n, e.at, m.bits from events e join unnest($2::text[], $3::smallint[]) as m (kind, bits) using (kind)
                 where e.campaign_id = $1
                 union all
                 select n, at, $4::smallint from conversions where campaign_id = $1
             ) said
             cross join lateral (select variant from recipients where campaign_id = $1 and n = said.n offset 0) r
         ) noted
         group by variant, bits, hour, part
         -- Earlier hours are folded first, and a recipient counts in the first.
         order by hour, part",
        campaign.uuid(),
        &kinds,
        &bits,
        Measures::CONVERTED.bits(),
        NOTE_RECIPIENTS,
    )
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn note(measures: Measures, hour: i64, numbers: &[i32]) -> Note {
        let numbers = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        Note { campaign: Uuid::nil(), variant: 0, measures: measures.bits(), hour, numbers }
    }

    fn sum(counts: &BTreeMap<HourKey, i32>, measure: Measure) -> i32 {
        counts.iter().filter(|(key, _)| key.2 == measure).map(|(_, count)| count).sum()
    }

    #[test]
    fn a_recipient_counts_once_and_in_the_first_hour() {
        let mut marks = Marks::default();
        let opened = Measures::of(EventKind::Opened);
        let counts = marks.tell(&mut [note(opened, 7_200, &[1, 2]), note(opened, 3_600, &[2, 2, 9_000])]);
        assert_eq!(counts[&(Uuid::nil(), 3_600, Measure::Opened, 0)], 2);
        assert_eq!(counts[&(Uuid::nil(), 7_200, Measure::Opened, 0)], 1);
        let late = marks.tell(&mut [note(Measures::of(EventKind::Delivered), 0, &[1, 2, 3])]);
        assert_eq!(sum(&late, Measure::Delivered), 1, "who opened it had it delivered");
    }

    #[test]
    fn what_is_loaded_is_what_is_marked() {
        let clicked = note(Measures::of(EventKind::Clicked), 0, &[0, 8_191, 8_192, i32::MAX]);
        let keys = blocks(std::slice::from_ref(&clicked));
        let mut marks = Marks::default();
        marks.tell(&mut [clicked]);
        assert_eq!(keys, marks.0.keys().copied().collect());
        assert!(marks.0.values().all(|bits| bits.len() == BLOCK_BYTES));
    }

    proptest! {
        #[test]
        fn sums_are_of_distinct_recipients(numbers in proptest::collection::vec(1..20_000_i32, 0..200), cut in 0..200_usize) {
            let mut marks = Marks::default();
            let (early, late) = numbers.split_at(cut.min(numbers.len()));
            let delivered = Measures::of(EventKind::Delivered);
            let first = marks.tell(&mut [note(delivered, 0, early)]);
            let second = marks.tell(&mut [note(delivered, 3_600, late)]);
            let distinct: BTreeSet<_> = numbers.iter().collect();
            let sums = sum(&first, Measure::Delivered) + sum(&second, Measure::Delivered);
            prop_assert_eq!(usize::try_from(sums).unwrap(), distinct.len());
        }
    }
}
