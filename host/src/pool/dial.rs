//! Opening connections.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::caretaker::{Caretaker, Trouble};
use super::connection::{Connection, Unfit};
use super::pools::Pools;
use crate::contract::{LeaseError, Target};
use crate::upstream::{EndpointCounters, Group, Permit};

/// Silence after which the kernel asks whether the peer is still there, and how often.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A connection that could not be opened.
#[derive(Debug)]
pub(crate) struct DialError {
    pub(crate) why: LeaseError,
    pub(crate) blame: Blame,
}

/// What a connection that could not be opened says of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// It does not listen, or breaks off: another may be tried.
    Closed,
    /// It says nothing, or cannot be reached at all: another may be tried.
    Silent,
    /// It answers, and the plugin is not content with that.
    Refused,
    /// Nothing: this machine lacks something, or the plugin has failed.
    Nobody,
}

impl From<&Trouble> for Blame {
    fn from(trouble: &Trouble) -> Self {
        match trouble {
            Trouble::Broke(_) => Self::Closed,
            Trouble::Silent(_) => Self::Silent,
            Trouble::Refused(_) => Self::Refused,
            Trouble::Fault(_) => Self::Nobody,
        }
    }
}

impl DialError {
    fn new(why: LeaseError, blame: Blame) -> Self {
        Self { why, blame }
    }
}

/// Whom a failed connect blames. Only a machine that is there says that nobody listens; one that is
/// gone says nothing, and whoever says so in its place (a router, this kernel) means just that.
fn blame(error: &io::Error) -> Blame {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED | Errno::CONNRESET) => Blame::Closed,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::ADDRNOTAVAIL) => {
            Blame::Nobody
        }
        _ => Blame::Silent,
    }
}

/// A connection that is open and not yet anybody's. Who waits for it may give up at any time; it is
/// closed then, and counted.
struct Handshake<'a> {
    counters: &'a EndpointCounters,
    succeeded: bool,
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        if !self.succeeded {
            self.counters.closed("handshake-failed");
        }
    }
}

impl Pools {
    /// Opens a connection under a permit and shakes hands on it.
    ///
    /// # Errors
    /// `connect-failed`, `connect-timeout` and `handshake-failed`, and whom to blame.
    pub(crate) async fn dial(
        &self,
        group: &Group,
        permit: Permit,
        caretaker: &Rc<dyn Caretaker>,
        target: &Arc<Target>,
    ) -> Result<Box<Connection>, DialError> {
        let config = group.config();
        let endpoint = permit.endpoint();
        let name = &endpoint.name;
        let limit = config.connect_timeout;
        let stream = match timeout(limit, TcpStream::connect(endpoint.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let why = format!("cannot connect to {name}: {error}");
                let why = LeaseError::ConnectFailed(why);
                return Err(DialError::new(why, blame(&error)));
            }
            Err(_) => {
                let why = format!("{name} did not accept within connect-timeout = {limit:?}");
                return Err(DialError::new(
                    LeaseError::ConnectTimeout(why),
                    Blame::Silent,
                ));
            }
        };
        endpoint.counters.opened.inc();
        let target = &placed(target, group.name(), permit.is_unpooled());
        // Both are improvements that a connection works without.
        let _ = stream.set_nodelay(true);
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let (stream, tag) = if caretaker.has_connect() {
            let mut handshake = Handshake {
                counters: &endpoint.counters,
                succeeded: false,
            };
            let shaken = caretaker.connect(stream, target).await;
            handshake.succeeded = shaken.is_ok();
            let shaken = shaken.map_err(|trouble| {
                let why = LeaseError::HandshakeFailed(trouble.to_string());
                DialError::new(why, Blame::from(&trouble))
            })?;
            let (stream, greeting) = shaken;
            // An open connection alone says nothing: the kernel accepts for a server that hangs.
            if greeting.heard {
                endpoint.replied();
            }
            if target.identity == caretaker.default_target().identity {
                endpoint.lets_in();
            }
            (stream, greeting.tag)
        } else {
            (stream, Vec::new())
        };
        let lifetime = config.pool.max_lifetime;
        let jitter = self.random.borrow_mut().f64() / 10.0;
        let connection = Box::new(Connection {
            stream,
            tag,
            retagged: None,
            target: Arc::clone(target),
            caretaker: Rc::clone(caretaker),
            expires: Instant::now() + lifetime.mul_f64(1.0 - jitter),
            permit,
        });
        // Nobody would know what bytes behind a handshake belong to.
        if caretaker.has_connect()
            && let Err(unfit) = connection.check()
        {
            let endpoint = connection.permit.endpoint();
            endpoint.counters.closed(unfit.name());
            let why = format!("{} behind the handshake", unfit.name());
            let why = LeaseError::HandshakeFailed(why);
            let blame = match unfit {
                Unfit::Closed | Unfit::Broken => Blame::Closed,
                Unfit::UnaskedBytes => Blame::Refused,
            };
            return Err(DialError::new(why, blame));
        }
        Ok(connection)
    }
}

/// What a connection is opened for, as conversations are told: in its group or outside of the pool,
/// and without what only says where to go.
fn placed(target: &Arc<Target>, group: &str, unpooled: bool) -> Arc<Target> {
    let named = target.group.as_deref() == Some(group);
    let is_placed = named && target.unpooled == unpooled;
    if is_placed && target.endpoint.is_none() && target.affinity.is_none() {
        return Arc::clone(target);
    }
    Arc::new(Target {
        group: Some(group.to_owned()),
        endpoint: None,
        identity: target.identity.clone(),
        secret: target.secret.clone(),
        affinity: None,
        unpooled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_connect_blames_whom_it_should() {
        for (errno, whom) in [
            (Errno::MFILE, Blame::Nobody),
            (Errno::NFILE, Blame::Nobody),
            (Errno::ADDRNOTAVAIL, Blame::Nobody),
            (Errno::NOBUFS, Blame::Nobody),
            (Errno::CONNREFUSED, Blame::Closed),
            (Errno::HOSTUNREACH, Blame::Silent),
            (Errno::NETUNREACH, Blame::Silent),
            (Errno::TIMEDOUT, Blame::Silent),
        ] {
            assert_eq!(blame(&io::Error::from(errno)), whom, "{errno}");
        }
    }
}
