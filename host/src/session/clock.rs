//! The time limits of a session, and the one timer that keeps them.
//!
//! The timer exists only while a limit applies, and is moved only when it has fired: bytes that
//! come keep the limit away by a note of the time, not by a call to the runtime.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::driver::{LINGER, now};
use super::end::End;
use super::engine::Engine;
use crate::config::ListenerConfig;
use crate::contract::{Deadline, Side};

/// What the time limit is called that is the plugin's own.
const DEADLINE: &str = "deadline";

/// A limit that has passed.
#[derive(Debug, PartialEq)]
pub(super) enum Passed {
    /// One of the host's; its name in the config.
    Limit(&'static str),
    /// The plugin's own.
    Deadline(Deadline),
}

/// When things last happened in a session.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// The last time that anything moved, where a limit needs to know.
    moved: Instant,
    watches_idle: bool,
    choosing: Option<Instant>,
    choices: u64,
    half_closed: bool,
    midway: bool,
    /// The session has ended and waits for its client since.
    lingering: Option<Instant>,
    /// When the plugin's own deadline passes; in a box, since few sessions have one for long.
    deadline: Option<Box<(Instant, Deadline)>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    pub(super) fn new(config: &ListenerConfig) -> Self {
        let now = now();
        Self {
            started: now,
            moved: now,
            watches_idle: config.idle_timeout.is_some(),
            choosing: None,
            choices: 0,
            half_closed: false,
            midway: false,
            lingering: None,
            deadline: None,
            timer: None,
        }
    }

    pub(super) fn age(&self) -> Duration {
        now().saturating_duration_since(self.started)
    }

    /// Something has moved.
    pub(super) fn moved(&mut self) {
        if self.watches_idle || self.half_closed || self.midway {
            self.moved = now();
        }
    }

    /// The plugin has set itself a deadline, from now on, or has lifted it.
    pub(super) fn set_deadline(&mut self, deadline: Option<Deadline>) {
        self.deadline = deadline.and_then(|deadline| {
            // What is too far away to be told never comes.
            let at = now().checked_add(Duration::from_millis(deadline.ms))?;
            Some(Box::new((at, deadline)))
        });
    }

    /// The session has ended and all is written: starts the wait for the client.
    pub(super) fn lingering(&mut self) -> bool {
        if self.lingering.is_none() {
            self.lingering = Some(now());
        }
        true
    }

    /// Ready with the first limit that has passed.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        engine: &Engine,
        config: &ListenerConfig,
    ) -> Poll<Passed> {
        loop {
            let Some((deadline, name)) = self.next(engine, config) else {
                self.timer = None;
                return Poll::Pending;
            };
            if deadline <= now() {
                self.timer = None;
                return Poll::Ready(match self.deadline.take_if(|_| name == DEADLINE) {
                    Some(passed) => Passed::Deadline(passed.1),
                    None => Passed::Limit(name),
                });
            }
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if timer.deadline() > deadline || (timer.is_elapsed() && timer.deadline() < deadline) {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn next(
        &mut self,
        engine: &Engine,
        config: &ListenerConfig,
    ) -> Option<(Instant, &'static str)> {
        if let Some(since) = self.lingering {
            return Some((since + LINGER, "linger"));
        }
        let half_closed = engine.is_half_closed() || engine.end().is_some();
        if half_closed && !self.half_closed {
            self.half_closed = true;
            self.moved = now();
        }
        if let Some(end) = engine.end() {
            debug_assert!(engine.has_output(Side::Client));
            // Who has just let a limit pass is not waited for as long again.
            let limit = match end {
                End::Timeout(_) | End::Deadline(_) => LINGER.min(config.half_close_timeout),
                _ => config.half_close_timeout,
            };
            return Some((self.moved + limit, "half-close-timeout"));
        }
        let midway = engine.is_midway();
        if midway && !self.midway {
            self.moved = now();
        }
        self.midway = midway;
        if std::mem::replace(&mut self.choices, engine.choices()) != engine.choices() {
            self.choosing = None;
        }
        if engine.is_choosing() {
            self.choosing.get_or_insert_with(now);
        } else {
            self.choosing = None;
        }
        let limits = [
            self.choosing
                .map(|since| (since + config.preread_timeout, "preread-timeout")),
            config
                .first_byte_timeout
                .filter(|_| !engine.client_has_spoken())
                .map(|limit| (self.started + limit, "first-byte-timeout")),
            config
                .session_timeout
                .map(|limit| (self.started + limit, "session-timeout")),
            config
                .idle_timeout
                .map(|limit| (self.moved + limit, "idle-timeout")),
            self.deadline
                .as_ref()
                .map(|deadline| (deadline.0, DEADLINE)),
            midway.then(|| (self.moved + config.stall_timeout, "stall-timeout")),
            // A session that waits in line for its lease has not been left hanging.
            (half_closed && !engine.is_asking())
                .then(|| (self.moved + config.half_close_timeout, "half-close-timeout")),
        ];
        limits.into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
