//! The sessions of one worker: how many there are, and how to wake them all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use slab::Slab;
use tokio::sync::Notify;

/// What a worker asks of all its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Phase {
    /// Go on.
    #[default]
    Serving,
    /// End as soon as no connection is leased.
    Draining,
    /// The drain time-out has passed, or a second signal came: end now.
    Stopping,
    /// All sessions have ended.
    Gone,
}

/// The sessions of one worker.
#[derive(Debug, Default)]
pub struct Registry {
    wakers: RefCell<Slab<Option<Waker>>>,
    phase: Cell<Phase>,
    emptied: Notify,
}

impl Registry {
    /// No sessions, serving.
    pub fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Sessions that have not ended.
    pub fn len(&self) -> usize {
        self.wakers.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.wakers.borrow().is_empty()
    }

    /// What is asked of the sessions now.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Asks it, and wakes every session to hear it. Phases only go forward.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.set(phase.max(self.phase.get()));
        self.wake_all();
    }

    /// Wakes every session, to look at what has changed for all of them.
    pub fn wake_all(&self) {
        for (_, waker) in self.wakers.borrow().iter() {
            if let Some(waker) = waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Waits until there are no sessions.
    pub async fn emptied(&self) {
        loop {
            let notified = self.emptied.notified();
            if self.is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// Takes part for as long as the ticket lives.
    pub fn enter(self: &Rc<Self>) -> Ticket {
        let key = self.wakers.borrow_mut().insert(None);
        Ticket {
            registry: Rc::clone(self),
            key,
            known: false,
        }
    }
}

/// A session's place in the registry.
#[derive(Debug)]
pub struct Ticket {
    registry: Rc<Registry>,
    key: usize,
    known: bool,
}

impl Ticket {
    /// What is asked of the session; wakes its task when that changes. A task keeps its waker.
    pub fn phase(&mut self, cx: &Context<'_>) -> Phase {
        if !self.known {
            self.known = true;
            if let Some(entry) = self.registry.wakers.borrow_mut().get_mut(self.key) {
                *entry = Some(cx.waker().clone());
            }
        }
        self.registry.phase()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.registry.wakers.borrow_mut().remove(self.key);
        if self.registry.is_empty() {
            self.registry.emptied.notify_one();
        }
    }
}
