//! The guard that a session holds.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::contract::Disposition;
use crate::pool::{Connection, Pools};
use crate::upstream::{Endpoint, Group, Health};

/// A connection on loan. While it lives nobody else can reach the connection; dropped without a
/// disposition, it closes it.
pub struct Lease {
    connection: Box<Connection>,
    ending: Ending,
    written: u64,
    /// The endpoint's era at the beginning.
    era: u32,
    /// Opened for this lease.
    fresh: bool,
    /// We have closed our sending half.
    shut: bool,
    /// The upstream has closed it.
    closed: bool,
    /// It broke, and the upstream had not closed it before.
    broke: bool,
}

impl Lease {
    /// Lends a connection; `fresh`: it was opened for this.
    pub(super) fn new(pools: Rc<Pools>, connection: Box<Connection>, fresh: bool) -> Self {
        let endpoint = connection.permit.endpoint();
        endpoint.lease_begins();
        let unpooled = connection.permit.is_unpooled();
        gauge(endpoint, unpooled).inc();
        if fresh {
            endpoint.counters.leases_fresh.inc();
        } else {
            endpoint.counters.leases_reused.inc();
        }
        let era = endpoint.lease_era();
        let ending = Ending {
            endpoint: Arc::clone(endpoint),
            pools,
            unpooled,
            settled: false,
        };
        Self {
            connection,
            ending,
            written: 0,
            era,
            fresh,
            shut: false,
            closed: false,
            broke: false,
        }
    }

    /// The connection's bytes.
    pub fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.connection.stream
    }

    /// What the plugin's `connect` said of it, or a later lease that kept it.
    pub fn tag(&self) -> &[u8] {
        self.connection.tag()
    }

    /// Puts another tag on it, for its next leases. A reset takes it off again.
    pub fn retag(&mut self, tag: Box<[u8]>) {
        self.connection.retagged = Some(tag);
    }

    /// The endpoint's name.
    pub fn endpoint(&self) -> &str {
        &self.ending.endpoint.name
    }

    /// Whether it was there before this lease.
    pub fn reused(&self) -> bool {
        !self.fresh
    }

    /// Whether anybody waits in line for a connection of its endpoint.
    pub fn is_wanted(&self) -> bool {
        self.ending.endpoint.longest_waiting(None).is_some()
    }

    /// Whether the pool would not take it back: it is past its lifetime, or its endpoint has gone, or
    /// has been ejected while there are others.
    pub fn is_past_use(&self, group: &Group, now: Instant) -> bool {
        let past = match self.ending.endpoint.health() {
            Health::Up => false,
            Health::Ejected => !group.all_ejected(),
            Health::Gone => true,
        };
        past || self.connection.expires <= now
    }

    /// Takes note of bytes written.
    pub fn wrote(&mut self, count: usize) {
        self.written += count as u64;
    }

    /// Takes note of bytes read: the endpoint is alive.
    pub fn replied(&self) {
        self.ending.endpoint.replied();
    }

    /// Whether bytes that come now were asked for by nobody: those of a connection from the pool,
    /// that nothing has been written to in this lease.
    pub fn is_unasked(&self) -> bool {
        self.reused() && self.written == 0
    }

    /// Whether the endpoint has been ejected, and its leases ended with it.
    pub fn is_ended(&self) -> bool {
        self.ending.endpoint.lease_era() != self.era
    }

    /// Takes note of an error in reading or writing. A broken pipe is what a connection says that
    /// the upstream has closed, even where a reset followed.
    pub fn failed(&mut self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::BrokenPipe => self.closed = true,
            _ => self.broke = true,
        }
    }

    /// Takes note that we have told the upstream that no more comes.
    pub fn shut(&mut self) {
        self.shut = true;
    }

    /// Whether we have told the upstream that no more comes.
    pub fn is_shut(&self) -> bool {
        self.shut
    }

    /// Takes note that the upstream has closed the connection.
    pub fn ended(&mut self) {
        self.closed = true;
    }

    /// Whether the upstream has got something and closed the connection, which was for this lease alone: then it
    /// has done what it was opened for.
    pub fn is_spent(&self) -> bool {
        self.ending.unpooled && self.closed && !self.broke && self.delivered()
    }

    /// Whether any byte written during this lease may have reached the upstream.
    ///
    /// It has not where nothing was written, or where the upstream has closed the connection and
    /// its kernel has acknowledged none. Any other end leaves doubt: the acknowledgement that a
    /// reset carries is not looked at (RFC 9293, section 3.10.7.4, checks RST before ACK), one that
    /// was lost may have been for bytes that arrived, and on a connection that is still open
    /// they may arrive yet.
    pub fn delivered(&self) -> bool {
        let proved = self.closed && !self.broke && !self.arrived();
        self.written > 0 && !proved
    }

    fn arrived(&self) -> bool {
        // The kernel counts our own FIN, once it is said, as a byte that waits.
        let fin = u64::from(self.shut);
        self.connection
            .unacknowledged()
            .map_or(true, |waiting| waiting < self.written + fin)
    }

    /// Ends the lease. `clean`: the host, too, finds nothing wrong with the connection.
    pub fn release(self, disposition: Disposition, clean: bool) {
        let Self {
            connection,
            mut ending,
            ..
        } = self;
        ending.settled = true;
        let pools = Rc::clone(&ending.pools);
        match disposition {
            Disposition::Keep | Disposition::Reset if ending.unpooled => {
                ending.endpoint.counters.closed("unpooled");
            }
            Disposition::Keep if clean => {
                drop(ending);
                pools.offer(connection, Instant::now());
            }
            Disposition::Reset if clean && connection.caretaker.has_reset() => {
                // Leased until it is as good as new.
                tokio::task::spawn_local(async move {
                    let fit = pools.reset(connection).await;
                    drop(ending);
                    if let Some(connection) = fit {
                        pools.offer(connection, Instant::now());
                    }
                });
            }
            Disposition::Close => ending.endpoint.counters.closed("plugin"),
            Disposition::Keep | Disposition::Reset => ending.endpoint.counters.closed("unclean"),
        }
    }
}

/// Where connections like this one are counted.
fn gauge(endpoint: &Endpoint, unpooled: bool) -> &Gauge {
    match unpooled {
        true => &endpoint.counters.unpooled,
        false => &endpoint.counters.leased,
    }
}

/// What has to happen at the end of every lease, however it comes.
struct Ending {
    endpoint: Arc<Endpoint>,
    pools: Rc<Pools>,
    unpooled: bool,
    settled: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.endpoint.lease_ends();
        gauge(&self.endpoint, self.unpooled).dec();
        if !self.settled {
            self.endpoint.counters.closed("dropped");
        }
    }
}
