pub mod clock;
pub mod contacts;
pub mod domain;
pub mod id;
pub mod store;
