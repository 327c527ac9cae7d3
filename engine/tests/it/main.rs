#![cfg(test)]
//! The engine from outside: real Postgres and Redis (`DATABASE_URL` and `REDIS_URL` name them), only the providers
//! simulated, over HTTP.

mod direct;
mod freeze;
mod house;
mod imports;
mod limits;
mod messages;
mod migrations;
mod pipeline;
mod queue;
mod support;
