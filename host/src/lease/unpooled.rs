//! The wait for room outside of the pool, where all of an endpoint's is taken.
//!
//! Who waits has its turn among all workers' sessions, for as long as `wait-timeout`. It is told when
//! the endpoint is ejected, or the relay shuts down, as those in the pool's line are.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::borrow::Request;
use crate::contract::LeaseError;
use crate::pool::{Grant, Pools};
use crate::upstream::{Endpoint, Health};

impl Request {
    /// Room for a connection that is none of the pool's.
    pub(super) async fn in_turn(
        &self,
        endpoint: &Arc<Endpoint>,
        deadline: Instant,
    ) -> Result<Grant, LeaseError> {
        let config = &self.group.config().pool;
        let others = self
            .pools
            .at(&self.group, endpoint, |place| place.waiting_unpooled);
        if others >= config.max_waiting as usize {
            return Err(LeaseError::WaitTimeout(format!(
                "{others} sessions wait for unpooled connections to {} already: max-waiting = {}",
                endpoint.name, config.max_waiting
            )));
        }
        let _waiting = Waiting::new(self, endpoint);
        timeout_at(deadline, self.room(endpoint))
            .await
            .unwrap_or_else(|_| {
                endpoint.counters.wait_timeouts.inc();
                Err(LeaseError::WaitTimeout(format!(
                    "all {} unpooled connections to {} stayed leased for wait-timeout = {:?}: \
                     max-unpooled",
                    endpoint.max_unpooled(),
                    endpoint.name,
                    config.wait_timeout
                )))
            })
    }

    async fn room(&self, endpoint: &Arc<Endpoint>) -> Result<Grant, LeaseError> {
        let mut permit = pin!(endpoint.unpooled_permit());
        loop {
            // Nothing can come between these checks and the wait: all is on one thread.
            if self.pools.is_draining() {
                return Err(LeaseError::Draining);
            }
            if endpoint.health() != Health::Up && !self.group.all_ejected() {
                return Ok(Grant::Elsewhere);
            }
            tokio::select! {
                permit = &mut permit => return Ok(Grant::Room(permit)),
                () = self.pools.in_vain.notified() => {}
            }
        }
    }
}

/// Somebody who waits, in the counters.
struct Waiting {
    pools: Rc<Pools>,
    endpoint: Arc<Endpoint>,
    since: Instant,
}

impl Waiting {
    fn new(request: &Request, endpoint: &Arc<Endpoint>) -> Self {
        let pools = Rc::clone(&request.pools);
        pools.at(&request.group, endpoint, |place| {
            place.waiting_unpooled += 1;
        });
        endpoint.counters.waiting.inc();
        endpoint.counters.waits.inc();
        Self {
            pools,
            endpoint: Arc::clone(endpoint),
            since: Instant::now(),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let counters = &self.endpoint.counters;
        counters.waiting.dec();
        let waited = self.since.elapsed().as_secs_f64();
        counters.wait_seconds.inc_by(waited);
        self.pools.at_known(self.endpoint.id, |place| {
            place.waiting_unpooled -= 1;
        });
    }
}
