//! The work: which peers do it, and which figures come of it.

use std::net::SocketAddr;

use anyhow::Context;
use clap::ValueEnum;
use leaseway_tests::RedisServer;
use leaseway_tests::resp::encode;
use tokio::runtime::Runtime;

use super::load::idle::Idle;
use super::load::requests::Load;
use super::load::{Exchange, Outcome, bulk, delay, sessions};
use super::peers::{Peer, Running, Tools};
use super::report::{Kind, Table};
use super::series::Better;
use super::usage::Meter;
use super::{Effort, loading};

/// Sessions that do nothing, or little.
const MANY: usize = 10_000;
/// Those of the sessions that a relay can hold which are left to others.
const SPARE: usize = 100;
/// Bytes of a value.
const VALUE: usize = 64;
/// Connections to the server where a relay pools them.
const POOL: usize = 20;
/// Sessions at a time, where each is for one request, and then as many connections.
const AT_A_TIME: usize = 50;

/// Whom Leaseway is compared with, where all of them can do the work.
const OTHERS: [Peer; 5] = [
    Peer::Direct,
    Peer::Haproxy,
    Peer::Nginx,
    Peer::Twemproxy,
    Peer::Go,
];

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
    /// How long a plugin takes to load.
    Loading,
}

impl Workload {
    pub(super) const ALL: [Self; 10] = [
        Self::Bulk,
        Self::Requests,
        Self::Sessions,
        Self::Delayed,
        Self::Idle,
        Self::Ticking,
        Self::Thousand,
        Self::Shared,
        Self::Plugins,
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
            Self::Loading => "loading: from the start to a checked config",
        }
    }
}

const RATE: Kind = Kind {
    name: "requests/s",
    better: Better::More,
};
const CPU: Kind = Kind {
    name: "relay CPU, µs a request",
    better: Better::Less,
};
const DIALS: Kind = Kind {
    name: "upstream connections opened, a request",
    better: Better::Less,
};
const P50: Kind = Kind {
    name: "p50, µs",
    better: Better::Less,
};
const P99: Kind = Kind {
    name: "p99, µs",
    better: Better::Less,
};
const QUIET_P99: Kind = Kind {
    name: "p99 of a tenth of a second, the median of them, µs",
    better: Better::Less,
};
const P999: Kind = Kind {
    name: "p99.9, µs",
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
        Workload::Loading => loading::run(title, effort, tools),
    }
}

impl Bench<'_> {
    fn bulk(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        const SPEED: Kind = Kind {
            name: "GB/s",
            better: Better::More,
        };
        const COST: Kind = Kind {
            name: "relay CPU, s a GB",
            better: Better::Less,
        };
        let peers = [
            Peer::Direct,
            Peer::Haproxy,
            Peer::HaproxySplicing,
            Peer::Nginx,
            Peer::Go,
            Peer::Plain,
        ];
        let all = self.start(&peers, bulk::source()?, POOL)?;
        let mut tables = Vec::new();
        for streams in [1, 8] {
            let mut table = Table::new(format!("{title}; streams: {streams}"));
            self.in_turn(&all, |running| {
                let time = self.effort.time;
                let figures = bulk::run(running.address, streams, time, &running.meter)
                    .with_context(|| running.failed())?;
                table.push(running.peer, SPEED, figures.gigabytes_per_second);
                table.push(running.peer, COST, figures.cpu_seconds_per_gigabyte);
                Ok(())
            })?;
            tables.push(table);
        }
        Ok(tables)
    }

    fn requests(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        let peers = [&OTHERS[..], &[Peer::Bare, Peer::Plain]].concat();
        let (redis, exchanges) = self.redis(500)?;
        let all = self.start(&peers, redis.addr(), POOL)?;
        let mut tables = Vec::new();
        for sessions in [50, 500] {
            let mut table = Table::new(format!("{title}; sessions: {sessions}"));
            let reads: Vec<_> = exchanges[..sessions]
                .iter()
                .map(|own| vec![own[1].clone()])
                .collect();
            self.saturate_and_pace(&mut table, &all, &reads, 1)?;
            tables.push(table);
        }
        Ok(tables)
    }

    fn sessions(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        let peers = [
            &OTHERS[..],
            &[
                Peer::Plain,
                Peer::Chooser,
                Peer::Redis,
                Peer::RedisExclusive,
            ],
        ]
        .concat();
        let (redis, exchanges) = self.redis(1)?;
        let all = self.start(&peers, redis.addr(), AT_A_TIME)?;
        self.one_request_each(title, &redis, &all, &exchanges[0][1])
    }

    fn delayed(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        let peers = [
            Peer::Direct,
            Peer::Haproxy,
            Peer::Nginx,
            Peer::Go,
            Peer::Plain,
            Peer::Redis,
        ];
        let (redis, exchanges) = self.redis(1)?;
        let far = self.runtime.block_on(delay::before(redis.addr()))?;
        let all = self.start(&peers, far, AT_A_TIME)?;
        self.one_request_each(title, &redis, &all, &exchanges[0][1])
    }

    fn one_request_each(
        &self,
        title: &str,
        redis: &RedisServer,
        all: &[Running],
        read: &Exchange,
    ) -> anyhow::Result<Vec<Table>> {
        let mut table = Table::new(title);
        self.in_turn(all, |running| {
            let before = self.accepted(redis)?;
            let outcome = sessions::run(
                running.address,
                AT_A_TIME,
                read,
                self.effort.time,
                &running.meter,
            )
            .with_context(|| running.failed())?;
            let dials = self.accepted(redis)?.saturating_sub(before);
            let peer = running.peer;
            table.push(peer, RATE, outcome.per_second());
            table.push(peer, CPU, outcome.cpu_micros());
            // Those of the warm-up are among them.
            table.push(peer, DIALS, (dials as f64 / outcome.count as f64).min(1.0));
            push_latencies(&mut table, peer, &outcome);
            Ok(())
        })?;
        Ok(vec![table])
    }

    fn idle(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        const BYTES: Kind = Kind {
            name: "resident bytes a session",
            better: Better::Less,
        };
        const IDLE_CPU: Kind = Kind {
            name: "relay CPU, µs a second, of all of them",
            better: Better::Less,
        };
        let peers = [
            Peer::Haproxy,
            Peer::Nginx,
            Peer::Twemproxy,
            Peer::Go,
            Peer::Plain,
            Peer::Redis,
        ];
        let (redis, exchanges) = self.redis(1)?;
        let mut table = Table::new(format!("{title}; sessions: {}", self.many));
        for _ in 0..self.effort.rounds {
            for peer in peers {
                // Afresh each time: memory that a process has had once it keeps.
                let running = self.start(&[peer], redis.addr(), POOL)?.remove(0);
                let idle = Idle {
                    sessions: self.many,
                    exchange: &exchanges[0][1],
                    time: self.effort.time,
                };
                let cost = idle
                    .cost(running.address, &running.meter)
                    .with_context(|| running.failed())?;
                table.push(peer, BYTES, cost.bytes_each);
                table.push(peer, IDLE_CPU, cost.cpu_micros_a_second);
            }
        }
        Ok(vec![table])
    }

    fn ticking(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        let peers = [&OTHERS[..], &[Peer::Plain, Peer::Redis]].concat();
        let (redis, exchanges) = self.redis(1)?;
        let reads = vec![vec![exchanges[0][1].clone()]; self.many];
        let mut table = Table::new(format!("{title}; sessions: {}", self.many));
        let all = self.start(&peers, redis.addr(), POOL)?;
        self.in_turn(&all, |running| {
            let outcome = self.at_rate(running, &reads, self.many as f64)?;
            table.push(running.peer, CPU, outcome.cpu_micros());
            push_latencies(&mut table, running.peer, &outcome);
            Ok(())
        })?;
        Ok(vec![table])
    }

    fn thousand(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        let peers = [
            &OTHERS[..],
            &[
                Peer::BareLending,
                Peer::Plain,
                Peer::Redis,
                Peer::RedisExclusive,
            ],
        ]
        .concat();
        let (redis, exchanges) = self.redis(1000)?;
        let all = self.start(&peers, redis.addr(), POOL)?;
        let mut table = Table::new(title);
        self.in_turn(&all, |running| {
            let outcome = self.saturate(running, &exchanges)?;
            table.push(running.peer, RATE, outcome.per_second());
            table.push(running.peer, CPU, outcome.cpu_micros());
            Ok(())
        })?;
        Ok(vec![table])
    }

    fn shared(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        let peers = [&OTHERS[..], &[Peer::Redis, Peer::RedisExclusive]].concat();
        let (redis, exchanges) = self.redis(1000)?;
        let all = self.start(&peers, redis.addr(), POOL)?;
        let mut tables = Vec::new();
        for (clients, depth) in [(50, 1), (50, 16), (1000, 1)] {
            let mut table = Table::new(format!("{title}; clients: {clients}, each with {depth}"));
            let reads: Vec<_> = exchanges[..clients]
                .iter()
                .map(|own| vec![own[1].repeated(depth)])
                .collect();
            self.saturate_and_pace(&mut table, &all, &reads, depth)?;
            tables.push(table);
        }
        Ok(tables)
    }

    fn plugins(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        const SHARE: Kind = Kind {
            name: "relay CPU, of that without a plugin",
            better: Better::Less,
        };
        const CALLS: Kind = Kind {
            name: "plugin calls a request",
            better: Better::Less,
        };
        const CALL: Kind = Kind {
            name: "ns a plugin call, by the relay's own clock",
            better: Better::Less,
        };
        let peers = [
            Peer::Plain,
            Peer::Chooser,
            Peer::Passer,
            Peer::Redis,
            Peer::RedisExclusive,
        ];
        // As many sessions as the pools have connections: nobody waits in line.
        let (redis, exchanges) = self.redis(POOL)?;
        let reads: Vec<_> = exchanges.iter().map(|own| vec![own[1].clone()]).collect();
        let all = self.start(&peers, redis.addr(), POOL)?;
        let mut table = Table::new(title);
        for _ in 0..self.effort.rounds {
            let mut without = None;
            for running in &all {
                let before = self.runtime.block_on(running.calls());
                let outcome = self.saturate(running, &reads)?;
                let after = self.runtime.block_on(running.calls());
                let cpu = outcome.cpu_micros();
                table.push(running.peer, RATE, outcome.per_second());
                table.push(running.peer, CPU, cpu);
                table.push(running.peer, SHARE, cpu / *without.get_or_insert(cpu));
                let timed = after.timed - before.timed;
                if running.peer != Peer::Plain {
                    let calls = (after.calls - before.calls) / outcome.all as f64;
                    table.push(running.peer, CALLS, calls);
                }
                if timed > 0.0 {
                    let nanos = (after.seconds - before.seconds) / timed * 1e9;
                    table.push(running.peer, CALL, nanos);
                }
            }
        }
        Ok(vec![table])
    }

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

    /// In each round all peers carry as much as they can, and then half of what the slowest can:
    /// the same for all, or the slower ones would be asked for less. An exchange is `depth`
    /// requests.
    fn saturate_and_pace(
        &self,
        table: &mut Table,
        all: &[Running],
        exchanges: &[Vec<Exchange>],
        depth: usize,
    ) -> anyhow::Result<()> {
        for _ in 0..self.effort.rounds {
            let mut slowest = f64::INFINITY;
            for running in all {
                let outcome = self.saturate(running, exchanges)?;
                table.push(running.peer, RATE, outcome.per_second() * depth as f64);
                table.push(running.peer, CPU, outcome.cpu_micros() / depth as f64);
                slowest = slowest.min(outcome.per_second());
            }
            for running in all {
                let outcome = self.at_rate(running, exchanges, slowest / 2.0)?;
                push_latencies(table, running.peer, &outcome);
            }
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

    fn saturate(&self, running: &Running, clients: &[Vec<Exchange>]) -> anyhow::Result<Outcome> {
        let load = Load {
            address: running.address,
            clients,
            time: self.effort.time,
        };
        load.saturate(&running.meter)
            .with_context(|| running.failed())
    }

    fn at_rate(
        &self,
        running: &Running,
        clients: &[Vec<Exchange>],
        rate: f64,
    ) -> anyhow::Result<Outcome> {
        let load = Load {
            address: running.address,
            clients,
            time: self.effort.time,
        };
        load.at_rate(rate, &running.meter)
            .with_context(|| running.failed())
    }

    /// A server, and for each of so many clients a write and a read of a value that is its own.
    fn redis(&self, clients: usize) -> anyhow::Result<(RedisServer, Vec<Vec<Exchange>>)> {
        let server = RedisServer::start(&["--maxclients", "15000", "--tcp-backlog", "4096"]);
        let server = self.runtime.block_on(server);
        let exchanges: Vec<_> = (0..clients).map(own).collect();
        let writes: Vec<_> = exchanges.iter().map(|own| vec![own[0].clone()]).collect();
        let load = Load {
            address: server.addr(),
            clients: &writes,
            time: std::time::Duration::from_millis(50),
        };
        load.saturate(&Meter::new(None))
            .context("the server cannot be filled")?;
        Ok((server, exchanges))
    }

    /// Connections that the server has accepted so far.
    fn accepted(&self, redis: &RedisServer) -> anyhow::Result<u64> {
        self.runtime
            .block_on(redis.info("stats", "total_connections_received"))
            .context("redis-server does not count its connections")
    }
}

fn push_latencies(table: &mut Table, peer: Peer, outcome: &Outcome) {
    for (kind, percentile) in [(P50, 50.0), (P99, 99.0), (P999, 99.9)] {
        table.push(peer, kind, outcome.micros_at(percentile));
    }
    if let Some(p99) = outcome.quiet_p99_micros() {
        table.push(peer, QUIET_P99, p99);
    }
}

/// A write and a read of a client's own value.
fn own(client: usize) -> Vec<Exchange> {
    let key = format!("key:{client:05}");
    let value = format!("{client:0VALUE$}");
    vec![
        Exchange {
            request: encode(&["SET", &key, &value]),
            reply: b"+OK\r\n".to_vec(),
        },
        Exchange {
            request: encode(&["GET", &key]),
            reply: format!("${VALUE}\r\n{value}\r\n").into_bytes(),
        },
    ]
}
