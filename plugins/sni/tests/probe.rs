//! The plugin beside its sessions: what it says of itself, when it probes, what configs it takes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_plugin_sni::Sni;
use leaseway_sdk::testing::{self, ScriptedConnection};
use leaseway_sdk::{Hooks, Plugin, Side, Target};

fn plugin(config: &str) -> Sni {
    testing::configure(config).unwrap()
}

#[test]
fn nothing_is_said_where_a_connect_is_enough_or_a_client_may_follow() {
    let silent = || ScriptedConnection::new();
    let tcp = plugin(r#"{"probe": "tcp"}"#);
    assert_eq!(
        testing::probe(&tcp, silent(), &tcp.default_target(), 1),
        Ok(())
    );
    let clients = Target::new("client");
    assert_eq!(testing::probe(&plugin("{}"), silent(), &clients, 1), Ok(()));
    assert_ne!(tcp.default_target().identity, clients.identity);
}

#[test]
fn the_plugin_says_what_it_is() {
    let info = testing::describe::<Sni>();
    assert_eq!(info.name, "sni");
    // It is asked before its clients speak.
    assert_eq!(info.speaks_first, Side::Upstream);
    let hooks = Hooks::CHOOSE_UPSTREAM | Hooks::ON_DATA | Hooks::ON_LEASE_FAILED | Hooks::PROBE;
    assert_eq!(info.hooks, hooks);
}

#[test]
fn a_bad_config_is_explained() {
    let many: Vec<String> = (0..=10_000)
        .map(|n| format!(r#"{{"name": "n{n}.org", "upstream": "x"}}"#))
        .collect();
    let many = format!(r#"{{"routes": [{}]}}"#, many.join(","));
    for (config, why) in [
        (r#"{"route": []}"#, "unknown field `route`"),
        (
            r#"{"routes": [{"name": "a.org"}]}"#,
            "missing field `upstream`",
        ),
        (
            r#"{"routes": [{"name": "a.org", "upstream": "x"}, {"name": "1.2.3.4", "upstream": "x"}]}"#,
            "`routes[1].name`: \"1.2.3.4\" is an IP address",
        ),
        (
            r#"{"routes": [{"name": "a.*.org", "upstream": "x"}]}"#,
            "`routes[0].name`: \"a.*.org\" has its `*` in a place",
        ),
        (
            r#"{"routes": [{"name": "a.org", "alpn": "", "upstream": "x"}]}"#,
            "`routes[0].alpn`: must be the name of a protocol",
        ),
        (
            r#"{"routes": [{"name": "a.org", "upstream": ""}]}"#,
            "`routes[0].upstream`: must be the name of an upstream group",
        ),
        (
            r#"{"routes": [{"name": "a.org", "upstream": "x"}, {"name": "A.ORG", "upstream": "y"}]}"#,
            "`routes[1].name`: there is an earlier route for \"A.ORG\"",
        ),
        (r#"{"default": ""}"#, "`default`: must be"),
        (
            r#"{"max-hello": 100000}"#,
            "`max-hello`: must be 1 to 49152, not 100000",
        ),
        (r#"{"max-hello": 0}"#, "max-hello"),
        (
            r#"{"hello-timeout": 1000000}"#,
            "`hello-timeout`: must be 0 to 604800",
        ),
        (r#"{"probe": "http"}"#, "expected `tls` or `tcp`"),
        (r#"{"affinity": "ip"}"#, "expected `client` or `name`"),
        (&many, "`routes`: there are 10001, at most 10000"),
    ] {
        let said = testing::configure::<Sni>(config).map(drop).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
}
