//! Whatever clients and servers say, in whatever pieces: the plugin asks the host for nothing that it
//! may not (the scripted session panics at that), and a connection is kept only behind the sentinel's
//! answer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_memcached::Memcached;
use leaseway_plugin_memcached::wire::reply::Replies;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession};
use leaseway_sdk::{Disposition, LeaseError};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Client(Vec<u8>),
    Upstream(Vec<u8>),
    Fail,
    Lose,
}

fn event() -> impl Strategy<Value = Event> {
    let request = prop::sample::select(vec![
        "get key:0\r\n",
        "get key:0 key:1 key:2\r\n",
        "set key:0 0 0 3\r\nabc\r\n",
        "set key:1 0 0 3 noreply\r\nabc\r\n",
        "set key:1 0 0 20000\r\n",
        "ms key:0 2 q\r\nab\r\n",
        "mg key:0 v q\r\n",
        "mg key:0 v\r\n",
        "mg Cg== b k\r\n",
        "mg Cg== b k q\r\n",
        "delete noreply\r\n",
        "mn\r\n",
        "version\r\n",
        "stats\r\n",
        "flush_all noreply\r\n",
        "nonsense\r\n",
        "quit\r\n",
        "set key:0 0 0 -1\r\n",
    ]);
    let reply = prop::sample::select(vec![
        "STORED\r\n",
        "END\r\n",
        "VALUE key:0 0 3\r\nabc\r\n",
        "VA 2\r\nab\r\n",
        "HD\r\n",
        "VERSION 1\r\n",
        "STAT a b\r\n",
        "SERVER_ERROR x\r\n",
        "OK\r\n",
    ]);
    prop_oneof![
        6 => prop::collection::vec(request, 1..4).prop_map(|all| Event::Client(all.concat().into())),
        6 => prop::collection::vec(reply, 1..4).prop_map(|all| Event::Upstream(all.concat().into())),
        1 => prop::collection::vec(any::<u8>(), 1..8).prop_map(Event::Client),
        1 => prop::collection::vec(any::<u8>(), 1..8).prop_map(Event::Upstream),
        1 => Just(Event::Client(vec![b'x'; 9_000])),
        1 => Just(Event::Fail),
        1 => Just(Event::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_plugin_keeps_the_contract_and_the_pool_clean(
        events in prop::collection::vec(event(), 1..12),
        config in prop::sample::select(vec!["{}", RING, r#"{"distribution": "hash"}"#]),
        pieces in prop_oneof![1usize..9, Just(1000)],
    ) {
        let mut session = ScriptedSession::<Memcached>::new(config).in_pieces_of(pieces);
        for event in events {
            if session.end().is_some() {
                break;
            }
            match event {
                Event::Client(bytes) => session.client(&bytes),
                Event::Upstream(bytes) => {
                    for piece in bytes.chunks(pieces) {
                        if session.is_leased() || session.is_sharing() {
                            session.upstream(piece);
                        }
                    }
                }
                Event::Fail => session.fail_leases(LeaseError::Draining),
                Event::Lose if session.is_leased() || session.is_sharing() => session.lose("gone"),
                Event::Lose => session.grant_leases(),
            }
        }
        if session.end().is_none() {
            session.client_eof();
        }
        for lease in session.leases() {
            if lease.end == LeaseEnd::Returned(Disposition::Keep) {
                let sent = lease.sent.escape_ascii().to_string();
                prop_assert!(sent.ends_with("\\r\\n"), "{}", sent);
                let gathers = sent.starts_with("get ") && !sent.contains("version");
                prop_assert!(gathers || sent.ends_with("version\\r\\n"), "{}", sent);
                prop_assert!(!sent.contains("quit") && !sent.contains("nonsense"), "{}", sent);
                prop_assert!(!sent.contains("Cg== b k"), "{}", sent);
            }
        }
    }

    /// What a client sends in any pieces leads to the same bytes for the server.
    #[test]
    fn no_split_changes_what_a_server_gets(pieces in 1usize..60) {
        let sent = "set a 0 0 3\r\nabc\r\nget a b\r\nms c 1 T0\r\nx\r\nincr a 1\r\n";
        let mut session = ScriptedSession::<Memcached>::new("{}").in_pieces_of(pieces);
        session.client(sent.as_bytes());
        prop_assert_eq!(escaped(&session.take_upstream()), escaped(sent.as_bytes()));
    }

    /// Replies are measured the same in any pieces.
    #[test]
    fn no_split_changes_a_reply(
        replies in prop::collection::vec(prop::sample::select(vec![
            "STORED\r\n", "VALUE k 1 4\r\nEND\r\r\n", "END\r\n", "VA 3 t1\r\n\r\n\n\r\n", "VERSION 1\r\n", "12\r\n",
        ]), 0..8),
        step in 1usize..20,
    ) {
        let bytes = replies.concat().into_bytes();
        let measure = |step: usize| {
            let (mut replies, mut at, mut found) = (Replies::default(), 0, Vec::new());
            for end in (step..bytes.len()).step_by(step).chain([bytes.len()]) {
                while let Some(rest) = bytes.get(at..end).filter(|rest| !rest.is_empty()) {
                    match replies.next(rest) {
                        Ok(Some(piece)) => {
                            at += piece.length as usize;
                            found.push(Ok(piece));
                        }
                        Ok(None) => break,
                        Err(why) => {
                            found.push(Err(why));
                            return found;
                        }
                    }
                }
            }
            found
        };
        prop_assert_eq!(measure(step), measure(usize::MAX >> 1));
    }
}
