//! The work: which peers do it, and which figures come of it.
//!
//! Here is what all kinds of it have in common; each file has those of one server.

mod bulk;
mod http;
mod postgres;
mod redis;

use std::net::SocketAddr;

use anyhow::Context;
use clap::ValueEnum;
use tokio::runtime::Runtime;

use super::load::idle::Idle;
use super::peers::{Peer, Running, Tools};
use super::report::{Kind, Table};
use super::series::Better;
use super::{Effort, loading};

/// Sessions that do nothing, or little.
const MANY: usize = 10_000;
/// Those of the sessions that a relay can hold which are left to others.
const SPARE: usize = 100;
/// Connections to the server where a relay pools them.
const POOL: usize = 20;

/// One kind of work, by the name that the command line has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Bytes as fast as they go, on 1 and 8 streams.
    Bulk,
    /// Requests of 64 bytes on 50 and 500 sessions that stay.
    Requests,
    /// A session for each request.
    Sessions,
    /// The same before a server that is 5 ms away.
    Delayed,
    /// 10,000 sessions that do nothing.
    Idle,
    /// 10,000 sessions with one request a second each.
    Ticking,
    /// 1,000 clients that read and write, where possible on 20 connections.
    Thousand,
    /// The same at a fixed rate, and 50 clients, one request at a time and 16.
    Shared,
    /// What a plugin adds to a request.
    Plugins,
    /// pgbench, 32 clients on 20 connections, and 1,000 clients that do nothing.
    Postgres,
    /// wrk, 256 clients on 32 connections.
    Http,
    /// How long a plugin takes to load.
    Loading,
}

impl Workload {
    pub(super) const ALL: [Self; 12] = [
        Self::Bulk,
        Self::Requests,
        Self::Sessions,
        Self::Delayed,
        Self::Idle,
        Self::Ticking,
        Self::Thousand,
        Self::Shared,
        Self::Plugins,
        Self::Postgres,
        Self::Http,
        Self::Loading,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Bulk => "bulk: bytes from the server as fast as they go",
            Self::Requests => "requests: redis GET, 64 B, on sessions that stay",
            Self::Sessions => "sessions: a new session for each redis GET, 50 at a time",
            Self::Delayed => "delayed: the same, before a server that is 5 ms away",
            Self::Idle => "idle: sessions that do nothing after one request",
            Self::Ticking => "ticking: one request a second on each session",
            Self::Thousand => "thousand: 1,000 clients, redis GET and SET",
            Self::Shared => "shared: redis GET, 64 B, on 20 connections",
            Self::Plugins => "plugins: what a plugin adds, redis GET, 64 B, 20 sessions that stay",
            Self::Postgres => "postgres: pgbench -S, 32 clients on 20 connections",
            Self::Http => "http: wrk, 64 B, 256 clients on 32 connections",
            Self::Loading => "loading: from the start to a checked config",
        }
    }
}

// Of requests, whatever the protocol; a transaction is something else.
const RATE: Kind = Kind {
    name: "requests/s",
    better: Better::More,
};
const CPU: Kind = Kind {
    name: "relay CPU, µs a request",
    better: Better::Less,
};
const BYTES: Kind = Kind {
    name: "resident bytes a session",
    better: Better::Less,
};
const IDLE_CPU: Kind = Kind {
    name: "relay CPU, µs a second, of all of them",
    better: Better::Less,
};

/// What all runs need.
struct Bench<'a> {
    effort: Effort,
    /// Up to `MANY`.
    many: usize,
    tools: &'a Tools,
    runtime: &'a Runtime,
}

/// Does one kind of work.
pub(super) fn run(
    workload: Workload,
    effort: Effort,
    tools: &Tools,
    runtime: &Runtime,
) -> anyhow::Result<Vec<Table>> {
    let bench = Bench {
        effort,
        many: tools.max_sessions.saturating_sub(SPARE).min(MANY),
        tools,
        runtime,
    };
    let title = workload.title();
    match workload {
        Workload::Bulk => bench.bulk(title),
        Workload::Requests => bench.requests(title),
        Workload::Sessions => bench.sessions(title),
        Workload::Delayed => bench.delayed(title),
        Workload::Idle => bench.idle(title),
        Workload::Ticking => bench.ticking(title),
        Workload::Thousand => bench.thousand(title),
        Workload::Shared => bench.shared(title),
        Workload::Plugins => bench.plugins(title),
        Workload::Postgres => bench.postgres(title),
        Workload::Http => bench.http(title),
        Workload::Loading => loading::run(title, effort, tools),
    }
}

impl Bench<'_> {
    /// Every peer does the work in turn, in each round.
    fn in_turn(
        &self,
        all: &[Running],
        mut work: impl FnMut(&Running) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for _ in 0..self.effort.rounds {
            all.iter().try_for_each(&mut work)?;
        }
        Ok(())
    }

    /// Starts all of them.
    fn start(
        &self,
        peers: &[Peer],
        upstream: SocketAddr,
        pool: usize,
    ) -> anyhow::Result<Vec<Running>> {
        let mut all = Vec::new();
        for peer in peers {
            let before = peer.before().filter(|_| self.tools.baseline.is_some());
            for peer in [Some(*peer), before].into_iter().flatten() {
                let start = Running::start(peer, upstream, pool, self.tools);
                all.push(self.runtime.block_on(start)?);
            }
        }
        Ok(all)
    }

    /// Measures what so many sessions cost that do nothing once `open` has opened them.
    fn push_idle<S>(
        &self,
        table: &mut Table,
        running: &Running,
        sessions: usize,
        open: impl FnMut() -> anyhow::Result<S>,
    ) -> anyhow::Result<()> {
        let idle = Idle {
            sessions,
            time: self.effort.time,
        };
        let cost = idle
            .cost(&running.meter, open)
            .with_context(|| running.failed())?;
        table.push(running.peer, BYTES, cost.bytes_each);
        table.push(running.peer, IDLE_CPU, cost.cpu_micros_a_second);
        Ok(())
    }
}
