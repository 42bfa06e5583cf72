//! Any bytes as requests, whole and in pieces: the same comes of them, and what is passed on is read by
//! the parser as it was read at first.
#![no_main]

use leaseway_plugin_http1::Http1;
use leaseway_plugin_http1::wire::request::Request;
use leaseway_plugin_http1::wire::{Limits, Read};
use leaseway_sdk::testing::ScriptedSession;
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    head: 40_000,
    fields: 200,
    target: 8000,
};

fn outcome(bytes: &[u8], pieces: usize) -> (Vec<u8>, Vec<u8>, bool) {
    let mut session = ScriptedSession::<Http1>::new("{}").in_pieces_of(pieces);
    session.client(bytes);
    (
        session.take_client(),
        session.take_upstream(),
        session.end().is_some(),
    )
}

fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, pieces) = input;
    let (told_at_once, sent_at_once, ended_at_once) = outcome(bytes, usize::MAX);
    let (told, sent, ended) = outcome(bytes, usize::from(pieces).max(1));
    assert_eq!((told, ended), (told_at_once, ended_at_once));
    // What is refused in the middle of its body may not have left by then.
    assert!(sent.starts_with(&sent_at_once));
    assert!(ended || sent == sent_at_once);
    if sent.is_empty() {
        return;
    }
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let Read::Complete(asked) = Request::read(&bytes[start..], LIMITS) else {
        panic!("a request was passed on that is none");
    };
    let Read::Complete(passed) = Request::read(&sent, LIMITS) else {
        panic!("what was passed on is no request");
    };
    assert_eq!((asked.method, asked.body), (passed.method, passed.body));
});
