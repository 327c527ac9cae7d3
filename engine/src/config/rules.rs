//! Settings that make no sense, or none together. Told at start, not at three in the morning.

use super::{
    error::{ConfigError, ConfigErrors, all_or_nothing},
    sections::Config,
    tree::{Origin, Tree},
};
use crate::domain::token::{PublicLinks, PublicLinksError};

pub(super) fn check(config: &Config, tree: &Tree) -> Result<(), ConfigErrors> {
    let mut errors = Vec::new();
    // Of two settings that disagree, the one that somebody has set is shown.
    let mut rule = |key: &str, other: &str, holds: bool, problem: String| {
        if !holds {
            let origin = Some(tree.origin(key))
                .filter(|origin| *origin != Origin::Default)
                .unwrap_or_else(|| tree.origin(other));
            errors.push(ConfigError::Value { key: key.to_owned(), origin, problem });
        }
    };
    let Config {
        database,
        api,
        auth,
        public,
        worker,
        recorder,
        launch,
        queue,
        http,
        imports,
        unknown,
        retention,
        ..
    } = config;
    for (key, value) in [
        ("api.tenant_per_second", api.tenant_per_second as usize),
        ("api.program_per_second", api.program_per_second as usize),
        ("api.stranger_per_second", api.stranger_per_second as usize),
        ("public.per_second", public.per_second as usize),
        ("worker.chunks", worker.chunks),
        ("worker.in_flight", worker.in_flight),
        ("worker.in_flight_keyless", worker.in_flight_keyless),
        ("worker.slice", worker.slice),
        ("worker.urgent_in_flight", worker.urgent_in_flight),
        ("recorder.batch", recorder.batch),
        ("queue.high_water", queue.high_water),
        ("database.api_connections", database.api_connections as usize),
        ("database.urgent_connections", database.urgent_connections as usize),
        ("launch.first_slice", usize::try_from(launch.first_slice).unwrap_or(0)),
        ("launch.chunk", usize::try_from(launch.chunk).unwrap_or(0)),
        ("retention.months", usize::try_from(retention.months).unwrap_or(0)),
        ("http.timeout_ms", usize::try_from(http.timeout_ms).unwrap_or(usize::MAX)),
        ("api.idle_s", usize::try_from(api.idle_s).unwrap_or(usize::MAX)),
    ] {
        rule(key, key, value > 0, "must be at least 1".to_owned());
    }
    rule(
        "worker.lease_s",
        "http.timeout_ms",
        worker.lease_s * 1_000 > 2 * http.timeout_ms,
        format!(
            "is {} s, which must be more than twice http.timeout_ms ({} ms): a claim must not end while an answer may come",
            worker.lease_s, http.timeout_ms
        ),
    );
    rule(
        "api.send_wait_ms",
        "api.send_wait_ms",
        api.send_wait_ms <= 10_000,
        format!("is {}, and must be at most 10000: callers do not wait longer", api.send_wait_ms),
    );
    let secret = auth.jwt_secret.expose().chars().count();
    rule(
        "auth.jwt_secret",
        "auth.jwt_secret",
        secret == 0 || secret >= 32,
        format!("has {secret} characters, and must have at least 32: `openssl rand -base64 48` makes one"),
    );
    let keys = crate::seal::Seal::parse(auth.sealing_keys.expose());
    rule(
        "auth.sealing_keys",
        "auth.sealing_keys",
        keys.is_ok(),
        keys.err().map_or_else(String::new, |e| e.to_string()),
    );
    let links = PublicLinks::new(&public.base_url, public.signing_keys.expose()).err();
    let of_base = links == Some(PublicLinksError::Base);
    rule(
        if of_base { "public.base_url" } else { "public.signing_keys" },
        "public.base_url",
        links.is_none(),
        links.map_or_else(String::new, |error| error.to_string()),
    );
    rule(
        "auth.access_minutes",
        "auth.access_minutes",
        (1..=1_440).contains(&auth.access_minutes),
        format!("is {}, and must be between 1 and 1440", auth.access_minutes),
    );
    rule(
        "auth.refresh_days",
        "auth.refresh_days",
        (1..=366).contains(&auth.refresh_days),
        format!("is {}, and must be between 1 and 366", auth.refresh_days),
    );
    let needed = worker.chunks + 4;
    rule(
        "database.connections",
        "worker.chunks",
        database.connections as usize >= needed,
        format!(
            "is {}, which must be at least worker.chunks + 4 = {needed}: each chunk commits by itself",
            database.connections
        ),
    );
    rule(
        "recorder.buffer",
        "recorder.batch",
        recorder.buffer >= recorder.batch,
        format!("is {}, which must be at least recorder.batch ({})", recorder.buffer, recorder.batch),
    );
    rule(
        "launch.slice",
        "launch.chunk",
        launch.slice >= launch.chunk,
        format!("is {}, which must be at least launch.chunk ({})", launch.slice, launch.chunk),
    );
    rule(
        "imports.max_upload_bytes",
        "imports.max_bytes",
        (1..=imports.max_bytes).contains(&imports.max_upload_bytes),
        format!(
            "is {}, and must be between 1 and imports.max_bytes ({})",
            imports.max_upload_bytes, imports.max_bytes
        ),
    );
    rule(
        "unknown.look_up_s",
        "unknown.deadline_s",
        unknown.look_up_s < unknown.deadline_s,
        format!(
            "is {} s, which must be less than unknown.deadline_s ({} s): afterwards nobody asks",
            unknown.look_up_s, unknown.deadline_s
        ),
    );
    all_or_nothing(errors)
}
