//! Transactions of PostgreSQL, by pgbench.

use std::time::Duration;

use anyhow::Context;
use leaseway_tests::PostgresServer;
use leaseway_tests::postgres::url;

use super::{Bench, POOL};
use crate::bench::load::login;
use crate::bench::load::pgbench::{Pgbench, Protocol};
use crate::bench::peers::{Peer, Running};
use crate::bench::report::{Kind, Table};
use crate::bench::series::Better;

/// Clients of pgbench: more than connections, so that a relay has to lend them.
const CLIENTS: usize = 32;
/// Threads of pgbench that they are dealt to.
const THREADS: usize = 2;
/// Times 100,000 rows.
const SCALE: u32 = 10;
/// Clients that have logged in and do nothing.
const IDLE: usize = 1000;
/// Trusted by the server and by the relays, so that a login costs all of them the same.
const USER: &str = "postgres";
const DATABASE: &str = "postgres";
/// Each peer's connections are opened, and the table is read once, before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

const RATE: Kind = Kind {
    name: "transactions/s",
    better: Better::More,
};
const CPU: Kind = Kind {
    name: "relay CPU, µs a transaction",
    better: Better::Less,
};
const LATE: Kind = Kind {
    name: "transactions longer than 500 ms",
    better: Better::Less,
};

/// Leaseway with one worker beside a rival that has one thread, and with all cores. Without a plugin it lends nothing, so each
/// client has a connection: that is the least that its own work costs.
const PEERS: [Peer; 5] = [
    Peer::Direct,
    Peer::PgBouncer,
    Peer::PlainOneWorker,
    Peer::PostgresOneWorker,
    Peer::Postgres,
];

impl Bench<'_> {
    pub(super) fn postgres(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        let server = self.runtime.block_on(PostgresServer::start());
        let url = server.url(USER, DATABASE);
        self.runtime.block_on(Pgbench::fill(&url, SCALE))?;
        let mut tables = self.transactions(title, &server)?;
        tables.push(self.logged_in(&server)?);
        Ok(tables)
    }

    fn transactions(&self, title: &str, server: &PostgresServer) -> anyhow::Result<Vec<Table>> {
        let all = self.start(&PEERS, server.addr(), POOL)?;
        let kept = |protocol| Pgbench {
            clients: CLIENTS,
            threads: THREADS,
            protocol,
            reconnects: false,
            time: self.effort.time,
        };
        let warm_up = Pgbench {
            time: WARM_UP,
            ..kept(Protocol::Simple)
        };
        for running in &all {
            let url = address(running);
            self.runtime
                .block_on(warm_up.run(&url, &running.meter))
                .with_context(|| running.failed())?;
        }
        let reconnecting = |threads| Pgbench {
            threads,
            reconnects: true,
            ..kept(Protocol::Simple)
        };
        let mut tables = Vec::new();
        for (name, work) in [
            ("simple protocol", kept(Protocol::Simple)),
            ("extended protocol", kept(Protocol::Extended)),
            ("prepared statements", kept(Protocol::Prepared)),
            (
                "a connection for each, 2 logins at a time",
                reconnecting(THREADS),
            ),
            (
                "a connection for each, 32 logins at a time",
                reconnecting(CLIENTS),
            ),
        ] {
            let mut table = Table::new(format!("{title}; {name}"));
            self.in_turn(&all, |running| {
                self.push_run(&mut table, running, work);
                Ok(())
            })?;
            tables.push(table);
        }
        Ok(tables)
    }

    /// One run of one peer. One that fails says why in place of figures, and is not asked again:
    /// what a pooler cannot do is a result too.
    fn push_run(&self, table: &mut Table, running: &Running, work: Pgbench) {
        let peer = running.peer;
        if table.has_given_up(peer) {
            return;
        }
        if peer == Peer::PgBouncer
            && work.protocol == Protocol::Prepared
            && !self.tools.pgbouncer_follows_statements
        {
            table.give_up(peer, RATE, "not supported before PgBouncer 1.21");
            return;
        }
        let url = address(running);
        match self.runtime.block_on(work.run(&url, &running.meter)) {
            Ok(figures) => {
                table.push(peer, RATE, figures.per_second);
                table.push(peer, CPU, figures.cpu_micros);
                table.push(peer, LATE, figures.late as f64);
            }
            Err(why) => {
                eprintln!("warning: {why:#}: {}", running.failed());
                table.give_up(peer, RATE, format!("failed: {why:#}"));
            }
        }
    }

    fn logged_in(&self, server: &PostgresServer) -> anyhow::Result<Table> {
        let sessions = self.many.min(IDLE);
        let title =
            format!("postgres: clients that do nothing after a login; sessions: {sessions}");
        let mut table = Table::new(title);
        for _ in 0..self.effort.rounds {
            for peer in [Peer::PgBouncer, Peer::PostgresOneWorker, Peer::Postgres] {
                // Afresh each time: memory that a process has had once it keeps.
                for running in self.start(&[peer], server.addr(), POOL)? {
                    let open = || login::logged_in(running.address, USER, DATABASE);
                    self.push_idle(&mut table, &running, sessions, open)?;
                }
            }
        }
        Ok(table)
    }
}

fn address(running: &Running) -> String {
    url(running.address, USER, "", DATABASE)
}
