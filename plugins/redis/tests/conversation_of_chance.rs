//! Whatever clients and servers say: the plugin asks the host for nothing that it may not (the
//! scripted session panics at that), and a connection that is kept is owed nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_redis::Redis;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession};
use leaseway_sdk::{Disposition, LeaseError};
use proptest::prelude::*;

/// How servers refuse what they do not know.
const UNKNOWN: &str = "-ERR unknown command 'x'\r\n";

/// Something that happens to a session.
#[derive(Clone, Debug)]
enum Event {
    Client(Vec<u8>),
    Upstream(Vec<u8>),
    Fail,
    Lose,
}

fn event() -> impl Strategy<Value = Event> {
    let request = prop::sample::select(vec![
        "GET a",
        "SET a b",
        "MULTI",
        "EXEC",
        "DISCARD",
        "WATCH a",
        "UNWATCH",
        "ASKING",
        "SELECT 1",
        "AUTH a b",
        "HELLO 3",
        "HELLO 3 SETNAME x",
        "RESET",
        "QUIT",
        "SUBSCRIBE a",
        "CLIENT SETNAME x",
        "CLIENT SETINFO lib-name x",
        "CLIENT REPLY OFF",
        "CLIENT TRACKING ON",
        "CLIENT MAINT_NOTIFICATIONS ON",
        "CLIENT ID",
        "BLPOP q 0",
        "XREAD STREAMS s 0",
        "NONSENSE",
        "CLIENT NONSENSE",
    ]);
    let reply = prop::sample::select(vec![
        "+OK\r\n",
        "-ERR\r\n",
        "$3\r\nabc\r\n",
        "*2\r\n:1\r\n$-1\r\n",
        "%1\r\n+a\r\n:1\r\n",
        ">1\r\n+x\r\n",
        UNKNOWN,
        "-ERR Protocol error: x\r\n",
        "*-1\r\n",
    ]);
    prop_oneof![
        6 => prop::collection::vec(request, 1..4)
            .prop_map(|all| Event::Client(all.into_iter().flat_map(requests).collect())),
        6 => prop::collection::vec(reply, 1..4)
            .prop_map(|all| Event::Upstream(all.concat().into_bytes())),
        1 => prop::sample::select(vec!["*0\r\n", "*-1\r\n", "\r\n", "*-0\r\n"])
            .prop_map(|empty| Event::Client(empty.into())),
        1 => prop::collection::vec(any::<u8>(), 1..8).prop_map(Event::Client),
        1 => prop::collection::vec(any::<u8>(), 1..8).prop_map(Event::Upstream),
        1 => Just(Event::Fail),
        1 => Just(Event::Lose),
    ]
}

/// How many replies commands sent on a connection have, if they can be counted: all here have one.
fn count(sent: &[u8]) -> usize {
    sent.windows(3)
        .filter(|three| three[0] == b'*' && three[1].is_ascii_digit() && three[2] == b'\r')
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_plugin_keeps_the_contract_and_the_pool_clean(
        events in prop::collection::vec(event(), 1..12),
        pooling in prop::sample::select(vec!["session", "command", "command-exclusive"]),
        pieces in prop_oneof![1usize..9, Just(1000)],
    ) {
        let config = format!(r#"{{"pooling": "{pooling}", "max-commands-per-lease": 3}}"#);
        let mut session = ScriptedSession::<Redis>::new(&config).in_pieces_of(pieces);
        let mut refused = false;
        for event in events {
            if session.end().is_some() {
                break;
            }
            match event {
                Event::Client(bytes) => session.client(&bytes),
                Event::Upstream(bytes) => {
                    refused |= bytes.windows(UNKNOWN.len()).any(|at| at == UNKNOWN.as_bytes());
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
                for stays in [
                    "SUBSCRIBE", "SETNAME", "TRACKING", "MAINT_", "REPLY", "AUTH", "SELECT", "QUIT"
                ] {
                    prop_assert!(!sent.contains(stays), "{sent}");
                }
                for empty in ["*0", "*-"] {
                    let within = format!("\\n{empty}");
                    prop_assert!(!sent.starts_with(empty) && !sent.contains(&within), "{sent}");
                }
                // The server has to say so first.
                prop_assert!(refused || !sent.contains("NONSENSE"), "{sent}");
                prop_assert!(lease.received as usize >= 4 * count(&lease.sent), "{sent}");
                let begun = sent.rfind("MULTI").unwrap_or(0);
                let ended = sent.rfind("EXEC").max(sent.rfind("DISCARD")).unwrap_or(0);
                prop_assert!(begun <= ended, "{sent}");
            }
        }
    }
}
