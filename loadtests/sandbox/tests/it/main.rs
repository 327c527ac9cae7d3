//! The sandbox from outside, over HTTP, as a sender sees it.

mod audit;
mod email;
mod faults;
mod limits;
mod sms;
mod support;
mod webhooks;
mod whatsapp;
