//! Whether this process should be sent clients: one atomic that all threads share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where the process is between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not all listeners accept yet.
    Starting,
    /// Every listener accepts clients.
    Ready,
    /// Told to stop: no new clients, sessions are ending.
    Draining,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Starting => "starting",
            State::Ready => "ready",
            State::Draining => "draining",
        })
    }
}

/// The current [`State`]; clones show and set the same one.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// Begins as [`State::Starting`].
    pub fn new() -> Self {
        Self(Arc::new(AtomicU8::new(State::Starting as u8)))
    }

    /// Every later [`Readiness::get`] sees this.
    pub fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Release);
    }

    /// The state that was set last.
    pub fn get(&self) -> State {
        let state = self.0.load(Ordering::Acquire);
        if state == State::Ready as u8 {
            State::Ready
        } else if state == State::Draining as u8 {
            State::Draining
        } else {
            State::Starting
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}
