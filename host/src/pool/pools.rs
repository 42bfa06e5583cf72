//! One worker's pools: borrowing, giving back, and what other workers ask for.
//!
//! Everything here happens on one thread. Permits and the other workers' idle connections are
//! reached through the endpoint's atomics and through messages. Who waits is in `line`.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::caretaker::Caretaker;
use super::connection::Connection;
use super::line::goes_first;
use super::message::{Message, PoolsParts};
use super::seat::{Grant, Seat};
use super::shelf::{Key, Next, Shelf};
use crate::contract::LeaseError;
use crate::upstream::{Chooser, Endpoint, Group, Health};

/// This worker's part of one endpoint.
pub(crate) struct Place {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) group: Arc<Group>,
    pub(crate) shelf: Shelf<Box<Connection>, Seat>,
    /// A probe of an idle connection, or the opening of one to keep warm, is under way.
    pub(crate) tending: bool,
    /// The endpoint's health is being watched by this worker.
    pub(crate) watched: bool,
    /// Somebody watches the time of those in line.
    pub(crate) timed: bool,
    /// Who waits for room outside of the pool.
    pub(crate) waiting_unpooled: usize,
}

/// A group, and who takes care of its connections that no session has asked for.
pub(crate) type Ward = (Arc<Group>, Rc<dyn Caretaker>);

/// The pools of one worker.
pub struct Pools {
    pub(crate) worker: usize,
    pub(crate) workers: usize,
    pub(super) mailboxes: Arc<[UnboundedSender<Message>]>,
    pub(crate) places: RefCell<Vec<Option<Place>>>,
    pub(crate) chooser: RefCell<Chooser>,
    pub(crate) random: RefCell<fastrand::Rng>,
    pub(crate) wards: RefCell<Vec<Ward>>,
    caretakers: RefCell<Vec<Rc<dyn Caretaker>>>,
    /// How many have joined a line: numbers for them, which no two of one worker share, whatever becomes of its places.
    pub(super) joined: Cell<u64>,
    draining: Cell<bool>,
    on_leases_ended: OnceCell<Box<dyn Fn()>>,
    /// Tells who waits for room outside of the pool that it may be in vain.
    pub(crate) in_vain: Notify,
}

impl Pools {
    /// Starts the pools of this worker, their mailbox and their upkeep. Must be called within the
    /// worker's `LocalSet`.
    pub fn start(parts: PoolsParts) -> Rc<Self> {
        let PoolsParts {
            worker,
            mailboxes,
            mut inbox,
        } = parts;
        let pools = Rc::new(Self {
            worker,
            workers: mailboxes.len(),
            mailboxes,
            places: RefCell::new(Vec::new()),
            chooser: RefCell::new(Chooser::new(fastrand::Rng::new())),
            random: RefCell::new(fastrand::Rng::new()),
            wards: RefCell::new(Vec::new()),
            caretakers: RefCell::new(Vec::new()),
            joined: Cell::new(0),
            draining: Cell::new(false),
            on_leases_ended: OnceCell::new(),
            in_vain: Notify::new(),
        });
        let mail = Rc::downgrade(&pools);
        tokio::task::spawn_local(async move {
            while let Some(message) = inbox.recv().await {
                let Some(pools) = mail.upgrade() else { break };
                pools.receive(message);
            }
        });
        super::upkeep::start(&pools);
        pools
    }

    /// Takes care of a group from now on, with this caretaker: warm connections, probes, health.
    /// The first caretaker that can probe stays.
    pub fn look_after(&self, group: &Arc<Group>, caretaker: &Rc<dyn Caretaker>) {
        let mut caretakers = self.caretakers.borrow_mut();
        if !caretakers
            .iter()
            .any(|known| known.name() == caretaker.name())
        {
            caretakers.push(Rc::clone(caretaker));
        }
        let mut wards = self.wards.borrow_mut();
        match wards.iter_mut().find(|(ward, _)| Arc::ptr_eq(ward, group)) {
            None => wards.push((Arc::clone(group), Rc::clone(caretaker))),
            Some((_, known)) if !known.has_probe() && caretaker.has_probe() => {
                *known = Rc::clone(caretaker);
            }
            Some(_) => {}
        }
    }

    /// Says whom to call when leases of this worker may have been ended. Once.
    pub fn on_leases_ended(&self, call: impl Fn() + 'static) {
        // A second call changes nothing.
        let _ = self.on_leases_ended.set(Box::new(call));
    }

    /// Lends nothing any more: who waits is refused, and what comes back is closed.
    pub fn drain(&self) {
        self.draining.set(true);
        let mut dropped = Vec::new();
        for place in self.places.borrow_mut().iter_mut().flatten() {
            for waiter in place.shelf.dismiss() {
                dropped.push(waiter.to.grant(Grant::Refused(LeaseError::Draining)));
            }
            place.endpoint.show_waiting(self.worker, None);
        }
        drop(dropped);
        self.in_vain.notify_waiters();
        self.close_idle("draining", |_, _| true);
    }

    /// Whether [`Pools::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    // Places.

    /// Works on this worker's part of an endpoint. Whatever `work` returns is dropped outside, so
    /// that closing connections cannot come back in here.
    pub(crate) fn at<T>(
        &self,
        group: &Arc<Group>,
        endpoint: &Arc<Endpoint>,
        work: impl FnOnce(&mut Place) -> T,
    ) -> T {
        let mut places = self.places.borrow_mut();
        if places.len() <= endpoint.id {
            places.resize_with(endpoint.id + 1, || None);
        }
        let place = places[endpoint.id].get_or_insert_with(|| Place {
            endpoint: Arc::clone(endpoint),
            group: Arc::clone(group),
            shelf: Shelf::new(),
            tending: false,
            watched: false,
            timed: false,
            waiting_unpooled: 0,
        });
        work(place)
    }

    /// The same by number, if this worker has a part of it.
    pub(crate) fn at_known<T>(&self, id: usize, work: impl FnOnce(&mut Place) -> T) -> Option<T> {
        let mut places = self.places.borrow_mut();
        places.get_mut(id)?.as_mut().map(work)
    }

    /// Closes idle connections, and counts them with a reason.
    pub(crate) fn close_idle(
        &self,
        reason: &'static str,
        mut unwanted: impl FnMut(&Place, &super::shelf::Idle<Box<Connection>>) -> bool,
    ) {
        let mut closed = Vec::new();
        for place in self.places.borrow_mut().iter_mut().flatten() {
            let mut shelf = std::mem::replace(&mut place.shelf, Shelf::new());
            let taken = shelf.take_if(|idle| unwanted(place, idle));
            place.shelf = shelf;
            for idle in taken {
                self.count_taken(&place.endpoint);
                place.endpoint.counters.closed(reason);
                closed.push(idle.connection);
            }
        }
    }

    pub(crate) fn count_taken(&self, endpoint: &Endpoint) {
        endpoint.remove_idle(self.worker);
        endpoint.counters.idle.dec();
    }

    // Borrowing.

    /// An idle connection of this key that is still good. Those that are not are closed on the way.
    pub(crate) fn take_idle(
        &self,
        group: &Arc<Group>,
        endpoint: &Arc<Endpoint>,
        key: Key<'_>,
    ) -> Option<Box<Connection>> {
        loop {
            let connection = self.at(group, endpoint, |place| place.shelf.take(key))?;
            self.count_taken(endpoint);
            if connection.expires <= Instant::now() {
                endpoint.counters.closed("max-lifetime");
                continue;
            }
            match connection.check() {
                Ok(()) => return Some(connection),
                Err(unfit) => endpoint.counters.closed(unfit.name()),
            }
        }
    }

    // Giving back.

    /// Takes a connection that is fit for the next: to who has waited longest, or to the idle
    /// ones, or closes it. `since` as in [`Shelf::put`].
    pub(crate) fn offer(&self, connection: Box<Connection>, since: Instant) {
        let now = Instant::now();
        let endpoint = Arc::clone(connection.permit.endpoint());
        if let Some(reason) = self.unwelcome(&connection, now) {
            endpoint.counters.closed(reason);
            return;
        }
        let own = self
            .at_known(endpoint.id, |place| place.shelf.head_since())
            .flatten();
        if let Some((worker, waiting)) = endpoint.longest_waiting(Some(self.worker))
            && own.is_none_or(|own| goes_first(waiting, own, now))
        {
            self.hand_over(*connection, worker);
            return;
        }
        self.shelve(connection, since, now);
    }

    fn unwelcome(&self, connection: &Connection, now: Instant) -> Option<&'static str> {
        if self.draining.get() {
            Some("draining")
        } else if connection.expires <= now {
            Some("max-lifetime")
        } else {
            match connection.permit.endpoint().health() {
                Health::Up | Health::Ejected => None,
                Health::Gone => Some("endpoint-gone"),
            }
        }
    }

    /// Serves this worker's own line, or puts the connection by.
    fn shelve(&self, connection: Box<Connection>, since: Instant, now: Instant) {
        let endpoint = Arc::clone(connection.permit.endpoint());
        let next = self.at_known(endpoint.id, |place| {
            if place.shelf.waiting() == 0 {
                return Next::Nobody(connection);
            }
            let next = place.shelf.next(connection, now);
            endpoint.show_waiting(self.worker, place.shelf.head_since());
            next
        });
        match next {
            None => {}
            Some(Next::Serve(waiter, connection)) => {
                drop(waiter.to.grant(Grant::Connection(connection)));
            }
            Some(Next::Replace(waiter, connection)) => {
                let permit = connection.make_room("other-identity");
                drop(waiter.to.grant(Grant::Room(permit)));
            }
            Some(Next::Nobody(connection)) => self.put_by(connection, &endpoint, since, now),
        }
    }

    fn put_by(
        &self,
        connection: Box<Connection>,
        endpoint: &Arc<Endpoint>,
        since: Instant,
        now: Instant,
    ) {
        if !endpoint.add_idle(self.worker) {
            endpoint.counters.closed("max-idle");
            return;
        }
        endpoint.counters.idle.inc();
        self.at_known(endpoint.id, |place| place.shelf.put(connection, since, now));
        // Put by; now look whether somebody has begun to wait meanwhile.
        if let Some((worker, _)) = endpoint.longest_waiting(Some(self.worker)) {
            let taken = self
                .at_known(endpoint.id, |place| place.shelf.evict())
                .flatten();
            if let Some(connection) = taken {
                self.count_taken(endpoint);
                self.hand_over(*connection, worker);
            }
        }
    }

    fn hand_over(&self, connection: Connection, worker: usize) {
        let endpoint = Arc::clone(connection.permit.endpoint());
        match connection.pack() {
            // A worker that has ended drops it, which closes it.
            Ok(parcel) => drop(self.mailboxes[worker].send(Message::Here(Box::new(parcel)))),
            Err(_) => endpoint.counters.closed("broken"),
        }
    }

    // Messages.

    fn receive(self: &Rc<Self>, message: Message) {
        match message {
            Message::Room(id) => self.make_room(id),
            Message::Here(parcel) => {
                let id = parcel.endpoint();
                let caretaker = self
                    .caretakers
                    .borrow()
                    .iter()
                    .find(|caretaker| caretaker.name() == parcel.caretaker())
                    .cloned();
                let Some(caretaker) = caretaker else { return };
                let now = Instant::now();
                if let Ok(connection) = parcel.unpack(caretaker)
                    && !self.draining.get()
                {
                    self.at_known(id, |_| ());
                    self.shelve(connection, now, now);
                }
            }
            Message::Wanted {
                endpoint,
                key,
                worker,
            } => self.wanted(endpoint, key.key(), worker),
            Message::Ejected(id) => {
                self.close_idle("ejected", |place, _| place.endpoint.id == id);
                self.send_elsewhere(id);
                if let Some(call) = self.on_leases_ended.get() {
                    call();
                }
            }
        }
    }

    /// Another worker's head of line waits, and this one has idle connections.
    fn wanted(&self, id: usize, key: Key<'_>, worker: usize) {
        let taken = self.at_known(id, |place| {
            let waits = place.endpoint.longest_waiting(Some(self.worker)).is_some();
            if !waits {
                return None;
            }
            if let Some(connection) = place.shelf.take(key) {
                return Some((connection, true));
            }
            // To make room, if there is none.
            if place.endpoint.open() < place.endpoint.max_open() {
                return None;
            }
            place.shelf.evict().map(|connection| (connection, false))
        });
        let Some(Some((connection, same))) = taken else {
            return;
        };
        let endpoint = Arc::clone(connection.permit.endpoint());
        self.count_taken(&endpoint);
        if same && connection.check().is_ok() {
            self.hand_over(*connection, worker);
        } else {
            // The permit that this frees goes to who has waited longest.
            endpoint.counters.closed("other-identity");
        }
    }

    /// Tells all workers that an endpoint has been ejected.
    pub(crate) fn announce_ejection(&self, endpoint: &Endpoint) {
        for mailbox in self.mailboxes.iter() {
            // A worker that has ended has nothing to close.
            let _ = mailbox.send(Message::Ejected(endpoint.id));
        }
    }

    /// An attempt to reach an endpoint failed, or a probe of it.
    pub(crate) fn reach_failed(&self, group: &Group, endpoint: &Endpoint, why: &str) {
        // Of one that is ejected that is known.
        if endpoint.health() == Health::Up && endpoint.may_complain() {
            tracing::warn!(group = group.name(), endpoint = endpoint.name, "{why}");
        }
        let Some(probe) = &group.config().probe else {
            return;
        };
        if endpoint.check_failed(probe.fall) {
            tracing::warn!(
                group = group.name(),
                endpoint = endpoint.name,
                "ejected after {} failed checks: {why}",
                probe.fall
            );
            self.announce_ejection(endpoint);
        }
    }

    /// Ends the leases of an endpoint that has been ejected and says nothing, if there is another to
    /// go to; whether it did. `first`: the log has not heard of it yet.
    pub(crate) fn end_leases(&self, group: &Group, endpoint: &Endpoint, first: bool) -> bool {
        let wanted = group.config().probe.as_ref();
        let ends = wanted.is_some_and(|probe| probe.end_leases)
            && endpoint.health() == Health::Ejected
            && group.has_sound_endpoint()
            && endpoint.leased() > 0;
        if ends {
            endpoint.end_leases();
            if first {
                tracing::warn!(
                    group = group.name(),
                    endpoint = endpoint.name,
                    "it says nothing: its leases end"
                );
            }
            self.announce_ejection(endpoint);
        }
        ends
    }
}
