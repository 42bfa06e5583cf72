//! Requests of HTTP/1.1, by wrk.

use anyhow::Context;
use leaseway_tests::Nginx;

use super::{Bench, CPU, RATE};
use crate::bench::load::wrk::Wrk;
use crate::bench::peers::Peer;
use crate::bench::report::Table;

/// Connections of wrk, each with a request under way.
const CLIENTS: usize = 256;
/// Connections to the server that they share.
const SHARED: usize = 32;
/// What is answered, 64 bytes, and without a line in a log.
const SERVER: &str = "access_log off;\n\
    location / { return 200 'Sixty-four bytes, so that it is the heads that are what costs...'; }";

const PEERS: [Peer; 5] = [
    Peer::Direct,
    Peer::HaproxyHttp,
    Peer::HaproxyHttpOneThread,
    Peer::Http1,
    Peer::Http1OneWorker,
];

impl Bench<'_> {
    pub(super) fn http(&self, title: &str) -> anyhow::Result<Vec<Table>> {
        let server = self.runtime.block_on(Nginx::start(SERVER));
        let all = self.start(&PEERS, server.addr(), SHARED)?;
        let wrk = Wrk {
            clients: CLIENTS,
            time: self.effort.time,
        };
        let mut table = Table::new(title);
        self.in_turn(&all, |running| {
            let run = wrk.run(running.address, &running.meter);
            let figures = self
                .runtime
                .block_on(run)
                .with_context(|| running.failed())?;
            table.push(running.peer, RATE, figures.per_second);
            table.push(running.peer, CPU, figures.cpu_micros);
            Ok(())
        })?;
        Ok(vec![table])
    }
}
