//! Short ways to look at sessions.
#![allow(dead_code)]

use leaseway_plugin_memcached::{Memcached, Session};
use leaseway_sdk::testing::{self, LeaseEnd, ScriptedSession};
use leaseway_sdk::{Disposition, Plugin, SessionInfo};

/// What the server is asked behind a batch, and what it answers.
pub(crate) const SENTINEL: &str = "version\r\n";
pub(crate) const ANSWER: &str = "VERSION 1.6.18\r\n";

pub(crate) fn session() -> ScriptedSession<Memcached> {
    ScriptedSession::new("{}")
}

/// One whose hooks are called by hand.
pub(crate) fn unscripted(config: &str) -> Session {
    let plugin: Memcached = testing::configure(config).unwrap();
    plugin.session(&SessionInfo {
        id: 1,
        listener: String::new(),
        client_address: String::new(),
        local_address: String::new(),
    })
}

/// Three servers on a ring.
pub(crate) const RING: &str = r#"{"distribution": "ketama", "servers": [
    "127.0.0.1:22001", {"address": "127.0.0.1:22002", "weight": 1}, "127.0.0.1:11211"
]}"#;

/// What became of the last lease.
pub(crate) fn returned(session: &mut ScriptedSession<Memcached>) -> Disposition {
    match session.leases().last().map(|lease| &lease.end) {
        Some(LeaseEnd::Returned(disposition)) => *disposition,
        other => panic!("the last lease was not given back: {other:?}"),
    }
}

/// Bytes that a person can read.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Lets the client send these, all of which reach the server, and the server reply.
#[track_caller]
pub(crate) fn exchange(session: &mut ScriptedSession<Memcached>, sent: &str, replies: &str) {
    session.client(sent.as_bytes());
    assert_eq!(escaped(&session.take_upstream()), escaped(sent.as_bytes()));
    session.upstream(replies.as_bytes());
    assert_eq!(escaped(&session.take_client()), escaped(replies.as_bytes()));
}

/// The same over a connection of its own, with the sentinel behind it.
#[track_caller]
pub(crate) fn alone(session: &mut ScriptedSession<Memcached>, sent: &str, replies: &str) {
    session.client(sent.as_bytes());
    let all = [sent, SENTINEL].concat();
    assert_eq!(escaped(&session.take_upstream()), escaped(all.as_bytes()));
    assert!(session.is_leased());
    session.upstream([replies, ANSWER].concat().as_bytes());
    assert_eq!(escaped(&session.take_client()), escaped(replies.as_bytes()));
    assert_eq!(returned(session), Disposition::Keep);
}
