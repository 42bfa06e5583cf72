//! The store as a guest has it: one for all instances of a section, and none of another's.

use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::contract::{Side, Step};
use crate::plugin::{Conversations, SessionHooks};
use crate::pool::Caretaker;

fn storing() -> Value {
    json!({ "mode": "store" })
}

/// What the plugin says that the store has done.
fn ask(session: &mut SessionHandle, line: &str) -> String {
    let steps = session.on_data(Side::Client, line.as_bytes()).unwrap();
    let [Step::Send((Side::Client, said))] = &steps[..] else {
        panic!("{steps:?}");
    };
    String::from_utf8(said.clone()).unwrap()
}

#[test]
fn all_instances_of_a_section_share_a_store_on_whatever_worker() {
    let limits = PluginLimits {
        sessions_per_instance: 1,
        ..PluginLimits::default()
    };
    let plugin = load_with(storing(), limits);
    let worker = WorkerPlugin::new(Arc::clone(&plugin));
    let (mut one, mut sibling) = (open(&worker, 1), open(&worker, 2));
    assert_eq!(worker.instances(), 2);
    assert_eq!(ask(&mut one, "put k v 60000"), "put");
    assert_eq!(ask(&mut sibling, "replace k v w"), "true");
    assert_eq!(ask(&mut sibling, "replace k v x"), "false");
    std::thread::spawn(move || {
        let worker = WorkerPlugin::new(plugin);
        let mut elsewhere = open(&worker, 3);
        assert_eq!(ask(&mut elsewhere, "get k"), "some w");
        assert_eq!(ask(&mut elsewhere, "take k"), "some w");
        assert_eq!(ask(&mut elsewhere, "take k"), "none");
    })
    .join()
    .unwrap();
    assert_eq!(ask(&mut one, "get k"), "none");
}

#[test]
fn sections_with_the_same_module_have_a_store_each() {
    let runtime = Runtime::new(None).unwrap();
    let [mut one, mut other] = ["one", "other"].map(|name| {
        let section = PluginConfig {
            name: name.to_owned(),
            ..config(storing())
        };
        let worker = WorkerPlugin::new(runtime.load(&section).unwrap());
        open(&worker, 1)
    });
    assert_eq!(ask(&mut one, "put k v 60000"), "put");
    assert_eq!(ask(&mut other, "get k"), "none");
    assert_eq!(ask(&mut other, "put k w 60000"), "put");
    assert_eq!(ask(&mut one, "get k"), "some v");
}

#[test]
fn conversations_and_sessions_share_a_store() {
    let plugin = load(json!({ "mode": "store", "hook": "connect" }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let near = TcpStream::connect(address).await.unwrap();
        let care = Conversations::new(Arc::clone(&plugin));
        care.connect(near, &target()).await.unwrap();
    });
    let now = std::time::Instant::now();
    let left = plugin.store.take(b"conversation", now);
    assert_eq!(left.unwrap(), b"connect");
}

#[test]
fn entries_expire_and_the_contracts_limits_hold() {
    let worker = worker(storing());
    let mut session = open(&worker, 1);
    assert_eq!(ask(&mut session, "put k v 1"), "put");
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(ask(&mut session, "get k"), "none");
    for (line, says) in [
        ("put k v 0", "bad-ttl"),
        ("put k v 604800000", "put"),
        ("put k v 604800001", "bad-ttl"),
        ("put-long 256 65536", "some 65536"),
        ("put-long 0 0", "some 0"),
        ("put-long 257 1", "too-long"),
        ("put-long 1 65537", "too-long"),
    ] {
        assert_eq!(ask(&mut session, line), says, "{line}");
    }
}

#[test]
fn the_limits_of_the_section_hold_and_are_measured() {
    let runtime = runtime();
    let mut registry = Registry::default();
    runtime.register(&mut registry);
    let mut config = config(storing());
    config.limits.store_entries = 2;
    let worker = WorkerPlugin::new(runtime.load(&config).unwrap());
    let mut session = open(&worker, 1);
    for (line, says) in [
        ("put a one 60000", "put"),
        ("put b two 60000", "put"),
        ("put c three 60000", "full"),
        ("put b 2 60000", "put"),
    ] {
        assert_eq!(ask(&mut session, line), says, "{line}");
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"leaseway_plugin_store_entries{plugin="hostile"} 2"#,
        r#"leaseway_plugin_store_bytes{plugin="hostile"} 262"#,
        r#"leaseway_plugin_store_refused_total{plugin="hostile",reason="full"} 1"#,
    ] {
        assert!(text.lines().any(|one| one == line), "no {line} in\n{text}");
    }
}
