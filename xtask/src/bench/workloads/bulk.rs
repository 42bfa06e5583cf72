//! Bytes as fast as they go.

use anyhow::Context;

use super::{Bench, POOL};
use crate::bench::load::bulk;
use crate::bench::peers::Peer;
use crate::bench::report::{Kind, Table};
use crate::bench::series::Better;

impl Bench<'_> {
    pub(super) fn bulk(&self, title: &str) -> anyhow::Result<Vec<Table>> {
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
}
