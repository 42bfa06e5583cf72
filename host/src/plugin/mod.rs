//! Plugins: loading, sandbox, limits, the instances that serve sessions, and conversations.

mod hooks;

pub use hooks::{Fault, SessionHooks, end_reason_name};
