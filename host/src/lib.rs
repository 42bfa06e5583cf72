//! Leaseway: a TCP relay that WebAssembly plugins program.
//!
//! The modules stand in the order in which a byte meets them; each knows those behind it and
//! none before it. ARCHITECTURE.md tells the whole story.

#![deny(unsafe_code)]

pub mod admin;
pub mod cli;
pub mod config;
pub mod contract;
pub mod copy;
pub mod file;
pub mod kernel;
pub mod lease;
pub mod listener;
pub mod plugin;
pub mod pool;
pub mod relay;
pub mod session;
pub mod upstream;
pub mod worker;
