//! Any bytes from a client, whole and in pieces: the same outcome; all of them or none reach the
//! server, and who is refused gets one alert.
#![no_main]

use leaseway_plugin_sni::Sni;
use leaseway_sdk::testing::ScriptedSession;
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"{"routes": [
    {"name": "a.b", "upstream": "exact"},
    {"name": "*.b", "alpn": "h2", "upstream": "below"}
]}"#;

fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, pieces) = input;
    let mut whole = ScriptedSession::<Sni>::new(CONFIG);
    whole.client(bytes);
    let pieces = usize::from(pieces).max(1);
    let mut split = ScriptedSession::<Sni>::new(CONFIG).in_pieces_of(pieces);
    split.client(bytes);
    // The reason for the log tells what had come so far.
    assert_eq!(split.end().is_some(), whole.end().is_some());
    let said = split.take_client();
    assert_eq!(said, whole.take_client());
    if split.is_leased() {
        assert_eq!(split.take_upstream(), bytes);
    } else {
        let refused = split.end().is_some();
        assert_eq!(said.len(), if refused { 7 } else { 0 });
    }
});
