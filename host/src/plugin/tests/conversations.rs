//! Conversations over real sockets: what they get, when they end, and who goes on meanwhile.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::logged::logged_async;
use super::*;
use crate::plugin::Conversations;
use crate::pool::{Caretaker, Greeting, Trouble};

/// Guards against hanging; nothing that passes comes near it.
const GUARD: Duration = Duration::from_secs(120);

fn conversations(deed: Value, limit: Duration) -> Conversations {
    let limits = PluginLimits {
        conversation: limit,
        ..PluginLimits::default()
    };
    Conversations::new(load_with(deed, limits))
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(GUARD, test).await })
        .unwrap();
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

async fn is_closed(far: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    // A reset is as closed as an end.
    far.read_to_end(&mut rest).await.is_err() || rest.is_empty()
}

#[test]
fn a_probe_exchanges_bytes_and_gives_the_connection_back() {
    run(async {
        let care = conversations(json!({}), GUARD);
        assert!(care.has_probe() && care.has_connect() && care.has_reset());
        let (near, mut far) = pair().await;
        let server = async {
            let mut ping = [0; 6];
            far.read_exact(&mut ping).await.unwrap();
            assert_eq!(&ping, b"PING\r\n");
            // In two pieces, so that read-exact has to wait for the second.
            far.write_all(b"+PO").await.unwrap();
            tokio::task::yield_now().await;
            far.write_all(b"NG\r\n").await.unwrap();
        };
        let target = target();
        let (probed, ()) = tokio::join!(care.probe(near, &target, Duration::ZERO), server);
        let (near, ()) = probed.unwrap();
        let (mut near, greeting) = care.connect(near, &target).await.unwrap();
        let expected = Greeting {
            tag: b"tag".to_vec(),
            heard: false,
        };
        assert_eq!(
            greeting, expected,
            "the probe's answer is none to the handshake"
        );
        near.write_all(b"still open").await.unwrap();
        let mut still = [0; 10];
        far.read_exact(&mut still).await.unwrap();
    });
}

#[test]
fn what_the_plugin_says_comes_back_and_the_connection_is_closed() {
    run(async {
        let care = conversations(json!({}), GUARD);
        let (near, mut far) = pair().await;
        far.write_all(b"-NOPE\n\n").await.unwrap();
        let error = care
            .probe(near, &target(), Duration::ZERO)
            .await
            .unwrap_err();
        let says = "not a PONG: -NOPE\\n\\n".to_owned();
        assert_eq!(error, Trouble::Refused(says));
        let mut ping = [0; 6];
        far.read_exact(&mut ping).await.unwrap();
        assert!(is_closed(&mut far).await);

        let (near, far) = pair().await;
        drop(far);
        let error = care
            .probe(near, &target(), Duration::ZERO)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Trouble::Broke(text) if text.contains("Closed")),
            "{error:?}"
        );
    });
}

#[test]
fn a_silent_upstream_ends_at_the_limit_and_is_no_fault() {
    run(async {
        let deed = json!({ "mode": "read", "hook": "probe" });
        let care = conversations(deed, Duration::from_millis(500));
        let (near, mut far) = pair().await;
        let error = care
            .probe(near, &target(), Duration::ZERO)
            .await
            .unwrap_err();
        let says = "probe did not end within limits.conversation = 500ms".to_owned();
        assert_eq!(error, Trouble::Silent(says));
        assert!(is_closed(&mut far).await);
    });
}

#[test]
fn an_endless_loop_neither_stalls_the_worker_nor_outlives_its_limit() {
    run(async {
        let deed = json!({ "mode": "loop", "hook": "reset" });
        let care = conversations(deed, Duration::from_millis(100));
        let (near, mut far) = pair().await;
        let target = target();
        let mut turns = 0;
        let others = async {
            loop {
                turns += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let error = tokio::select! {
            ended = care.reset(near, &target) => ended.unwrap_err(),
            () = others => unreachable!(),
        };
        let says = "plugin hostile: reset ran past limits.conversation = 100ms".to_owned();
        assert_eq!(error, Trouble::Fault(says));
        assert!(turns > 1, "other tasks had {turns} turns");
        assert!(is_closed(&mut far).await);
    });
}

#[test]
fn a_conversation_may_sleep_but_not_past_its_limit() {
    run(async {
        let deed = json!({ "mode": "sleep", "hook": "connect" });
        let care = conversations(deed, Duration::from_millis(500));
        let (near, _far) = pair().await;
        let error = care.connect(near, &target()).await.unwrap_err();
        let says = "connect did not end within limits.conversation = 500ms".to_owned();
        assert_eq!(error, Trouble::Silent(says));
    });
}

#[test]
fn faults_are_told_with_plugin_and_hook() {
    run(async {
        for (mode, expected) in [
            ("trap", "as the config says"),
            ("memory", "limits.memory = 16MiB"),
            ("exit", "called exit"),
        ] {
            let care = conversations(json!({ "mode": mode, "hook": "connect" }), GUARD);
            let (near, mut far) = pair().await;
            let error = care.connect(near, &target()).await.unwrap_err();
            let Trouble::Fault(error) = error else {
                panic!("not the plugin's fault: {error:?}");
            };
            assert!(error.starts_with("plugin hostile: "), "{error}");
            assert!(
                error.contains("connect") && error.contains(expected),
                "{error}"
            );
            assert!(is_closed(&mut far).await);
        }
    });
}

#[test]
fn more_than_a_mebibyte_cannot_be_read_at_once() {
    run(async {
        let deed = json!({ "mode": "read-exact", "hook": "connect", "count": (1 << 20) + 1 });
        let care = conversations(deed, GUARD);
        let (near, _far) = pair().await;
        let error = care.connect(near, &target()).await.unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("read-exact of 1048577 bytes, at most 1048576"),
            "{error}"
        );
    });
}

#[test]
fn every_conversation_gets_the_target() {
    run(async {
        for hook in ["connect", "reset", "probe"] {
            let care = conversations(json!({ "mode": "target", "hook": hook }), GUARD);
            let (near, _far) = pair().await;
            let target = Target {
                group: Some("cache".to_owned()),
                ..target()
            };
            let error = match hook {
                "connect" => care.connect(near, &target).await.map(drop),
                "reset" => care.reset(near, &target).await.map(drop),
                _ => care.probe(near, &target, Duration::ZERO).await.map(drop),
            };
            let says = "test in Some(\"cache\")".to_owned();
            assert_eq!(error.unwrap_err(), Trouble::Refused(says), "{hook}");
        }
    });
}

#[test]
fn a_conversation_that_is_given_up_closes_its_connection() {
    run(async {
        let deed = json!({ "mode": "read", "hook": "probe" });
        let care = conversations(deed, GUARD);
        let (near, mut far) = pair().await;
        let target = target();
        let mut probe = care.probe(near, &target, Duration::ZERO);
        let polled = futures_util::poll!(&mut probe);
        assert!(polled.is_pending());
        drop(probe);
        assert!(is_closed(&mut far).await);
    });
}

/// Which conversation of its instance this is.
async fn turn(care: &Conversations) -> u8 {
    let (near, _far) = pair().await;
    let (_, greeting) = care.connect(near, &target()).await.unwrap();
    greeting.tag[0]
}

#[test]
fn an_instance_whose_conversation_went_well_has_the_next_one() {
    run(async {
        let deed = json!({ "mode": "count", "hook": "connect", "count": 0 });
        let care = conversations(deed, GUARD);
        assert_eq!([turn(&care).await, turn(&care).await], [1, 2]);
        // One that waits has it for itself.
        let (near, mut far) = pair().await;
        let target = target();
        let mut probe = care.probe(near, &target, Duration::ZERO);
        assert!(futures_util::poll!(&mut probe).is_pending());
        assert_eq!(turn(&care).await, 1);
        far.write_all(b"+PONG\r\n").await.unwrap();
        probe.await.unwrap();
        assert_eq!([turn(&care).await, turn(&care).await], [4, 5]);
        // One that fails takes it along.
        let (near, mut far) = pair().await;
        far.write_all(b"-NOPE\r\n").await.unwrap();
        let refused = care.probe(near, &target, Duration::ZERO).await;
        assert!(refused.is_err());
        assert_eq!([turn(&care).await, turn(&care).await], [2, 3]);
    });
}

#[test]
fn an_instance_that_grows_is_not_kept() {
    run(async {
        let deed = json!({ "mode": "count", "hook": "connect", "count": 700 << 10 });
        let care = conversations(deed, GUARD);
        assert_eq!(
            [turn(&care).await, turn(&care).await, turn(&care).await],
            [1, 2, 1]
        );
    });
}

#[test]
fn an_instance_has_room_for_the_next_conversation_or_is_not_kept() {
    run(async {
        let deed = json!({ "mode": "count", "hook": "connect", "count": 300 << 10 });
        let limits = PluginLimits {
            memory: 2 << 20,
            ..PluginLimits::default()
        };
        let care = Conversations::new(load_with(deed, limits));
        for _ in 0..8 {
            turn(&care).await;
        }
    });
}

/// How many faults of a conversation have been counted, by hook, with its reason.
fn faults(runtime: &Runtime) -> Vec<String> {
    let mut registry = prometheus_client::registry::Registry::default();
    runtime.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let faults = text
        .lines()
        .filter(|line| line.starts_with("leaseway_plugin_faults_total{"));
    faults.map(str::to_owned).collect()
}

/// Gives a probe up after a time, as a health check does at probe.timeout.
async fn give_up(deed: Value, after: Duration) -> Vec<String> {
    let runtime = Runtime::new(None).unwrap();
    let care = Conversations::new(runtime.load(&config(deed)).unwrap());
    let (near, mut far) = pair().await;
    let target = target();
    let probe = care.probe(near, &target, Duration::ZERO);
    assert!(tokio::time::timeout(after, probe).await.is_err());
    assert!(is_closed(&mut far).await);
    faults(&runtime)
}

#[test]
fn a_probe_that_loops_past_its_callers_limit_is_a_fault_of_the_plugin() {
    run(async {
        let log = logged_async(async {
            let deed = json!({ "mode": "loop", "hook": "probe" });
            assert_eq!(
                give_up(deed, Duration::from_millis(500)).await,
                [r#"leaseway_plugin_faults_total{plugin="hostile",hook="probe",reason="deadline"} 1"#]
            );
        })
        .await;
        let line = log.lines().find(|line| line.contains("plugin fault"));
        let line = line.unwrap_or_else(|| panic!("no line:\n{log}"));
        assert!(
            line.contains("probe was given up after computing for"),
            "{line}"
        );
        assert!(
            line.contains("came before limits.conversation = 2s"),
            "{line}"
        );
    });
}

#[test]
fn a_probe_that_waits_past_its_callers_limit_is_none() {
    run(async {
        let deed = json!({ "mode": "read", "hook": "probe" });
        let none: [&str; 0] = [];
        assert_eq!(give_up(deed, Duration::from_millis(500)).await, none);
    });
}
