//! Sessions that are there and say nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Exchange;
use crate::bench::usage::Meter;

/// What waiting for a figure to stand still may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sessions that do nothing.
pub(in crate::bench) struct Idle {
    pub(in crate::bench) sessions: usize,
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

impl Idle {
    /// Opens sessions by `open`, which returns what keeps one open, and measures them.
    pub(in crate::bench) fn cost<S>(
        &self,
        meter: &Meter,
        mut open: impl FnMut() -> anyhow::Result<S>,
    ) -> anyhow::Result<Cost> {
        let mut opened = |count| -> anyhow::Result<Vec<S>> { (0..count).map(|_| open()).collect() };
        // What is made once for all is not counted.
        let first = opened(64)?;
        let before = settled(meter)?;
        let rest = opened(self.sessions)?;
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

/// A connection whose replies are waited for, but not for ever.
pub(super) fn connected(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address)
        .with_context(|| format!("a client cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A client that has had one exchange, as clients have by the time they fall idle.
pub(in crate::bench) fn answered(
    address: SocketAddr,
    exchange: &Exchange,
) -> anyhow::Result<TcpStream> {
    let mut stream = connected(address)?;
    stream
        .write_all(&exchange.request)
        .context("a client cannot send its request")?;
    let mut reply = vec![0; exchange.reply.len()];
    stream
        .read_exact(&mut reply)
        .context("a client cannot read its reply")?;
    if reply != exchange.reply {
        bail!(
            "a client got \"{}\", and not what it had asked for",
            reply.escape_ascii()
        );
    }
    Ok(stream)
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
