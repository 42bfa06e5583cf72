//! The line of those who wait for a connection of an endpoint: joining it, and who is next.
//!
//! Each worker has a line of its own, and shows the others since when its head waits. Two rules keep
//! anybody from waiting for what is free: who joins a line shows it *before* looking once more for
//! room, and who frees something looks for lines *after* freeing it.
//!
//! All in a line wait for as long, so that one clock serves the line: who waits sets none.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::message::Message;
use super::pools::Pools;
use super::seat::{Grant, Seat};
use super::shelf::OwnedKey;
use crate::contract::LeaseError;
use crate::upstream::{Endpoint, Group, Permit};

/// A connection goes to another worker's line when the head of that has waited longer than this
/// worker's own by more than this, and by more than a quarter: moving a connection costs two
/// system calls and a wake-up, and between long lines of equal speed it would go to and fro.
const HAND_OVER_AFTER: Duration = Duration::from_millis(1);

/// Whether who waits on another worker since `other` goes before who waits here since `own`.
pub(super) fn goes_first(other: Instant, own: Instant, now: Instant) -> bool {
    let quarter = now.saturating_duration_since(own) / 4;
    other + HAND_OVER_AFTER.max(quarter) < own
}

/// What a head of line can open a connection in.
enum Room {
    Permit(Permit),
    /// The place of this one, which is closed.
    Idle(Box<Connection>),
}

impl Pools {
    /// Joins the line for an endpoint. The place in line leaves it when dropped.
    ///
    /// # Errors
    /// `wait-timeout`, at once: the line is as long as `max-waiting` lets it be.
    pub(crate) fn join(
        self: &Rc<Self>,
        group: &Arc<Group>,
        endpoint: &Arc<Endpoint>,
        key: OwnedKey,
    ) -> Result<InLine, LeaseError> {
        let seat = Seat::new();
        let since = Instant::now();
        let id = self.joined.get() + 1;
        self.joined.set(id);
        let config = &group.config().pool;
        let joined = self.at(group, endpoint, |place| {
            let waiting = place.shelf.waiting();
            if waiting >= config.max_waiting as usize {
                return Err(waiting);
            }
            place.shelf.wait(id, key, since, seat.clone());
            endpoint.show_waiting(self.worker, place.shelf.head_since());
            Ok(std::mem::replace(&mut place.timed, true))
        });
        let timed = joined.map_err(|waiting| {
            LeaseError::WaitTimeout(format!(
                "{waiting} sessions wait for {} already: max-waiting = {}",
                endpoint.name, config.max_waiting
            ))
        })?;
        if !timed {
            tokio::task::spawn_local(watch(Rc::downgrade(self), endpoint.id));
        }
        endpoint.counters.waiting.inc();
        endpoint.counters.waits.inc();
        let in_line = InLine {
            pools: Rc::clone(self),
            endpoint: Arc::clone(endpoint),
            id,
            seat,
            since,
            deadline: since + config.wait_timeout,
        };
        // Shown; now once more.
        self.make_room(endpoint.id);
        self.ask_others(endpoint.id);
        Ok(in_line)
    }

    /// Refuses those whose time in a line is over. Returns when that of the next one will be; none:
    /// nobody waits, and nobody watches the time any more.
    fn dismiss_late(&self, id: usize, now: Instant) -> Option<Instant> {
        let mut late = Vec::new();
        let next = self.at_known(id, |place| {
            let limit = place.group.config().pool.wait_timeout;
            let next = loop {
                match place.shelf.head_since() {
                    Some(since) if since + limit <= now => {
                        let why = waited_in_vain(&place.group, &place.endpoint);
                        late.extend(place.shelf.head().map(|waiter| (waiter, why)));
                    }
                    since => break since.map(|since| since + limit),
                }
            };
            place.timed = next.is_some();
            place
                .endpoint
                .show_waiting(self.worker, place.shelf.head_since());
            next
        });
        for (waiter, why) in late {
            drop(waiter.to.grant(Grant::Refused(why)));
        }
        next.flatten()
    }

    /// Gives permits, while there are any, to the heads of a line, and then those of this worker's
    /// idle connections of other identities; unless another worker's head has waited clearly
    /// longer: then that worker is told.
    pub(crate) fn make_room(&self, id: usize) {
        loop {
            let granted = self.at_known(id, |place| {
                let own = place.shelf.head_since()?;
                if let Some((_, other)) = place.endpoint.longest_waiting(Some(self.worker))
                    && goes_first(other, own, Instant::now())
                {
                    place.endpoint.tell_room();
                    return None;
                }
                let room = match place.endpoint.try_permit() {
                    Some(permit) => Room::Permit(permit),
                    None => Room::Idle(place.shelf.evict()?),
                };
                let waiter = place.shelf.head()?;
                place
                    .endpoint
                    .show_waiting(self.worker, place.shelf.head_since());
                Some((waiter, room))
            });
            let Some(Some((waiter, room))) = granted else {
                return;
            };
            let permit = match room {
                Room::Permit(permit) => permit,
                Room::Idle(connection) => {
                    self.count_taken(connection.permit.endpoint());
                    connection.make_room("other-identity")
                }
            };
            drop(waiter.to.grant(Grant::Room(permit)));
        }
    }

    /// Asks the workers that hold idle connections for one, on behalf of the head of a line.
    pub(crate) fn ask_others(&self, id: usize) {
        let asked = self.at_known(id, |place| {
            let others: Vec<usize> = place.endpoint.others_with_idle(self.worker).collect();
            if others.is_empty() {
                return None;
            }
            Some((place.shelf.head_key()?.clone(), others))
        });
        let Some(Some((key, others))) = asked else {
            return;
        };
        for other in others {
            let wanted = Message::Wanted {
                endpoint: id,
                key: key.clone(),
                worker: self.worker,
            };
            // A worker that has ended holds nothing.
            let _ = self.mailboxes[other].send(wanted);
        }
    }

    /// Sends who waits for an endpoint that takes no leases to another, if there is one.
    pub(crate) fn send_elsewhere(&self, id: usize) {
        let waiters = self.at_known(id, |place| {
            if place.group.all_ejected() {
                return Default::default();
            }
            place.endpoint.show_waiting(self.worker, None);
            place.shelf.dismiss()
        });
        for waiter in waiters.into_iter().flatten() {
            drop(waiter.to.grant(Grant::Elsewhere));
        }
        self.in_vain.notify_waiters();
    }
}

/// What is said, and counted, when somebody has stood in line until `wait-timeout`.
pub(crate) fn waited_in_vain(group: &Group, endpoint: &Endpoint) -> LeaseError {
    endpoint.counters.wait_timeouts.inc();
    LeaseError::WaitTimeout(format!(
        "all {} connections to {} stayed leased for wait-timeout = {:?}",
        endpoint.max_open(),
        endpoint.name,
        group.config().pool.wait_timeout
    ))
}

/// Watches the time of those in a line until nobody is in it.
async fn watch(pools: Weak<Pools>, id: usize) {
    loop {
        let now = Instant::now();
        let next = pools
            .upgrade()
            .and_then(|pools| pools.dismiss_late(id, now));
        let Some(next) = next else { return };
        sleep_until(next).await;
    }
}

/// Somebody's place in a line.
pub(crate) struct InLine {
    pools: Rc<Pools>,
    endpoint: Arc<Endpoint>,
    id: u64,
    seat: Seat,
    since: Instant,
    deadline: Instant,
}

impl InLine {
    /// Ready with what is granted, once: at the latest when the deadline passes.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Grant> {
        self.seat.poll(cx)
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Until when it is waited for, in the line and for what comes of it.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let counters = &self.endpoint.counters;
        counters.waiting.dec();
        counters
            .wait_seconds
            .inc_by(self.since.elapsed().as_secs_f64());
        let left = self.pools.at_known(self.endpoint.id, |place| {
            let left = place.shelf.leave(self.id);
            place
                .endpoint
                .show_waiting(self.pools.worker, place.shelf.head_since());
            left
        });
        drop(left);
        // Room that was announced to who has left is for the next.
        self.endpoint.tell_room();
        // What was granted in the same moment goes to the next; a permit does so by itself.
        if let Some(Grant::Connection(connection)) = self.seat.leave() {
            self.pools.offer(connection, Instant::now());
        }
    }
}
