//! Whatever a plugin does wrong, it is ended, counted and named, and another plugin's sessions on the
//! same host keep their replies.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::{GENEROUS, eventually};

const CONFIG: &str = r#"
    [plugins.good]
    module = "{plugins}/redis.wasm"

    [plugins.bad]
    module = "{plugins}/hostile.wasm"
    config = { hook = "{hook}", mode = "{mode}", trigger = "now" }
    limits = { memory = "8MiB", hook = "50ms" }

    [upstreams.cache]
    endpoints = ["{redis}"]
    pool = { max-connections = 50 }

    [listeners.good]
    bind = "{listen}"
    plugin = "good"
    upstreams = ["cache"]

    [listeners.bad]
    bind = "{bad}"
    plugin = "bad"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

/// What a deed must come to.
enum Outcome {
    /// Its instance dies: counted under this reason.
    Fault(&'static str),
    /// Its session alone ends, with this reason.
    End(&'static str),
    /// Nothing: it is allowed.
    Harmless,
}

async fn contained(hook: &str, mode: &str, outcome: Outcome) {
    let redis = RedisServer::start(&[]).await;
    let address = redis.addr().to_string();
    let relay = Relay::start_with(
        CONFIG,
        &[("redis", &address), ("hook", hook), ("mode", mode)],
    )
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut neighbours = Vec::new();
    for id in 0..4 {
        let (address, stop) = (relay.addr(), Arc::clone(&stop));
        neighbours.push(tokio::spawn(async move {
            let mut client = Resp::connect(address).await;
            let key = format!("good:{id}");
            let mut count = 0;
            // Long enough to have been there, however busy the machine is.
            while count < 100 || !stop.load(Ordering::Relaxed) {
                count += 1;
                let reply = client.cmd(&["INCR", &key]).await;
                assert_eq!(reply, Reply::Integer(count), "a neighbour suffered");
            }
        }));
    }

    for _ in 0..3 {
        let mut bad = Resp::connect(relay.addr_of("bad")).await;
        assert_eq!(
            bad.cmd(&["PING"]).await,
            Reply::simple("PONG"),
            "a new session works"
        );
        let answer = tokio::time::timeout(GENEROUS, bad.try_cmd(&["ECHO", "now"])).await;
        let answer = answer.unwrap_or_else(|_| panic!("{mode} in {hook} hangs its session"));
        match outcome {
            Outcome::Harmless => assert_eq!(answer.unwrap(), Reply::bulk("now")),
            Outcome::Fault(_) | Outcome::End(_) => {
                assert!(answer.is_err(), "{mode} in {hook} was answered {answer:?}");
            }
        }
    }

    let (name, label) = match outcome {
        Outcome::Fault(reason) => ("leaseway_plugin_faults_total", Some(reason)),
        Outcome::End(reason) => ("leaseway_session_ends_total", Some(reason)),
        Outcome::Harmless => ("leaseway_plugin_faults_total", None),
    };
    if let Some(reason) = label {
        eventually("it is counted three times", GENEROUS, async || {
            relay.metrics().await.sum_where(name, &[("reason", reason)]) >= 3.0
        })
        .await;
        let named = if matches!(outcome, Outcome::Fault(_)) {
            hook
        } else {
            "bad"
        };
        let log = relay.log();
        assert!(
            log.contains(named),
            "{mode}: the log does not name {named}:\n{log}"
        );
    } else {
        assert_eq!(relay.metrics().await.sum(name), 0.0);
    }
    tokio::time::timeout(Duration::from_secs(60), async {
        stop.store(true, Ordering::Relaxed);
        for neighbour in neighbours {
            let log = || format!("a neighbour suffered; the relay's log:\n{}", relay.log());
            neighbour.await.unwrap_or_else(|_| panic!("{}", log()));
        }
    })
    .await
    .expect("a neighbour hangs");
}

macro_rules! contained {
    ($($name:ident: $hook:literal, $mode:literal => $outcome:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                contained($hook, $mode, $outcome).await;
            }
        )*
    };
}

contained! {
    an_endless_loop: "on-data", "loop" => Outcome::Fault("deadline");
    a_trap: "on-data", "trap" => Outcome::Fault("trap");
    a_memory_bomb: "on-data", "memory" => Outcome::Fault("memory");
    a_stack_overflow: "on-data", "stack" => Outcome::Fault("trap");
    a_million_steps: "on-data", "steps" => Outcome::Fault("memory");
    forward_without_end: "on-data", "forward-max" => Outcome::Harmless;
    a_second_release: "on-data", "release-twice" => Outcome::End("plugin-misuse");
    a_lease_in_mid_lease: "on-data", "lease-in-lease" => Outcome::End("plugin-misuse");
}

/// The wrong group is asked for at the first bytes, so there is no session that works before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_group() {
    let redis = RedisServer::start(&[]).await;
    let address = redis.addr().to_string();
    let values = [
        ("redis", address.as_str()),
        ("hook", "choose-upstream"),
        ("mode", "wrong-group"),
    ];
    let relay = Relay::start_with(CONFIG, &values).await;
    let mut good = Resp::connect(relay.addr()).await;
    for _ in 0..3 {
        let mut bad = Resp::connect(relay.addr_of("bad")).await;
        assert!(bad.try_cmd(&["ECHO", "now"]).await.is_err());
        assert_eq!(good.cmd(&["PING"]).await, Reply::simple("PONG"));
    }
    eventually("it is counted", GENEROUS, async || {
        let labels = [("listener", "bad"), ("reason", "no-lease")];
        relay
            .metrics()
            .await
            .sum_where("leaseway_session_ends_total", &labels)
            >= 3.0
    })
    .await;
}
