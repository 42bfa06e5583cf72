//! Requests to Redis, each with a reply that is known beforehand.

use std::time::Duration;

use anyhow::Context;
use leaseway_tests::RedisServer;
use leaseway_tests::resp::encode;

use super::{Bench, CPU, POOL, RATE};
use crate::bench::load::requests::Load;
use crate::bench::load::{Exchange, Outcome, delay, idle, sessions};
use crate::bench::peers::{Peer, Running};
use crate::bench::report::{Kind, Table};
use crate::bench::series::Better;
use crate::bench::usage::Meter;

/// Bytes of a value.
const VALUE: usize = 64;
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

impl Bench<'_> {
    pub(super) fn requests(&self, title: &str) -> anyhow::Result<Vec<Table>> {
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

    pub(super) fn sessions(&self, title: &str) -> anyhow::Result<Vec<Table>> {
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

    pub(super) fn delayed(&self, title: &str) -> anyhow::Result<Vec<Table>> {
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

    pub(super) fn idle(&self, title: &str) -> anyhow::Result<Vec<Table>> {
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
                let open = || idle::answered(running.address, &exchanges[0][1]);
                self.push_idle(&mut table, &running, self.many, open)?;
            }
        }
        Ok(vec![table])
    }

    pub(super) fn ticking(&self, title: &str) -> anyhow::Result<Vec<Table>> {
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

    pub(super) fn thousand(&self, title: &str) -> anyhow::Result<Vec<Table>> {
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

    pub(super) fn shared(&self, title: &str) -> anyhow::Result<Vec<Table>> {
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

    pub(super) fn plugins(&self, title: &str) -> anyhow::Result<Vec<Table>> {
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
            time: Duration::from_millis(50),
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
