//! Large files, which come in pieces.

use super::*;

async fn put(client: &Client, path: &str, range: &str, bytes: &[u8]) -> (u16, Value) {
    let request = client.request(Method::PUT, path).header("content-range", range).body(bytes.to_vec());
    client.send(request).await
}

/// Whichever process each of them comes to.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_large_file_comes_in_pieces(pool: PgPool) {
    let (open, other) = (Open::new(&pool).await, Open::new(&pool).await);
    let owner = open.key(&["*"]).await;
    let elsewhere = owner.at(&other.base);
    let list = (0..20_000)
        .fold("email,name\n".to_owned(), |list, n| list + &format!("p{n}@example.com,Person {n}\n"));
    let (bytes, size) = (list.as_bytes(), list.len());
    assert!(size > 2 * 256 * 1024, "more than two parts");
    let new = json!({"filename": "large.csv", "size": size, "sha256": hex::encode(Sha256::digest(bytes)),
                     "metadata": {"description": "in pieces"}});
    let (status, answer) = owner.post("/api/upload/sessions", &new).await;
    assert_eq!(status, 201, "{answer}");
    let path = format!("/api/upload/sessions/{}", text(&answer, "/data/sessionId"));
    let complete = format!("{path}/complete");

    // Cut where no part ends.
    let cut = 300_001;
    let (status, answer) = put(&owner, &path, &format!("bytes 0-{}/{size}", cut - 1), &bytes[..cut]).await;
    assert_eq!((status, &answer["data"]["received"]), (200, &json!(cut)), "{answer}");
    let (status, _) = owner.post(&complete, &json!({})).await;
    assert_eq!(status, 409, "pieces are missing");
    let refused = [
        (format!("bytes {}-{}/{size}", cut + 1, size - 1), &bytes[cut + 1..], 409),
        (format!("bytes {cut}-{}/{}", size - 1, size + 1), &bytes[cut..], 422),
        (format!("bytes {cut}-{}/{size}", cut + 9), &bytes[cut..cut + 11], 422),
        ("bytes */*".to_owned(), &bytes[cut..], 422),
    ];
    for (range, piece, expected) in refused {
        let (status, answer) = put(&owner, &path, &range, piece).await;
        assert_eq!(status, expected, "{range}: {answer}");
    }
    let (_, answer) = owner.get(&path).await;
    assert_eq!(answer["data"]["received"], cut, "{answer}");
    // A piece that is shorter than it says counts as far as it came; the next one overlaps.
    let (status, _) =
        put(&owner, &path, &format!("bytes {cut}-{}/{size}", size - 1), &bytes[cut..cut + 1_000]).await;
    assert_eq!(status, 422);
    let (_, answer) = owner.get(&path).await;
    assert_eq!(answer["data"]["received"], cut + 1_000, "{answer}");
    for _ in 0..2 {
        let (status, answer) =
            put(&elsewhere, &path, &format!("bytes 1000-{}/{size}", size - 1), &bytes[1_000..]).await;
        assert_eq!((status, &answer["data"]["received"]), (200, &json!(size)), "{answer}");
    }

    let (status, answer) = owner.post(&complete, &json!({})).await;
    assert_eq!((status, &answer["data"]["totalRecords"]), (201, &json!(20_000)), "{answer}");
    let id = text(&answer, "/data/uploadId").to_owned();
    let (_, again) = elsewhere.post(&complete, &json!({})).await;
    assert_eq!(text(&again, "/data/uploadId"), id);
    drain(&open).await;
    assert_eq!(count(&pool, "select count(*) from contacts").await, 20_000);
    for client in [owner, elsewhere] {
        let answer = client.request(Method::GET, &format!("/api/upload/download/{id}")).send().await.unwrap();
        assert!(answer.bytes().await.unwrap() == bytes, "the file is what was sent");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_session_ends_as_it_was_meant_or_not_at_all(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    for (new, field) in [
        (json!({"filename": "a.csv", "size": 0}), "size"),
        (json!({"filename": "a.csv", "size": 1_u64 << 60}), "size"),
        (json!({"filename": "a\0.csv", "size": 10}), "filename"),
        (json!({"filename": "a.csv", "size": 10, "sha256": "abc"}), "sha256"),
        (json!({"filename": "a.csv", "size": 10, "metadata": {"timeZone": "Mars"}}), "metadata.timeZone"),
    ] {
        let (status, answer) = owner.post("/api/upload/sessions", &new).await;
        assert_eq!((status, text(&answer, "/errors/0/field")), (422, field), "{answer}");
    }
    let list = b"email\nann@example.com\n";
    let new = json!({"filename": "a.csv", "size": list.len(), "sha256": "00".repeat(32)});
    let (_, answer) = owner.post("/api/upload/sessions", &new).await;
    let path = format!("/api/upload/sessions/{}", text(&answer, "/data/sessionId"));
    put(&owner, &path, &format!("bytes 0-{}/{}", list.len() - 1, list.len()), list).await;
    let (status, answer) = owner.post(&format!("{path}/complete"), &json!({})).await;
    assert_eq!((status, text(&answer, "/errors/0/field")), (422, "sha256"), "{answer}");
    assert_eq!(owner.delete(&path).await.0, 204);
    assert_eq!(owner.get(&path).await.0, 404);

    let (_, answer) = owner.post("/api/upload/sessions", &json!({"filename": "b.csv", "size": 10})).await;
    let path = format!("/api/upload/sessions/{}", text(&answer, "/data/sessionId"));
    sqlx::query("update upload_sessions set heard_at = heard_at - interval '25 hours'")
        .execute(&pool)
        .await
        .unwrap();
    open.engine.upkeep().once().await.unwrap();
    assert_eq!(owner.get(&path).await.0, 404, "nobody sent anything for a day");
    assert_eq!(count(&pool, "select count(*) from blobs where condemned_at is null").await, 0);
    assert_eq!(count(&pool, "select count(*) from uploads").await, 0);
}
