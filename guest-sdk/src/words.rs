//! The contract's reasons in words, for logs and for errors that clients see.

use std::fmt;

use crate::{EndReason, LeaseError};

impl fmt::Display for LeaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownGroup(group) => {
                write!(f, "`{group}` is not an upstream group of this listener")
            }
            // The host's own words, which say it all.
            Self::NoEndpoint(why)
            | Self::ConnectFailed(why)
            | Self::ConnectTimeout(why)
            | Self::WaitTimeout(why) => f.write_str(why),
            Self::HandshakeFailed(why) => write!(f, "the handshake failed: {why}"),
            Self::Lost(why) => write!(f, "the connection was lost: {why}"),
            Self::Draining => f.write_str("the relay is shutting down"),
        }
    }
}

impl std::error::Error for LeaseError {}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientClosed => "the client closed its side",
            Self::ClientError => "the client's connection broke",
            Self::PluginClose => "the plugin closed the session",
            Self::Timeout => "a time limit of the session passed",
            Self::Drain => "the relay is shutting down",
        })
    }
}
