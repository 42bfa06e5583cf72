//! A session for each request: connect, ask, read the reply, close.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::poll::{Client, Poll};
use super::requests::{PATIENCE, WARM_UP, Window};
use super::{Exchange, Outcome};
use crate::bench::usage::Meter;

/// So many sessions at a time, each followed by another.
pub(in crate::bench) fn run(
    address: SocketAddr,
    at_a_time: usize,
    exchange: &Exchange,
    time: Duration,
    meter: &Meter,
) -> anyhow::Result<Outcome> {
    let mut poll = Poll::new()?;
    let open = |poll: &Poll, number: usize| -> anyhow::Result<(Client, Instant)> {
        let began = Instant::now();
        let mut client = Client::connect(address)?;
        client.send(&exchange.request)?;
        poll.add(&client.stream, number)?;
        Ok((client, began))
    };
    let mut all = Vec::new();
    for number in 0..at_a_time {
        all.push(open(&poll, number)?);
    }
    let mut window = Window::opens_at(Instant::now() + WARM_UP, time)?;
    let mut done = Vec::new();
    let mut waiting = all.len();
    let mut heard = Instant::now();
    // At the end nobody leaves without its reply: not every relay that pools would notice.
    while waiting > 0 {
        let over = window.is_over(Instant::now(), meter)?;
        done.clear();
        for number in poll.wait(Duration::from_millis(100))? {
            let (client, began) = &mut all[number];
            if client.receive(&exchange.reply)? {
                window.count(began.elapsed());
                done.push(number);
                heard = Instant::now();
            }
        }
        if over {
            waiting -= done.len();
            done.clear();
        }
        for number in &done {
            // The new one takes the place of the old one, which is closed by that.
            all[*number] = open(&poll, *number)?;
        }
        if heard.elapsed() > PATIENCE {
            bail!("no client has had a reply for {PATIENCE:?}");
        }
    }
    window.close(meter)
}
