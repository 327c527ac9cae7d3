pub mod clock;
pub mod domain;
pub mod feedback;
pub mod id;
pub mod providers;
pub mod store;
