//! Leaseway: a TCP relay that WebAssembly plugins program.
//!
//! The modules stand in the order in which a byte meets them; each knows those behind it and
//! none before it. ARCHITECTURE.md tells the whole story.

#![deny(unsafe_code)]

pub mod config;
pub mod listener;
pub mod worker;
pub mod session;
pub mod plugin;
pub mod lease;
pub mod pool;
pub mod upstream;
pub mod copy;
pub mod contract;
pub mod kernel;
pub mod admin;
pub mod cli;
