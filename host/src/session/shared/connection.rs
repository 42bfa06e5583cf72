//! One shared connection: the task that writes many sessions' requests to it and deals out what
//! comes back.
//!
//! It borrows its connection from the pool as a session does, and gives it back when nothing is
//! outstanding, so that all that holds for pooled connections holds for it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::crowd::Crowd;
use super::member::Inbox;
use super::order::{Earns, Moved, Order};
use super::patience::HeldUp;
use crate::contract::{Disposition, LeaseError, lease_error_kind, lease_error_text};
use crate::copy::Buffer;
use crate::lease::{Lease, Leasing, Waiting};
use crate::plugin::MeasureReplies;

/// Bytes of requests that are not done, past which a connection takes no more.
const MAX_HELD: usize = 1 << 20;

/// Bytes that wait for one client, past which its connection is not read until some have gone.
pub(super) const REPLY_HIGH_WATER: usize = 256 << 10;

/// Bytes of a reply that the plugin has been shown and could not measure.
pub(super) const MAX_UNMEASURED: usize = 64 << 10;

/// Without a byte for so long, while requests are under way, new ones go elsewhere if they can.
const HUSH: Duration = Duration::from_millis(250);

/// Where a shared connection stands.
enum Phase {
    /// It has none, and needs none.
    Resting,
    /// It waits for one.
    Opening(Waiting),
    /// It has one.
    Open(Lease),
}

/// What a shared connection is to who looks for one, with the requests that are not done.
pub(super) enum Standing {
    /// It takes no more requests until it has rested.
    Closing,
    /// It has nothing to do.
    Resting,
    /// It has no room.
    Full,
    /// A long reply is under way, or one that its client does not take, or the server has fallen
    /// silent: who comes now would wait for that.
    Occupied(usize),
    /// None of these.
    Ready(usize),
}

/// A shared connection, as who adds requests to it sees it.
pub(super) struct SharedConnection {
    state: RefCell<State>,
    waker: RefCell<Option<Waker>>,
}

pub(super) struct State {
    phase: Phase,
    pub(super) order: Order<Rc<Inbox>>,
    pub(super) input: Buffer,
    pub(super) measure: Option<Box<dyn MeasureReplies>>,
    /// The plugin has been shown so many bytes of the input, and measured none of them.
    pub(super) shown: usize,
    /// It takes no more requests, so that it comes to rest: the first in order is alone on it.
    pub(super) set_apart: bool,
    /// The same, since its connection is to go to somebody who waits for one.
    pub(super) gives_way: bool,
    /// The same, since the pool would not take it back.
    pub(super) past_use: bool,
    /// The first in order does not take what waits for it.
    pub(super) held_up: Option<HeldUp>,
    /// The last time that a byte came or went.
    pub(super) moved: Instant,
    /// The last time that a byte came, or that the wait for one began.
    pub(super) heard: Instant,
    /// Looks now and then whether that is long ago.
    pub(super) silence: Option<Pin<Box<Sleep>>>,
    /// Requests that have left, and go to other connections as soon as this one's turn is over.
    pub(super) leaving: Vec<Moved<Rc<Inbox>>>,
    /// Why nothing can be written any more. What has come before that is still dealt out.
    pub(super) write_failed: Option<String>,
}

impl std::fmt::Debug for SharedConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedConnection").finish_non_exhaustive()
    }
}

impl SharedConnection {
    /// One without a connection, with the task that drives it.
    pub(super) fn spawn(crowd: &Rc<Crowd>) -> Rc<Self> {
        let connection = Rc::new(Self {
            state: RefCell::new(State {
                phase: Phase::Resting,
                order: Order::default(),
                input: Buffer::default(),
                measure: None,
                shown: 0,
                set_apart: false,
                gives_way: false,
                past_use: false,
                held_up: None,
                moved: Instant::now(),
                heard: Instant::now(),
                silence: None,
                leaving: Vec::new(),
                write_failed: None,
            }),
            waker: RefCell::new(None),
        });
        tokio::task::spawn_local(Driver {
            connection: Rc::clone(&connection),
            crowd: Rc::downgrade(crowd),
            busy: None,
        });
        connection
    }

    /// What it is now to who looks for a connection; `most` requests may be under way on it.
    pub(super) fn standing(&self, most: usize, now: Instant) -> Standing {
        let state = self.state.borrow();
        let load = state.order.len();
        let is_occupied = state.is_slow() || now.saturating_duration_since(state.heard) >= HUSH;
        if state.is_closing() {
            Standing::Closing
        } else if load == 0 && matches!(state.phase, Phase::Resting) {
            Standing::Resting
        } else if state.room(most) == 0 {
            Standing::Full
        } else if is_occupied {
            Standing::Occupied(load)
        } else {
            Standing::Ready(load)
        }
    }

    /// How many more requests it takes, of at most so many; none while it is to be given away.
    pub(super) fn room(&self, most: usize) -> usize {
        self.state.borrow().room(most)
    }

    /// How many more it takes if it has a connection, or waits for one; none of the one whose turn it
    /// is.
    pub(super) fn room_in_use(&self, most: usize) -> usize {
        match self.state.try_borrow() {
            Ok(state) if !matches!(state.phase, Phase::Resting) => state.room(most),
            _ => 0,
        }
    }

    /// Whether it is in use, and in the middle of no long reply; the one whose turn it is does not
    /// count.
    pub(super) fn comes_to_rest(&self) -> bool {
        let state = self.state.try_borrow();
        state.is_ok_and(|state| !matches!(state.phase, Phase::Resting) && !state.is_slow())
    }

    /// Adds a request behind all others.
    pub(super) fn push(&self, owner: &Rc<Inbox>, bytes: &[u8], earns: Earns) {
        let mut state = self.state.borrow_mut();
        state.awaits();
        state.order.push(owner, bytes, earns);
    }

    /// The same for one that comes from another connection.
    pub(super) fn adopt(&self, request: Moved<Rc<Inbox>>) {
        let mut state = self.state.borrow_mut();
        state.awaits();
        state.order.adopt(request);
    }

    /// Takes no more requests until it has rested.
    pub(super) fn set_apart(&self) {
        self.state.borrow_mut().set_apart = true;
    }

    /// Lets the task look.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// The task of a shared connection. Ends when nobody can add requests any more.
struct Driver {
    connection: Rc<SharedConnection>,
    crowd: Weak<Crowd>,
    /// While anything is outstanding, so that it is seen through although all sessions have left.
    busy: Option<Rc<Crowd>>,
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.connection
            .waker
            .borrow_mut()
            .get_or_insert_with(|| cx.waker().clone());
        let mut state = this.connection.state.borrow_mut();
        if state.order.is_empty() && matches!(state.phase, Phase::Resting) {
            return match this.crowd.strong_count() {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            };
        }
        let Some(crowd) = this.busy.take().or_else(|| this.crowd.upgrade()) else {
            // All who have asked have gone before a byte was written. What they asked knows where it
            // is, which is here.
            state.order = Order::default();
            return Poll::Ready(());
        };
        let result = state.run(&crowd, cx);
        let leaving = std::mem::take(&mut state.leaving);
        drop(state);
        crowd.take_over(leaving);
        if result.is_pending() {
            this.busy = Some(crowd);
            return Poll::Pending;
        }
        crowd.freed_one();
        drop(crowd);
        // If that was the last of it, nobody will wake this task again.
        match this.crowd.strong_count() {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl State {
    /// Whether it takes no more requests until it has rested.
    fn is_closing(&self) -> bool {
        self.set_apart || self.gives_way || self.past_use
    }

    /// Whether a long reply is under way, or one that its client does not take.
    pub(super) fn is_slow(&self) -> bool {
        self.order.passing() >= REPLY_HIGH_WATER as u64 || self.held_up.is_some()
    }

    fn room(&self, most: usize) -> usize {
        if self.is_closing() || self.order.held() >= MAX_HELD {
            return 0;
        }
        most.saturating_sub(self.order.len())
    }

    /// A request is about to be added: the first is what the server is waited for from now on.
    fn awaits(&mut self) {
        if self.order.is_empty() {
            self.heard = Instant::now();
        }
    }

    /// Goes on until something has to be waited for; ready when nothing is outstanding.
    fn run(&mut self, crowd: &Rc<Crowd>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Resting) {
                Phase::Resting => {
                    if self.order.is_empty() {
                        return Poll::Ready(());
                    }
                    self.open(crowd, false);
                }
                Phase::Opening(mut waiting) => match Pin::new(&mut waiting).poll(cx) {
                    Poll::Pending => {
                        self.phase = Phase::Opening(waiting);
                        return Poll::Pending;
                    }
                    Poll::Ready(result) => self.opened(result, crowd),
                },
                Phase::Open(mut lease) => match self.pump(&mut lease, crowd, cx) {
                    Poll::Pending => {
                        self.phase = Phase::Open(lease);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(())) => self.rest(lease, crowd),
                    Poll::Ready(Err(why)) => self.lost(lease, &why, crowd),
                },
            }
        }
    }

    fn open(&mut self, crowd: &Rc<Crowd>, fresh: bool) {
        self.heard = Instant::now();
        match crowd.context.borrow(&crowd.target, fresh) {
            Leasing::Ready(result) => self.opened(result, crowd),
            Leasing::Pending(waiting) => self.phase = Phase::Opening(waiting),
        }
    }

    fn opened(&mut self, result: Result<Lease, LeaseError>, crowd: &Rc<Crowd>) {
        match result {
            Ok(lease) => {
                self.phase = Phase::Open(lease);
                self.moved = Instant::now();
                self.heard = self.moved;
                self.write_failed = None;
                // Its instance may have ended with another session's fault.
                self.measure.take_if(|measure| !measure.is_live());
            }
            Err(why) => {
                if !matches!(why, LeaseError::Draining) {
                    let text = lease_error_text(&why);
                    let what = format!("requests get no connection: {text}");
                    crowd.complain(lease_error_kind(&why), &what);
                }
                self.order.fail(&why);
                self.stays(crowd);
                crowd.freed_one();
            }
        }
    }

    /// Nothing is outstanding: the connection is for whoever needs it next.
    fn rest(&mut self, lease: Lease, crowd: &Crowd) {
        let clean = self.input.is_empty() && self.order.passing() == 0;
        self.forget_input(crowd);
        self.order.shrink();
        lease.release(Disposition::Keep, clean);
        self.stays(crowd);
        self.held_up = None;
    }

    /// What came on one connection says nothing on the next.
    fn forget_input(&mut self, crowd: &Crowd) {
        self.input.truncate(0);
        self.input.settle(&crowd.context.buffers);
        self.shown = 0;
    }

    /// The connection has gone, whatever it was to go for: the next takes requests again, of all but
    /// who is alone here and still waits.
    fn stays(&mut self, crowd: &Crowd) {
        self.set_apart = self.order.front().is_some_and(|front| front.is_apart());
        self.past_use = false;
        self.keeps(crowd);
    }

    /// It does not go to who waits for one, if it was to.
    pub(super) fn keeps(&mut self, crowd: &Crowd) {
        if std::mem::take(&mut self.gives_way) {
            crowd.has_given_way();
            // It takes requests again.
            crowd.freed_one();
        }
    }

    /// The connection is of no more use. Requests that may be sent again go to another.
    fn lost(&mut self, lease: Lease, why: &str, crowd: &Rc<Crowd>) {
        let delivered = lease.delivered();
        let text = format!("{}: {why}", lease.endpoint());
        lease.release(Disposition::Keep, false);
        self.forget_input(crowd);
        self.measure = None;
        self.held_up = None;
        let before = self.order.len();
        let why = LeaseError::Lost(text);
        if crowd.context.pools.is_draining() {
            self.order.fail(&why);
        } else {
            self.order.lose(&why, delivered);
        }
        self.stays(crowd);
        // One that is replaced unseen is no trouble.
        if self.order.len() < before {
            let text = lease_error_text(&why);
            crowd.complain("lost", &format!("a shared connection was lost: {text}"));
            crowd.freed(before - self.order.len());
        }
        if !self.order.is_empty() {
            crowd.context.counters.replays.inc();
            // Whatever ended this one may have ended the idle ones too.
            self.open(crowd, true);
        }
    }
}
