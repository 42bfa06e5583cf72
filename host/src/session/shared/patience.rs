//! How long a shared connection waits: for a client that does not read, and for a server that says
//! nothing.

use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{REPLY_HIGH_WATER, State};
use super::crowd::Crowd;
use super::member::Inbox;
use crate::config::SlowReader;

/// What a client has to take within `slow-reader-timeout` while others wait behind it, or it is slow.
const PACE: u64 = 64 << 10;

/// How often within that time it is looked at.
const LOOKS: u32 = 4;

/// Somebody who does not take what waits for it.
pub(super) struct HeldUp {
    by: Rc<Inbox>,
    /// What its client had taken, and when that was known.
    taken: u64,
    since: Instant,
    /// The next look.
    timer: Pin<Box<Sleep>>,
}

impl HeldUp {
    fn new(by: &Rc<Inbox>, now: Instant, look: Duration) -> Self {
        // The answer comes before the next look.
        by.asks_what_is_taken();
        Self {
            by: Rc::clone(by),
            taken: by.taken(),
            since: now,
            timer: Box::pin(sleep_until(now + look)),
        }
    }

    /// Whether its client has taken too little for too long. Known by the last look's answer.
    fn is_slow(&mut self, now: Instant, limit: Duration) -> bool {
        let taken = self.by.taken();
        if taken.saturating_sub(self.taken) >= PACE {
            self.taken = taken;
            self.since = now;
        }
        self.by.asks_what_is_taken();
        now.saturating_duration_since(self.since) >= limit
    }
}

impl State {
    /// Whether nothing has moved for `stall-timeout`, in the middle of a reply or in front of one
    /// that nobody waits for any more. Clients that wait for a reply to begin may do so, as on a
    /// connection of their own.
    pub(super) fn is_stalled(&mut self, crowd: &Crowd, cx: &mut Context<'_>) -> bool {
        let limit = crowd.context.config.stall_timeout;
        let timer = self
            .silence
            .get_or_insert_with(|| Box::pin(sleep_until(self.moved + limit)));
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let due = self.moved + limit;
            if due <= now && self.held_up.is_none() && self.order.is_given_up() {
                return true;
            }
            timer
                .as_mut()
                .reset(if due > now { due } else { now + limit });
        }
        false
    }

    /// The first in order may stand still for a while, but not while others wait behind it, or for
    /// the connection.
    pub(super) fn watch_held_up(
        &mut self,
        is_wanted: bool,
        crowd: &Rc<Crowd>,
        cx: &mut Context<'_>,
    ) {
        if !self.order.is_held_up(REPLY_HIGH_WATER) {
            self.held_up = None;
            return;
        }
        let Some(front) = self.order.front().cloned() else {
            return;
        };
        front.tell_when_taken(cx.waker());
        let limit = crowd.slow_reader_timeout();
        let look = limit / LOOKS;
        let now = Instant::now();
        if self
            .held_up
            .as_ref()
            .is_none_or(|held_up| !Rc::ptr_eq(&held_up.by, &front))
        {
            self.held_up = Some(HeldUp::new(&front, now, look));
        }
        let Some(held_up) = &mut self.held_up else {
            return;
        };
        let mut is_slow = false;
        while held_up.timer.as_mut().poll(cx).is_ready() {
            is_slow |= held_up.is_slow(now, limit);
            held_up.timer.as_mut().reset(now + look);
        }
        if is_slow {
            self.goes_on_without(&front, is_wanted, crowd);
        }
    }

    /// The first in order is slow: if anybody waits because of that, its session ends, or the
    /// others go elsewhere.
    fn goes_on_without(&mut self, front: &Rc<Inbox>, is_wanted: bool, crowd: &Rc<Crowd>) {
        let behind = self.order.others();
        if behind == 0 && !is_wanted && !crowd.has_waiting() {
            return;
        }
        let moves = crowd.slow_reader() == SlowReader::Move && !self.set_apart;
        if !moves || !crowd.has_room_elsewhere(behind.max(1)) {
            return front.too_slow();
        }
        self.set_apart = true;
        front.set_apart();
        self.leaving = self.order.release_others();
        crowd.moved(self.leaving.len());
        if let Some(held_up) = &mut self.held_up {
            held_up.since = Instant::now();
        }
        // Those that found no room here may find some elsewhere.
        crowd.freed_one();
    }
}
