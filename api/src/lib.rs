//! The service and the commands of Fanfare; `bin/fanfare` is a door to [`cli::main`].
//!
//! [`assemble`] makes an engine of a configuration, the same way for every command. [`router`] lists every route and
//! [`cli::Command`] every command. The HTTP side keeps nothing in memory that matters: a webhook is in the database
//! before it is answered, so a crash at any moment makes the provider send it again or leaves it to be applied.

pub mod allocations;
pub mod assemble;
pub mod cli;
mod demo;

mod auth;
mod health;
mod hooks;
mod http;
mod listen;
mod pages;
mod public;
pub mod router;
#[expect(unused_qualifications, reason = "utoipa's macro writes them for `params`")]
mod routes;
pub mod service;
pub mod telemetry;
mod threads;
mod together;
mod turns;
