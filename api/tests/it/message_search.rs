//! Messages looked for by what they are like: when, and how they stand. So many are looked at for one list, and its cursor goes on.

use fanfare_engine::id::{CampaignId, MessageId};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::campaigns::Insurer;

/// More than are looked at for two lists.
const MESSAGES: i32 = 4_500;

/// Message `n` of the campaign was accepted `n` minutes after this moment, but every thousandth was refused. A campaign has no
/// messages from before it was made, which is whenever the tests are run.
const BEGUN: &str = "2099-01-05T08:00:00Z";

async fn campaign(house: &Insurer, pool: &PgPool) -> CampaignId {
    let id: CampaignId = house.sent().await.parse().unwrap();
    let more = format!(
        "delete from results; delete from recipients;
         insert into recipients (campaign_id, n, variant, contact_id, address, variables)
         select '{id}', n, 0, gen_random_uuid(), 'p' || n || '@example.com', '[]' from generate_series(1, {MESSAGES}) n;
         insert into results (campaign_id, n, attempt, kind, reason, at)
         select '{id}', n, 1, case when n % 1000 = 0 then 2 else 0 end,
                case when n % 1000 = 0 then 'recipient_rejected' end, timestamptz '{BEGUN}' + n * interval '1 minute'
         from generate_series(1, {MESSAGES}) n",
        id = id.uuid()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(more)).execute(pool).await.unwrap();
    id
}

/// The numbers of a list's messages, list by list, to its end.
async fn walked(house: &Insurer, query: &str) -> Vec<Vec<i32>> {
    let (mut lists, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, answer) = house.owner.get(&format!("/api/messages?{query}{cursor}")).await;
        assert_eq!(status, 200, "{answer}");
        let messages = answer["data"]["messages"].as_array().unwrap();
        lists.push(messages.iter().map(number).collect());
        let Some(next) = answer["data"]["pagination"]["nextCursor"].as_str() else { return lists };
        cursor = format!("&cursor={next}");
    }
}

fn number(message: &Value) -> i32 {
    message["messageId"].as_str().unwrap().parse::<MessageId>().unwrap().n
}

fn minute(n: i64) -> String {
    let at: jiff::Timestamp = BEGUN.parse().unwrap();
    (at + jiff::SignedDuration::from_mins(n)).to_string()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn messages_are_found_by_how_they_stand_beyond_what_one_list_looks_at(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let id = campaign(&house, &pool).await;
    for by in [format!("campaign={id}"), "channel=email".to_owned()] {
        // 4,500 to 2,501, to 501, and the rest.
        assert_eq!(
            walked(&house, &format!("{by}&status=failed")).await,
            [vec![4_000, 3_000], vec![2_000, 1_000], vec![]],
            "{by}"
        );
        // A list that is full goes on behind its last message, and looks at as many from there.
        assert_eq!(
            walked(&house, &format!("{by}&status=failed&limit=1")).await,
            [vec![4_000], vec![3_000], vec![2_000], vec![1_000]],
            "{by}"
        );
    }
    let sent: Vec<i32> =
        walked(&house, &format!("campaign={id}&status=sent&limit=500")).await.into_iter().flatten().collect();
    let expected: Vec<i32> = (1..=MESSAGES).rev().filter(|n| n % 1_000 != 0).collect();
    assert_eq!(sent, expected, "each once, the newest first");
    assert_eq!(walked(&house, &format!("campaign={id}&status=queued")).await.concat(), [0_i32; 0]);
    // What is counted is what was looked at.
    let (_, first) = house.owner.get(&format!("/api/messages?campaign={id}&status=sent&limit=1")).await;
    assert_eq!(first["data"]["pagination"]["total"], json!(1_998));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn messages_are_found_by_when_they_were_accepted(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let id = campaign(&house, &pool).await;
    let found = async |query: String| walked(&house, &format!("campaign={id}&{query}")).await.concat();
    let (from, to) = (minute(100), minute(110));
    // From the first moment on, and before the other.
    assert_eq!(found(format!("from={from}&to={to}")).await, (100..110).rev().collect::<Vec<i32>>());
    assert_eq!(
        found(format!("from={}&limit=500", minute(4_400))).await,
        (4_400..=MESSAGES).rev().collect::<Vec<i32>>()
    );
    assert_eq!(found(format!("to={}&status=sent", minute(3))).await, [2, 1]);
    // One that was not accepted stands where it was taken in: its campaign was launched just now.
    assert_eq!(found(format!("from={}&to={}&status=failed", minute(995), minute(1_005))).await, [0_i32; 0]);
    assert_eq!(found(format!("to={}&status=failed", minute(0))).await, [4_000, 3_000, 2_000, 1_000]);
    assert_eq!(found(format!("from={to}&to={from}")).await, [0_i32; 0]);
    let (status, problem) = house.owner.get("/api/messages?from=yesterday").await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("from")), "{problem}");
}
