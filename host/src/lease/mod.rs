//! The exclusive loan of one connection to one session: how it is borrowed, and the guard that
//! makes sure it is given back or closed.

mod borrow;
mod guard;
mod unpooled;

pub use borrow::{Leasing, Waiting, borrow};
pub use guard::Lease;

#[cfg(test)]
mod tests;
