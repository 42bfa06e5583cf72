//! Upstream groups: which endpoints there are, which are healthy, and which one is next.
//!
//! What is here is shared by all workers: atomics and immutable snapshots. The one lock is taken by
//! the resolver alone. Opens no connections.

mod balance;
mod counters;
mod endpoint;
mod group;
mod resolve;

pub use balance::Chooser;
pub use counters::{EndpointCounters, PoolCounters};
pub use endpoint::{Endpoint, Health, Permit};
pub use group::Group;
pub use resolve::keep_resolved;
