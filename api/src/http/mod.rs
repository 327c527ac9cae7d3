//! What every route shares: reading requests strictly, answering in one form, paging, conditions, limits, and the document
//! that describes it all.

pub(crate) mod attachment;
pub(crate) mod envelope;
pub(crate) mod etag;
pub(crate) mod extract;
pub(crate) mod headers;
pub(crate) mod idempotency;
pub(crate) mod incoming;
pub(crate) mod limits;
mod objects;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod parameters;
pub(crate) mod problem;
pub(crate) mod sort;
