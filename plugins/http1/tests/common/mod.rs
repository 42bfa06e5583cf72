//! What the tests have in common: sessions, and what is read off them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use leaseway_plugin_http1::Http1;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::{Lease, LeaseEnd, ScriptedSession};

pub type Session = ScriptedSession<Http1>;

/// A session without routes that adds nothing to requests.
pub const BARE: &str = r#"{"forwarded": "none", "via": ""}"#;

pub fn session() -> Session {
    Session::new(BARE)
}

/// What the client has got, as text.
pub fn told(session: &mut Session) -> String {
    String::from_utf8_lossy(&session.take_client()).into_owned()
}

/// What the server has got, as text.
pub fn sent(session: &mut Session) -> String {
    String::from_utf8_lossy(&session.take_upstream()).into_owned()
}

/// What has become of each lease.
pub fn ends(session: &mut Session) -> Vec<LeaseEnd> {
    let end = |lease: &Lease| lease.end.clone();
    session.leases().iter().map(end).collect()
}

pub fn kept() -> LeaseEnd {
    LeaseEnd::Returned(Disposition::Keep)
}

pub fn closed() -> LeaseEnd {
    LeaseEnd::Returned(Disposition::Close)
}

/// The statuses of the responses in what a client has got.
pub fn statuses(told: &str) -> Vec<u16> {
    told.split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|response| response.get(..3)?.parse().ok())
        .collect()
}

pub const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
pub const SENT_GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
