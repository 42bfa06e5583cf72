//! Short ways to write requests, and to look at leases.
#![allow(dead_code)]

use leaseway_plugin_redis::Redis;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession};

/// A session with command pooling, each command on a connection of its own.
pub(crate) fn session() -> ScriptedSession<Redis> {
    ScriptedSession::new(r#"{"pooling": "command-exclusive"}"#)
}

/// A session with session pooling.
pub(crate) fn session_pooling() -> ScriptedSession<Redis> {
    ScriptedSession::new(r#"{"pooling": "session"}"#)
}

/// Requests as clients write them: words by spaces, requests by semicolons.
pub(crate) fn requests(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in text.split(';').map(str::trim) {
        let words: Vec<&str> = request.split(' ').collect();
        bytes.extend(format!("*{}\r\n", words.len()).into_bytes());
        for word in words {
            bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
        }
    }
    bytes
}

/// What became of the last lease, if it was given back.
pub(crate) fn returned(session: &mut ScriptedSession<Redis>) -> Disposition {
    match session.leases().last().map(|lease| &lease.end) {
        Some(LeaseEnd::Returned(disposition)) => *disposition,
        other => panic!("the last lease was not given back: {other:?}"),
    }
}

/// Lets the client send requests, all of which reach the server, and the server reply.
#[track_caller]
pub(crate) fn exchange(session: &mut ScriptedSession<Redis>, text: &str, replies: &str) {
    let bytes = requests(text);
    session.client(&bytes);
    assert_eq!(escaped(&session.take_upstream()), escaped(&bytes));
    session.upstream(replies.as_bytes());
    assert_eq!(escaped(&session.take_client()), escaped(replies.as_bytes()));
}

/// Lets the client send requests that no server sees, and get these replies.
#[track_caller]
pub(crate) fn answered(session: &mut ScriptedSession<Redis>, text: &str, replies: &str) {
    session.client(&requests(text));
    assert_eq!(escaped(&session.take_upstream()), "");
    assert_eq!(escaped(&session.take_client()), escaped(replies.as_bytes()));
}

/// Bytes that a person can read.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
