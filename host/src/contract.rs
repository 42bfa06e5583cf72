//! The plugin contract as Rust types, generated from `guest-sdk/wit`.
//!
//! Everything that speaks with or about plugins uses these types. Nothing here has behaviour but to
//! be put in words, and to be compared.

/// Bindings of an instance that serves sessions: every call is synchronous.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod session_side {
    wasmtime::component::bindgen!({
        path: "../guest-sdk/wit",
        world: "session-instance",
        additional_derives: [PartialEq],
    });
}

/// Bindings of an instance that holds a conversation: calls suspend while they wait.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub(crate) mod conversation_side {
    wasmtime::component::bindgen!({
        path: "../guest-sdk/wit",
        world: "conversation-instance",
        imports: {
            "leaseway:plugin/connection": async | trappable,
        },
        exports: { default: async },
        with: {
            "leaseway:plugin/types": crate::contract::session_side::leaseway::plugin::types,
            "leaseway:plugin/log": crate::contract::session_side::leaseway::plugin::log,
            "leaseway:plugin/store": crate::contract::session_side::leaseway::plugin::store,
            "leaseway:plugin/connection.connection": crate::plugin::Connection,
        },
    });
}

pub use session_side::exports::leaseway::plugin::session_hooks;
pub use session_side::leaseway::plugin::types::{
    Choice, Deadline, Disposition, EndReason, Hooks, LeaseError, LeaseOutcome, LeaseRequest,
    Leased, PluginInfo, Request, SessionInfo, Settings, Share, Side, Span, Step, Target,
};

impl Eq for Target {}

/// By what tells nearly all of them apart.
impl std::hash::Hash for Target {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.identity, &self.group, &self.endpoint, self.affinity).hash(state);
    }
}

/// A short fixed name of a lease error, for logs.
pub fn lease_error_kind(error: &LeaseError) -> &'static str {
    match error {
        LeaseError::UnknownGroup(_) => "unknown-group",
        LeaseError::NoEndpoint(_) => "no-endpoint",
        LeaseError::ConnectFailed(_) => "connect-failed",
        LeaseError::ConnectTimeout(_) => "connect-timeout",
        LeaseError::HandshakeFailed(_) => "handshake-failed",
        LeaseError::WaitTimeout(_) => "wait-timeout",
        LeaseError::Lost(_) => "lost",
        LeaseError::Draining => "draining",
    }
}

/// A lease error in words, as logs show it.
pub fn lease_error_text(error: &LeaseError) -> String {
    match error {
        LeaseError::UnknownGroup(name) => {
            format!("the listener has no upstream group named {name:?}")
        }
        LeaseError::NoEndpoint(text)
        | LeaseError::ConnectFailed(text)
        | LeaseError::ConnectTimeout(text)
        | LeaseError::WaitTimeout(text)
        | LeaseError::Lost(text) => text.clone(),
        LeaseError::HandshakeFailed(text) => format!("the handshake failed: {text}"),
        LeaseError::Draining => "the relay is shutting down".to_owned(),
    }
}
