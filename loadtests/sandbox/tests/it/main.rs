#![expect(
    clippy::disallowed_methods,
    reason = "a client of the simulator makes keys, clients and tasks as it likes"
)]
//! The sandbox from outside, over HTTP, as a sender sees it.

mod audit;
mod email;
mod faults;
mod limits;
mod sms;
mod support;
mod webhooks;
mod whatsapp;
