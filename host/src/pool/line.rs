//! The line of those who wait for a connection of an endpoint: joining it, and who is next.
//!
//! Each worker has a line of its own, and shows the others since when its head waits. Two rules keep
//! anybody from waiting for what is free: who joins a line shows it *before* looking once more for
//! room, and who frees something looks for lines *after* freeing it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::message::Message;
use super::pools::Pools;
use super::seat::{Grant, Seat};
use super::shelf::OwnedKey;
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
    pub(crate) fn join(
        self: &Rc<Self>,
        group: &Arc<Group>,
        endpoint: &Arc<Endpoint>,
        key: OwnedKey,
    ) -> InLine {
        let seat = Seat::new();
        let since = Instant::now();
        let id = self.at(group, endpoint, |place| {
            let id = place.shelf.wait(key, since, seat.clone());
            endpoint.show_waiting(self.worker, place.shelf.head_since());
            id
        });
        endpoint.counters.waiting.inc();
        endpoint.counters.waits.inc();
        let in_line = InLine {
            pools: Rc::clone(self),
            endpoint: Arc::clone(endpoint),
            id,
            seat,
            since,
        };
        // Shown; now once more.
        self.make_room(endpoint.id);
        self.ask_others(endpoint.id);
        in_line
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
                    None => Room::Idle(Box::new(place.shelf.evict()?)),
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

/// Somebody's place in a line.
pub(crate) struct InLine {
    pools: Rc<Pools>,
    endpoint: Arc<Endpoint>,
    id: u64,
    pub(crate) seat: Seat,
    since: Instant,
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
