//! How long a shared connection waits: for a client that does not read, and for a server that says
//! nothing.

use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;

use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{REPLY_HIGH_WATER, State};
use super::crowd::Crowd;
use super::member::Inbox;
use crate::config::SlowReader;

/// Somebody who does not take what waits for it.
pub(super) struct HeldUp {
    by: Rc<Inbox>,
    /// How often its client had taken something, when the timer was set.
    taken: u64,
    timer: Pin<Box<Sleep>>,
    /// All others who can have left for another connection.
    alone: bool,
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
    pub(super) fn watch_held_up(&mut self, is_wanted: bool, crowd: &Crowd, cx: &mut Context<'_>) {
        if !self.order.is_held_up(REPLY_HIGH_WATER) {
            self.held_up = None;
            return;
        }
        let Some(front) = self.order.front().cloned() else {
            return;
        };
        front.tell_when_taken(cx.waker());
        let due = || Instant::now() + crowd.slow_reader_timeout();
        let held_up = self.held_up.get_or_insert_with(|| HeldUp {
            by: Rc::clone(&front),
            taken: front.taken(),
            timer: Box::pin(sleep_until(due())),
            alone: false,
        });
        if !Rc::ptr_eq(&held_up.by, &front) || held_up.taken != front.taken() {
            held_up.by = Rc::clone(&front);
            held_up.taken = front.taken();
            held_up.timer.as_mut().reset(due());
            held_up.alone = false;
        }
        while held_up.timer.as_mut().poll(cx).is_ready() {
            held_up.timer.as_mut().reset(due());
            let others_wait = self.order.others_wait();
            match crowd.slow_reader() {
                SlowReader::Close if others_wait || is_wanted => front.too_slow(),
                SlowReader::Move if others_wait && held_up.alone => front.too_slow(),
                SlowReader::Move if others_wait => {
                    held_up.alone = true;
                    self.closing = true;
                    front.set_apart();
                    self.leaving = self.order.release_others();
                }
                SlowReader::Close | SlowReader::Move => {}
            }
        }
    }
}
