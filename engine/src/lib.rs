//! The engine: everything that happens to a message.
//!
//! Folders follow the flow. [`contacts`] takes files in; [`launch`] freezes an audience into numbered recipients and cuts
//! them into chunks; [`deliver`] turns a chunk into recorded outcomes; [`feedback`] takes in what providers tell;
//! [`upkeep`] puts right whatever was lost. Stages never call each other: they meet in rows ([`store`]) and hints
//! ([`queue`]). [`domain`] holds the rules, without input or output.
//!
//! Postgres alone can restart everything. Redis may be emptied at any time at the cost of delay, never of loss.

pub mod blobs;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod deliver;
pub mod domain;
pub mod engine;
pub mod feedback;
pub mod gauges;
pub mod id;
pub mod launch;
pub mod lifecycle;
pub mod limit;
pub mod link;
pub mod metrics;
pub mod providers;
pub mod queue;
pub mod roster;
pub mod seal;
pub mod seen_through;
pub mod spreadsheet;
pub mod store;
pub mod upkeep;
