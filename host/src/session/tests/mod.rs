//! The engine without sockets: whatever the order of events and the split of the bytes, a
//! connection in the pool is clean and no byte crosses sessions.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bulk;
mod deadlines;
mod programs;
mod promises;
mod tags;
mod told;
mod toy;
mod world;
