//! Any bytes of a client and of a server: no panic, and nothing that the contract forbids, which a
//! scripted session would not let pass.
#![no_main]

use leaseway_plugin_mysql::Mysql;
use leaseway_plugin_mysql::wire::capability as has;
use leaseway_plugin_mysql::wire::login::Login;
use leaseway_sdk::testing::{ScriptedSession, clear_store};
use libfuzzer_sys::fuzz_target;

/// The tag of a connection without a database, whose variables nobody knows.
const TAG: &[u8] = &[0, 0, 0];

fuzz_target!(|input: (Vec<(bool, Vec<u8>)>, bool, bool, u8)| {
    let (events, is_known, is_modern, pieces) = input;
    clear_store();
    let config = r#"{"pooling": "transaction", "reset": "when-needed", "users": {"app": {"password": ""}}}"#;
    let session = ScriptedSession::<Mysql>::new(config).with_tag(TAG);
    let mut session = session.in_pieces_of(usize::from(pieces).max(1));
    if is_known {
        let modern = has::DEPRECATE_EOF | has::SESSION_TRACK;
        let login = Login {
            capabilities: has::PROTOCOL_41
                | has::SECURE_CONNECTION
                | has::PLUGIN_AUTH
                | if is_modern { modern } else { 0 },
            user: b"app".to_vec(),
            plugin: b"mysql_native_password".to_vec(),
            ..Login::default()
        };
        session.client(&login.packet());
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
