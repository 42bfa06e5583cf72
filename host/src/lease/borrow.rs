//! Borrowing a connection: idle, else opened, else waited for, and at another endpoint if this one
//! cannot be reached.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, timeout_at};

use super::guard::Lease;
use crate::config::Balance;
use crate::contract::{LeaseError, Target, lease_error_text};
use crate::pool::{
    Blame, Caretaker, Connection, DialError, Grant, InLine, Key, OwnedKey, Pools, waited_in_vain,
};
use crate::upstream::{Endpoint, Group, Health, Permit};

/// A lease that is there, or will be.
pub enum Leasing {
    /// Without waiting.
    Ready(Result<Lease, LeaseError>),
    /// After a dial, or in line.
    Pending(Waiting),
}

/// Borrows a connection of the group for a target. With `fresh` it is opened anew.
pub fn borrow(
    pools: &Rc<Pools>,
    group: &Arc<Group>,
    caretaker: &Rc<dyn Caretaker>,
    target: &Arc<Target>,
    fresh: bool,
) -> Leasing {
    let wish = Wish {
        pools,
        group,
        caretaker,
        target,
        fresh,
    };
    if pools.is_draining() {
        return Leasing::Ready(Err(LeaseError::Draining));
    }
    let Some(mut endpoint) = wish.next(&[]) else {
        return Leasing::Ready(Err(no_endpoint(group, target)));
    };
    let grant = match wish.at_once(&mut endpoint, &[]) {
        Some(Grant::Connection(connection)) => {
            return Leasing::Ready(Ok(wish.lend(connection, false)));
        }
        None if !target.unpooled => match wish.join(&endpoint) {
            Ok(place) => {
                let request = wish.keep();
                return Leasing::Pending(Waiting::InLine(Box::new(Queued { request, place })));
            }
            Err(why) => return Leasing::Ready(Err(why)),
        },
        other => other,
    };
    let deadline = Instant::now() + group.config().pool.wait_timeout;
    let fulfilled = wish.keep().fulfil(endpoint, grant, deadline);
    Leasing::Pending(Waiting::Else(Box::pin(fulfilled)))
}

/// What is wanted of which pools.
#[derive(Clone, Copy)]
struct Wish<'a> {
    pools: &'a Rc<Pools>,
    group: &'a Arc<Group>,
    caretaker: &'a Rc<dyn Caretaker>,
    target: &'a Arc<Target>,
    fresh: bool,
}

impl Wish<'_> {
    fn keep(self) -> Request {
        Request {
            pools: Rc::clone(self.pools),
            group: Arc::clone(self.group),
            caretaker: Rc::clone(self.caretaker),
            target: Arc::clone(self.target),
            fresh: self.fresh,
        }
    }

    fn lend(self, connection: Box<Connection>, fresh: bool) -> Lease {
        Lease::new(Rc::clone(self.pools), connection, fresh)
    }

    fn key(&self) -> Key<'_> {
        Key {
            caretaker: self.caretaker.name(),
            identity: &self.target.identity,
        }
    }

    /// The endpoint to go to next, if not to one of these.
    fn next(self, tried: &[usize]) -> Option<Arc<Endpoint>> {
        let mut chooser = self.pools.chooser.borrow_mut();
        chooser.choose(self.group, self.target, tried)
    }

    /// A connection, or room for one, without waiting: at this endpoint, or else at another that
    /// has some, unless it is this one that is wanted.
    fn at_once(self, endpoint: &mut Arc<Endpoint>, tried: &[usize]) -> Option<Grant> {
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

    fn at_once_at(self, endpoint: &Arc<Endpoint>) -> Option<Grant> {
        if self.target.unpooled {
            return endpoint.try_unpooled_permit().map(Grant::Room);
        }
        let pools = self.pools;
        if !self.fresh
            && let Some(connection) = pools.take_idle(self.group, endpoint, self.key())
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
        let idle = pools.at(self.group, endpoint, |place| place.shelf.evict())?;
        pools.count_taken(endpoint);
        Some(Grant::Room(idle.make_room("other-identity")))
    }

    /// A place in line, if that is not too long.
    fn join(self, endpoint: &Arc<Endpoint>) -> Result<InLine, LeaseError> {
        let key = OwnedKey {
            caretaker: Arc::clone(self.caretaker.name()),
            target: Arc::clone(self.target),
        };
        self.pools.join(self.group, endpoint, key)
    }

    /// What has been granted in line, as it is now.
    fn take(self, grant: Grant) -> Grant {
        match grant {
            // A connection that waited a moment for its new holder may have died in it.
            Grant::Connection(connection)
                if self.fresh
                    || connection.expires <= Instant::now()
                    || connection.check().is_err() =>
            {
                Grant::Room(connection.make_room("replaced"))
            }
            grant => grant,
        }
    }
}

/// A lease that is waited for. Dropped it is not wanted any more.
pub enum Waiting {
    /// Nearly always: in line, for a connection of the same identity.
    InLine(Box<Queued>),
    /// Whatever else it takes.
    Else(Pin<Box<dyn Future<Output = Result<Lease, LeaseError>>>>),
}

/// Somebody in line, and what for.
pub struct Queued {
    request: Request,
    place: InLine,
}

impl Future for Waiting {
    type Output = Result<Lease, LeaseError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let queued = match &mut *self {
                Self::Else(fulfilled) => return fulfilled.as_mut().poll(cx),
                Self::InLine(queued) => queued,
            };
            let wish = queued.request.wish();
            let grant = match wish.take(ready!(queued.place.poll(cx))) {
                Grant::Connection(connection) => {
                    return Poll::Ready(Ok(wish.lend(connection, false)));
                }
                Grant::Refused(why) => return Poll::Ready(Err(why)),
                grant => grant,
            };
            let endpoint = Arc::clone(queued.place.endpoint());
            let deadline = queued.place.deadline();
            let fulfilled = wish.keep().fulfil(endpoint, Some(grant), deadline);
            *self = Self::Else(Box::pin(fulfilled));
        }
    }
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
    fn wish(&self) -> Wish<'_> {
        Wish {
            pools: &self.pools,
            group: &self.group,
            caretaker: &self.caretaker,
            target: &self.target,
            fresh: self.fresh,
        }
    }

    /// Goes on with what has been granted at an endpoint, or without it.
    async fn fulfil(
        self,
        mut endpoint: Arc<Endpoint>,
        mut granted: Option<Grant>,
        deadline: Instant,
    ) -> Result<Lease, LeaseError> {
        let wish = self.wish();
        let mut tried = Vec::new();
        loop {
            if self.pools.is_draining() {
                return Err(LeaseError::Draining);
            }
            let at_once = granted
                .take()
                .or_else(|| wish.at_once(&mut endpoint, &tried));
            let grant = match at_once {
                Some(grant) => grant,
                None if self.target.unpooled => self.in_turn(&endpoint, deadline).await?,
                None => self.in_line(&endpoint, deadline).await?,
            };
            let failure = match grant {
                Grant::Connection(connection) => return Ok(wish.lend(connection, false)),
                Grant::Room(permit) => match self.dial(permit, deadline).await {
                    Ok(connection) => return Ok(wish.lend(connection, true)),
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
            match wish.next(&tried) {
                Some(next) => endpoint = next,
                None => return Err(failure),
            }
        }
    }

    /// Opens a connection, in what is left of the time.
    async fn dial(&self, permit: Permit, deadline: Instant) -> Result<Box<Connection>, DialError> {
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

    /// What the line grants, in what is left of the time.
    async fn in_line(
        &self,
        endpoint: &Arc<Endpoint>,
        deadline: Instant,
    ) -> Result<Grant, LeaseError> {
        let wish = self.wish();
        let mut place = wish.join(endpoint)?;
        match timeout_at(deadline, std::future::poll_fn(|cx| place.poll(cx))).await {
            Ok(grant) => Ok(wish.take(grant)),
            Err(_) => Err(waited_in_vain(&self.group, endpoint)),
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
