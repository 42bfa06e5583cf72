//! The commands beside `run`, on a real server: `relay`, `check`, `probe`, `plugin inspect`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use leaseway_tests::command::{binary, leaseway};
use leaseway_tests::dir::TempDir;
use leaseway_tests::process::Process;
use leaseway_tests::redis::RedisServer;
use leaseway_tests::tool::redis_cli;
use leaseway_tests::wait::{GENEROUS, eventually};
use leaseway_tests::{http, plugins, ports};
use rustix::process::Signal;
use tokio::net::TcpStream;

/// As the README has it: no file, the plugin from within the binary, and redis-cli as the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relay_needs_no_file() {
    let redis = RedisServer::start(&[]).await;
    let (listen, admin) = (ports::free_address(), ports::free_address());
    let dir = TempDir::new("quick");
    let mut command = Command::new(binary());
    command
        .args(["relay", "--listen", &listen.to_string()])
        .args(["--upstream", &redis.addr().to_string()])
        .args(["--plugin", "builtin:redis", "--max-connections", "2"])
        .args(["--admin", &admin.to_string()])
        .env("XDG_CACHE_HOME", plugins::programs().join("tests-cache"));
    let log = dir.path().join("log");
    let mut relay = Process::start("leaseway", command, &log, "cargo build -p leaseway");
    eventually("it is ready", Duration::from_secs(120), async || {
        matches!(http::get(admin, "/ready").await, Ok((200, _)))
    })
    .await;
    let port = listen.port().to_string();
    for (words, says) in [
        (&["set", "greeting", "hello world"][..], "OK"),
        (&["get", "greeting"], "hello world"),
        (&["-n", "3", "get", "greeting"], ""),
        (&["-3", "hset", "h", "f", "v"], "1"),
        (&["-3", "--json", "hgetall", "h"], "{\"f\":\"v\"}"),
    ] {
        let mut args = vec!["-h", "127.0.0.1", "-p", &port];
        args.extend(words);
        let output = redis_cli(&args, GENEROUS).await;
        assert!(output.success, "{words:?}: {}", output.stderr);
        assert_eq!(output.stdout.trim_end(), says, "{words:?}");
    }
    assert!(redis.clients().await <= 2);
    let (code, status) = http::get(admin, "/status").await.unwrap();
    assert_eq!(code, 200);
    assert!(status.contains("\"max_connections\": 2"), "{status}");
    relay.signal(Signal::TERM);
    let status = relay.wait(Duration::from_secs(30)).await;
    assert!(status.success(), "{status}: {}", relay.log());
    assert!(TcpStream::connect(listen).await.is_err());
    // Not a terminal: a JSON object a line.
    let log = relay.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(line["timestamp"].is_string() && line["level"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_tells_alive_from_dead_and_from_wrong_usage() {
    let redis = RedisServer::start(&["--requirepass", "secret"]).await;
    let address = redis.addr().to_string();
    let plugin = plugins::path("redis");
    let probe = |args: &[&str]| {
        let mut all = vec!["probe", "--timeout", "1s"];
        all.extend(args);
        leaseway(&all)
    };
    let with_password = [
        "--plugin",
        "builtin:redis",
        "--plugin-config",
        r#"{"password": "secret"}"#,
        &address,
    ];
    let (code, said) = probe(&with_password);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("connect hook succeeded"), "{said}");
    assert!(said.ends_with("alive\n"), "{said}");

    // A server that wants a password is one that works.
    let plain = ["--plugin", plugin.to_str().unwrap(), &address];
    let (code, said) = probe(&plain);
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("alive\n"), "{said}");
    let wrong_password = [
        "--plugin",
        "builtin:redis",
        "--plugin-config",
        r#"{"password": "wrong"}"#,
        &address,
    ];
    let (code, said) = probe(&wrong_password);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("dead: ") && said.contains("WRONGPASS"),
        "{said}"
    );

    redis.pause().await;
    for args in [&with_password[..], &plain] {
        let (code, said) = probe(args);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("1s"), "{said}");
    }
    redis.resume().await;

    let closed = ports::free_address().to_string();
    let (code, said) = probe(&["--plugin", "builtin:redis", &closed]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("dead: cannot connect"), "{said}");
    let (code, said) = probe(&["--plugin", "/nowhere.wasm", &closed]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("/nowhere.wasm"), "{said}");
    let (code, said) = probe(&["--plugin", "builtin:redis"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn check_finds_the_example_fine() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/leaseway.toml");
    let (code, said) = leaseway(&["check", "--config", example.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.ends_with("is fine: 2 listeners, 1 plugin, 2 upstreams\n"),
        "{said}"
    );
}

/// The plugin itself judges its config, before anything runs.
#[test]
fn check_asks_the_plugin_about_its_config() {
    let dir = TempDir::new("check");
    let file = dir.path().join("leaseway.toml");
    let text = "[plugins.redis]\nmodule = \"builtin:redis\"\nconfig = { pooling = \"comand\" }\n\
        [upstreams.a]\nendpoints = [\"127.0.0.1:1\"]\n\
        [listeners.a]\nbind = \"127.0.0.1:2\"\nplugin = \"redis\"\nupstreams = [\"a\"]\n";
    std::fs::write(&file, text).unwrap();
    let (code, said) = leaseway(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("plugin redis: config refused: `pooling`: unknown variant `comand`, expected one of `command`, `command-exclusive`, `session`"),
        "{said}"
    );
}

#[test]
fn inspect_says_what_a_plugin_is() {
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
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let (code, said) = leaseway(&["plugin", "inspect", text.to_str().unwrap()]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is not a WebAssembly module"), "{said}");
}
