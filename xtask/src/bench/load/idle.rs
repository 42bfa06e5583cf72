//! Sessions that are there and say nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::Exchange;
use super::poll::{Client, Poll};
use crate::bench::usage::Meter;

/// What waiting for a figure to stand still may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that each of so many sessions adds to the relay's memory. Each has had one exchange, as
/// clients have by the time they fall idle.
pub(in crate::bench) fn bytes_each(
    address: SocketAddr,
    sessions: usize,
    exchange: &Exchange,
    meter: &Meter,
) -> anyhow::Result<f64> {
    // What is made once for all is not counted.
    let first = talked(address, 64, exchange)?;
    let before = settled(meter)?;
    let rest = talked(address, sessions, exchange)?;
    let after = settled(meter)?;
    drop((first, rest));
    Ok(after.saturating_sub(before) as f64 / sessions as f64)
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
