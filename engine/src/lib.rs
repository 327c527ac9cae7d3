pub mod clock;
pub mod domain;
pub mod id;
pub mod limit;
pub mod link;
pub mod providers;
pub mod queue;
pub mod store;
