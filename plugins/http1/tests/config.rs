//! What an operator can write, and what is said of what cannot be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_plugin_http1::Http1;
use leaseway_sdk::testing;

#[test]
fn every_key_can_be_set() {
    let config = r#"{
        "routes": [{"host": "a.example", "path": "/b", "upstream": "c"}],
        "default-upstream": "d",
        "forwarded": "none",
        "via": "",
        "max-head": 32768,
        "max-fields": 50,
        "max-target": 2000,
        "max-body": 1000000,
        "head-timeout": 5,
        "body-timeout": 0,
        "response-timeout": 0,
        "probe": {"request": "GET /health", "host": "a.example:8080", "expect": 204}
    }"#;
    assert!(testing::configure::<Http1>(config).is_ok());
    assert!(testing::configure::<Http1>("{}").is_ok());
}

#[test]
fn mistakes_are_named_with_their_key() {
    for (config, key) in [
        (r#"{"max-head": 1023}"#, "`max-head`: must be 1024 to 32768"),
        (r#"{"max-head": 32769}"#, "`max-head`"),
        (r#"{"max-fields": 0}"#, "`max-fields`"),
        (
            r#"{"max-target": 16000}"#,
            "`max-target`: must be 1 to 15872",
        ),
        (r#"{"head-timeout": 0}"#, "`head-timeout`"),
        (r#"{"body-timeout": 604801}"#, "`body-timeout`"),
        (r#"{"response-timeout": 604801}"#, "`response-timeout`"),
        (r#"{"forwarded": "yes"}"#, "forwarded"),
        (r#"{"via": "a b"}"#, "`via`"),
        (r#"{"default-upstream": ""}"#, "`default-upstream`"),
        (
            r#"{"routes": [{"upstream": "a"}, {"path": "b", "upstream": "a"}]}"#,
            "`routes[1]`",
        ),
        (r#"{"routes": [{"path": "/"}]}"#, "upstream"),
        (r#"{"probe": {"request": "/"}}"#, "`probe.request`"),
        (
            r#"{"probe": {"request": "GET /\r\nA: b"}}"#,
            "`probe.request`",
        ),
        (
            r#"{"probe": {"request": "CONNECT a:1"}}"#,
            "`probe.request`",
        ),
        (r#"{"probe": {"host": ""}}"#, "`probe.host`"),
        (r#"{"probe": {"host": "a\r\nb: c"}}"#, "`probe.host`"),
        (r#"{"probe": {"expect": 100}}"#, "`probe.expect`"),
        (r#"{"prob": {}}"#, "prob"),
    ] {
        let why = testing::configure::<Http1>(config).err().expect(config);
        assert!(why.contains(key), "{config}: {why}");
    }
}
