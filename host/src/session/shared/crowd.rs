//! The shared connections of one worker for one target, and which of them a request goes to.
//!
//! Few connections make large batches, many keep a slow reply from holding up the others: another
//! is opened once each has [`SPREAD`] requests that are not done, as long as the pool has one to
//! give without waiting.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::connection::{SharedConnection, Standing};
use super::member::{Inbox, Place};
use super::order::{Earns, Moved};
use crate::config::SlowReader;
use crate::contract::{Request, Target};
use crate::plugin::MeasureReplies;
use crate::session::context::ListenerContext;
use crate::session::driver::now;
use crate::upstream::Group;

/// Requests that every connection has before another is opened.
const SPREAD: usize = 8;

/// The same, before one is asked for that is idle on another worker.
const FAR_SPREAD: usize = 64;

/// Requests of one session that may be under way at a time, so that who sends thousands at once
/// takes turns with who sends one.
const MAX_PER_SESSION: usize = 64;

/// See the module.
pub(super) struct Crowd {
    pub(super) context: Rc<ListenerContext>,
    pub(super) target: Arc<Target>,
    connections: RefCell<Vec<Rc<SharedConnection>>>,
    /// Sessions that found no room.
    waiting: RefCell<VecDeque<Rc<Inbox>>>,
    /// How many of them have been called, and have not come yet.
    called: Cell<usize>,
    /// The last place in line that was taken.
    tickets: Cell<u64>,
    /// One of the connections is to go to somebody who waits for one.
    giving_way: Cell<bool>,
}

/// The crowds of one worker, each for as long as anybody is part of it.
#[derive(Default)]
pub struct Crowds(RefCell<Vec<Weak<Crowd>>>);

impl Crowds {
    /// Wakes all shared connections, to look at what has changed for all of them.
    pub fn wake_all(&self) {
        for crowd in self.0.borrow().iter().filter_map(Weak::upgrade) {
            for connection in crowd.connections.borrow().iter() {
                connection.wake();
            }
        }
    }
}

impl Crowd {
    /// The one for this target.
    pub(super) fn of(context: &Rc<ListenerContext>, target: &Arc<Target>) -> Rc<Self> {
        let mut crowds = context.crowds.0.borrow_mut();
        crowds.retain(|crowd| crowd.strong_count() > 0);
        let mut known = crowds.iter().filter_map(Weak::upgrade);
        let same =
            |crowd: &Rc<Self>| crowd.target == *target && Rc::ptr_eq(&crowd.context, context);
        if let Some(crowd) = known.find(same) {
            return crowd;
        }
        drop(known);
        let crowd = Rc::new(Self {
            context: Rc::clone(context),
            target: Arc::clone(target),
            connections: RefCell::default(),
            waiting: RefCell::default(),
            called: Cell::new(0),
            tickets: Cell::new(0),
            giving_way: Cell::new(false),
        });
        crowds.push(Rc::downgrade(&crowd));
        crowd
    }

    /// Whether it is the one for this target.
    pub(super) fn is_for(&self, target: &Arc<Target>) -> bool {
        Arc::ptr_eq(&self.target, target) || self.target == *target
    }

    /// Adds a session's requests, whose bytes stand one behind the other, to a connection. Returns
    /// how many it took; the session is woken when there may be room for more.
    pub(super) fn add(
        self: &Rc<Self>,
        inbox: &Rc<Inbox>,
        bytes: &[u8],
        requests: &[Request],
    ) -> usize {
        // Those as well that it has not heard the end of, or who never reads could fail for ever.
        let most = MAX_PER_SESSION.saturating_sub(inbox.unsettled());
        if most == 0 {
            return 0;
        }
        // Who stands in line is called when it is its turn.
        if inbox.place() == Place::InLine {
            return 0;
        }
        let max_in_flight = self.max_in_flight();
        let is_apart = inbox.is_apart();
        let home = match inbox.home() {
            Some(home) => Some(home),
            None if is_apart => Some(self.one_at_rest()),
            None => self.pick(max_in_flight),
        };
        let is_called = inbox.place() == Place::Called;
        let room = home.as_ref().map_or(0, |home| home.room(max_in_flight));
        // Room is left for those in line, and by those that have been called for each other.
        let room = match (is_apart, is_called) {
            (true, _) => room,
            (false, true) => room.min(1.max(room.saturating_sub(self.called.get() - 1))),
            (false, false) => room.saturating_sub(self.waiting.borrow().len() + self.called.get()),
        };
        let count = room.min(most).min(requests.len());
        let Some(home) = home.filter(|_| count > 0) else {
            // Who has requests under way is woken by their replies.
            if inbox.outstanding() == 0 {
                self.waits(inbox);
            }
            return 0;
        };
        let mut at = 0;
        for request in &requests[..count] {
            let end = at + request.length as usize;
            let earns = Earns {
                replies: request.replies,
                idempotent: request.idempotent,
            };
            home.push(inbox, &bytes[at..end], earns);
            at = end;
        }
        inbox.added(u32::try_from(count).unwrap_or(u32::MAX));
        if is_called {
            self.comes(inbox);
        }
        if is_apart {
            // Nobody else is to come.
            home.set_apart();
        }
        home.wake();
        inbox.moves_to(&home);
        count
    }

    /// Joins the line; where it was, if it has been called and found nothing.
    fn waits(&self, inbox: &Rc<Inbox>) {
        if inbox.place() == Place::Called {
            self.comes(inbox);
        } else {
            self.tickets.set(self.tickets.get() + 1);
            inbox.takes_ticket(self.tickets.get());
        }
        inbox.takes_place(Place::InLine);
        let mut waiting = self.waiting.borrow_mut();
        let at = waiting.partition_point(|other| other.ticket() < inbox.ticket());
        waiting.insert(at, Rc::clone(inbox));
    }

    /// Who has been called has come.
    fn comes(&self, inbox: &Inbox) {
        self.called.set(self.called.get() - 1);
        inbox.takes_place(Place::None);
    }

    /// A session has nothing to add. If it has been called, the next is.
    pub(super) fn passes_on(&self, inbox: &Inbox) {
        if inbox.place() == Place::Called {
            self.comes(inbox);
            self.freed(1);
        }
    }

    /// A session has gone.
    pub(super) fn leaves_line(&self, inbox: &Rc<Inbox>) {
        if inbox.place() == Place::InLine {
            let is_other = |one: &Rc<Inbox>| !Rc::ptr_eq(one, inbox);
            self.waiting.borrow_mut().retain(is_other);
        }
        self.passes_on(inbox);
    }

    /// Whether anybody waits for room.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty() || self.called.get() > 0
    }

    /// The upstream group, if the target's is one of the listener's.
    pub(super) fn group(&self) -> Option<&Arc<Group>> {
        self.context.group(self.target.group.as_deref())
    }

    fn max_in_flight(&self) -> usize {
        self.group()
            .map_or(1, |group| group.config().pool.max_in_flight as usize)
    }

    /// The connection for the next request, if one has room.
    fn pick(self: &Rc<Self>, max_in_flight: usize) -> Option<Rc<SharedConnection>> {
        let now = now();
        let connections = self.connections.borrow();
        let mut resting = None;
        let mut least: Option<(usize, &Rc<SharedConnection>)> = None;
        let mut occupied = None;
        let mut is_full = false;
        for connection in connections.iter() {
            let (best, load) = match connection.standing(max_in_flight, now) {
                Standing::Closing => continue,
                Standing::Full => {
                    is_full = true;
                    continue;
                }
                Standing::Resting => {
                    resting = Some(connection);
                    continue;
                }
                Standing::Occupied(load) => (&mut occupied, load),
                Standing::Ready(load) => (&mut least, load),
            };
            if best.is_none_or(|(best, _)| load < best) {
                *best = Some((load, connection));
            }
        }
        if let Some((load, connection)) = least
            && load < SPREAD
        {
            return Some(Rc::clone(connection));
        }
        // With none at all, one waits in line for its connection.
        let needs_one = least.or(occupied).is_none() && !is_full;
        // One that is idle on another worker takes a message and a while to come.
        let anywhere = least.is_none_or(|(load, _)| load >= FAR_SPREAD);
        if needs_one || self.has_spare(anywhere) {
            let resting = resting.map(Rc::clone);
            drop(connections);
            return Some(resting.unwrap_or_else(|| self.one_more()));
        }
        least
            .or(occupied)
            .map(|(_, connection)| Rc::clone(connection))
    }

    /// A connection that nobody uses now.
    fn one_at_rest(self: &Rc<Self>) -> Rc<SharedConnection> {
        let (most, now) = (self.max_in_flight(), now());
        let is_free =
            |one: &&Rc<SharedConnection>| matches!(one.standing(most, now), Standing::Resting);
        let free = self.connections.borrow().iter().find(is_free).cloned();
        free.unwrap_or_else(|| self.one_more())
    }

    fn one_more(self: &Rc<Self>) -> Rc<SharedConnection> {
        let connection = SharedConnection::spawn(self);
        self.connections.borrow_mut().push(Rc::clone(&connection));
        connection
    }

    /// Takes requests that have to leave their connection, in their order, each session's to one.
    pub(super) fn take_over(self: &Rc<Self>, moved: Vec<Moved<Rc<Inbox>>>) {
        let mut movers: Vec<Vec<Moved<Rc<Inbox>>>> = Vec::new();
        for request in moved {
            let is_same = |own: &&mut Vec<Moved<Rc<Inbox>>>| {
                own.first()
                    .is_some_and(|first| Rc::ptr_eq(&first.owner, &request.owner))
            };
            match movers.iter_mut().find(is_same) {
                Some(own) => own.push(request),
                None => movers.push(vec![request]),
            }
        }
        let most = self.max_in_flight();
        for requests in movers {
            let Some(owner) = requests.first().map(|first| Rc::clone(&first.owner)) else {
                continue;
            };
            let picked = self.pick(most);
            let home = picked
                .filter(|home| home.room(most) >= requests.len())
                .unwrap_or_else(|| self.one_more());
            owner.moves_to(&home);
            for request in requests {
                home.adopt(request);
            }
            home.wake();
        }
    }

    /// Whether others could take so many requests now.
    pub(super) fn has_room_elsewhere(&self, requests: usize) -> bool {
        let most = self.max_in_flight();
        let connections = self.connections.borrow();
        let rooms = connections.iter().map(|one| one.room_in_use(most));
        rooms.sum::<usize>() >= requests || self.has_spare(true)
    }

    /// Whether another connection than the one whose turn it is comes to rest sooner than one in the
    /// middle of a long reply.
    pub(super) fn another_comes_to_rest(&self) -> bool {
        let connections = self.connections.borrow();
        connections.iter().any(|one| one.comes_to_rest())
    }

    /// Counts requests that have gone to another connection.
    pub(super) fn moved(&self, requests: usize) {
        self.context.counters.shared_moved.inc_by(requests as u64);
    }

    /// What becomes of a client that keeps others waiting.
    pub(super) fn slow_reader(&self) -> SlowReader {
        self.context.config.slow_reader
    }

    /// Whether the pool has a connection to give without a wait in line; from `anywhere`, or this
    /// worker's own.
    fn has_spare(&self, anywhere: bool) -> bool {
        let endpoint = self.target.endpoint.as_deref();
        let worker = (!anywhere).then_some(self.context.pools.worker);
        self.group()
            .is_some_and(|group| group.has_spare(endpoint, worker))
    }

    /// What measures replies on a connection.
    pub(super) fn measure(&self) -> Result<Box<dyn MeasureReplies>, String> {
        match &self.context.plugin {
            Some(plugin) => plugin.measure().map_err(|fault| fault.to_string()),
            None => Err("there is no plugin to measure replies".to_owned()),
        }
    }

    /// How long the others on a connection wait for a client that does not read its replies.
    pub(super) fn slow_reader_timeout(&self) -> std::time::Duration {
        self.context.config.slow_reader_timeout
    }

    /// A connection is to go to somebody who waits for one: true if no other does yet.
    pub(super) fn gives_way(&self) -> bool {
        !self.giving_way.replace(true)
    }

    /// It has gone.
    pub(super) fn has_given_way(&self) {
        self.giving_way.set(false);
    }

    /// There is room for so many more requests.
    pub(super) fn freed(&self, count: usize) {
        for _ in 0..count {
            let Some(inbox) = self.waiting.borrow_mut().pop_front() else {
                return;
            };
            self.called.set(self.called.get() + 1);
            inbox.takes_place(Place::Called);
        }
    }

    /// There may be room for as many as a connection takes.
    pub(super) fn freed_one(&self) {
        self.freed(self.max_in_flight());
    }

    /// Tells the log of trouble, if it has not just been told of the same.
    pub(super) fn complain(&self, kind: &'static str, what: &str) {
        let context = &self.context;
        if let Some(left_out) = context.complaints.may_say(kind, now()) {
            let listener = &context.config.name;
            let plugin = context.config.plugin.as_deref().unwrap_or("-");
            tracing::warn!(listener, plugin, kind, left_out, "{what}");
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Their tasks end now.
        for connection in self.connections.get_mut() {
            connection.wake();
        }
    }
}
