//! What happens to connections that nobody holds: they age, are kept warm, probed, and reset.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::caretaker::{Caretaker, Trouble};
use super::connection::Connection;
use super::pools::{Place, Pools};
use super::shelf::Idle;
use crate::contract::lease_error_text;
use crate::upstream::{Endpoint, Group, Health};

/// How often a worker looks after its idle connections.
const ROUND: Duration = Duration::from_millis(500);

/// Looks after a worker's pools for as long as they live.
pub(super) fn start(pools: &Rc<Pools>) {
    let weak = Rc::downgrade(pools);
    tokio::task::spawn_local(async move {
        loop {
            let Some(pools) = weak.upgrade() else { return };
            if !pools.is_draining() {
                pools.round();
            }
            drop(pools);
            tokio::time::sleep(ROUND).await;
        }
    });
}

impl Pools {
    fn round(self: &Rc<Self>) {
        let now = Instant::now();
        self.close_idle("max-lifetime", |_, idle| idle.connection.expires <= now);
        self.close_idle("closed-by-upstream", |_, idle| {
            idle.connection.check().is_err()
        });
        self.close_idle("endpoint-gone", |place, _| {
            place.endpoint.health() == Health::Gone
        });
        self.close_past_idle_timeout(now);
        self.forget_gone();
        let wards = self.wards.borrow().clone();
        for (group, caretaker) in wards {
            for endpoint in group.endpoints().iter() {
                let mine = endpoint.id % self.workers == self.worker;
                self.at(&group, endpoint, |_| ());
                if mine {
                    self.watch(&group, endpoint, &caretaker);
                    self.warm(&group, endpoint, &caretaker);
                }
                self.probe_idle(&group, endpoint);
                // Whoever waits was told when something came free; this is in case of doubt.
                self.make_room(endpoint.id);
                self.ask_others(endpoint.id);
            }
        }
    }

    /// Sends who waits for an endpoint that is gone to another, and forgets what is empty.
    fn forget_gone(&self) {
        let gone: Vec<usize> = self
            .places
            .borrow()
            .iter()
            .flatten()
            .filter(|place| place.endpoint.health() == Health::Gone)
            .map(|place| place.endpoint.id)
            .collect();
        for id in gone {
            self.send_elsewhere(id);
            if let Some(place) = self.places.borrow_mut().get_mut(id) {
                let empty = |one: &Place| {
                    let busy = one.tending || one.watched || one.timed || one.waiting_unpooled > 0;
                    one.shelf.is_empty() && !busy
                };
                if place.as_ref().is_some_and(empty) {
                    *place = None;
                }
            }
        }
    }

    fn close_past_idle_timeout(&self, now: Instant) {
        let mut left: Vec<(usize, u32)> = Vec::new();
        self.close_idle(
            "idle-timeout",
            |place: &Place, idle: &Idle<Box<Connection>>| {
                let config = &place.group.config().pool;
                if now.saturating_duration_since(idle.since) < config.idle_timeout {
                    return false;
                }
                let id = place.endpoint.id;
                let at = left
                    .iter()
                    .position(|(known, _)| *known == id)
                    .unwrap_or_else(|| {
                        left.push((id, place.endpoint.idle()));
                        left.len() - 1
                    });
                let over = left[at].1 > config.min_idle;
                left[at].1 -= u32::from(over);
                over
            },
        );
    }

    /// Watches an endpoint's health, once.
    fn watch(
        self: &Rc<Self>,
        group: &Arc<Group>,
        endpoint: &Arc<Endpoint>,
        caretaker: &Rc<dyn Caretaker>,
    ) {
        if group.config().probe.is_none() {
            return;
        }
        let watched = self.at(group, endpoint, |place| {
            std::mem::replace(&mut place.watched, true)
        });
        if !watched {
            let pools = Rc::downgrade(self);
            let (group, endpoint) = (Arc::clone(group), Arc::clone(endpoint));
            let caretaker = Rc::clone(caretaker);
            tokio::task::spawn_local(super::health::watch(pools, group, endpoint, caretaker));
        }
    }

    /// Opens connections if fewer than `min-idle` are idle.
    fn warm(
        self: &Rc<Self>,
        group: &Arc<Group>,
        endpoint: &Arc<Endpoint>,
        caretaker: &Rc<dyn Caretaker>,
    ) {
        if endpoint.idle() >= group.config().pool.min_idle || endpoint.health() != Health::Up {
            return;
        }
        let busy = self.at(group, endpoint, |place| {
            place.shelf.waiting() > 0 || std::mem::replace(&mut place.tending, true)
        });
        if busy {
            return;
        }
        let pools = Rc::clone(self);
        let (group, endpoint) = (Arc::clone(group), Arc::clone(endpoint));
        let caretaker = Rc::clone(caretaker);
        tokio::task::spawn_local(async move {
            let wanted = group.config().pool.min_idle;
            // At most so many a round: what is opened may be gone at once.
            for _ in 0..wanted {
                let enough = endpoint.idle() >= wanted;
                if enough || endpoint.health() != Health::Up || pools.is_draining() {
                    break;
                }
                let Some(permit) = endpoint.try_permit() else {
                    break;
                };
                let target = caretaker.default_target();
                match pools.dial(&group, permit, &caretaker, target).await {
                    Ok(connection) => pools.offer(connection, Instant::now()),
                    Err(failure) => {
                        let why = lease_error_text(&failure.why);
                        tracing::debug!(
                            group = group.name(),
                            endpoint = endpoint.name,
                            "cannot keep min-idle connections warm: {why}"
                        );
                        break;
                    }
                }
            }
            pools.at(&group, &endpoint, |place| place.tending = false);
        });
    }

    /// Probes the idle connections that have been silent for long, one after the other: a probe
    /// takes its connection out of the pool.
    fn probe_idle(self: &Rc<Self>, group: &Arc<Group>, endpoint: &Arc<Endpoint>) {
        let tending = self.at(group, endpoint, |place| {
            std::mem::replace(&mut place.tending, true)
        });
        if tending {
            return;
        }
        let Some(first) = self.take_silent(group, endpoint) else {
            self.at(group, endpoint, |place| place.tending = false);
            return;
        };
        let pools = Rc::clone(self);
        let (group, endpoint) = (Arc::clone(group), Arc::clone(endpoint));
        tokio::task::spawn_local(async move {
            let mut next = Some(first);
            while let Some(idle) = next {
                pools.probe_one(&group, &endpoint, idle).await;
                next = pools.take_silent(&group, &endpoint);
            }
            pools.at(&group, &endpoint, |place| place.tending = false);
        });
    }

    /// The idle connection that has been silent longest, if that is long.
    fn take_silent(
        &self,
        group: &Arc<Group>,
        endpoint: &Arc<Endpoint>,
    ) -> Option<Idle<Box<Connection>>> {
        let probe = group.config().probe.as_ref()?;
        if endpoint.health() == Health::Gone || self.is_draining() {
            return None;
        }
        let now = Instant::now();
        let idle = self.at(group, endpoint, |place| {
            let oldest = place
                .shelf
                .idle()
                .filter(|idle| idle.connection.caretaker.has_probe())
                .map(|idle| idle.proved)
                .min()
                .filter(|proved| now.saturating_duration_since(*proved) >= probe.interval)?;
            place
                .shelf
                .take_first(|idle| idle.proved == oldest && idle.connection.caretaker.has_probe())
        })?;
        self.count_taken(endpoint);
        Some(idle)
    }

    async fn probe_one(&self, group: &Group, endpoint: &Endpoint, idle: Idle<Box<Connection>>) {
        let limit = group.config().probe.clone().unwrap_or_default().timeout;
        let Idle {
            connection, since, ..
        } = idle;
        // A connection that has died says little about its endpoint, which has checks of its own.
        let why = match tokio::time::timeout(limit, self.probe(connection, since)).await {
            Ok(Ok(connection)) => return self.offer(connection, since),
            Ok(Err(why)) => why.to_string(),
            Err(_) => {
                endpoint.counters.probes_bad.inc();
                endpoint.counters.closed("probe-failed");
                format!("no answer to a probe within {limit:?}")
            }
        };
        tracing::debug!(
            group = group.name(),
            endpoint = endpoint.name,
            "an idle connection was closed: {why}"
        );
    }

    /// Runs the plugin's probe; the connection comes back if it is alive and silent.
    pub(super) async fn probe(
        &self,
        connection: Box<Connection>,
        since: Instant,
    ) -> Result<Box<Connection>, Trouble> {
        let endpoint = Arc::clone(connection.permit.endpoint());
        let (stream, parted) = connection.part();
        let idle = since.elapsed();
        let caretaker = Rc::clone(&parted.caretaker);
        let probed = match caretaker.probe(stream, &parted.target, idle).await {
            Ok((stream, ())) => {
                let connection = parted.with(stream);
                match connection.check() {
                    Ok(()) => Ok(connection),
                    Err(unfit) => Err(Trouble::Refused(format!("after a probe: {}", unfit.name()))),
                }
            }
            Err(why) => Err(why),
        };
        match &probed {
            Ok(_) => {
                endpoint.replied();
                endpoint.counters.probes_good.inc();
            }
            Err(_) => {
                endpoint.counters.probes_bad.inc();
                endpoint.counters.closed("probe-failed");
            }
        }
        probed
    }

    /// Runs the plugin's reset; the connection comes back if it succeeds and leaves silence.
    pub(crate) async fn reset(&self, connection: Box<Connection>) -> Option<Box<Connection>> {
        let endpoint = Arc::clone(connection.permit.endpoint());
        let (stream, mut parted) = connection.part();
        let caretaker = Rc::clone(&parted.caretaker);
        let done = caretaker.reset(stream, &parted.target).await;
        match done {
            Ok((stream, ())) => {
                parted.retagged = None;
                let connection = parted.with(stream);
                match connection.check() {
                    Ok(()) => return Some(connection),
                    Err(unfit) => endpoint.counters.closed(unfit.name()),
                }
            }
            Err(why) => {
                endpoint.counters.closed("reset-failed");
                tracing::debug!(endpoint = endpoint.name, "reset failed, closing: {why}");
            }
        }
        None
    }
}
