//! Stage 2: from a hint to recorded outcomes.
//!
//! **Who.** A *lane reader* takes hints from Redis (or, while Redis is away, due chunks straight from Postgres). A *chunk
//! task* claims one chunk and works through it in slices. The *recorder* writes the outcomes of all chunks together. The
//! *direct path* does the same for one transactional message that this process has just accepted.
//!
//! **The order, for every slice:** admission by the account's pacer -> places on the wire -> intent (one short transaction
//! that re-checks whatever may stop the message) -> and then by its [`strands`], for each message: render -> a time slot ->
//! the first byte. An intent that is not on the wire within a second is void: its members go back to the start of this
//! order. A batch is rendered before its intent, since who can't be rendered must not be in it.
//!
//! **What is guaranteed.** No byte leaves without a committed intent, and no intent commits after the acknowledgment of a
//! stop that it should have seen. An answer becomes a fact in Postgres before its hint is acknowledged.
//!
//! **If it dies.** Before the intent: nobody notices. After it: the chunk's lease ends, the next owner reads the intents
//! and decides by [`recover`]: same key again where the provider honours keys, otherwise `unknown`; never a blind resend.
//!
//! **What is bounded.** Chunks at work (`worker.chunks`), requests in flight ([`places`]), facts that wait for the
//! recorder (its channel), intents without a byte on the wire (250 ms of the account's quota).

pub mod accounts;
pub mod answers;
mod batch;
pub mod chunk;
pub mod direct;
pub mod fate;
mod gatherers;
pub mod places;
pub mod plans;
pub mod recorder;
pub mod recover;
pub mod slice;
mod strands;
pub mod tally;
pub mod tame;
pub mod worker;
