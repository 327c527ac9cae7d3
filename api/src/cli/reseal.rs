//! `fanfare reseal`: every secret under the first key of `FANFARE_SEALING_KEYS`, so that the keys behind it can be taken out.
//!
//! Processes at work open a secret under either key, so nothing stands still. Cut off, it has sealed some of them, and goes on
//! where it is run again.

use fanfare_engine::{
    config::Config,
    roster,
    seal::Seal,
    store::{
        Store,
        sealed::{Kind, Owner, SealedSecret},
    },
};
use serde::Serialize;

use super::{
    context::Context,
    exit::{Exit, Failure},
};
use crate::auth::second_factor;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resealed {
    accounts: u64,
    second_factors: u64,
    /// Under the first key before.
    already: u64,
}

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    context.start_log(true)?;
    let store = context.store().await?;
    let seal = seal(context.config())?;
    let mut done = Resealed::default();
    for kind in [Kind::Account, Kind::SecondFactor] {
        let mut next = Some(None);
        while let Some(after) = next {
            let (secrets, last) = store.sealed(kind, after).await?;
            anew(context, (&store, &seal), secrets, &mut done).await?;
            next = last.map(Some);
        }
    }
    context.out.show(&done, |done| {
        format!(
            "Sealed anew with the first key: {} accounts, {} second factors; {} were before. No other key is needed any more, once \
             every process has this one.",
            done.accounts, done.second_factors, done.already
        )
    })
}

fn seal(config: &Config) -> Result<Seal, Failure> {
    Seal::parse(config.auth.sealing_keys.expose()).map_err(|error| Failure::new(Exit::Usage, error))
}

async fn anew(
    context: &Context,
    (store, seal): (&Store, &Seal),
    secrets: Vec<SealedSecret>,
    done: &mut Resealed,
) -> Result<(), Failure> {
    for secret in secrets {
        let about = match secret.owner {
            Owner::Account(tenant, account) => roster::about(tenant, account),
            Owner::SecondFactor(user) => second_factor::about(user),
        };
        let opened = seal.anew(&context.sources.ids, &about, &secret.sealed).map_err(|error| {
            let owner = match secret.owner {
                Owner::Account(_, account) => format!("account {account}"),
                Owner::SecondFactor(user) => format!("the second factor of {user}"),
            };
            Failure::say(Exit::Refused, format!("{owner}: {error}"))
        })?;
        let count = match (&opened, secret.owner) {
            (None, _) => &mut done.already,
            (_, Owner::Account(..)) => &mut done.accounts,
            (_, Owner::SecondFactor(_)) => &mut done.second_factors,
        };
        let counts = match opened {
            Some(new) => store.seal_anew(&secret, &new).await?,
            None => true,
        };
        *count += u64::from(counts);
    }
    Ok(())
}
