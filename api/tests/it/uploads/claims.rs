//! Files on their way in that lose the process which took them.

use super::*;
use crate::support::until;

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_file_of_a_process_that_died_is_taken_by_another(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (_, answer) = upload(&owner, "a.csv", "email\nann@example.com\n", &json!({})).await;
    let id = text(&answer, "/data/uploadId").to_owned();
    let dead: ProcessId = ProcessId::from_uuid(uuid::Uuid::nil());
    let (store, lease) = (&open.engine.store, Duration::from_secs(600));
    let claim = store.claim_file(dead, lease).await.unwrap().unwrap();
    assert_eq!(claim.upload, id.parse::<UploadId>().unwrap());
    drain(&open).await;
    assert_eq!(
        count(&pool, "select count(*) from contacts").await,
        0,
        "while the claim lasts, nobody else takes it"
    );

    store.drop_claims(dead).await.unwrap();
    drain(&open).await;
    let (_, answer) = owner.get(&format!("/api/upload/status/{id}")).await;
    assert_eq!(answer["data"]["status"], "completed", "{answer}");
    assert!(!store.keep_claim(&claim, lease, 1).await.unwrap(), "the dead one has no claim any more");
    store.fail_upload(&claim, "too late").await.unwrap();
    let (_, answer) = owner.get(&format!("/api/upload/status/{id}")).await;
    assert_eq!(
        (&answer["data"]["status"], &answer["data"]["successfulRecords"]),
        (&json!("completed"), &json!(1))
    );
}

/// As if it had been frozen while another process claimed the file: at its commit it finds another number.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_process_that_lost_its_claim_commits_nothing(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    upload(&owner, "a.csv", "email\nann@example.com\n", &json!({})).await;
    let mut lock = pool.begin().await.unwrap();
    // What the import takes before it writes.
    sqlx::query("select id from tenants for no key update").fetch_all(&mut *lock).await.unwrap();
    let intake = open.engine.upkeep().intake;
    let another = async {
        let waits = "select count(*) from pg_stat_activity
                     where datname = current_database() and wait_event_type = 'Lock' and query like '%no key update%'";
        until("the import waits", async || count(&pool, waits).await > 0).await;
        let claims = "update uploads set claim = claim + 1, claimed_until = now() + interval '1 hour'";
        sqlx::query(claims).execute(&pool).await.unwrap();
        lock.commit().await.unwrap();
    };
    let (drained, ()) = tokio::join!(intake.drain(), another);
    drained.unwrap();
    assert_eq!(count(&pool, "select count(*) from contacts").await, 0);
    assert_eq!(count(&pool, "select count(*) from uploads where state = 'processing'").await, 1);

    sqlx::query("update uploads set claimed_until = now()").execute(&pool).await.unwrap();
    drain(&open).await;
    assert_eq!(count(&pool, "select count(*) from contacts").await, 1);
    assert_eq!(count(&pool, "select count(*) from uploads where state = 'completed'").await, 1);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_file_that_ends_every_process_is_given_up(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (_, answer) = upload(&owner, "a.csv", "email\nann@example.com\n", &json!({})).await;
    let id = text(&answer, "/data/uploadId").to_owned();
    sqlx::query("update uploads set claim = 5").execute(&pool).await.unwrap();
    drain(&open).await;
    let (_, answer) = owner.get(&format!("/api/upload/status/{id}")).await;
    assert_eq!(answer["data"]["status"], "failed");
    assert!(text(&answer, "/data/failureReason").contains("broke off 5 times"), "{answer}");
    assert!(answer["data"].get("downloadUrl").is_none(), "{answer}");
    assert_eq!(owner.get(&format!("/api/upload/download/{id}")).await.0, 404);
    assert_eq!(count(&pool, "select count(*) from contacts").await, 0);
    assert_eq!(count(&pool, "select count(*) from blobs where condemned_at is null").await, 0);
    assert_eq!(owner.get("/api/upload/history?status=failed").await.1["data"]["pagination"]["total"], 1);
}

/// What the command took while the upload waited: the reason says so, and nothing is there twice.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_file_that_fails_leaves_its_reason(pool: PgPool) {
    let open = Open::new(&pool).await;
    let (owner, list) = (open.owner().await, "email\nann@example.com\n");
    let (_, answer) = upload(&owner, "a.csv", list, &json!({})).await;
    let id = text(&answer, "/data/uploadId").to_owned();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.csv");
    std::fs::write(&path, list).unwrap();
    let taken = open.run(&["--json", "import", path.to_str().unwrap(), "--tenant", "acme"]).json();
    drain(&open).await;
    let (_, answer) = owner.get(&format!("/api/upload/status/{id}")).await;
    assert!(text(&answer, "/data/failureReason").contains(taken["upload"].as_str().unwrap()), "{answer}");
    assert_eq!(count(&pool, "select count(*) from upload_rows").await, 1);

    let (_, history) = owner.get("/api/upload/history").await;
    let states: Vec<&str> =
        history["data"]["uploads"].as_array().unwrap().iter().map(|one| text(one, "/status")).collect();
    assert_eq!(states, ["completed", "failed"], "{history}");
}
