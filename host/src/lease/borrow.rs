//! Borrowing a connection: idle, else opened, else waited for, and at another endpoint if this one
//! cannot be reached.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::guard::Lease;
use crate::config::Balance;
use crate::contract::{LeaseError, Target, lease_error_text};
use crate::pool::{Blame, Caretaker, Connection, DialError, Grant, Key, OwnedKey, Pools};
use crate::upstream::{Endpoint, Group, Health, Permit};

/// A lease that is waited for.
pub type LeaseFuture = Pin<Box<dyn Future<Output = Result<Lease, LeaseError>>>>;

/// A lease that is there, or will be.
#[allow(
    clippy::large_enum_variant,
    reason = "the hot path returns the lease itself; a box would cost it an allocation"
)]
pub enum Leasing {
    /// Without waiting.
    Ready(Result<Lease, LeaseError>),
    /// After a dial, or in line.
    Pending(LeaseFuture),
}

/// Borrows a connection of the group for a target. With `fresh` it is opened anew.
pub fn borrow(
    pools: &Rc<Pools>,
    group: &Arc<Group>,
    caretaker: &Rc<dyn Caretaker>,
    target: &Arc<Target>,
    fresh: bool,
) -> Leasing {
    if pools.is_draining() {
        return Leasing::Ready(Err(LeaseError::Draining));
    }
    let Some(endpoint) = pools.chooser.borrow_mut().choose(group, target, &[]) else {
        return Leasing::Ready(Err(no_endpoint(group, target)));
    };
    let key = Key {
        caretaker: caretaker.name(),
        identity: &target.identity,
    };
    if !fresh
        && !target.unpooled
        && let Some(connection) = pools.take_idle(group, &endpoint, key)
    {
        return Leasing::Ready(Ok(Lease::new(Rc::clone(pools), connection, false)));
    }
    let request = Request {
        pools: Rc::clone(pools),
        group: Arc::clone(group),
        caretaker: Rc::clone(caretaker),
        target: Arc::clone(target),
        fresh,
    };
    Leasing::Pending(Box::pin(request.fulfil(endpoint)))
}

/// A lease that could not be had at once.
pub(super) struct Request {
    pub(super) pools: Rc<Pools>,
    pub(super) group: Arc<Group>,
    caretaker: Rc<dyn Caretaker>,
    target: Arc<Target>,
    fresh: bool,
}

impl Request {
    async fn fulfil(self, first: Arc<Endpoint>) -> Result<Lease, LeaseError> {
        let mut tried = Vec::new();
        let mut endpoint = first;
        let deadline = Instant::now() + self.group.config().pool.wait_timeout;
        loop {
            if self.pools.is_draining() {
                return Err(LeaseError::Draining);
            }
            let grant = match self.at_once(&mut endpoint, &tried) {
                Some(grant) => grant,
                None if self.target.unpooled => self.in_turn(&endpoint, deadline).await?,
                None => self.in_line(&endpoint, deadline).await?,
            };
            let failure = match grant {
                Grant::Connection(connection) => return Ok(self.lend(connection, false)),
                Grant::Room(permit) => match self.dial(permit, deadline).await {
                    Ok(connection) => return Ok(self.lend(connection, true)),
                    Err(DialError {
                        why,
                        blame: Blame::Refused | Blame::Nobody,
                    }) => return Err(why),
                    Err(DialError {
                        why,
                        blame: Blame::Closed | Blame::Silent,
                    }) => {
                        let text = lease_error_text(&why);
                        self.pools.reach_failed(&self.group, &endpoint, &text);
                        why
                    }
                },
                Grant::Elsewhere => {
                    LeaseError::ConnectFailed(format!("{} takes no leases any more", endpoint.name))
                }
                Grant::Refused(why) => return Err(why),
            };
            tried.push(endpoint.id);
            match self.next(&tried) {
                Some(next) => endpoint = next,
                None => return Err(failure),
            }
        }
    }

    fn lend(&self, connection: Connection, fresh: bool) -> Lease {
        Lease::new(Rc::clone(&self.pools), connection, fresh)
    }

    fn key(&self) -> Key<'_> {
        Key {
            caretaker: self.caretaker.name(),
            identity: &self.target.identity,
        }
    }

    /// The endpoint to go to next, if not to one of these.
    fn next(&self, tried: &[usize]) -> Option<Arc<Endpoint>> {
        let mut chooser = self.pools.chooser.borrow_mut();
        chooser.choose(&self.group, &self.target, tried)
    }

    /// Opens a connection, in what is left of the time.
    async fn dial(&self, permit: Permit, deadline: Instant) -> Result<Connection, DialError> {
        let endpoint = Arc::clone(permit.endpoint());
        let dial = self
            .pools
            .dial(&self.group, permit, &self.caretaker, &self.target);
        timeout_at(deadline, dial).await.unwrap_or_else(|_| {
            endpoint.counters.wait_timeouts.inc();
            Err(DialError {
                why: LeaseError::WaitTimeout(format!(
                    "{} was not ready within wait-timeout = {:?}",
                    endpoint.name,
                    self.group.config().pool.wait_timeout
                )),
                blame: Blame::Nobody,
            })
        })
    }

    /// A connection, or room for one, without waiting: at this endpoint, or else at another that
    /// has some, unless it is this one that is wanted.
    fn at_once(&self, endpoint: &mut Arc<Endpoint>, tried: &[usize]) -> Option<Grant> {
        if let Some(grant) = self.at_once_at(endpoint) {
            return Some(grant);
        }
        let wanted = self.target.endpoint.is_some() || self.group.config().balance == Balance::Hash;
        if wanted || self.group.endpoints().len() == 1 {
            return None;
        }
        let mut full = tried.to_vec();
        full.push(endpoint.id);
        while let Some(other) = self.next(&full) {
            // An ejected one is no place to go to in order not to wait.
            if other.health() == Health::Up
                && let Some(grant) = self.at_once_at(&other)
            {
                *endpoint = other;
                return Some(grant);
            }
            full.push(other.id);
        }
        None
    }

    fn at_once_at(&self, endpoint: &Arc<Endpoint>) -> Option<Grant> {
        if self.target.unpooled {
            return endpoint.try_unpooled_permit().map(Grant::Room);
        }
        let pools = &self.pools;
        if !self.fresh
            && let Some(connection) = pools.take_idle(&self.group, endpoint, self.key())
        {
            return Some(Grant::Connection(connection));
        }
        // Whoever waits already goes first, on whatever worker.
        if endpoint.longest_waiting(None).is_some() {
            return None;
        }
        if let Some(permit) = endpoint.try_permit() {
            return Some(Grant::Room(permit));
        }
        let idle = pools.at(&self.group, endpoint, |place| place.shelf.evict())?;
        pools.count_taken(endpoint);
        Some(Grant::Room(idle.make_room("other-identity")))
    }

    /// The same after a wait in line.
    async fn in_line(
        &self,
        endpoint: &Arc<Endpoint>,
        deadline: Instant,
    ) -> Result<Grant, LeaseError> {
        let pools = &self.pools;
        let config = &self.group.config().pool;
        let waiting = pools.at(&self.group, endpoint, |place| place.shelf.waiting());
        if waiting >= config.max_waiting as usize {
            return Err(LeaseError::WaitTimeout(format!(
                "{waiting} sessions wait for {} already: max-waiting = {}",
                endpoint.name, config.max_waiting
            )));
        }
        let key = OwnedKey {
            caretaker: Arc::clone(self.caretaker.name()),
            target: Arc::clone(&self.target),
        };
        let in_line = pools.join(&self.group, endpoint, key);
        match timeout_at(deadline, poll_fn(|cx| in_line.seat.poll(cx))).await {
            // A connection that waited a moment for its new holder may have died in it.
            Ok(Grant::Connection(connection))
                if self.fresh
                    || connection.expires <= Instant::now()
                    || connection.check().is_err() =>
            {
                Ok(Grant::Room(connection.make_room("replaced")))
            }
            Ok(grant) => Ok(grant),
            Err(_) => {
                endpoint.counters.wait_timeouts.inc();
                Err(LeaseError::WaitTimeout(format!(
                    "all {} connections to {} stayed leased for wait-timeout = {:?}",
                    endpoint.max_open(),
                    endpoint.name,
                    config.wait_timeout
                )))
            }
        }
    }
}

fn no_endpoint(group: &Group, target: &Target) -> LeaseError {
    LeaseError::NoEndpoint(match &target.endpoint {
        Some(endpoint) => format!("upstream group {} has no endpoint {endpoint}", group.name()),
        None => format!(
            "upstream group {} has no endpoint: no name of it resolves",
            group.name()
        ),
    })
}
