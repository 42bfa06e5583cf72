//! Borrowing a connection: idle, else opened, else waited for, and at another endpoint if this one
//! cannot be reached.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::guard::Lease;
use crate::contract::{LeaseError, Target, lease_error_text};
use crate::pool::{Caretaker, Connection, Grant, Key, Pools};
use crate::upstream::{Endpoint, Group};

/// A lease that is there, or will be.
#[allow(
    clippy::large_enum_variant,
    reason = "the hot path returns the lease itself; a box would cost it an allocation"
)]
pub enum Leasing {
    /// Without waiting.
    Ready(Result<Lease, LeaseError>),
    /// After a dial, or in line.
    Pending(Pin<Box<dyn Future<Output = Result<Lease, LeaseError>>>>),
}

/// Borrows a connection of the group for a target. With `fresh` it is opened anew.
pub fn borrow(
    pools: &Rc<Pools>,
    group: &Arc<Group>,
    caretaker: &Rc<dyn Caretaker>,
    target: &Target,
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
    if !fresh && let Some(connection) = pools.take_idle(group, &endpoint, key) {
        return Leasing::Ready(Ok(Lease::new(Rc::clone(pools), connection)));
    }
    let request = Request {
        pools: Rc::clone(pools),
        group: Arc::clone(group),
        caretaker: Rc::clone(caretaker),
        target: target.clone(),
        fresh,
    };
    Leasing::Pending(Box::pin(request.fulfil(endpoint)))
}

/// A lease that could not be had at once.
struct Request {
    pools: Rc<Pools>,
    group: Arc<Group>,
    caretaker: Rc<dyn Caretaker>,
    target: Target,
    fresh: bool,
}

impl Request {
    async fn fulfil(self, first: Arc<Endpoint>) -> Result<Lease, LeaseError> {
        let mut tried = Vec::new();
        let mut endpoint = first;
        let deadline = Instant::now() + self.group.config().pool.wait_timeout;
        loop {
            let failure = match self.room(&endpoint, deadline).await? {
                Grant::Connection(connection) => return Ok(self.lend(*connection)),
                Grant::Room(permit) => {
                    let dialed = self
                        .pools
                        .dial(&self.group, permit, &self.caretaker, &self.target)
                        .await;
                    match dialed {
                        Ok(connection) => return Ok(self.lend(connection)),
                        Err(LeaseError::HandshakeFailed(why)) => {
                            return Err(LeaseError::HandshakeFailed(why));
                        }
                        Err(why) => {
                            let text = lease_error_text(&why);
                            self.pools.reach_failed(&self.group, &endpoint, &text);
                            why
                        }
                    }
                }
                Grant::Elsewhere => {
                    LeaseError::ConnectFailed(format!("{} has been ejected", endpoint.name))
                }
                Grant::Refused(why) => return Err(why),
            };
            tried.push(endpoint.id);
            let next = self
                .pools
                .chooser
                .borrow_mut()
                .choose(&self.group, &self.target, &tried);
            match next {
                Some(next) => endpoint = next,
                None => return Err(failure),
            }
        }
    }

    fn lend(&self, connection: Connection) -> Lease {
        Lease::new(Rc::clone(&self.pools), connection)
    }

    /// A connection of the endpoint, or room for one, waiting in line if there is neither.
    async fn room(&self, endpoint: &Arc<Endpoint>, deadline: Instant) -> Result<Grant, LeaseError> {
        let pools = &self.pools;
        let key = Key {
            caretaker: self.caretaker.name(),
            identity: &self.target.identity,
        };
        if !self.fresh
            && let Some(connection) = pools.take_idle(&self.group, endpoint, key)
        {
            return Ok(Grant::Connection(Box::new(connection)));
        }
        // Whoever waits already goes first.
        let waiting = pools.at(&self.group, endpoint, |place| place.shelf.waiting());
        if waiting == 0 {
            if let Some(permit) = endpoint.try_permit() {
                return Ok(Grant::Room(permit));
            }
            if let Some(idle) = pools.at(&self.group, endpoint, |place| place.shelf.evict()) {
                pools.count_taken(endpoint);
                endpoint.counters.closed("other-identity");
                let Connection { stream, permit, .. } = idle;
                drop(stream);
                return Ok(Grant::Room(permit));
            }
        }
        let config = &self.group.config().pool;
        if waiting >= config.max_waiting as usize {
            return Err(LeaseError::WaitTimeout(format!(
                "{waiting} sessions wait for {} already: max-waiting = {}",
                endpoint.name, config.max_waiting
            )));
        }
        let in_line = pools.join(&self.group, endpoint, key);
        match timeout_at(deadline, poll_fn(|cx| in_line.seat.poll(cx))).await {
            // A connection that waited a moment for its new holder may have died in it.
            Ok(Grant::Connection(connection)) if self.fresh || connection.check().is_err() => {
                let Connection { stream, permit, .. } = *connection;
                endpoint.counters.closed("replaced");
                drop(stream);
                Ok(Grant::Room(permit))
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
