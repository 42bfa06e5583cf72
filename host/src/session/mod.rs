//! Sessions: the engine that decides, and the driver that reads, writes and leases for it.
//!
//! The only place that knows both plugins and pools.

mod end;
mod engine;
mod half;
mod held;
mod pump;
mod steps;

pub use end::{End, lease_error_text};
pub use engine::{Engine, EngineLimits, Giveback, LeaseFacts};

#[cfg(test)]
mod tests;
