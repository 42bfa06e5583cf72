//! How sessions end.

use crate::contract::{EndReason, LeaseError, lease_error_text};
use crate::plugin::Fault;

/// Why a session ended, for its log line, for the metrics, and for the plugin's `pool-return`.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// The client closed its side and there was nothing left to do.
    ClientClosed,
    /// The client's connection broke.
    ClientBroke,
    /// The plugin closed the session, with its reason.
    Plugin(Option<String>),
    /// The upstream closed a connection that was copied plainly.
    UpstreamClosed,
    /// The upstream was lost in the middle of bytes that a step had promised to the client.
    ReplyCut(String),
    /// There was no connection, or no longer one, and the plugin had nothing to say to that.
    NoLease(LeaseError),
    /// A time limit passed; its name in the config.
    Timeout(&'static str),
    /// The plugin's own deadline passed, which was so many milliseconds.
    Deadline(u64),
    /// The host shuts down.
    Drain,
    /// The plugin's instance died.
    Fault(Fault),
    /// The plugin asked for what the contract forbids.
    Misuse(String),
    /// The plugin kept asking to be shown more than `max-shown` bytes.
    ShownLimit(usize),
}

impl End {
    /// A short fixed name, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClientClosed => "client-closed",
            Self::ClientBroke => "client-broke",
            Self::Plugin(_) => "plugin-close",
            Self::UpstreamClosed => "upstream-closed",
            Self::ReplyCut(_) => "reply-cut",
            Self::NoLease(_) => "no-lease",
            Self::Timeout(_) => "timeout",
            Self::Deadline(_) => "plugin-deadline",
            Self::Drain => "drain",
            Self::Fault(_) => "plugin-fault",
            Self::Misuse(_) => "plugin-misuse",
            Self::ShownLimit(_) => "max-shown",
        }
    }

    /// The reason as `pool-return` hears it; none when the plugin is not asked any more.
    pub(super) fn reason(&self) -> Option<EndReason> {
        match self {
            Self::ClientClosed => Some(EndReason::ClientClosed),
            Self::ClientBroke => Some(EndReason::ClientError),
            Self::Plugin(_) => Some(EndReason::PluginClose),
            Self::Timeout(_) | Self::Deadline(_) => Some(EndReason::Timeout),
            Self::Drain => Some(EndReason::Drain),
            Self::UpstreamClosed
            | Self::ReplyCut(_)
            | Self::NoLease(_)
            | Self::Fault(_)
            | Self::Misuse(_)
            | Self::ShownLimit(_) => None,
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClientClosed => write!(f, "the client closed"),
            Self::ClientBroke => write!(f, "the client's connection broke"),
            Self::Plugin(Some(why)) => write!(f, "closed by the plugin: {why}"),
            Self::Plugin(None) => write!(f, "closed by the plugin"),
            Self::UpstreamClosed => write!(f, "the upstream closed"),
            Self::ReplyCut(why) => write!(f, "lost in mid-reply: {why}"),
            Self::NoLease(why) => write!(f, "no connection: {}", lease_error_text(why)),
            Self::Timeout(name) => write!(f, "{name} passed"),
            Self::Deadline(ms) => write!(f, "the plugin's deadline of {ms} ms passed"),
            Self::Drain => write!(f, "shutting down"),
            Self::Fault(fault) => write!(f, "plugin fault: {fault}"),
            Self::Misuse(what) => write!(f, "the plugin broke its contract: {what}"),
            Self::ShownLimit(limit) => write!(
                f,
                "the plugin asked for more than max-shown = {limit} bytes at once"
            ),
        }
    }
}
