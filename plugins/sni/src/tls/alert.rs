//! Fatal alerts in the clear: all that this plugin ever says to a client.

use std::borrow::Cow;

use super::{ALERT, TLS_1_0, TLS_1_2};

/// The level of an alert that ends the connection (RFC 8446, section 6).
pub(crate) const FATAL: u8 = 2;

/// Why a client is refused, as TLS says it (RFC 8446, section 6; RFC 7301, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Something else than what must come first: a record or a message of another type.
    UnexpectedMessage = 10,
    /// A record is longer than records may be.
    RecordOverflow = 22,
    /// A field is well-formed, and says what it may not.
    IllegalParameter = 47,
    /// A length does not fit, or a message is longer than is taken.
    DecodeError = 50,
    /// Older than TLS 1.0.
    ProtocolVersion = 70,
    /// There is no upstream to talk to.
    InternalError = 80,
    /// No server name, where one is needed to find the way.
    MissingExtension = 109,
    /// A server name that nobody here has.
    UnrecognizedName = 112,
    /// The server name is known, but for none of the protocols that the client offers.
    NoApplicationProtocol = 120,
}

impl Alert {
    /// The record that carries it, in a version that the client knows: `hello` is what its hello
    /// said, if there was one.
    #[must_use]
    pub fn record(self, hello: Option<u16>) -> [u8; 7] {
        let version = hello.unwrap_or(TLS_1_2).clamp(TLS_1_0, TLS_1_2);
        let [major, minor] = version.to_be_bytes();
        [ALERT, major, minor, 0, 2, FATAL, self as u8]
    }
}

/// An alert, and words for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the client is told.
    pub alert: Alert,
    /// What the operator is told.
    pub why: Cow<'static, str>,
}

impl Refusal {
    /// To be told this alert, for this reason.
    pub fn new(alert: Alert, why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            alert,
            why: why.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_speaks_a_version_that_its_client_knows() {
        let versions = [
            (None, [3, 3]),
            (Some(0x0304), [3, 3]),
            (Some(0x0303), [3, 3]),
            (Some(0x0301), [3, 1]),
            (Some(0x0300), [3, 1]),
        ];
        for (hello, [major, minor]) in versions {
            assert_eq!(
                Alert::UnrecognizedName.record(hello),
                [21, major, minor, 0, 2, 2, 112]
            );
        }
    }
}
