#![cfg(test)]
//! The program from outside: commands as processes, routes over HTTP, on the Postgres and Redis of `DATABASE_URL` and
//! `REDIS_URL`.

mod accounts;
mod approvals;
mod campaigns;
mod commands;
mod configuration;
mod contacts;
mod contract;
mod drain;
mod edits;
mod faults;
mod files;
mod identity;
mod lists;
mod mails;
mod message_search;
mod naughty;
mod notifications;
mod open;
mod public;
mod refusals;
mod repeats;
mod reports;
mod routes;
mod samples;
mod security;
mod settings;
mod single_sends;
mod support;
mod suppressions;
mod templates;
mod uploads;
