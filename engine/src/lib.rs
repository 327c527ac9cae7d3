pub mod clock;
pub mod domain;
pub mod id;
pub mod providers;
pub mod store;
