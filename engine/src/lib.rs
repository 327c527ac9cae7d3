pub mod clock;
pub mod domain;
pub mod id;
