//! Sessions that are there and say nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::Exchange;
use super::poll::{Client, Poll};
use crate::bench::usage::Meter;

/// What waiting for a figure to stand still may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sessions that do nothing, each after one exchange, as clients have had by the time they fall idle.
pub(in crate::bench) struct Idle<'a> {
    pub(in crate::bench) sessions: usize,
    pub(in crate::bench) exchange: &'a Exchange,
    /// How long they are looked at.
    pub(in crate::bench) time: Duration,
}

/// What they cost the relay.
pub(in crate::bench) struct Cost {
    /// Memory that each adds.
    pub(in crate::bench) bytes_each: f64,
    /// Processor time of all of them together.
    pub(in crate::bench) cpu_micros_a_second: f64,
}

impl Idle<'_> {
    pub(in crate::bench) fn cost(
        &self,
        address: SocketAddr,
        meter: &Meter,
    ) -> anyhow::Result<Cost> {
        // What is made once for all is not counted.
        let first = talked(address, 64, self.exchange)?;
        let before = settled(meter)?;
        let rest = talked(address, self.sessions, self.exchange)?;
        let after = settled(meter)?;
        let (began, busy) = (Instant::now(), meter.cpu()?);
        std::thread::sleep(self.time);
        let busy = meter.cpu()?.saturating_sub(busy);
        let seconds = began.elapsed().as_secs_f64();
        drop((first, rest));
        Ok(Cost {
            bytes_each: after.saturating_sub(before) as f64 / self.sessions as f64,
            cpu_micros_a_second: busy.as_secs_f64() * 1e6 / seconds,
        })
    }
}

fn talked(
    address: SocketAddr,
    sessions: usize,
    exchange: &Exchange,
) -> anyhow::Result<Vec<Client>> {
    let mut all = Vec::new();
    let mut poll = Poll::new()?;
    for number in 0..sessions {
        let mut client = Client::connect(address)?;
        poll.add(&client.stream, number)?;
        client.send(&exchange.request)?;
        loop {
            let ready = poll.wait(PATIENCE)?.count();
            if ready == 0 {
                bail!("a client has had no reply for {PATIENCE:?}");
            }
            if client.receive(&exchange.reply)? {
                break;
            }
        }
        all.push(client);
    }
    Ok(all)
}

/// The relay's memory, once it has been the same for a while.
fn settled(meter: &Meter) -> anyhow::Result<u64> {
    let started = Instant::now();
    let mut last = meter.memory()?;
    let mut same = 0;
    while same < 3 {
        if started.elapsed() > PATIENCE {
            bail!("the relay's memory does not stand still");
        }
        std::thread::sleep(Duration::from_millis(50));
        let now = meter.memory()?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
