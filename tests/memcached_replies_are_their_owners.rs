//! 300 clients over four connections to a memcached, or to each of three, with clients that leave in
//! mid-reply and servers that die again and again: nobody gets a reply that is another's.
//!
//! Every value names its key, its owner and its round; keys are their owner's alone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leaseway_tests::memcached::{Memcache, MemcachedServer};
use leaseway_tests::relay::Relay;
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [plugins.memcached]
    module = "{plugins}/memcached.wasm"
    config = {config}

    [upstreams.cache]
    endpoints = [{servers}]
    pool = { max-connections = 4, wait-timeout = "60s" }

    [listeners.cache]
    bind = "{listen}"
    plugin = "memcached"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

const CLIENTS: usize = 300;
const ENOUGH_REQUESTS: u64 = 100_000;
const DEATHS: u64 = 8;
const DEADLINE: Duration = Duration::from_secs(300);

/// What has happened so far.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    hits: AtomicU64,
    errors: AtomicU64,
    cut: AtomicU64,
    aborted: AtomicU64,
    deaths: AtomicU64,
}

impl Tally {
    fn enough(&self) -> bool {
        self.answered.load(Ordering::Relaxed) >= ENOUGH_REQUESTS
            && self.deaths.load(Ordering::Relaxed) >= DEATHS
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What a key of this owner may hold: its own name, over and over.
fn value(key: &str, round: usize, length: usize) -> String {
    let tag = format!("{key}@{round};");
    tag.repeat(length / tag.len() + 1)
}

fn is_of(key: &str, data: &[u8]) -> bool {
    let data = String::from_utf8_lossy(data);
    let Some(tag) = data.split_inclusive(';').next() else {
        return false;
    };
    tag.starts_with(&format!("{key}@")) && data.replace(tag, "").is_empty()
}

/// What the client makes of one request: an error of the relay's is one of the answers.
fn is_relays(line: &str) -> bool {
    line.starts_with("SERVER_ERROR leaseway: ")
}

/// One session. An error of I/O is its end.
async fn session(id: usize, address: SocketAddr, tally: &Tally) -> std::io::Result<()> {
    let mut client = Memcache::connect(address).await;
    for round in 0..200 {
        if round > 0 && tally.enough() {
            break;
        }
        let keys: Vec<String> = (0..1 + fastrand::usize(..4))
            .map(|n| format!("o{id}k{n}"))
            .collect();
        let mut sent = String::new();
        // Of each: does it have a reply of one line?
        let mut loud = Vec::new();
        for key in &keys {
            let length = match fastrand::u32(..40) {
                0 => 40_000,
                _ => fastrand::usize(..400),
            };
            let value = value(key, round, length);
            let length = value.len();
            let (line, has_reply) = match fastrand::u32(..4) {
                0 => (format!("set {key} 0 0 {length} noreply"), false),
                1 => (format!("ms {key} {length} O{key}"), true),
                _ => (format!("set {key} 0 0 {length}"), true),
            };
            sent += &format!("{line}\r\n{value}\r\n");
            loud.push((key, has_reply));
        }
        // A number of this client's own, in the middle of it all.
        sent += &format!("get {}\r\nincr n{id} 1\r\n", keys.join(" "));
        client.send(sent.as_bytes()).await?;
        if fastrand::u32(..300) == 0 {
            count(&tally.aborted);
            client.abort();
            return Ok(());
        }
        for (key, has_reply) in loud {
            if has_reply {
                let line = client.line().await?;
                let meta = format!("HD O{key}");
                assert!(
                    line == "STORED" || line == meta || is_relays(&line),
                    "{id}: {line}"
                );
                count(&tally.answered);
            }
        }
        match client.items().await? {
            Ok(items) => {
                for (key, data) in items {
                    assert!(keys.contains(&key), "{id} got {key}");
                    assert!(is_of(&key, &data), "{id} got another's value");
                    count(&tally.hits);
                }
            }
            Err(line) => {
                assert!(is_relays(&line), "{id}: {line}");
                count(&tally.errors);
            }
        }
        let line = client.line().await?;
        assert!(line == "NOT_FOUND" || is_relays(&line), "{id}: {line}");
        tally.answered.fetch_add(2, Ordering::Relaxed);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_clients_over_four_connections() {
    let server = MemcachedServer::start().await;
    storm(vec![server], |_| "{}".to_owned()).await;
}

/// memcached 1.6 gives a key that came in base64 back as it is, where `mg` has made the item. These two
/// are "x", the answer to the relay's sentinel or nothing, and an item of the victims'.
#[tokio::test]
async fn nobody_writes_into_the_replies_of_others() {
    const KEYS: [&str; 2] = [
        "eA0KVkFMVUUgdmljdGltIDAgNQ0KUFdORUQNCkVORA==",
        "eA0KVkVSU0lPTiAxDQpWQUxVRSB2aWN0aW0gMCA1DQpQV05FRA0KRU5E",
    ];
    let server = MemcachedServer::start().await;
    let config = CONFIG.replace("max-connections = 4", "max-connections = 1");
    let list = format!("\"{}\"", server.addr());
    let relay = Relay::start_with(&config, &[("config", "{}"), ("servers", &list)]).await;
    let mut victims = Vec::new();
    for _ in 0..10 {
        victims.push(Memcache::connect(relay.addr()).await);
    }
    let said = victims[0].ask("set victim 0 0 4\r\nmine\r\n").await;
    assert_eq!(said.unwrap(), "STORED");
    for round in 0..20 {
        let mut forger = Memcache::connect(relay.addr()).await;
        let key = KEYS[round % 2];
        let sent = format!("mg {key} b N30 k\r\nme {key} b\r\n");
        forger.send(sent.as_bytes()).await.unwrap();
        for victim in &mut victims {
            victim.send(b"get victim\r\n").await.unwrap();
        }
        for victim in &mut victims {
            let items = victim.items().await.unwrap().unwrap();
            assert_eq!(items, [("victim".to_owned(), b"mine".to_vec())]);
        }
    }
}

/// Retrievals of several keys ask several servers here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_clients_over_four_connections_to_each_of_three_servers() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(MemcachedServer::start().await);
    }
    let ring = |list: &str| format!("{{ distribution = \"ketama\", servers = [{list}] }}");
    storm(servers, ring).await;
}

/// Lets all clients at servers that die in turn.
async fn storm(mut servers: Vec<MemcachedServer>, config: impl Fn(&str) -> String) {
    let list: Vec<String> = servers
        .iter()
        .map(|server| format!("\"{}\"", server.addr()))
        .collect();
    let list = list.join(", ");
    let values = [("config", config(&list)), ("servers", list)];
    let values = values.each_ref().map(|(key, value)| (*key, value.as_str()));
    let relay = Relay::start_with(CONFIG, &values).await;
    let tally = Arc::new(Tally::default());
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let (tally, address) = (Arc::clone(&tally), relay.addr());
        clients.spawn(async move {
            let mut sessions = 0;
            while sessions == 0 || !tally.enough() {
                if session(id, address, &tally).await.is_err() {
                    count(&tally.cut);
                }
                sessions += 1;
            }
        });
    }
    let killer = async {
        // Each death comes once so much more has been answered.
        for death in 0.. {
            let after = ENOUGH_REQUESTS / (DEATHS + 1) * (death as u64 + 1);
            while tally.answered.load(Ordering::Relaxed) < after {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let turn = death % servers.len();
            servers[turn].restart().await;
            count(&tally.deaths);
        }
    };
    let all = async {
        while let Some(client) = clients.join_next().await {
            client.expect("a client found something wrong");
        }
    };
    tokio::select! {
        done = tokio::time::timeout(DEADLINE, all) => done.expect("the clients hang"),
        () = killer => unreachable!("it goes on for ever"),
    }
    println!("{tally:?}");
    assert!(tally.hits.load(Ordering::Relaxed) > ENOUGH_REQUESTS / 10);
    let trouble = [&tally.errors, &tally.cut].map(|counter| counter.load(Ordering::Relaxed));
    assert!(
        trouble.iter().sum::<u64>() > 0,
        "it was too calm to prove anything"
    );
    assert!(tally.aborted.load(Ordering::Relaxed) > 0);
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
    let misuse = [("reason", "plugin-misuse")];
    assert_eq!(
        metrics.sum_where("leaseway_session_ends_total", &misuse),
        0.0
    );
}
