#![cfg(test)]
//! The engine from outside: real Postgres and Redis, only the providers simulated, over HTTP.

mod direct;
mod freeze;
mod messages;
mod migrations;
mod pipeline;
mod support;
