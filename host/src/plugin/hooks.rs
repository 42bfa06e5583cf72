//! What a session may call of its plugin, and how such a call can go wrong.
//!
//! Implemented by a session on a wasm instance, and by scripted plugins in tests of the engine.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::contract::{
    Choice, Disposition, EndReason, Hooks, LeaseError, LeaseOutcome, Leased, Side, Step,
};

/// A plugin did what it must not. Ends every session of the instance that did it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The code trapped: a panic, unreachable code, a stack overflow.
    #[error("trap in {hook}: {message}")]
    Trap {
        /// The hook that was running.
        hook: &'static str,
        /// What wasmtime says of it, in one line.
        message: String,
    },
    /// A call ran past `limits.hook` or `limits.conversation`.
    #[error("{hook} ran past its limit of {limit:?}")]
    Deadline {
        /// The hook that was running.
        hook: &'static str,
        /// The limit it ran past.
        limit: Duration,
    },
    /// The instance wanted more memory than `limits.memory`.
    #[error("{hook} wanted more than the memory limit of {limit} bytes")]
    Memory {
        /// The hook that was running.
        hook: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
}

/// The session hooks of a plugin, for one session.
pub trait SessionHooks {
    /// The hooks that the plugin has; others are not called.
    fn has(&self) -> Hooks;
    /// See `choose-upstream` in the contract.
    fn choose_upstream(&mut self, client_bytes: &[u8]) -> Result<Choice, Fault>;
    /// See `on-leased` in the contract.
    fn on_leased(&mut self, lease: &Leased) -> Result<Vec<Step>, Fault>;
    /// See `on-lease-failed` in the contract.
    fn on_lease_failed(&mut self, why: &LeaseError) -> Result<Vec<Step>, Fault>;
    /// See `on-data` in the contract.
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Result<Vec<Step>, Fault>;
    /// See `on-eof` in the contract.
    fn on_eof(&mut self, origin: Side) -> Result<Vec<Step>, Fault>;
    /// See `pool-return` in the contract.
    fn pool_return(&mut self, outcome: LeaseOutcome) -> Result<Disposition, Fault>;
    /// Ready once the instance has faulted, in this session's call or in another's; wakes the
    /// task of `cx` when that happens.
    fn poll_fault(&mut self, cx: &mut Context<'_>) -> Poll<Fault>;
}

/// The name of a reason, for logs and metrics.
pub fn end_reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::ClientClosed => "client-closed",
        EndReason::ClientError => "client-error",
        EndReason::PluginClose => "plugin-close",
        EndReason::Timeout => "timeout",
        EndReason::Drain => "drain",
    }
}
