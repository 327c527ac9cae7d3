//! Did everybody get what was meant for them, once, and do the rows say so?
//!
//! The receiver tells, page by page, which address got which message id, how often, and a digest of subject and body. The
//! expected digest follows from the address alone ([`crate::people`], [`crate::letter`]). The rows of the database are
//! asked only for what they claim: whose number that is, and which provider id was recorded for it.

use std::{collections::HashMap, ops::AddAssign};

use anyhow::Context as _;
use fanfare_engine::{
    domain::channel::Channel,
    id::{CampaignId, MessageId},
};
use fanfare_sandbox::MessageRecord;
use indicatif::ProgressBar;
use serde::Serialize;
use sqlx::{PgPool, Row as _};
use twox_hash::XxHash3_64;
use uuid::Uuid;

use crate::{
    letter,
    otp::{self, Arrival},
    people::Person,
    receiver::{Kind, Receiver},
};

/// All of it must be zero.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    /// People who should have got a message and got none.
    pub(crate) lost: u64,
    /// Messages received beyond one for each person and for each message id.
    pub(crate) duplicated: u64,
    /// Messages received again under the same idempotency key: a provider that honours it takes the first alone.
    pub(crate) repeated: u64,
    /// Messages of which the rows do not know whether they were sent.
    pub(crate) unknown: u64,
    /// Messages that are not what that person should have got, or bear the number of somebody else.
    pub(crate) wrong_digest: u64,
    /// Message ids that the receiver received with two contents or for two addresses.
    pub(crate) conflicts: u64,
    /// Messages whose recorded provider id is not the one that the receiver gave.
    pub(crate) wrong_provider_id: u64,
    /// Recipients without any recorded outcome, or with another than they should have.
    pub(crate) wrong_state: u64,
    /// Messages to people who do not exist, or under ids that belong to no recipient.
    pub(crate) foreign: u64,
    /// Messages of which the rows do not know that they were delivered although a webhook told so, and webhooks left over.
    pub(crate) unapplied: u64,
}

impl Verdict {
    pub(crate) fn is_clean(self) -> bool {
        self == Self::default()
    }

    /// The same where processes are stopped or cut off while they send: that repeats requests, by design.
    pub(crate) fn is_clean_but_for_repeats(self) -> bool {
        Self { repeated: 0, ..self }.is_clean()
    }
}

impl AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.repeated += other.repeated;
        self.unknown += other.unknown;
        self.wrong_digest += other.wrong_digest;
        self.conflicts += other.conflicts;
        self.wrong_provider_id += other.wrong_provider_id;
        self.wrong_state += other.wrong_state;
        self.foreign += other.foreign;
        self.unapplied += other.unapplied;
    }
}

/// Who was to get a message, by which channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audience {
    pub(crate) channel: Channel,
    pub(crate) people: u64,
    pub(crate) fail_percent: u64,
    /// Whether a delivery was told of each.
    pub(crate) delivered: bool,
}

impl Audience {
    fn everybody(self) -> impl Iterator<Item = Person> {
        (0..self.people).map(move |index| Person::number(index, self.fail_percent))
    }

    /// How many should get a message.
    pub(crate) fn wanted(self) -> u64 {
        self.everybody().filter(|person| !person.is_refused()).count() as u64
    }
}

/// What the rows claim of one recipient.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) address: String,
    pub(crate) provider_id: Option<String>,
}

/// A campaign of Fanfare's.
pub(crate) async fn verify(
    pool: &PgPool,
    receiver: &Receiver,
    campaigns: &[CampaignId],
    audience: Audience,
    bar: &ProgressBar,
) -> anyhow::Result<(Verdict, Vec<Arrival>)> {
    let (mut verdict, arrivals) =
        messages(receiver, campaigns, audience, bar, async |ids| claimed(pool, ids).await).await?;
    let campaigns: Vec<Uuid> = campaigns.iter().map(|campaign| campaign.uuid()).collect();
    states(&mut verdict, audience, pool, &campaigns).await?;
    if audience.delivered {
        events(&mut verdict, audience, pool, &campaigns).await?;
    }
    Ok((verdict, arrivals))
}

/// What the rows say of some messages.
pub(crate) type Claims = HashMap<(CampaignId, i32), Claimed>;

/// Compares what was received with what should have been; `claimed` tells what the rows say of some recipients.
pub(crate) async fn messages(
    receiver: &Receiver,
    campaigns: &[CampaignId],
    audience: Audience,
    bar: &ProgressBar,
    claimed: impl AsyncFn(&[MessageId]) -> anyhow::Result<Claims>,
) -> anyhow::Result<(Verdict, Vec<Arrival>)> {
    let mut check = Check::new(receiver.receiver, campaigns, audience)?;
    let mut after = Some(0);
    while let Some(cursor) = after {
        let page = receiver.received(cursor).await?;
        let ids: Vec<Option<MessageId>> = page.records.iter().map(|record| check.ours(record)).collect();
        let claimed = claimed(&ids.iter().flatten().copied().collect::<Vec<_>>()).await?;
        for (record, id) in page.records.iter().zip(ids) {
            check.one(record, id.and_then(|id| Some((id, claimed.get(&(id.campaign, id.n))?))));
        }
        bar.inc(page.records.len() as u64);
        after = page.next;
    }
    let seen = std::mem::take(&mut check.people);
    let missing = audience.everybody().zip(seen).filter(|(person, seen)| !person.is_refused() && !seen);
    check.verdict.lost = missing.count() as u64;
    check.verdict.conflicts = receiver.summary().await?.lanes.iter().map(|lane| lane.digest_conflicts).sum();
    Ok((check.verdict, check.arrivals))
}

struct Check {
    verdict: Verdict,
    receiver: Kind,
    /// Where each campaign's recipients begin in `numbers`.
    campaigns: HashMap<CampaignId, u64>,
    audience: Audience,
    /// Who has been seen.
    people: Vec<bool>,
    /// By recipient number: a print of the idempotency key that came first; 0 before any.
    numbers: Vec<u32>,
    /// Of one-time passwords: not the campaign's.
    arrivals: Vec<Arrival>,
}

impl Check {
    fn new(receiver: Kind, campaigns: &[CampaignId], audience: Audience) -> anyhow::Result<Self> {
        let each = audience.people.div_ceil(campaigns.len() as u64) + 1;
        let begin = |at: usize| at as u64 * each;
        Ok(Self {
            verdict: Verdict::default(),
            receiver,
            campaigns: campaigns.iter().enumerate().map(|(at, &campaign)| (campaign, begin(at))).collect(),
            audience,
            people: vec![false; usize::try_from(audience.people)?],
            numbers: vec![0; usize::try_from(begin(campaigns.len()))?],
            arrivals: Vec::new(),
        })
    }

    /// Which message it is; `None` when it is of none of these campaigns.
    fn ours(&self, record: &MessageRecord) -> Option<MessageId> {
        let id: MessageId = record.message_id.parse().ok()?;
        self.campaigns.contains_key(&id.campaign).then_some(id)
    }

    fn one(&mut self, record: &MessageRecord, claimed: Option<(MessageId, &Claimed)>) {
        if let Some(k) = otp::of_address(&record.address) {
            self.arrivals.push(Arrival { k, at_us: record.first_us });
            return;
        }
        self.verdict.duplicated += u64::from(record.count.saturating_sub(1));
        let person = Person::of_address(&record.address)
            .filter(|&person| person == Person::number(person.index(), self.audience.fail_percent))
            .filter(|person| person.index() < self.audience.people);
        let (Some(person), Some((id, claimed))) = (person, claimed) else {
            self.verdict.foreign += 1;
            return;
        };
        let again_person = mark(&mut self.people, person.index(), true);
        let number = self.campaigns[&id.campaign] + u64::from(id.n.unsigned_abs());
        let key = print(record.key.as_deref());
        match mark(&mut self.numbers, number, key) {
            Some(first) if first == key && record.key.is_some() => self.verdict.repeated += 1,
            again_number => {
                self.verdict.duplicated += u64::from(again_person.is_some() || again_number.is_some());
            }
        }
        let letter = letter::expected(self.audience.channel, person);
        let expected = self.receiver.digest(&record.address, &record.message_id, &letter);
        // Brevo's SMS take a number without its plus.
        let claimed_address = claimed.address.trim_start_matches('+');
        let wrong = claimed_address != record.address.trim_start_matches('+') || expected != record.digest;
        self.verdict.wrong_digest += u64::from(wrong);
        let given = record.provider_id.trim_matches(['<', '>']);
        self.verdict.wrong_provider_id += u64::from(claimed.provider_id.as_deref() != Some(given));
    }
}

/// Compares how many recipients ended in which state with how many should have.
async fn states(
    verdict: &mut Verdict,
    audience: Audience,
    pool: &PgPool,
    campaigns: &[Uuid],
) -> anyhow::Result<()> {
    let mut tx = pool.begin().await?;
    // The tables have grown by a campaign since anybody counted them: looked up one by one, its rows would take an hour.
    sqlx::query("set local enable_nestloop = off").execute(&mut *tx).await?;
    let row = sqlx::query(
        "with known as (
             -- The latest attempt speaks, and of several facts about it the most certain.
             select distinct on (campaign_id, n) campaign_id, n, kind from unnest($1) as run (id)
             cross join lateral facts_between(run.id, 0, 2000000000)
             order by campaign_id, n, attempt desc, array_position(array[1, 0, 2, 3, 5, 4]::smallint[], kind)
         )
         select count(*) filter (where kind = 0) as accepted,
                count(*) filter (where kind = 2) as failed,
                count(*) filter (where kind in (4, 5)) as unknown
         from recipients left join known using (campaign_id, n) where campaign_id = any ($1)",
    )
    .bind(campaigns)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    let count = |name: &str| row.get::<i64, _>(name).unsigned_abs();
    let wanted = audience.wanted();
    let refused = audience.people - wanted;
    verdict.unknown = count("unknown");
    verdict.wrong_state = wanted.abs_diff(count("accepted")) + refused.abs_diff(count("failed"));
    Ok(())
}

/// Counts deliveries that should be known and are not.
async fn events(
    verdict: &mut Verdict,
    audience: Audience,
    pool: &PgPool,
    campaigns: &[Uuid],
) -> anyhow::Result<()> {
    let sql = "select (select count(*) from events where campaign_id = any ($1) and kind = 'delivered')
                    - (select coalesce(sum(webhooks), 0) from inbox) - (select count(*) from inbox_rejected)";
    let applied: i64 = sqlx::query_scalar(sql).bind(campaigns).fetch_one(pool).await?;
    verdict.unapplied = audience.wanted().abs_diff(applied.unsigned_abs());
    Ok(())
}

/// Marks a place that bears no mark yet; tells the one that it bears. A place that does not exist was never marked.
fn mark<T: Copy + Default + PartialEq>(seen: &mut [T], at: u64, with: T) -> Option<T> {
    let place = seen.get_mut(usize::try_from(at).ok()?)?;
    if *place != T::default() {
        return Some(*place);
    }
    *place = with;
    None
}

/// Tells keys apart well enough, and is never 0.
fn print(key: Option<&str>) -> u32 {
    let [a, b, c, d, ..] = XxHash3_64::oneshot(key.unwrap_or_default().as_bytes()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d]) | 1
}

async fn claimed(pool: &PgPool, messages: &[MessageId]) -> anyhow::Result<Claims> {
    let rows = sqlx::query(
        "select r.campaign_id, r.n, r.address, a.provider_id
         from unnest($1::uuid[], $2::integer[]) wanted (campaign_id, n)
         join recipients r using (campaign_id, n)
         left join lateral facts_of(r.campaign_id, r.n) a on a.kind = 0",
    )
    .bind(messages.iter().map(|message| message.campaign.uuid()).collect::<Vec<_>>())
    .bind(messages.iter().map(|message| message.n).collect::<Vec<_>>())
    .fetch_all(pool)
    .await
    .context("the recipients of a page")?;
    Ok(rows
        .iter()
        .map(|row| {
            let message = (CampaignId::from_uuid(row.get("campaign_id")), row.get("n"));
            (message, Claimed { address: row.get("address"), provider_id: row.get("provider_id") })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMPAIGN: CampaignId = CampaignId::from_uuid(Uuid::from_u128(7));

    /// What the receiver tells of a message to person 3, recipient number 9, as it should be.
    fn sound() -> (MessageRecord, Claimed) {
        let person = Person::number(3, 0);
        let (address, message_id) = (person.address(), MessageId { campaign: CAMPAIGN, n: 9 }.to_string());
        let letter = letter::expected(Channel::Email, person);
        let record = MessageRecord {
            channel: fanfare_sandbox::Channel::Email,
            account: "main".to_owned(),
            digest: Kind::Sandbox.digest(&address, &message_id, &letter),
            address: address.clone(),
            message_id,
            count: 1,
            first_us: 0,
            last_us: 0,
            first_epoch_us: 0,
            last_epoch_us: 0,
            provider_id: "<1@relay>".to_owned(),
            tags: Vec::new(),
            key: None,
        };
        (record, Claimed { address, provider_id: Some("1@relay".to_owned()) })
    }

    fn check(spoil: impl FnOnce(&mut MessageRecord, &mut Claimed), expected: Verdict) {
        let (mut record, mut claimed) = sound();
        spoil(&mut record, &mut claimed);
        let audience = Audience { channel: Channel::Email, people: 10, fail_percent: 0, delivered: false };
        let mut check = Check::new(Kind::Sandbox, &[CAMPAIGN], audience).expect("small");
        let id = check.ours(&record);
        check.one(&record, id.map(|id| (id, &claimed)));
        assert_eq!(check.verdict, expected, "{record:?}");
    }

    #[test]
    fn what_is_wrong_is_counted() {
        let none = Verdict::default();
        check(|_, _| {}, none);
        check(|record, _| record.count = 3, Verdict { duplicated: 2, ..none });
        // Somebody else's letter, and a letter under somebody else's number.
        check(|record, _| record.digest = "00".repeat(16), Verdict { wrong_digest: 1, ..none });
        check(
            |_, claimed| claimed.address = Person::number(4, 0).address(),
            Verdict { wrong_digest: 1, ..none },
        );
        check(
            |_, claimed| claimed.provider_id = Some("2@relay".to_owned()),
            Verdict { wrong_provider_id: 1, ..none },
        );
        check(|_, claimed| claimed.provider_id = None, Verdict { wrong_provider_id: 1, ..none });
        // Nobody of the seed, and a message of another campaign.
        check(|record, _| record.address = Person::number(10, 0).address(), Verdict { foreign: 1, ..none });
        let other = MessageId { campaign: CampaignId::from_uuid(Uuid::from_u128(8)), n: 9 };
        check(|record, _| record.message_id = other.to_string(), Verdict { foreign: 1, ..none });
    }

    #[test]
    fn two_messages_to_one_person_are_a_duplicate() {
        let mut seen = [false; 2];
        assert_eq!(mark(&mut seen, 1, true), None);
        assert_eq!(mark(&mut seen, 1, true), Some(true));
        assert_eq!(mark(&mut seen, 5, true), None);
    }

    #[test]
    fn only_the_same_message_under_the_same_key_is_a_repeat() {
        let (record, claimed) = sound();
        let under = |key: Option<&str>| MessageRecord { key: key.map(str::to_owned), ..record.clone() };
        let other_number = MessageId { campaign: CAMPAIGN, n: 8 }.to_string();
        let cases = [
            (under(Some("a")), under(Some("a")), (1, 0)),
            (under(Some("a")), under(Some("b")), (0, 1)),
            (under(None), under(None), (0, 1)),
            (under(Some("a")), MessageRecord { message_id: other_number, ..under(Some("a")) }, (0, 1)),
        ];
        for (first, second, (repeated, duplicated)) in cases {
            let audience =
                Audience { channel: Channel::Email, people: 10, fail_percent: 0, delivered: false };
            let mut check = Check::new(Kind::Sandbox, &[CAMPAIGN], audience).expect("small");
            for record in [&first, &second] {
                check.one(record, check.ours(record).map(|id| (id, &claimed)));
            }
            assert_eq!(
                (check.verdict.repeated, check.verdict.duplicated),
                (repeated, duplicated),
                "{second:?}"
            );
        }
    }
}
