//! Plugins: loading, sandbox, limits, the instances that serve sessions, and conversations.
//!
//! [`Runtime`] turns a config section into a [`Plugin`] before anything listens. Each worker
//! makes a [`WorkerPlugin`] of it for its sessions and a [`Conversations`] for its pool. Nothing
//! here knows of sockets but the one that a conversation is lent, and nothing here decides what
//! a step means.

mod builtin;
mod cache;
mod component;
mod config_files;
mod conversation;
mod direct;
mod error;
mod exports;
mod fault;
mod fault_log;
mod hooks;
mod instance;
mod limits;
mod load;
mod metrics;
mod output;
mod plugin_log;
mod sandbox;
mod state;
mod store;
mod ticker;
mod worker;

#[cfg(test)]
pub(crate) mod tests;

pub use component::ModuleKind;
#[doc(hidden)]
pub use conversation::Connection;
pub use conversation::Conversations;
pub use error::LoadError;
pub use hooks::{Fault, MeasureReplies, SessionHooks, TimeLimit, end_reason_name};
pub use instance::{RepliesHandle, SessionHandle};
pub use load::{Inspection, Plugin, Runtime};
pub(crate) use output::printable;
pub use worker::WorkerPlugin;
