#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests read the clock, block and spawn as a person at the keyboard would"
)]
//! The engine from outside: real Postgres and Redis (`DATABASE_URL` and `REDIS_URL` name them), only the providers
//! simulated, over HTTP.

mod acceptances;
mod desk;
mod direct;
mod feedback;
mod freeze;
mod house;
mod imports;
mod limits;
mod messages;
mod migrations;
mod notifications;
mod pipeline;
mod plans;
mod providers;
mod queue;
mod support;
mod throttle;
mod transactions;
mod workbooks;
