//! Any bytes of a client and of a server: no panic, and nothing that the contract forbids, which a
//! scripted session would not let pass.
#![no_main]

use leaseway_plugin_postgres::Postgres;
use leaseway_sdk::testing::ScriptedSession;
use libfuzzer_sys::fuzz_target;

const START: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0app\0\0";

fuzz_target!(|input: (Vec<(bool, Vec<u8>)>, bool, u8)| {
    let (events, is_known, pieces) = input;
    let config = r#"{"pooling": "transaction", "users": {"app": {"auth": "trust"}}}"#;
    let session = ScriptedSession::<Postgres>::new(config);
    let mut session = session.in_pieces_of(usize::from(pieces).max(1));
    if is_known {
        session.client(START);
    }
    for (is_client, bytes) in events {
        if session.end().is_some() {
            return;
        }
        match is_client {
            true => session.client(&bytes),
            false if session.is_leased() => session.upstream(&bytes),
            false => {}
        }
    }
});
