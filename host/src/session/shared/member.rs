//! A session's side of shared connections: what has come for it, and where its requests go.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::connection::SharedConnection;
use super::crowd::Crowd;
use super::order::{Failure, Owner};
use crate::contract::{Request, Target};
use crate::copy::BufferPool;
use crate::session::context::ListenerContext;

/// What has come for a session since it last looked.
#[derive(Debug, Default)]
pub(in crate::session) struct Mail {
    /// Bytes of replies.
    pub(in crate::session) bytes: Vec<u8>,
    /// Requests that have had all their replies.
    pub(in crate::session) finished: u32,
    /// Requests that get none any more, each with the number of `bytes` that come before it.
    pub(in crate::session) failures: Vec<(usize, Failure)>,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.finished == 0 && self.failures.is_empty()
    }
}

/// Where a session stands with the line of those that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Place {
    /// Nowhere.
    #[default]
    None,
    /// In it.
    InLine,
    /// It has been called, and has not come yet.
    Called,
}

/// A session, as shared connections know it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    mail: RefCell<Mail>,
    waker: RefCell<Option<Waker>>,
    /// The connection that stands still until the mail has been taken.
    held_up: RefCell<Option<Waker>>,
    /// Requests that are not done.
    outstanding: Cell<u32>,
    gone: Cell<bool>,
    /// It has kept others waiting for too long.
    slow: Cell<bool>,
    /// Bytes that the client has certainly taken, when this was last asked.
    taken: Cell<u64>,
    /// That is asked.
    is_asked: Cell<bool>,
    /// Where it stands with the line for room, and since when, by a number.
    place: Cell<Place>,
    ticket: Cell<u64>,
    /// It reads too slowly to be on one connection with others.
    apart: Cell<bool>,
    /// Storage for mail; somebody who is nobody gets none.
    buffers: Option<Rc<BufferPool>>,
    /// Where its requests are, while any are outstanding: replies keep their order only there.
    home: RefCell<Option<Rc<SharedConnection>>>,
}

impl Inbox {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Wakes this when the mail has been taken.
    pub(super) fn tell_when_taken(&self, waker: &Waker) {
        *self.held_up.borrow_mut() = Some(waker.clone());
    }

    /// The session does not take what waits for it, and others wait behind that.
    pub(super) fn too_slow(&self) {
        self.slow.set(true);
        self.wake();
    }

    /// Where its requests are, while any are outstanding.
    pub(super) fn home(&self) -> Option<Rc<SharedConnection>> {
        let home = self.home.borrow();
        home.clone().filter(|_| self.outstanding.get() > 0)
    }

    /// Its requests are there from now on.
    pub(super) fn moves_to(&self, home: &Rc<SharedConnection>) {
        *self.home.borrow_mut() = Some(Rc::clone(home));
    }

    /// From now on its requests go to connections that nobody else uses meanwhile.
    pub(super) fn set_apart(&self) {
        self.apart.set(true);
    }

    /// Whether they do.
    pub(super) fn is_apart(&self) -> bool {
        self.apart.get()
    }

    /// Bytes that its client had certainly taken when that was last asked.
    pub(super) fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Asks the session how much its client has taken.
    pub(super) fn asks_what_is_taken(&self) {
        self.is_asked.set(true);
        self.wake();
    }

    /// Where it stands with the line.
    pub(super) fn place(&self) -> Place {
        self.place.get()
    }

    /// Its number in the line.
    pub(super) fn ticket(&self) -> u64 {
        self.ticket.get()
    }

    /// It comes behind all with a smaller number.
    pub(super) fn takes_ticket(&self, ticket: u64) {
        self.ticket.set(ticket);
    }

    /// From now on it stands there.
    pub(super) fn takes_place(&self, place: Place) {
        self.place.set(place);
        if place == Place::Called {
            self.wake();
        }
    }

    /// Requests that are not done.
    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding.get()
    }

    /// The same, with those that are and whose end the session has not taken note of.
    pub(super) fn unsettled(&self) -> usize {
        let mail = self.mail.borrow();
        self.outstanding.get() as usize + mail.finished as usize + mail.failures.len()
    }

    fn settled(&self) {
        // Of who is nobody none were ever counted.
        self.outstanding
            .set(self.outstanding.get().saturating_sub(1));
    }

    pub(super) fn added(&self, requests: u32) {
        self.outstanding.set(self.outstanding.get() + requests);
    }
}

impl Owner for Rc<Inbox> {
    fn deliver(&self, bytes: &[u8]) {
        if !self.gone.get() {
            let mail = &mut self.mail.borrow_mut().bytes;
            if mail.capacity() == 0
                && let Some(buffers) = &self.buffers
            {
                *mail = buffers.take_output();
            }
            mail.extend_from_slice(bytes);
            self.wake();
        }
    }

    fn finished(&self) {
        self.settled();
        if !self.gone.get() {
            self.mail.borrow_mut().finished += 1;
            self.wake();
        }
    }

    fn failed(&self, failure: Failure) {
        self.settled();
        if !self.gone.get() {
            let mut mail = self.mail.borrow_mut();
            let at = mail.bytes.len();
            mail.failures.push((at, failure));
            drop(mail);
            self.wake();
        }
    }

    fn buffered(&self) -> usize {
        self.mail.borrow().bytes.len()
    }

    fn is_gone(&self) -> bool {
        self.gone.get()
    }

    fn nobody() -> Self {
        let inbox = Inbox::default();
        inbox.gone.set(true);
        Rc::new(inbox)
    }

    fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(self, other)
    }
}

/// A session's part in the shared connections for one target. Dropped, it leaves what is outstanding
/// to be swallowed.
pub(in crate::session) struct Member {
    crowd: Rc<Crowd>,
    inbox: Rc<Inbox>,
}

impl Member {
    /// One with nothing under way. Its task, which is that of `cx`, is woken when something comes.
    pub(in crate::session) fn new(
        context: &Rc<ListenerContext>,
        target: &Arc<Target>,
        cx: &Context<'_>,
    ) -> Self {
        let inbox = Rc::new(Inbox {
            waker: RefCell::new(Some(cx.waker().clone())),
            buffers: Some(Rc::clone(&context.buffers)),
            ..Inbox::default()
        });
        Self {
            crowd: Crowd::of(context, target),
            inbox,
        }
    }

    /// Whether the connections are for this target.
    pub(in crate::session) fn is_for(&self, target: &Arc<Target>) -> bool {
        self.crowd.is_for(target)
    }

    /// Adds requests, whose bytes stand one behind the other, to a connection. Returns how many it
    /// took; the session is woken when there may be room for more.
    pub(in crate::session) fn add(&self, bytes: &[u8], requests: &[Request]) -> usize {
        self.crowd.add(&self.inbox, bytes, requests)
    }

    /// Says that there is nothing to add.
    pub(in crate::session) fn adds_nothing(&self) {
        self.crowd.passes_on(&self.inbox);
    }

    /// What has come since this was asked last.
    pub(in crate::session) fn take_mail(&mut self) -> Option<Mail> {
        let mut mail = self.inbox.mail.borrow_mut();
        if mail.is_empty() {
            return None;
        }
        let taken = std::mem::take(&mut *mail);
        drop(mail);
        if let Some(waker) = self.inbox.held_up.take() {
            waker.wake();
        }
        Some(taken)
    }

    /// Whether it is asked how much the client has taken; then it is to be told.
    pub(in crate::session) fn is_asked(&self) -> bool {
        self.inbox.is_asked.take()
    }

    /// The client has taken so many bytes since it came.
    pub(in crate::session) fn client_has_taken(&self, bytes: u64) {
        self.inbox.taken.set(bytes);
    }

    /// Whether the client has kept others waiting for too long.
    pub(in crate::session) fn is_too_slow(&self) -> bool {
        self.inbox.slow.get()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.inbox.gone.set(true);
        self.crowd.leaves_line(&self.inbox);
        *self.inbox.mail.borrow_mut() = Mail::default();
        if let Some(waker) = self.inbox.held_up.take() {
            waker.wake();
        }
    }
}
