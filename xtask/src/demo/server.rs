//! What the demo's clients talk to: a real redis-server, or the example's line server where no
//! Redis can be had.

use std::net::SocketAddr;
use std::process::Command;

use leaseway_tests::dir::TempDir;
use leaseway_tests::process::Process;
use leaseway_tests::wait::{GENEROUS, eventually};
use leaseway_tests::{RedisServer, ports};
use tokio::net::TcpStream;

use super::load::Protocol;
use crate::packages;
use crate::shell::{self, Cmd};
use crate::workspace::Workspace;

const RELAY_CONFIG: &str = r#"
[plugins.demo]
module = "{plugins}/{plugin}.wasm"

[upstreams.demo]
endpoints = ["{upstream}"]
pool = { max-connections = {connections} }

[listeners.demo]
bind = "{listen}"
plugin = "demo"
upstreams = ["demo"]

[admin]
bind = "{admin}"
"#;

/// A running server; ends on drop.
pub(super) enum Server {
    Redis(RedisServer),
    Line {
        address: SocketAddr,
        _process: Process,
        /// Holds the log.
        _dir: TempDir,
    },
}

impl Server {
    /// A redis-server, installed where that is possible; otherwise the line server.
    pub(super) async fn start(workspace: &Workspace) -> anyhow::Result<Self> {
        if !shell::has("redis-server")
            && let Err(why) = packages::install(&["redis-server"], "the demo")
        {
            eprintln!("no redis-server: {why:#}\ngoing on with the example's line server");
            return Self::start_line(workspace).await;
        }
        Ok(Self::Redis(RedisServer::start(&[]).await))
    }

    async fn start_line(workspace: &Workspace) -> anyhow::Result<Self> {
        Cmd::new(shell::cargo())
            .args(["build", "--locked", "--package", "leaseway-example-line"])
            .args(["--bin", "line-server"])
            .current_dir(workspace.root())
            .run()?;
        let address = ports::free_address();
        let dir = TempDir::new("demo");
        let mut command = Command::new(workspace.program("debug", "line-server"));
        command.arg(address.to_string());
        let log = dir.path().join("log");
        let process = Process::start("line-server", command, &log, "cargo xtask demo");
        eventually("line-server listens", GENEROUS, async || {
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        Ok(Self::Line {
            address,
            _process: process,
            _dir: dir,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis-server",
            Self::Line { .. } => "line-server",
        }
    }

    /// The plugin for its protocol.
    pub(super) fn plugin(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis",
            Self::Line { .. } => "line",
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::Redis(_) => Protocol::Redis,
            Self::Line { .. } => Protocol::Line,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        match self {
            Self::Redis(server) => server.addr(),
            Self::Line { address, .. } => *address,
        }
    }

    pub(super) fn relay_config(&self) -> &'static str {
        RELAY_CONFIG
    }

    /// How many connections it has accepted since it started; none: it does not count.
    pub(super) async fn accepted(&self) -> Option<u64> {
        self.info("stats", "total_connections_received").await
    }

    /// How many connections it has now, the demo's own left out; none: it does not count.
    pub(super) async fn connected(&self) -> Option<u64> {
        let all = self.info("clients", "connected_clients").await?;
        Some(all.saturating_sub(1))
    }

    /// Ends every connection but the demo's own; none: it cannot.
    pub(super) async fn kill_all(&self) -> Option<u64> {
        match self {
            Self::Redis(server) => u64::try_from(server.kill_clients().await).ok(),
            Self::Line { .. } => None,
        }
    }

    async fn info(&self, section: &str, key: &str) -> Option<u64> {
        match self {
            Self::Redis(server) => server.info(section, key).await,
            Self::Line { .. } => None,
        }
    }
}
