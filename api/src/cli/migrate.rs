//! `fanfare migrate`.

use fanfare_engine::store::{Store, health::Schema};
use serde_json::json;

use super::{
    context::Context,
    exit::{Exit, Failure},
};

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    context.start_log(true)?;
    let store = context.store().await?;
    let applied = match store.schema().await? {
        Schema::Current => 0,
        Schema::Behind { missing } => missing,
        Schema::Ahead { unknown } => {
            let sentence = format!(
                "the database has {unknown} migrations that this version does not know: run the newer version"
            );
            return Err(Failure::say(Exit::Refused, sentence));
        }
    };
    migrate(&store).await?;
    context.out.show(&json!({"applied": applied}), |_| match applied {
        0 => "The schema was up to date.".to_owned(),
        count => format!("{count} migrations applied; the schema is up to date."),
    })
}

/// Several processes may do this at once: the database makes them take turns.
pub(crate) async fn migrate(store: &Store) -> Result<(), Failure> {
    store.migrate().await.map_err(|error| {
        Failure::refused(
            anyhow::Error::new(error).context("the schema could not be brought up to date (-v shows why)"),
        )
    })
}
