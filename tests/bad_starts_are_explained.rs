//! What cannot start says why before anything listens, and exits with 1.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::Command;

use leaseway_tests::dir::TempDir;
use leaseway_tests::{plugins, ports};

/// Runs the binary to its end: exit code, and all that it said.
fn leaseway(args: &[&str]) -> (i32, String) {
    let binary = std::env::var_os("LEASEWAY_BIN")
        .map_or_else(|| plugins::programs().join("leaseway"), PathBuf::from);
    let output = Command::new(binary)
        .args(args)
        .output()
        .expect("cargo build -p leaseway");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().expect("it was not killed"),
        String::from_utf8(said).unwrap(),
    )
}

/// A start without a file, with this plugin.
fn relay_with(plugin: &str) -> (i32, String) {
    let listen = ports::free_address().to_string();
    leaseway(&[
        "relay",
        "--listen",
        &listen,
        "--upstream",
        "127.0.0.1:1",
        "--plugin",
        plugin,
    ])
}

#[test]
fn a_plugin_that_is_not_there() {
    let (code, said) = relay_with("/nowhere/plugin.wasm");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("/nowhere/plugin.wasm"), "{said}");
    assert!(!said.contains("listening"), "{said}");
}

#[test]
fn a_builtin_that_nobody_knows() {
    let (code, said) = relay_with("builtin:reddis");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("reddis"), "{said}");
}

#[test]
fn a_file_that_is_no_plugin() {
    let dir = TempDir::new("no-plugin");
    let file = dir.path().join("no.wasm");
    std::fs::write(&file, wat::parse_str("(module)").unwrap()).unwrap();
    let (code, said) = relay_with(file.to_str().unwrap());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no.wasm"), "{said}");
}

#[test]
fn an_address_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let (code, said) = leaseway(&["relay", "--listen", &listen, "--upstream", "127.0.0.1:1"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(&listen) && said.contains("stop what listens there"),
        "{said}"
    );
}

#[test]
fn a_config_with_mistakes_names_them_all() {
    let dir = TempDir::new("mistakes");
    let file = dir.path().join("leaseway.toml");
    let text = "[listeners.a]\nbind = \"127.0.0.1\"\nupstream = [\"b\"]\n";
    std::fs::write(&file, text).unwrap();
    for command in ["run", "check"] {
        let (code, said) = leaseway(&[command, "--config", file.to_str().unwrap()]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("leaseway.toml:2:"), "{said}");
        assert!(
            said.contains("leaseway.toml:3:") && said.contains("\"upstreams\""),
            "{said}"
        );
    }
}

#[test]
fn a_probe_tells_dead_from_wrong_usage() {
    let redis = plugins::path("redis");
    let redis = redis.to_str().unwrap();
    let closed = ports::free_address().to_string();
    let (code, said) = leaseway(&["probe", "--plugin", redis, &closed]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("dead: cannot connect"), "{said}");
    let (code, said) = leaseway(&["probe", "--plugin", "/nowhere.wasm", &closed]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn a_plugin_can_be_looked_at() {
    let redis = plugins::path("redis");
    let (code, said) = leaseway(&["plugin", "inspect", redis.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    for part in [
        "plugin      redis 0.1.0",
        "leaseway:plugin@0.1.0",
        "choose-upstream",
        "probe",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}
