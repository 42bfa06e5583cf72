//! Any conversation of a client and a server: the plugin never asks the host for what it may not.
#![no_main]

use leaseway_plugin_redis::Redis;
use leaseway_sdk::testing::ScriptedSession;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, Vec<(bool, Vec<u8>)>)| {
    let (per_session, pieces) = input;
    let pooling = if per_session { "session" } else { "command-exclusive" };
    let config = format!(r#"{{"pooling": "{pooling}", "max-commands-per-lease": 3}}"#);
    let mut session = ScriptedSession::<Redis>::new(&config);
    for (from_client, bytes) in pieces {
        if session.end().is_some() {
            return;
        }
        if from_client {
            session.client(&bytes);
        } else if session.is_leased() {
            session.upstream(&bytes);
        }
    }
    session.client_eof();
});
