//! Did everybody get what was meant for them, once, and do the rows say so?
//!
//! The receiver tells, page by page, which address got which message id, how often, and a digest of subject and body. The
//! expected digest follows from the address alone ([`crate::people`], [`crate::letter`]). The rows of the database are
//! asked only for what they claim: whose number that is, and which provider id was recorded for it.

use std::collections::HashMap;

use anyhow::Context as _;
use fanfare_engine::id::{CampaignId, MessageId};
use fanfare_sandbox::MessageRecord;
use indicatif::ProgressBar;
use serde::Serialize;
use sqlx::{PgPool, Row as _};

use crate::{
    letter,
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
}

impl Verdict {
    pub(crate) fn is_clean(self) -> bool {
        self == Self::default()
    }
}

/// Who was to get a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audience {
    pub(crate) people: u64,
    pub(crate) fail_percent: u64,
}

impl Audience {
    fn everybody(self) -> impl Iterator<Item = Person> {
        (0..self.people).map(move |index| Person::number(index, self.fail_percent))
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
    campaign: CampaignId,
    audience: Audience,
    bar: &ProgressBar,
) -> anyhow::Result<Verdict> {
    let claimed = async |numbers: &[i32]| claimed(pool, campaign, numbers).await;
    let mut verdict = messages(receiver, campaign, audience, bar, claimed).await?;
    states(&mut verdict, audience, pool, campaign).await?;
    Ok(verdict)
}

/// Compares what was received with what should have been; `claimed` tells what the rows say of some recipients.
pub(crate) async fn messages(
    receiver: &Receiver,
    campaign: CampaignId,
    audience: Audience,
    bar: &ProgressBar,
    claimed: impl AsyncFn(&[i32]) -> anyhow::Result<HashMap<i32, Claimed>>,
) -> anyhow::Result<Verdict> {
    let mut check = Check {
        verdict: Verdict::default(),
        receiver: receiver.receiver,
        campaign,
        audience,
        people: vec![false; usize::try_from(audience.people)?],
        numbers: vec![false; usize::try_from(audience.people)? + 1],
    };
    let mut after = Some(0);
    while let Some(cursor) = after {
        let page = receiver.received(cursor).await?;
        let ids: Vec<Option<i32>> = page.records.iter().map(|record| check.number(record)).collect();
        let claimed = claimed(&ids.iter().flatten().copied().collect::<Vec<_>>()).await?;
        for (record, n) in page.records.iter().zip(ids) {
            check.one(record, n.and_then(|n| Some((n, claimed.get(&n)?))));
        }
        bar.inc(page.records.len() as u64);
        after = page.next;
    }
    let seen = std::mem::take(&mut check.people);
    let missing = audience.everybody().zip(seen).filter(|(person, seen)| !person.is_refused() && !seen);
    check.verdict.lost = missing.count() as u64;
    check.verdict.conflicts = receiver.summary().await?.lanes.iter().map(|lane| lane.digest_conflicts).sum();
    Ok(check.verdict)
}

struct Check {
    verdict: Verdict,
    receiver: Kind,
    campaign: CampaignId,
    audience: Audience,
    /// Who has been seen, by person and by recipient number.
    people: Vec<bool>,
    numbers: Vec<bool>,
}

impl Check {
    /// The recipient number that a message bears; `None` when it is not of this campaign.
    fn number(&self, record: &MessageRecord) -> Option<i32> {
        let id: MessageId = record.message_id.parse().ok()?;
        (id.campaign == self.campaign).then_some(id.n)
    }

    fn one(&mut self, record: &MessageRecord, claimed: Option<(i32, &Claimed)>) {
        self.verdict.duplicated += u64::from(record.count.saturating_sub(1));
        let person = Person::of_address(&record.address)
            .filter(|&person| person == Person::number(person.index(), self.audience.fail_percent))
            .filter(|person| person.index() < self.audience.people);
        let (Some(person), Some((n, claimed))) = (person, claimed) else {
            self.verdict.foreign += 1;
            return;
        };
        let again_person = mark(&mut self.people, person.index());
        let again_number = mark(&mut self.numbers, u64::from(n.unsigned_abs()));
        self.verdict.duplicated += u64::from(again_person || again_number);
        let expected = self.receiver.digest(&record.address, &record.message_id, &letter::expected(person));
        let wrong = claimed.address != record.address || expected != record.digest;
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
    campaign: CampaignId,
) -> anyhow::Result<()> {
    let row = sqlx::query(
        "with known as (
             -- The latest attempt speaks, and of several facts about it the most certain.
             select distinct on (n) n, kind from results where campaign_id = $1
             order by n, attempt desc, array_position(array[1, 0, 2, 3, 5, 4]::smallint[], kind)
         )
         select count(*) filter (where kind = 0) as accepted,
                count(*) filter (where kind = 2) as failed,
                count(*) filter (where kind in (4, 5)) as unknown
         from recipients left join known using (n) where campaign_id = $1",
    )
    .bind(campaign.uuid())
    .fetch_one(pool)
    .await?;
    let count = |name: &str| row.get::<i64, _>(name).unsigned_abs();
    let refused = audience.everybody().filter(|person| person.is_refused()).count() as u64;
    let wanted = audience.people - refused;
    verdict.unknown = count("unknown");
    verdict.wrong_state = wanted.abs_diff(count("accepted")) + refused.abs_diff(count("failed"));
    Ok(())
}

/// Marks a place; says whether it was marked before. A place that does not exist was never marked.
fn mark(seen: &mut [bool], at: u64) -> bool {
    let place = usize::try_from(at).ok().and_then(|at| seen.get_mut(at));
    place.is_some_and(|seen| std::mem::replace(seen, true))
}

async fn claimed(
    pool: &PgPool,
    campaign: CampaignId,
    numbers: &[i32],
) -> anyhow::Result<HashMap<i32, Claimed>> {
    let rows = sqlx::query(
        "select r.n, r.address, a.provider_id
         from unnest($2::integer[]) wanted (n)
         join recipients r on r.campaign_id = $1 and r.n = wanted.n
         left join results a on a.campaign_id = r.campaign_id and a.n = r.n and a.kind = 0",
    )
    .bind(campaign.uuid())
    .bind(numbers)
    .fetch_all(pool)
    .await
    .context("the recipients of a page")?;
    Ok(rows
        .iter()
        .map(|row| {
            (row.get("n"), Claimed { address: row.get("address"), provider_id: row.get("provider_id") })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use fanfare_sandbox::Channel;
    use uuid::Uuid;

    use super::*;

    const CAMPAIGN: CampaignId = CampaignId::from_uuid(Uuid::from_u128(7));

    /// What the receiver tells of a message to person 3, recipient number 9, as it should be.
    fn sound() -> (MessageRecord, Claimed) {
        let person = Person::number(3, 0);
        let (address, message_id) = (person.address(), MessageId { campaign: CAMPAIGN, n: 9 }.to_string());
        let letter = letter::expected(person);
        let record = MessageRecord {
            channel: Channel::Email,
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
        };
        (record, Claimed { address, provider_id: Some("1@relay".to_owned()) })
    }

    fn check(spoil: impl FnOnce(&mut MessageRecord, &mut Claimed), expected: Verdict) {
        let (mut record, mut claimed) = sound();
        spoil(&mut record, &mut claimed);
        let mut check = Check {
            verdict: Verdict::default(),
            receiver: Kind::Sandbox,
            campaign: CAMPAIGN,
            audience: Audience { people: 10, fail_percent: 0 },
            people: vec![false; 10],
            numbers: vec![false; 11],
        };
        let n = check.number(&record);
        check.one(&record, n.map(|n| (n, &claimed)));
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
        assert!(!mark(&mut seen, 1));
        assert!(mark(&mut seen, 1));
        assert!(!mark(&mut seen, 5));
    }
}
