//! The rules of the business, without any input or output.
//!
//! Nothing here reads a clock, a database or a socket. A state is an enum whose variants hold what is true in it; a
//! text from outside is parsed once, at the edge, into a type that can't hold anything else.

pub mod address;
pub mod answers;
pub mod approval;
pub mod campaign;
pub mod campaign_status;
pub mod channel;
pub mod chunk;
pub mod environment;
pub mod event;
pub mod measure;
pub mod outcome;
pub mod permission;
pub mod price;
pub mod references;
pub mod retry;
pub mod review;
pub mod schedule;
pub mod search;
pub mod slug;
pub mod status;
pub mod token;
pub mod upload;
pub mod visitor;
