//! Sessions: the engine that decides, and the driver that reads, writes and leases for it.
//!
//! The only place that knows both plugins and pools.

mod clock;
mod complaints;
mod context;
mod counters;
mod driver;
mod end;
mod ending;
mod engine;
mod half;
mod held;
mod leasing;
mod passage;
mod pump;
mod registry;
mod shared;
mod sharing;
mod steps;
mod stream;
mod targets;
mod unplugged;

#[cfg(test)]
mod tests;

pub use complaints::Complaints;
pub use context::ListenerContext;
pub use counters::{ListenerCounters, SessionCounters};
pub use driver::SessionTask;
pub use end::End;
pub use engine::{Engine, EngineLimits, Giveback, LeaseFacts, Loss};
pub use registry::{Phase, Registry, Ticket};
pub use shared::{Crowds, Failure};
pub use targets::Targets;
pub use unplugged::Unplugged;
