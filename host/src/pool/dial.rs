//! Opening connections.

use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::caretaker::Caretaker;
use super::connection::Connection;
use super::pools::Pools;
use crate::contract::{LeaseError, Target};
use crate::upstream::{Group, Permit};

/// Silence after which the kernel asks whether the peer is still there, and how often.
const KEEPALIVE: Duration = Duration::from_secs(60);

impl Pools {
    /// Opens a connection under a permit and shakes hands on it.
    ///
    /// # Errors
    /// `connect-failed` and `connect-timeout`, after which another endpoint may be tried, and
    /// `handshake-failed`, which is final.
    pub(crate) async fn dial(
        &self,
        group: &Group,
        permit: Permit,
        caretaker: &Rc<dyn Caretaker>,
        target: &Target,
    ) -> Result<Connection, LeaseError> {
        let config = group.config();
        let endpoint = permit.endpoint();
        let name = &endpoint.name;
        let limit = config.connect_timeout;
        let stream = match timeout(limit, TcpStream::connect(endpoint.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(LeaseError::ConnectFailed(format!(
                    "cannot connect to {name}: {error}"
                )));
            }
            Err(_) => {
                return Err(LeaseError::ConnectTimeout(format!(
                    "{name} did not accept within connect-timeout = {limit:?}"
                )));
            }
        };
        endpoint.counters.opened.inc();
        // Both are improvements that a connection works without.
        let _ = stream.set_nodelay(true);
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let (stream, tag) = if caretaker.has_connect() {
            match caretaker.connect(stream, target).await {
                Ok(done) => done,
                Err(why) => {
                    endpoint.counters.closed("handshake-failed");
                    return Err(LeaseError::HandshakeFailed(why));
                }
            }
        } else {
            (stream, Vec::new())
        };
        endpoint.replied();
        let lifetime = config.pool.max_lifetime;
        let jitter = self.random.borrow_mut().f64() / 10.0;
        let target = Target {
            group: None,
            endpoint: None,
            identity: target.identity.clone(),
            secret: target.secret.clone(),
            affinity: None,
        };
        Ok(Connection {
            stream,
            tag,
            target,
            caretaker: Rc::clone(caretaker),
            expires: Instant::now() + lifetime.mul_f64(1.0 - jitter),
            uses: 0,
            permit,
        })
    }
}
