//! Any conversation of a client and a server: the plugin never asks the host for what it may not.
#![no_main]

use leaseway_plugin_http1::Http1;
use leaseway_sdk::testing::ScriptedSession;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, Vec<(bool, Vec<u8>)>)| {
    let (small, pieces) = input;
    let config = match small {
        true => r#"{"max-head": 1024, "max-target": 100, "max-fields": 3, "max-body": 100}"#,
        false => "{}",
    };
    let mut session = ScriptedSession::<Http1>::new(config);
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
