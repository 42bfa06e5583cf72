//! What the relay answers itself: statuses, with a body that says what has happened, and nothing of the
//! network behind it.

use leaseway_sdk::LeaseError;

use crate::rewrite::Persistence;

/// A status, and the words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What has happened.
    pub why: &'static str,
}

impl Answer {
    /// What there is to say of a lease that is not there, or no longer.
    #[must_use]
    pub fn of(error: &LeaseError) -> Self {
        let (status, why) = match error {
            LeaseError::UnknownGroup(_) => (503, "this listener has no such upstream group"),
            LeaseError::NoEndpoint(_) => (503, "no server is known"),
            LeaseError::ConnectFailed(_) => (502, "no server could be reached"),
            LeaseError::ConnectTimeout(_) => (504, "no server was reached in time"),
            LeaseError::HandshakeFailed(_) => (502, "no server was ready to serve"),
            LeaseError::WaitTimeout(_) => (503, "all connections to the servers stayed busy"),
            LeaseError::Lost(_) => (502, "the server closed the connection before it answered"),
            LeaseError::Draining => (503, "this relay is shutting down"),
        };
        Self { status, why }
    }

    /// The bytes of it. `head`: the answer to `HEAD`, which has no body.
    #[must_use]
    pub fn bytes(self, head: bool, persistence: Persistence) -> Vec<u8> {
        let Self { status, why } = self;
        let reason = reason(status);
        let body = match why {
            "" => String::new(),
            why => format!("{status} {reason}: {why}\n"),
        };
        let connection = match persistence {
            Persistence::Close => "Connection: close\r\n",
            Persistence::Known => "",
            Persistence::Told => "Connection: keep-alive\r\n",
        };
        let kind = match why {
            "" => "",
            _ => "Content-Type: text/plain\r\n",
        };
        let length = body.len();
        let shown = if head { "" } else { &body };
        format!(
            "HTTP/1.1 {status} {reason}\r\n{kind}Content-Length: {length}\r\n{connection}\r\n{shown}"
        )
        .into_bytes()
    }
}

/// The standard words for a status that is used here.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        404 => "Not Found",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Bad Request",
    }
}
