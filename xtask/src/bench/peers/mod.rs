//! What is measured: the direct connection, the relays that a user would pick, and Leaseway in its
//! several uses. Each is one process, or one and its children, on a loopback address of its own.

mod configs;

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use leaseway_tests::Relay;
use leaseway_tests::dir::TempDir;
use leaseway_tests::ports;
use leaseway_tests::postgres;
use leaseway_tests::process::Process;
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::net::TcpStream;

use super::bare;
use super::machine;
use super::usage::Meter;
use crate::packages;
use crate::shell::{self, Cmd};
use crate::workspace::Workspace;
use configs::{Leaseway, STREAM_MODULE};

/// Files of a relay that are not those of its sessions.
const SPARE_FILES: u64 = 600;

/// The first PgBouncer that knows which connection has which named statement, in transaction mode.
const FOLLOWS_STATEMENTS: (u32, u32) = (1, 21);

/// Whom PgBouncer lets in, without a password.
const USERS: &str = "\"postgres\" \"\"\n";

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// The clients talk to the server.
    Direct,
    Haproxy,
    /// Told to splice whatever it can, where `splice-auto` leaves it to haproxy.
    HaproxySplicing,
    /// In HTTP mode, with connections that any client's requests go over.
    HaproxyHttp,
    /// The same with one thread, which is faster where cores are few.
    HaproxyHttpOneThread,
    Nginx,
    Twemproxy,
    /// `tests/peers/pool.go`.
    Go,
    /// A loop that copies and does nothing else: what is left to win.
    Bare,
    /// One that lends connections, and does nothing else.
    BareLending,
    /// Without a plugin: one connection a session.
    Plain,
    /// The same with one worker: what a relay of ours costs that neither lends nor asks a plugin.
    PlainOneWorker,
    /// Under a plugin that only chooses: one connection a session.
    Chooser,
    /// Under a plugin that is shown every byte, and keeps its connection.
    Passer,
    /// Under the redis plugin, with a pool, whose connections sessions share.
    Redis,
    /// The same, with `pooling = "command-exclusive"`: each request leases a connection.
    RedisExclusive,
    PgBouncer,
    /// Under the postgres plugin, which lends a connection for a transaction, with as many workers
    /// as there are cores.
    Postgres,
    /// The same with one worker: one core, as `PgBouncer` has.
    PostgresOneWorker,
    /// Under the http1 plugin, which lends a connection for a request.
    Http1,
    /// The same with one worker.
    Http1OneWorker,
    /// As `Plain`, by another build.
    PlainBefore,
    /// As `Redis`, by another build.
    RedisBefore,
    /// As `PostgresOneWorker`, by another build.
    PostgresBefore,
    /// As `Http1`, by another build.
    Http1Before,
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Haproxy => "haproxy",
            Self::HaproxySplicing => "haproxy, always splicing",
            Self::HaproxyHttp => "haproxy, http-reuse",
            Self::HaproxyHttpOneThread => "haproxy, http-reuse, 1 thread",
            Self::Nginx => "nginx",
            Self::Twemproxy => "twemproxy",
            Self::Go => "go",
            Self::Bare => "bare copy loop",
            Self::BareLending => "bare loop, exclusive leases",
            Self::Plain => "leaseway, no plugin",
            Self::PlainOneWorker => "leaseway, no plugin, 1 worker",
            Self::Chooser => "leaseway, choosing plugin",
            Self::Passer => "leaseway, passing plugin",
            Self::Redis => "leaseway, redis plugin",
            Self::RedisExclusive => "leaseway, redis plugin, exclusive",
            Self::PgBouncer => "pgbouncer",
            Self::Postgres => "leaseway, postgres plugin",
            Self::PostgresOneWorker => "leaseway, postgres plugin, 1 worker",
            Self::Http1 => "leaseway, http1 plugin",
            Self::Http1OneWorker => "leaseway, http1 plugin, 1 worker",
            Self::PlainBefore => "baseline, no plugin",
            Self::RedisBefore => "baseline, redis plugin",
            Self::PostgresBefore => "baseline, postgres plugin, 1 worker",
            Self::Http1Before => "baseline, http1 plugin",
        }
    }

    /// Whether it is one that a user would pick instead.
    pub(super) fn is_rival(self) -> bool {
        matches!(
            self,
            Self::Haproxy
                | Self::HaproxySplicing
                | Self::HaproxyHttp
                | Self::HaproxyHttpOneThread
                | Self::Nginx
                | Self::Twemproxy
                | Self::Go
                | Self::PgBouncer
        )
    }

    /// The same work by the build that `--baseline` names.
    pub(super) fn before(self) -> Option<Self> {
        match self {
            Self::Plain => Some(Self::PlainBefore),
            Self::Redis => Some(Self::RedisBefore),
            Self::PostgresOneWorker => Some(Self::PostgresBefore),
            Self::Http1 => Some(Self::Http1Before),
            _ => None,
        }
    }

    pub(super) fn is_ours(self) -> bool {
        !self.is_rival() && !matches!(self, Self::Direct | Self::Bare | Self::BareLending)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The programs, installed or built.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) leaseway: PathBuf,
    /// Another build of it, to be measured beside it.
    pub(super) baseline: Option<PathBuf>,
    pub(super) plugins: PathBuf,
    /// Sessions that each relay can hold, two files each.
    pub(super) max_sessions: usize,
    /// Whether PgBouncer can serve statements that are prepared under a name.
    pub(super) pgbouncer_follows_statements: bool,
    go_pool: PathBuf,
    /// This program, which has the bare copy loop in it.
    this: PathBuf,
}

impl Tools {
    pub(super) fn build(
        workspace: &Workspace,
        leaseway: PathBuf,
        baseline: Option<PathBuf>,
        files: u64,
    ) -> anyhow::Result<Self> {
        let mut missing = Vec::new();
        for (program, package) in [
            ("redis-server", "redis-server"),
            ("haproxy", "haproxy"),
            ("nginx", "nginx-light"),
            ("nutcracker", "nutcracker"),
            ("go", "golang-go"),
            ("pgbouncer", "pgbouncer"),
            // What Debian calls the server's programs is in no PATH; this comes with it.
            ("pg_ctlcluster", "postgresql"),
            ("pgbench", "postgresql"),
            ("psql", "postgresql-client"),
            ("wrk", "wrk"),
        ] {
            if !shell::has(program) {
                missing.push(package);
            }
        }
        if !Path::new(STREAM_MODULE).exists() {
            missing.push("libnginx-mod-stream");
        }
        missing.dedup();
        if !missing.is_empty() {
            packages::install(&missing, "the bench")?;
        }
        let folder = workspace.target().join("bench");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let go_pool = folder.join("go-pool");
        Cmd::new("go")
            .args(["build", "-o"])
            .arg(&go_pool)
            .arg(workspace.root().join("tests/peers/pool.go"))
            .env("GOCACHE", folder.join("go-cache"))
            .env("GO111MODULE", "off")
            .run()?;
        Ok(Self {
            leaseway,
            baseline,
            plugins: workspace.plugins(),
            max_sessions: usize::try_from(files.saturating_sub(SPARE_FILES) / 2)?,
            pgbouncer_follows_statements: follows_statements(&machine::version(
                "pgbouncer",
                "--version",
            )),
            go_pool,
            this: std::env::current_exe().context("cannot find this program")?,
        })
    }
}

/// A peer that runs; ends on drop.
pub(super) struct Running {
    pub(super) peer: Peer,
    pub(super) address: SocketAddr,
    pub(super) meter: Meter,
    process: Option<Process>,
    relay: Option<Relay>,
    /// Holds its config and log.
    _dir: Option<TempDir>,
}

impl Running {
    /// Starts `peer` before the server at `upstream`, with up to `pool` connections if it pools.
    pub(super) async fn start(
        peer: Peer,
        upstream: SocketAddr,
        pool: usize,
        tools: &Tools,
    ) -> anyhow::Result<Self> {
        match peer {
            Peer::Direct => Ok(Self {
                peer,
                address: upstream,
                meter: Meter::new(None),
                process: None,
                relay: None,
                _dir: None,
            }),
            Peer::Haproxy
            | Peer::HaproxySplicing
            | Peer::HaproxyHttp
            | Peer::HaproxyHttpOneThread
            | Peer::Nginx
            | Peer::Twemproxy
            | Peer::Go
            | Peer::PgBouncer
            | Peer::Bare
            | Peer::BareLending => Self::start_rival(peer, upstream, pool, tools).await,
            _ => Ok(Self::start_leaseway(peer, upstream, pool, tools).await),
        }
    }

    async fn start_rival(
        peer: Peer,
        upstream: SocketAddr,
        pool: usize,
        tools: &Tools,
    ) -> anyhow::Result<Self> {
        let dir = TempDir::new("bench");
        let address = ports::free_address();
        let file = dir.path().join("config");
        let (config, program, args): (String, &Path, &[&str]) = match peer {
            Peer::Haproxy | Peer::HaproxySplicing => {
                let splice: &[_] = match peer {
                    Peer::Haproxy => &["splice-auto"],
                    _ => &["splice-request", "splice-response"],
                };
                (
                    configs::haproxy(address, upstream, tools.max_sessions, splice),
                    "haproxy".as_ref(),
                    &["-db", "-f"],
                )
            }
            Peer::HaproxyHttp | Peer::HaproxyHttpOneThread => {
                let threads = match peer {
                    Peer::HaproxyHttpOneThread => "  nbthread 1\n",
                    _ => "",
                };
                (
                    configs::haproxy_http(address, upstream, tools.max_sessions, pool, threads),
                    "haproxy".as_ref(),
                    &["-db", "-f"],
                )
            }
            Peer::Nginx => (
                configs::nginx(address, upstream, dir.path(), tools.max_sessions),
                "nginx".as_ref(),
                &["-c"],
            ),
            Peer::Twemproxy => (
                configs::twemproxy(address, upstream, pool),
                "nutcracker".as_ref(),
                &["-c"],
            ),
            Peer::PgBouncer => {
                let users = dir.path().join("users");
                fs::write(&users, USERS)
                    .with_context(|| format!("cannot write {}", users.display()))?;
                postgres::give(&users);
                let follows = tools.pgbouncer_follows_statements;
                let limits = (tools.max_sessions, pool);
                (
                    configs::pgbouncer(address, upstream, &users, limits, follows),
                    "pgbouncer".as_ref(),
                    &[],
                )
            }
            Peer::Bare | Peer::BareLending => (String::new(), &tools.this, &[bare::COMMAND]),
            _ => (String::new(), &tools.go_pool, &[]),
        };
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = match peer {
            Peer::PgBouncer => {
                postgres::give(dir.path());
                postgres::give(&file);
                postgres::servant(program)
            }
            _ => Command::new(program),
        };
        command.args(args).current_dir(dir.path());
        match peer {
            Peer::Go => command
                .arg(format!("-listen={address}"))
                .arg(format!("-upstream={upstream}"))
                .arg(format!("-pool={pool}")),
            Peer::Bare => command
                .arg(format!("--listen={address}"))
                .arg(format!("--upstream={upstream}")),
            Peer::BareLending => command
                .arg(format!("--listen={address}"))
                .arg(format!("--upstream={upstream}"))
                .arg(format!("--connections={pool}")),
            _ => command.arg(&file),
        };
        let log = dir.path().join("log");
        let mut process = Process::start(peer.name(), command, &log, "cargo xtask bench");
        eventually("a peer listens", GENEROUS, async || {
            assert!(
                process.ended().is_none(),
                "{peer} ended; it said: {}",
                process.log()
            );
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        Ok(Self {
            peer,
            address,
            meter: Meter::new(Some(process.pid())),
            process: Some(process),
            relay: None,
            _dir: Some(dir),
        })
    }

    /// Says that it has failed, with its last words.
    pub(super) fn failed(&self) -> String {
        let log = match (&self.process, &self.relay) {
            (Some(process), _) => process.log(),
            (_, Some(relay)) => relay.log(),
            (None, None) => String::new(),
        };
        let mut last: Vec<&str> = log.lines().rev().take(5).collect();
        last.reverse();
        format!("{} failed; its last words: {}", self.peer, last.join("\n"))
    }

    /// The calls of its plugin so far.
    pub(super) async fn calls(&self) -> Calls {
        let Some(relay) = &self.relay else {
            return Calls::default();
        };
        let metrics = relay.metrics().await;
        Calls {
            calls: metrics.sum("leaseway_plugin_calls_total"),
            timed: metrics.sum("leaseway_plugin_call_seconds_count"),
            seconds: metrics.sum("leaseway_plugin_call_seconds_sum"),
        }
    }

    async fn start_leaseway(peer: Peer, upstream: SocketAddr, pool: usize, tools: &Tools) -> Self {
        let (module, max_connections) = match peer {
            Peer::Chooser => (Some("{plugins}/chooser.wasm"), tools.max_sessions),
            Peer::Passer => (Some("{plugins}/passer.wasm"), tools.max_sessions),
            Peer::Redis | Peer::RedisExclusive | Peer::RedisBefore => {
                (Some("{plugins}/redis.wasm"), pool)
            }
            // Another build has plugins of its own.
            Peer::Http1 | Peer::Http1OneWorker | Peer::Http1Before => (Some("builtin:http1"), pool),
            Peer::Postgres | Peer::PostgresOneWorker | Peer::PostgresBefore => {
                (Some("builtin:postgres"), pool)
            }
            _ => (None, tools.max_sessions),
        };
        let settings = match peer {
            Peer::RedisExclusive => "config = { pooling = \"command-exclusive\" }\n",
            Peer::Postgres | Peer::PostgresOneWorker | Peer::PostgresBefore => {
                "[plugins.p.config]\npooling = \"transaction\"\n\
                 users = { postgres = { auth = \"trust\" } }\n"
            }
            _ => "",
        };
        let workers = match peer {
            Peer::PlainOneWorker
            | Peer::PostgresOneWorker
            | Peer::PostgresBefore
            | Peer::Http1OneWorker => Some(1),
            _ => None,
        };
        let config = configs::leaseway(&Leaseway {
            workers,
            module,
            settings,
            max_connections,
        });
        let plugins = tools.plugins.to_string_lossy();
        let upstream = upstream.to_string();
        let values = [("upstream", &*upstream), ("plugins", &*plugins)];
        let binary = match peer {
            Peer::PlainBefore | Peer::RedisBefore | Peer::PostgresBefore | Peer::Http1Before => {
                tools.baseline.as_ref()
            }
            _ => None,
        };
        let binary = binary.unwrap_or(&tools.leaseway);
        let relay = Relay::start_binary(binary, &config, &values).await;
        Self {
            peer,
            address: relay.addr(),
            meter: Meter::new(Some(relay.pid())),
            process: None,
            relay: Some(relay),
            _dir: None,
        }
    }
}

/// What a relay has counted of its plugin's calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) calls: f64,
    /// Calls whose time was taken, and that time.
    pub(super) timed: f64,
    pub(super) seconds: f64,
}

/// By what PgBouncer says of itself: `PgBouncer 1.18.0`.
fn follows_statements(version: &str) -> bool {
    let mut numbers = version.split([' ', '.']).skip(1).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= FOLLOWS_STATEMENTS,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbouncer_follows_statements_from_1_21_on() {
        assert!(!follows_statements("PgBouncer 1.18.0"));
        assert!(follows_statements("PgBouncer 1.21.0"));
        assert!(follows_statements("PgBouncer 2.0.0"));
        assert!(!follows_statements("does not say"));
    }
}
