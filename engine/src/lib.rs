pub mod clock;
pub mod domain;
pub mod id;
pub mod link;
pub mod queue;
