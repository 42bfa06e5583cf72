//! What a session may call of its plugin, and how such a call can go wrong.
//!
//! Implemented by a session on a wasm instance, and by scripted plugins in tests of the engine.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use super::limits::SETUP_TIME;
use crate::config::values::{show_duration, show_size};
use crate::contract::{
    Choice, Disposition, EndReason, Hooks, LeaseError, LeaseOutcome, Leased, Side, Span, Step,
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
    /// A call computed for longer than it may.
    #[error("{hook} {limit}")]
    Deadline {
        /// The hook that was running.
        hook: &'static str,
        /// The limit it ran past.
        limit: TimeLimit,
    },
    /// The instance wanted more memory than `limits.memory`.
    #[error("{hook} wanted more memory than limits.memory = {}", show_size(*limit))]
    Memory {
        /// The hook that was running.
        hook: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
}

/// The time that a call did not keep to. Shown with the key of the config that gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLimit {
    /// `limits.hook`.
    Hook(Duration),
    /// Many times `limits.hook`, which is what this holds: for starting, `describe` and
    /// `configure`.
    Setup(Duration),
    /// `limits.conversation`.
    Conversation(Duration),
    /// Whoever waited for a conversation gave it up while it computed.
    GivenUp {
        /// How long it had computed without a break.
        after: Duration,
        /// `limits.conversation`, which had not passed.
        conversation: Duration,
    },
}

impl TimeLimit {
    /// How long the call may take.
    pub fn duration(self) -> Duration {
        match self {
            Self::Hook(limit) | Self::Conversation(limit) => limit,
            Self::Setup(hook) => hook.saturating_mul(SETUP_TIME),
            Self::GivenUp { after, .. } => after,
        }
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hook(limit) => write!(f, "ran past limits.hook = {}", show_duration(*limit)),
            Self::Setup(hook) => {
                let hook = show_duration(*hook);
                write!(f, "ran past {SETUP_TIME} times limits.hook = {hook}")
            }
            Self::Conversation(limit) => {
                write!(
                    f,
                    "ran past limits.conversation = {}",
                    show_duration(*limit)
                )
            }
            Self::GivenUp {
                after,
                conversation,
            } => write!(
                f,
                "was given up after computing for {}: probe.timeout, or the end of who waited, came before limits.conversation = {}",
                show_duration(*after),
                show_duration(*conversation)
            ),
        }
    }
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
    /// See `on-request-failed` in the contract.
    fn on_request_failed(&mut self, why: &LeaseError, replies: u32) -> Result<Vec<u8>, Fault>;
    /// Ready once the instance has faulted, in this session's call or in another's; wakes the
    /// task of the first `cx` when that happens, and so is to be asked by one task only.
    fn poll_fault(&mut self, cx: &mut Context<'_>) -> Poll<Fault>;
}

/// The resource `replies` of a plugin, for one shared connection.
pub trait MeasureReplies {
    /// See `measure` in the contract. The inner error is the plugin's own.
    fn measure(&mut self, data: &[u8]) -> Result<Result<Vec<Span>, String>, Fault>;
    /// False once its instance has faulted: it will measure nothing any more.
    fn is_live(&self) -> bool;
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
