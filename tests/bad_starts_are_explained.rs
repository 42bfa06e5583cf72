//! What cannot start says why before anything listens, and exits with 1.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_tests::command::leaseway;
use leaseway_tests::dir::TempDir;
use leaseway_tests::ports;

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
        // `run` tells them in one line of its log, where quotes are escaped.
        let said = said.replace('\\', "");
        assert!(said.contains("leaseway.toml:2:"), "{said}");
        assert!(
            said.contains("leaseway.toml:3:") && said.contains("\"upstreams\""),
            "{said}"
        );
    }
}
