//! Any conversation of a client and a server: the plugin never asks the host for what it may not.
#![no_main]

use leaseway_plugin_memcached::Memcached;
use leaseway_sdk::testing::ScriptedSession;
use libfuzzer_sys::fuzz_target;

const RING: &str = r#"{"distribution": "ketama", "servers": ["a:1", "b:2", "c:3"]}"#;

fuzz_target!(|input: (bool, Vec<(bool, Vec<u8>)>)| {
    let (single, pieces) = input;
    let config = if single { "{}" } else { RING };
    let mut session = ScriptedSession::<Memcached>::new(config);
    for (from_client, bytes) in pieces {
        if session.end().is_some() {
            return;
        }
        if from_client {
            session.client(&bytes);
        } else if session.is_leased() || session.is_sharing() {
            session.upstream(&bytes);
        }
    }
    if session.end().is_none() {
        session.client_eof();
    }
});
