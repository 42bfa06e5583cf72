//! A place in line: what somebody who waits for a connection holds.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::connection::Connection;
use crate::contract::LeaseError;
use crate::upstream::Permit;

/// What the line gives to who has waited.
pub(crate) enum Grant {
    /// A connection of the right identity.
    Connection(Box<Connection>),
    /// Room to open one.
    Room(Permit),
    /// The endpoint has been ejected: try another.
    Elsewhere,
    /// Nothing.
    Refused(LeaseError),
}

enum State {
    Waiting(Option<Waker>),
    Granted(Grant),
    Left,
}

/// Shared by who waits and the line.
#[derive(Clone)]
pub(crate) struct Seat(Rc<RefCell<State>>);

impl Seat {
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(State::Waiting(None))))
    }

    /// Gives it to who waits. Handed back if they have left.
    pub(crate) fn grant(&self, grant: Grant) -> Option<Grant> {
        let mut state = self.0.borrow_mut();
        match &mut *state {
            State::Waiting(waker) => {
                let waker = waker.take();
                *state = State::Granted(grant);
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
                None
            }
            State::Granted(_) | State::Left => Some(grant),
        }
    }

    /// Ready with what was granted, once.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Grant> {
        let mut state = self.0.borrow_mut();
        if let State::Waiting(waker) = &mut *state {
            match waker {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => *waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, State::Left) {
            State::Granted(grant) => Poll::Ready(grant),
            State::Waiting(_) | State::Left => Poll::Pending,
        }
    }

    /// Stops waiting; returns what was granted and not fetched.
    pub(crate) fn leave(&self) -> Option<Grant> {
        match std::mem::replace(&mut *self.0.borrow_mut(), State::Left) {
            State::Granted(grant) => Some(grant),
            State::Waiting(_) | State::Left => None,
        }
    }
}
