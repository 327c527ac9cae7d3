//! What stands in a cell, read into what it means. Pure functions from text; a wrong text is a reason, never a guess.

pub(super) mod amount;
pub(super) mod date;
pub(super) mod language;
pub(super) mod name;

#[cfg(test)]
mod tests;
