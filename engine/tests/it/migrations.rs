//! Each migration meets the rows of its sample, so that the next one has something to break.

use sqlx::{Executor as _, PgPool};

#[sqlx::test(migrations = false)]
async fn each_migration_meets_rows(pool: PgPool) {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/samples");
    // One connection: each step sees what the one before has done.
    let mut connection = pool.acquire().await.unwrap();
    // A new database may be a copy of one that is migrated.
    connection.execute("drop schema public cascade; create schema public").await.unwrap();
    for migration in fanfare_engine::store::MIGRATOR.iter() {
        let name = format!("{}_{}", migration.version, migration.description.replace(' ', "_"));
        connection
            .execute(sqlx::AssertSqlSafe(migration.sql.as_str()))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let sample = std::fs::read_to_string(format!("{samples}/{name}.sql"))
            .unwrap_or_else(|_| panic!("migrations/samples/{name}.sql: every migration has a sample"));
        let done = connection
            .execute(sqlx::AssertSqlSafe(sample))
            .await
            .unwrap_or_else(|error| panic!("samples/{name}: {error}"));
        assert!(
            done.rows_affected() > 0 || name.contains("freeze") || name.contains("intents"),
            "{name} has rows"
        );
    }
}
