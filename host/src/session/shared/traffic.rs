//! What passes on a shared connection: requests out, replies in, each to whom it belongs.

use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::task::coop::has_budget_remaining;
use tokio::time::Instant;

use super::connection::{MAX_UNMEASURED, REPLY_HIGH_WATER, State};
use super::crowd::Crowd;
use super::order::Owner;
use crate::copy::{BULK_SIZE, Passing, Room};
use crate::lease::Lease;
use crate::session::stream::{read, write};

/// Reads and writes of one wake-up before other tasks get a turn.
const MAX_ROUNDS: u32 = 16;

impl State {
    /// Writes and reads; ready when nothing is outstanding, or with why the connection is of no
    /// more use.
    pub(super) fn pump(
        &mut self,
        lease: &mut Lease,
        crowd: &Rc<Crowd>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), String>> {
        if lease.is_ended() {
            return Poll::Ready(Err("its endpoint was ejected".to_owned()));
        }
        let mut done = 0;
        let mut moved = false;
        let mut heard = false;
        let mut broke = None;
        for round in 0.. {
            let wrote = self.write(lease, cx, &mut done);
            let read = match self.read(lease, crowd, cx, &mut done) {
                Ok(read) => read,
                Err(why) => {
                    broke = Some(why);
                    break;
                }
            };
            if self.order.is_empty() {
                break;
            }
            if !wrote && !read {
                // A read that had to wait for its turn says nothing of what has come.
                if has_budget_remaining() && !self.order.is_held_up(REPLY_HIGH_WATER) {
                    broke = self.write_failed.take();
                }
                break;
            }
            moved = true;
            heard |= read;
            if round == MAX_ROUNDS {
                cx.waker().wake_by_ref();
                break;
            }
        }
        if done > 0 {
            crowd.freed(done);
        }
        if let Some(why) = broke {
            return Poll::Ready(Err(why));
        }
        if self.order.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let now = Instant::now();
        self.past_use = crowd
            .group()
            .is_some_and(|group| lease.is_past_use(group, now));
        let is_wanted = lease.is_wanted();
        self.watch_held_up(is_wanted, crowd, cx);
        if self.is_slow() && crowd.another_comes_to_rest() {
            self.keeps(crowd);
        } else if is_wanted && !self.gives_way {
            self.gives_way = crowd.gives_way();
        }
        if moved {
            self.moved = now;
        }
        if heard {
            self.heard = now;
        }
        match self.is_stalled(crowd, cx) {
            true => Poll::Ready(Err("nothing has moved for stall-timeout".to_owned())),
            false => Poll::Pending,
        }
    }

    /// Writes what there is to write. True if anything went.
    fn write(&mut self, lease: &mut Lease, cx: &mut Context<'_>, done: &mut usize) -> bool {
        let mut moved = false;
        while self.write_failed.is_none() && !self.order.unwritten().is_empty() {
            let unwritten = self.order.unwritten();
            match write(lease.stream_mut(), cx, unwritten, Passing::Memory(&[])) {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) => {
                    lease.wrote(count);
                    *done += self.order.wrote(count);
                    moved = true;
                }
                Poll::Ready(Err(error)) => {
                    lease.failed(&error);
                    self.write_failed = Some(error.to_string());
                }
            }
        }
        moved
    }

    fn read(
        &mut self,
        lease: &mut Lease,
        crowd: &Crowd,
        cx: &mut Context<'_>,
        done: &mut usize,
    ) -> Result<bool, String> {
        // What is there already, before more.
        let mut moved = self.deal_out(crowd, done)?;
        if self.order.is_held_up(REPLY_HIGH_WATER) || self.input.len() >= MAX_UNMEASURED {
            return Ok(moved);
        }
        let buffers = &crowd.context.buffers;
        let in_bulk = self.order.passing() >= BULK_SIZE as u64;
        let limit = if in_bulk { BULK_SIZE } else { MAX_UNMEASURED };
        let space = self.input.space(buffers, limit, in_bulk);
        match read(lease.stream_mut(), cx, Room::Memory(space)) {
            Poll::Pending => {}
            Poll::Ready(Ok(0)) => {
                lease.ended();
                return Err("the upstream closed the connection".to_owned());
            }
            Poll::Ready(Ok(count)) => {
                self.input.filled(count);
                if lease.is_unasked() {
                    return Err("it sent bytes that nobody had asked for".to_owned());
                }
                lease.replied();
                self.deal_out(crowd, done)?;
                moved = true;
            }
            Poll::Ready(Err(error)) => {
                lease.failed(&error);
                return Err(error.to_string());
            }
        }
        self.input.settle(buffers);
        Ok(moved)
    }

    /// Gives the bytes that are here to whom they belong. True if any have gone.
    fn deal_out(&mut self, crowd: &Crowd, done: &mut usize) -> Result<bool, String> {
        let before = self.input.len();
        loop {
            *done += self.pass(crowd);
            if self.input.is_empty()
                || self.order.passing() > 0
                || self.order.is_held_up(REPLY_HIGH_WATER)
            {
                break;
            }
            if self.order.is_empty() {
                return Err("it sent bytes that nobody had asked for".to_owned());
            }
            let held = self.input.len();
            if held <= self.shown {
                if held >= MAX_UNMEASURED {
                    return Err(format!(
                        "the plugin cannot measure a reply by its first {MAX_UNMEASURED} bytes"
                    ));
                }
                break;
            }
            // Between two replies it remembers nothing, and another will do as well.
            self.measure
                .take_if(|measure| !measure.is_live() && !self.order.is_midway());
            let measure = match &mut self.measure {
                Some(measure) => measure,
                none => none.insert(crowd.measure()?),
            };
            let spans = measure
                .measure(self.input.bytes())
                .map_err(|fault| fault.to_string())??;
            // What stands behind the parts that were measured is shown again at once.
            self.shown = if spans.is_empty() { held } else { 0 };
            for span in spans {
                if self.order.passing() > 0 {
                    return Err("the plugin measured a part behind one that goes on".to_owned());
                }
                self.order
                    .begin(span.length, span.ends)
                    .map_err(|stray| stray.to_string())?;
                *done += self.pass(crowd);
            }
        }
        Ok(self.input.len() < before)
    }

    /// Passes on what of the input belongs to the reply under way.
    fn pass(&mut self, crowd: &Crowd) -> usize {
        let swallows = self.order.front().is_some_and(Owner::is_gone);
        let (count, done) = self.order.pass(self.input.bytes());
        self.input.consume(count);
        if swallows {
            crowd.context.counters.from_upstream.inc_by(count as u64);
        }
        done
    }
}
