//! Whatever a plugin does wrong, it is ended, counted and named, and another plugin's sessions on the
//! same host keep their replies.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::{GENEROUS, eventually};
use serde_json::Value;
use tokio::task::JoinHandle;

const CONFIG: &str = r#"
    [plugins.good]
    module = "{plugins}/redis.wasm"

    [plugins.bad]
    module = "{plugins}/hostile.wasm"
    config = { hook = "{hook}", mode = "{mode}", trigger = "now" }
    limits = { memory = "8MiB", hook = "50ms"{limits} }

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
    {more}
"#;

/// What a deed must come to.
enum Outcome {
    /// Its instance dies: counted under this reason.
    Fault(&'static str),
    /// Its session alone ends, with this reason, in these words.
    End(&'static str, &'static str),
    /// Nothing: it is allowed.
    Harmless,
}

/// Clients of the other plugin, at work all the while.
struct Neighbours {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Neighbours {
    fn start(relay: &Relay) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |id| {
            let (address, stop) = (relay.addr(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut client = Resp::connect(address).await;
                let key = format!("good:{id}");
                let mut count = 0;
                // Long enough to have been there, however busy the machine is.
                while count < 100 || !stop.load(Ordering::Relaxed) {
                    count += 1;
                    let reply = client.cmd(&["INCR", &key]).await;
                    assert_eq!(reply, Reply::Integer(count), "a neighbour suffered");
                }
            })
        };
        let clients = (0..4).map(client).collect();
        Self { stop, clients }
    }

    /// Ends them; fails if one has not got its replies.
    async fn end(self, relay: &Relay) {
        self.stop.store(true, Ordering::Relaxed);
        let all = async {
            for client in self.clients {
                let log = || format!("a neighbour suffered; the relay's log:\n{}", relay.log());
                client.await.unwrap_or_else(|_| panic!("{}", log()));
            }
        };
        tokio::time::timeout(GENEROUS * 2, all)
            .await
            .expect("a neighbour hangs");
    }
}

async fn start(redis: &RedisServer, hook: &str, mode: &str) -> Relay {
    start_with(redis, hook, mode, "", "").await
}

/// As [`start`], with more limits and more sections.
async fn start_with(
    redis: &RedisServer,
    hook: &str,
    mode: &str,
    limits: &str,
    more: &str,
) -> Relay {
    let redis = redis.addr().to_string();
    let values = [
        ("redis", redis.as_str()),
        ("hook", hook),
        ("mode", mode),
        ("limits", limits),
        ("more", more),
    ];
    // A line for each session that ends, beside those that are always there.
    Relay::start_logging("info,leaseway::session=debug", CONFIG, &values).await
}

async fn contained(hook: &str, mode: &str, outcome: Outcome) {
    let redis = RedisServer::start(&[]).await;
    let relay = start(&redis, hook, mode).await;
    let neighbours = Neighbours::start(&relay);
    for _ in 0..3 {
        let mut bad = Resp::connect(relay.addr_of("bad")).await;
        // The session works until the deed is due: with its first bytes, or later.
        if hook != "choose-upstream" {
            assert_eq!(bad.cmd(&["PING"]).await, Reply::simple("PONG"));
        }
        let answer = tokio::time::timeout(GENEROUS, bad.try_cmd(&["ECHO", "now"])).await;
        let answer = answer.unwrap_or_else(|_| panic!("{mode} in {hook} hangs its session"));
        match outcome {
            Outcome::Harmless => assert_eq!(answer.unwrap(), Reply::bulk("now")),
            Outcome::Fault(_) | Outcome::End(..) => {
                assert!(answer.is_err(), "{mode} in {hook} was answered {answer:?}");
            }
        }
    }
    match outcome {
        Outcome::Fault(reason) => {
            let labels = [("plugin", "bad"), ("hook", hook), ("reason", reason)];
            counted(&relay, "leaseway_plugin_faults_total", &labels).await;
            logged(&relay, "it names plugin, hook and reason", |line| {
                line["level"] == "ERROR"
                    && line["plugin"] == "bad"
                    && line["hook"] == hook
                    && line["reason"] == reason
                    && says(line, "plugin fault: ")
            })
            .await;
        }
        Outcome::End(reason, words) => {
            let labels = [("listener", "bad"), ("reason", reason)];
            counted(&relay, "leaseway_session_ends_total", &labels).await;
            logged(&relay, "it names plugin, listener and reason", |line| {
                line["plugin"] == "bad"
                    && line["listener"] == "bad"
                    && line["session"].is_u64()
                    && line["end"] == reason
                    && says(line, words)
            })
            .await;
            let faults = relay.metric_sum("leaseway_plugin_faults_total").await;
            assert_eq!(faults, 0.0, "its instance goes on");
        }
        Outcome::Harmless => {
            let metrics = relay.metrics().await;
            assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
        }
    }
    neighbours.end(&relay).await;
}

async fn counted(relay: &Relay, name: &str, labels: &[(&str, &str)]) {
    eventually("it is counted three times", GENEROUS, async || {
        relay.metrics().await.sum_where(name, labels) == 3.0
    })
    .await;
}

/// Waits for one line of the log that is all of this.
async fn logged(relay: &Relay, what: &str, is_it: impl Fn(&Value) -> bool) {
    eventually(what, GENEROUS, async || {
        relay.log_lines().iter().any(&is_it)
    })
    .await;
}

fn says(line: &Value, words: &str) -> bool {
    line["message"]
        .as_str()
        .is_some_and(|message| message.contains(words))
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
    a_second_release: "on-data", "release-twice" =>
        Outcome::End("plugin-misuse", "broke its contract: release without a lease");
    a_lease_in_mid_lease: "on-data", "lease-in-lease" =>
        Outcome::End("plugin-misuse", "broke its contract: lease while a lease is held");
    a_wrong_group: "choose-upstream", "wrong-group" =>
        Outcome::End("no-lease", "no upstream group named \"nowhere\"");
}

/// A fault ends the sessions of its instance; those of another instance of the same plugin, on the
/// same worker, go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_leaves_other_instances_of_its_plugin_alone() {
    let redis = RedisServer::start(&[]).await;
    let more = "\n[process]\nworkers = 1\n";
    let relay = start_with(
        &redis,
        "on-data",
        "trap",
        ", sessions-per-instance = 1",
        more,
    )
    .await;
    let mut first = Resp::connect(relay.addr_of("bad")).await;
    let mut second = Resp::connect(relay.addr_of("bad")).await;
    for session in [&mut first, &mut second] {
        assert_eq!(session.cmd(&["PING"]).await, Reply::simple("PONG"));
    }
    let instances = relay.metric_sum("leaseway_plugin_instances").await;
    assert_eq!(instances, 2.0, "one for each session");
    assert!(first.try_cmd(&["ECHO", "now"]).await.is_err());
    eventually("the fault is counted", GENEROUS, async || {
        relay.metric_sum("leaseway_plugin_faults_total").await == 1.0
    })
    .await;
    for _ in 0..3 {
        assert_eq!(second.cmd(&["PING"]).await, Reply::simple("PONG"));
    }
    let mut third = Resp::connect(relay.addr_of("bad")).await;
    assert_eq!(third.cmd(&["PING"]).await, Reply::simple("PONG"));
}
