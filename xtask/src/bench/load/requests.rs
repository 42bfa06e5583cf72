//! Requests on sessions that stay: as many as there can be, or as many as are asked for.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::poll::{Client, Poll};
use super::{Exchange, Outcome, histogram, record};
use crate::bench::usage::Meter;

/// Before anything is measured.
pub(super) const WARM_UP: Duration = Duration::from_millis(300);
/// A reply that takes longer never comes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Clients, each with exchanges of its own that it goes through again and again.
pub(in crate::bench) struct Load<'a> {
    pub(in crate::bench) address: SocketAddr,
    pub(in crate::bench) clients: &'a [Vec<Exchange>],
    pub(in crate::bench) time: Duration,
}

/// A client, and when its request was due.
struct Busy {
    client: Client,
    at: usize,
    due: Instant,
}

impl Load<'_> {
    fn connect(&self, poll: &Poll) -> anyhow::Result<Vec<Busy>> {
        let mut all = Vec::new();
        for number in 0..self.clients.len() {
            let client = Client::connect(self.address)?;
            poll.add(&client.stream, number)?;
            all.push(Busy {
                client,
                at: 0,
                due: Instant::now(),
            });
        }
        Ok(all)
    }

    /// Each client sends its next request when it has the reply to the last (a closed loop), so the
    /// count says how much can be carried, and the latencies only how long the queue was.
    pub(in crate::bench) fn saturate(&self, meter: &Meter) -> anyhow::Result<Outcome> {
        let mut poll = Poll::new()?;
        let mut all = self.connect(&poll)?;
        for (number, busy) in all.iter_mut().enumerate() {
            busy.client.send(&self.clients[number][0].request)?;
        }
        let mut window = Window::opens_at(Instant::now() + WARM_UP, self.time)?;
        let mut heard = Instant::now();
        let mut waiting = all.len();
        // At the end nobody leaves without its reply: not every relay that pools would notice.
        while waiting > 0 {
            let mut now = Instant::now();
            let over = window.is_over(now, meter)?;
            for number in poll.wait(Duration::from_millis(100))? {
                let busy = &mut all[number];
                let own = &self.clients[number];
                if !busy.client.receive(&own[busy.at % own.len()].reply)? {
                    continue;
                }
                now = Instant::now();
                heard = now;
                window.count(now - busy.due);
                if over {
                    waiting -= 1;
                    continue;
                }
                busy.at += 1;
                busy.due = now;
                busy.client.send(&own[busy.at % own.len()].request)?;
            }
            if now - heard > PATIENCE {
                bail!("no client has had a reply for {PATIENCE:?}");
            }
        }
        window.close(meter)
    }

    /// One exchange on each session, so that it has what it needs before the clock starts.
    fn prime(&self, poll: &mut Poll, all: &mut [Busy]) -> anyhow::Result<()> {
        for (number, busy) in all.iter_mut().enumerate() {
            busy.client.send(&self.clients[number][0].request)?;
        }
        let mut waiting = all.len();
        let mut heard = Instant::now();
        while waiting > 0 {
            for number in poll.wait(Duration::from_millis(100))? {
                heard = Instant::now();
                if all[number].client.receive(&self.clients[number][0].reply)? {
                    waiting -= 1;
                }
            }
            if heard.elapsed() > PATIENCE {
                bail!("{waiting} clients have had no reply for {PATIENCE:?}");
            }
        }
        Ok(())
    }

    /// Requests fall due at a fixed rate, whether or not earlier ones have been answered (an open
    /// loop), and wait for a client that is free: time in that line counts, or a relay that stalls
    /// would be asked less and look better (coordinated omission).
    pub(in crate::bench) fn at_rate(&self, rate: f64, meter: &Meter) -> anyhow::Result<Outcome> {
        let mut poll = Poll::new()?;
        let mut all = self.connect(&poll)?;
        self.prime(&mut poll, &mut all)?;
        let mut free: VecDeque<usize> = (0..all.len()).collect();
        let mut line: VecDeque<Instant> = VecDeque::new();
        let start = Instant::now();
        let mut window = Window::opens_at(start + WARM_UP, self.time)?;
        let end = start + WARM_UP + self.time;
        let due_at = |n: u64| start + Duration::from_secs_f64(n as f64 / rate);
        let mut next = 0;
        loop {
            let now = Instant::now();
            window.is_over(now, meter)?;
            while due_at(next) <= now && due_at(next) < end {
                line.push_back(due_at(next));
                next += 1;
            }
            while !line.is_empty()
                && let Some(number) = free.pop_front()
                && let Some(due) = line.pop_front()
            {
                let busy = &mut all[number];
                let own = &self.clients[number];
                busy.due = due;
                busy.client.send(&own[busy.at % own.len()].request)?;
            }
            if now >= end && line.is_empty() && free.len() == all.len() {
                return window.close(meter);
            }
            if now > end + PATIENCE {
                bail!(
                    "{} requests have had no reply for {PATIENCE:?}",
                    all.len() - free.len()
                );
            }
            let wait = match line.is_empty() && now < end {
                true => due_at(next).saturating_duration_since(now),
                false => Duration::from_millis(100),
            };
            for number in poll.wait(wait)? {
                let busy = &mut all[number];
                let own = &self.clients[number];
                if busy.client.receive(&own[busy.at % own.len()].reply)? {
                    // By when it was due, also if it ended after the window.
                    window.count_due(busy.due, Instant::now() - busy.due);
                    busy.at += 1;
                    free.push_back(number);
                }
            }
        }
    }
}

/// The time that is measured, behind a warm-up.
pub(super) struct Window {
    opens: Instant,
    length: Duration,
    cpu: Option<Duration>,
    closed: Option<Instant>,
    outcome: Outcome,
}

impl Window {
    pub(super) fn opens_at(opens: Instant, length: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            opens,
            length,
            cpu: None,
            closed: None,
            outcome: Outcome {
                count: 0,
                all: 0,
                elapsed: Duration::ZERO,
                cpu: Duration::ZERO,
                latencies: histogram()?,
                slices: Vec::new(),
            },
        })
    }

    /// Takes the meter's readings as the time comes; whether the window is over.
    pub(super) fn is_over(&mut self, now: Instant, meter: &Meter) -> anyhow::Result<bool> {
        if now < self.opens || self.closed.is_some() {
            return Ok(self.closed.is_some());
        }
        let Some(before) = self.cpu else {
            self.cpu = Some(meter.cpu()?);
            self.opens = now;
            return Ok(false);
        };
        if now < self.opens + self.length {
            return Ok(false);
        }
        self.outcome.cpu = meter.cpu()?.saturating_sub(before);
        self.outcome.elapsed = now - self.opens;
        self.closed = Some(now);
        Ok(true)
    }

    /// One more, if the window is open.
    pub(super) fn count(&mut self, took: Duration) {
        self.outcome.all += 1;
        if self.cpu.is_some() && self.closed.is_none() {
            self.outcome.count += 1;
            record(&mut self.outcome.latencies, took);
        }
    }

    fn count_due(&mut self, due: Instant, took: Duration) {
        self.outcome.all += 1;
        if self.cpu.is_some() && due >= self.opens {
            self.outcome.count += 1;
            record(&mut self.outcome.latencies, took);
            self.outcome.record_due(due - self.opens, took);
        }
    }

    /// What came of it.
    pub(super) fn close(mut self, meter: &Meter) -> anyhow::Result<Outcome> {
        // An open loop may be done a moment before the time is.
        self.length = self.length.min(self.opens.elapsed());
        self.is_over(Instant::now(), meter)?;
        if self.outcome.count == 0 {
            bail!("nothing was answered in {:?}", self.length);
        }
        Ok(self.outcome)
    }
}
