//! Shared leases: many sessions in flight on one connection.
//!
//! A session adds whole requests to a [`Crowd`], which puts them on one of its connections; what
//! comes back for it is in its [`Member`]'s mail. Which reply is whose, [`order`] keeps, and it
//! alone.

mod connection;
mod crowd;
mod member;
mod order;
mod patience;
mod traffic;

pub use crowd::Crowds;
pub(super) use member::{Mail, Member};
pub use order::Failure;

#[cfg(test)]
mod tests;
