//! Stop means stop: after its acknowledgment only what had its intent committed may still leave, within a second.

use std::time::Duration;

use fanfare_engine::{
    domain::{
        channel::{Channel, MessageClass},
        event::Scope,
        outcome::Reason,
    },
    id::CampaignId,
    launch::control,
};

use super::rig::{Rig, Setup, sandbox_now};

const SECOND_US: u64 = 1_000_000;

async fn slow_campaign(people: i32, class: MessageClass) -> (Rig, CampaignId) {
    let mut rig = Rig::up(Setup { quota: Some(80), people, ..Setup::default() }).await;
    for _ in 0..3 {
        rig.start_worker().await;
    }
    let campaign = rig.campaign(Channel::Email, class).await;
    rig.until(campaign, "progress", |progress| progress.sent > 100).await;
    (rig, campaign)
}

/// Pauses, and watches that nothing arrives later than a second after the acknowledgment.
async fn pause_and_resume(rig: &Rig, campaign: CampaignId) {
    control::pause(&rig.store, rig.tenant.id, campaign).await.unwrap();
    let quiet_from = sandbox_now(rig) + SECOND_US;
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    let late = rig.sandbox.audit().arrivals(quiet_from, sandbox_now(rig));
    assert_eq!(late, 0, "arrivals later than a second after the pause\n{}", rig.log());
    control::resume(&rig.store, rig.tenant.id, campaign).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stops_within_a_second_and_a_resume_goes_on_where_it_stopped() {
    let (rig, campaign) = slow_campaign(1_200, MessageClass::Obligation).await;
    for pause in 1..=4 {
        pause_and_resume(&rig, campaign).await;
        let before = rig.progress(campaign).await.unwrap().sent;
        rig.until(campaign, "progress", |progress| progress.sent > before + pause * 10).await;
    }
    rig.services("stop-redis");
    let before = rig.progress(campaign).await.unwrap().sent;
    rig.until(campaign, "progress without Redis", |progress| progress.sent > before + 20).await;
    for _ in 0..2 {
        pause_and_resume(&rig, campaign).await;
        let before = rig.progress(campaign).await.unwrap().sent;
        rig.until(campaign, "progress without Redis", |progress| progress.sent > before + 20).await;
    }
    let progress = rig.end(campaign).await;
    assert_eq!((progress.sent, progress.unknown), (1_200, 0));
    let lane = rig.sandbox.audit().summary().lanes.into_iter().find(|lane| lane.requests > 0).unwrap();
    assert_eq!(lane.duplicates, 0);
    assert!(lane.max_requests_in_a_second <= 80, "{lane:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_within_a_second() {
    let (rig, campaign) = slow_campaign(1_000, MessageClass::Obligation).await;
    control::cancel(&rig.store, rig.tenant.id, campaign).await.unwrap();
    let quiet_from = sandbox_now(&rig) + SECOND_US;
    let progress = rig.end(campaign).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(rig.sandbox.audit().arrivals(quiet_from, sandbox_now(&rig)), 0, "{}", rig.log());
    assert_eq!(progress.sent + progress.suppressed, progress.recipients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_unsubscribes_in_mid_campaign_are_honoured() {
    let (rig, campaign) = slow_campaign(3_000, MessageClass::Marketing).await;
    // Everybody from number 401 on still waits for most of the time that the unsubscribes take.
    let addresses: Vec<String> = sqlx::query_scalar(
        "select address from recipients where campaign_id = $1 and n > 400 order by n limit 1000",
    )
    .bind(campaign.uuid())
    .fetch_all(rig.store.pool())
    .await
    .unwrap();
    assert_eq!(addresses.len(), 1_000);
    let mut acknowledged = std::collections::HashMap::new();
    for batch in addresses.chunks(8) {
        let stops = batch.iter().map(|address| async {
            let (scope, reason) = (Scope::Marketing, Reason::Unsubscribed);
            rig.store.suppress(rig.tenant.id, Channel::Email, address, scope, reason, "test").await.unwrap();
            (address.clone(), sandbox_now(&rig))
        });
        acknowledged.extend(futures::future::join_all(stops).await);
    }
    // A good part of them was stopped before its turn, and the campaign went on beside.
    rig.until(campaign, "progress", |progress| progress.sent + progress.suppressed > 1_600).await;
    control::cancel(&rig.store, rig.tenant.id, campaign).await.unwrap();
    let mut honoured = acknowledged.len();
    for record in rig.sandbox.audit().messages(0, 100_000, 0).records {
        if let Some(acknowledged) = acknowledged.get(&record.address) {
            honoured -= 1;
            assert!(
                record.first_us <= acknowledged + SECOND_US,
                "written to {} us after",
                record.first_us - acknowledged
            );
        }
    }
    assert!(honoured > 500, "{honoured} of 1000 were stopped before their turn");
}
