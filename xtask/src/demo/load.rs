//! The clients: each sends a request, waits for the reply, checks it, and goes on.
//!
//! What a client writes is its own and new each time, so a reply that belongs to another client
//! or to an earlier request is noticed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use leaseway_tests::{Reply, Resp};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::server::Server;

/// How long the clients are at it.
const TIME: Duration = Duration::from_secs(8);
/// The most that one client asks for: bounds the run's memory on a machine of any speed.
const ROUNDS: u64 = 20_000;
/// A reply that takes longer than this never comes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the server is asked how many connections it has.
const LOOK: Duration = Duration::from_millis(100);
/// After how many looks all connections are killed: five times in all.
const LOOKS_PER_KILL: u64 = 13;
/// Errors that are kept to be shown.
const SHOWN: usize = 5;

/// What the clients speak.
#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    Redis,
    Line,
}

/// Who is to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) protocol: Protocol,
    pub(super) clients: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) clients: usize,
    /// Time of each request, in microseconds, sorted.
    pub(super) latencies: Vec<u32>,
    pub(super) elapsed: Duration,
    pub(super) errors: u64,
    /// The first few, in words.
    pub(super) shown: Vec<String>,
    /// Most connections that the server had at once; none: it does not say.
    pub(super) peak: Option<u64>,
    /// How often all connections were killed, and how many that were.
    pub(super) kills: (u64, u64),
}

impl Outcome {
    /// An error where a client saw one, or none got anything.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.errors > 0 {
            bail!(
                "{} clients saw an error, for instance: {}",
                self.errors,
                self.shown.join("; ")
            );
        }
        if self.latencies.is_empty() {
            bail!("no client got a reply");
        }
        Ok(())
    }

    /// The time that this share of the requests stayed within.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let at = self.latencies.len() * percent / 100;
        let micros = self.latencies.get(at.min(last)).copied().unwrap_or(0);
        Duration::from_micros(micros.into())
    }
}

/// What the clients and the one who watches them share.
#[derive(Debug, Default)]
struct Progress {
    requests: AtomicU64,
    errors: AtomicU64,
    stop: AtomicBool,
    /// Clients only read while connections are killed: nobody, no relay either, can know of a
    /// write that got no reply whether it was carried out, so it must not be sent again.
    reads_only: AtomicBool,
    writes_under_way: AtomicU64,
}

impl Load {
    /// Drives the clients, watches the server, and, if so told, kills its connections.
    pub(super) async fn run(
        self,
        how: &str,
        address: SocketAddr,
        server: &Server,
        kill: bool,
    ) -> anyhow::Result<Outcome> {
        println!("\n{} clients, {how}, {} s", self.clients, TIME.as_secs());
        let progress = Arc::new(Progress::default());
        let started = Instant::now();
        let mut clients = JoinSet::new();
        for id in 0..self.clients {
            clients.spawn(client(self.protocol, address, id, Arc::clone(&progress)));
        }
        let mut outcome = Outcome {
            clients: self.clients,
            ..Outcome::default()
        };
        watch(server, &progress, kill, &mut outcome).await;
        progress.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = clients.join_next().await {
            let (latencies, error) = ended?;
            outcome.latencies.extend(latencies);
            if let Some(error) = error {
                outcome.errors += 1;
                if outcome.shown.len() < SHOWN {
                    outcome.shown.push(error);
                }
            }
        }
        outcome.elapsed = started.elapsed();
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }
}

/// Until the time is up: the bar, the most connections at once, and the kills.
async fn watch(server: &Server, progress: &Progress, kill: bool, outcome: &mut Outcome) {
    let looks = u64::try_from(TIME.as_millis() / LOOK.as_millis()).unwrap_or(1);
    let bar = ProgressBar::new(looks);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}") {
        bar.set_style(style);
    }
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    let mut look = 0;
    while started.elapsed() < TIME {
        ticks.tick().await;
        look += 1;
        outcome.peak = outcome.peak.max(server.connected().await);
        if kill
            && look % LOOKS_PER_KILL == 0
            && let Some(killed) = kill_under_reads(server, progress).await
        {
            outcome.kills.0 += 1;
            outcome.kills.1 += killed;
            bar.println(format!("killed all {killed} connections of the server"));
        }
        bar.set_position(look);
        bar.set_message(format!(
            "{} requests, {} errors",
            progress.requests.load(Ordering::Relaxed),
            progress.errors.load(Ordering::Relaxed)
        ));
    }
    bar.finish_and_clear();
}

/// Kills all connections while reads are under way on them, and no writes.
async fn kill_under_reads(server: &Server, progress: &Progress) -> Option<u64> {
    progress.reads_only.store(true, Ordering::SeqCst);
    while progress.writes_under_way.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let killed = server.kill_all().await;
    progress.reads_only.store(false, Ordering::SeqCst);
    killed
}

/// One client until its time is up or it sees an error: the time of each of its requests, and
/// the error.
async fn client(
    protocol: Protocol,
    address: SocketAddr,
    id: usize,
    progress: Arc<Progress>,
) -> (Vec<u32>, Option<String>) {
    let mut latencies = Vec::new();
    let outcome = match protocol {
        Protocol::Redis => redis(address, id, &progress, &mut latencies).await,
        Protocol::Line => line(address, id, &progress, &mut latencies).await,
    };
    if outcome.is_err() {
        progress.errors.fetch_add(1, Ordering::Relaxed);
    }
    let error = outcome.err().map(|why| format!("client {id}: {why:#}"));
    (latencies, error)
}

async fn redis(
    address: SocketAddr,
    id: usize,
    progress: &Progress,
    latencies: &mut Vec<u32>,
) -> anyhow::Result<()> {
    let mut connection = Resp::try_connect(address).await?;
    let key = format!("demo:{id}");
    let mut stored = Reply::Null;
    for round in 0..ROUNDS {
        if progress.stop.load(Ordering::Relaxed) {
            break;
        }
        progress.writes_under_way.fetch_add(1, Ordering::SeqCst);
        if !progress.reads_only.load(Ordering::SeqCst) {
            let value = format!("client {id} round {round}");
            let words = ["SET", &key, &value];
            let set = timed(latencies, progress, connection.try_cmd(&words)).await;
            if set.as_ref().ok() != Some(&Reply::ok()) {
                progress.writes_under_way.fetch_sub(1, Ordering::SeqCst);
                bail!("SET answered {set:?}");
            }
            stored = Reply::bulk(&value);
        }
        progress.writes_under_way.fetch_sub(1, Ordering::SeqCst);
        let get = timed(latencies, progress, connection.try_cmd(&["GET", &key])).await?;
        if get != stored {
            bail!("GET answered {get:?}, and {stored:?} had been set");
        }
    }
    Ok(())
}

async fn line(
    address: SocketAddr,
    id: usize,
    progress: &Progress,
    latencies: &mut Vec<u32>,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    stream.get_ref().set_nodelay(true)?;
    let mut reply = String::new();
    timeout(PATIENCE, stream.read_line(&mut reply)).await??;
    if !reply.starts_with("HELLO ") {
        bail!("greeted with {reply:?}");
    }
    for round in 0..ROUNDS {
        if progress.stop.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("client {id} round {round}\r\n");
        reply.clear();
        let exchange = async {
            stream.get_mut().write_all(text.as_bytes()).await?;
            stream.read_line(&mut reply).await
        };
        timed(latencies, progress, exchange).await?;
        if reply != format!("ECHO {text}") {
            bail!("{text:?} was answered with {reply:?}");
        }
    }
    Ok(())
}

async fn timed<T>(
    latencies: &mut Vec<u32>,
    progress: &Progress,
    exchange: impl Future<Output = std::io::Result<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    let value = timeout(PATIENCE, exchange).await??;
    latencies.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
    progress.requests.fetch_add(1, Ordering::Relaxed);
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let outcome = Outcome {
            latencies: (1..=200).collect(),
            ..Outcome::default()
        };
        assert_eq!(outcome.percentile(50), Duration::from_micros(101));
        assert_eq!(outcome.percentile(99), Duration::from_micros(199));
        assert_eq!(Outcome::default().percentile(99), Duration::ZERO);
    }

    #[test]
    fn an_error_of_a_client_fails_the_demo() {
        let outcome = Outcome {
            latencies: vec![1],
            errors: 1,
            shown: vec!["client 7: gone".to_owned()],
            ..Outcome::default()
        };
        let why = outcome.check().unwrap_err().to_string();
        assert!(why.contains("client 7: gone"), "{why}");
        assert!(Outcome::default().check().is_err());
    }
}
