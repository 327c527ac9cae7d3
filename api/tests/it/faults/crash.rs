//! Nothing is lost by a kill of any process or by the loss of Redis; duplicates are bounded.

use std::{collections::HashSet, time::Duration};

use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    id::CampaignId,
};
use fanfare_sandbox::LaneSummary;

use super::rig::{Rig, Setup};
use crate::support::{MOST_PER_KILL, facts};

fn audit(rig: &Rig) -> LaneSummary {
    rig.sandbox
        .audit()
        .summary()
        .lanes
        .into_iter()
        .find(|lane| lane.requests > 0)
        .expect("something was sent")
}

/// Everybody has a state; whoever counts as sent was received, and whoever was received counts as sent or unknown.
async fn assert_accounted_for(rig: &Rig, campaign: CampaignId) {
    let progress = rig.end(campaign).await;
    assert_eq!(progress.sent + progress.failed + progress.suppressed + progress.unknown, progress.recipients);
    let received: HashSet<String> = {
        let mut ids = HashSet::new();
        let mut after = 0;
        loop {
            let page = rig.sandbox.audit().messages(after, 50_000, 0);
            ids.extend(page.records.into_iter().map(|record| record.message_id));
            match page.next {
                Some(next) => after = next,
                None => break ids,
            }
        }
    };
    let facts = facts(rig.store.pool()).await;
    assert_eq!(facts.len() as i64, progress.recipients, "everybody has a fact");
    let mut found = 0;
    for (id, kind) in facts {
        let was_received = received.contains(&id);
        found += usize::from(was_received);
        assert!(kind != 0 || was_received, "{id} counts as sent and was not received\n{}", rig.log());
        assert!(kind == 0 || kind == 4 || !was_received, "{id} was received and counts as {kind}");
    }
    assert_eq!(found, received.len(), "nobody else was written to");
}

/// Waits until the sandbox has got about so many messages.
async fn mid_campaign(rig: &Rig, campaign: CampaignId, sent: i64) {
    rig.until(campaign, "progress", |progress| progress.sent >= sent).await;
}

async fn kills_of_workers(channel: Channel) -> Rig {
    let mut rig = Rig::up(Setup::default()).await;
    rig.start_worker().await;
    let campaign = rig.campaign(channel, MessageClass::Obligation).await;
    for kill in 1..=3 {
        mid_campaign(&rig, campaign, kill * 700).await;
        rig.kill_worker();
        rig.start_worker().await;
    }
    assert_accounted_for(&rig, campaign).await;
    let progress = rig.progress(campaign).await.unwrap();
    assert!(progress.unknown <= 3 * MOST_PER_KILL, "{progress:?}");
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_workers_double_no_email() {
    let rig = kills_of_workers(Channel::Email).await;
    let audit = audit(&rig);
    assert_eq!((audit.duplicates, audit.digest_conflicts), (0, 0), "{audit:?}");
    // What was unknown for a moment is asked for, and found.
    let campaign: uuid::Uuid =
        sqlx::query_scalar("select id from campaigns").fetch_one(rig.store.pool()).await.unwrap();
    let progress = rig.until(campaign.into(), "resolution", |progress| progress.unknown == 0).await;
    assert_eq!(progress.sent, progress.recipients);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_workers_double_no_sms_and_hide_none() {
    let rig = kills_of_workers(Channel::Sms).await;
    let audit = audit(&rig);
    assert_eq!((audit.duplicates, audit.digest_conflicts), (0, 0), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_of_postgres_loses_nothing() {
    let rig = Rig::up(Setup::default()).await;
    let campaign = rig.campaign(Channel::Email, MessageClass::Obligation).await;
    for kill in 1..=2 {
        mid_campaign(&rig, campaign, kill * 800).await;
        rig.services("kill-postgres");
        tokio::time::sleep(Duration::from_millis(700)).await;
        rig.services("start-postgres");
    }
    assert_accounted_for(&rig, campaign).await;
    assert_eq!(audit(&rig).duplicates, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_costs_time_and_no_message() {
    let rig = Rig::up(Setup::default()).await;
    let campaign = rig.campaign(Channel::Sms, MessageClass::Obligation).await;
    for flush in 1..=3 {
        mid_campaign(&rig, campaign, flush * 600).await;
        rig.flush_redis().await;
    }
    assert_accounted_for(&rig, campaign).await;
    let progress = rig.progress(campaign).await.unwrap();
    assert_eq!((progress.sent, progress.unknown), (progress.recipients, 0));
    assert_eq!(audit(&rig).duplicates, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_goes_on_without_redis() {
    let rig = Rig::up(Setup { quota: Some(300), people: 2_400, ..Setup::default() }).await;
    let campaign = rig.campaign(Channel::Email, MessageClass::Obligation).await;
    mid_campaign(&rig, campaign, 400).await;
    rig.services("stop-redis");
    mid_campaign(&rig, campaign, 1_400).await;
    rig.services("start-redis");
    assert_accounted_for(&rig, campaign).await;
    let audit = audit(&rig);
    assert_eq!(audit.duplicates, 0);
    assert!(audit.max_requests_in_a_second <= 300, "{audit:?}");
}
