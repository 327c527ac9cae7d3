//! The engine against a real Postgres and a real Redis: `DATABASE_URL` and `REDIS_URL` name them.

mod limits;
mod queue;
mod support;
