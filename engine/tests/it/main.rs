//! The engine from outside, on a real Postgres.

mod imports;
mod workbooks;
