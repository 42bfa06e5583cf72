//! Idle connections are probed, and those that fail are closed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::upstream::Upstream;
use super::worker::{at_most, config, eventually, target, with_caretaker};
use crate::config::{ProbeConfig, UpstreamConfig};
use crate::contract::{Disposition, Target};
use crate::pool::{Caretaker, Conversation, Greeting, Trouble};

/// Not that of the default target: health checks leave these connections alone, and only the
/// upkeep of the idle ones looks at them.
const IDENTITY: &str = "somebody";

/// What a probe of the test's own says of a connection, known by its local port.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Fails,
    Hangs,
}

/// Probes by an echo, unless the test has decided otherwise.
struct Prober {
    name: Arc<str>,
    target: Arc<Target>,
    fate: Cell<Option<(u16, Fate)>>,
    /// Local ports of the connections that were found alive.
    alive: RefCell<BTreeSet<u16>>,
}

impl Prober {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            name: "prober".into(),
            target: Arc::new(target("")),
            fate: Cell::new(None),
            alive: RefCell::default(),
        })
    }

    async fn look(&self, mut stream: TcpStream) -> Result<(TcpStream, ()), Trouble> {
        let port = stream.local_addr().unwrap().port();
        match self.fate.get() {
            Some((doomed, Fate::Fails)) if doomed == port => {
                return Err(Trouble::Refused("no PONG".to_owned()));
            }
            Some((doomed, Fate::Hangs)) if doomed == port => std::future::pending().await,
            _ => {}
        }
        let mut reply = [0; 4];
        stream.write_all(b"ping").await.unwrap();
        stream.read_exact(&mut reply).await.unwrap();
        self.alive.borrow_mut().insert(port);
        Ok((stream, ()))
    }
}

impl Caretaker for Prober {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn default_target(&self) -> &Arc<Target> {
        &self.target
    }

    fn has_connect(&self) -> bool {
        false
    }

    fn has_reset(&self) -> bool {
        false
    }

    fn has_probe(&self) -> bool {
        true
    }

    fn connect<'a>(&'a self, _: TcpStream, _: &'a Target) -> Conversation<'a, Greeting> {
        unreachable!("there is no connect")
    }

    fn reset<'a>(&'a self, _: TcpStream, _: &'a Target) -> Conversation<'a, ()> {
        unreachable!("there is no reset")
    }

    fn probe<'a>(&'a self, stream: TcpStream, _: &'a Target, _: Duration) -> Conversation<'a, ()> {
        Box::pin(self.look(stream))
    }
}

fn probed(upstream: &Upstream, timeout: Duration) -> UpstreamConfig {
    let mut config = config(&[upstream.address], at_most(8));
    config.probe = Some(ProbeConfig {
        interval: Duration::from_millis(20),
        timeout,
        // Nothing is ejected here: what is closed is closed for its own failure.
        fall: 1000,
        rise: 1,
        end_leases: true,
    });
    config
}

/// Of three idle connections the one that has been idle longest meets this fate.
fn one_of_three(fate: Fate, timeout: Duration) {
    let upstream = Upstream::start();
    let prober = Prober::new();
    let caretaker = Rc::clone(&prober);
    with_caretaker(probed(&upstream, timeout), caretaker, |worker| async move {
        let mut leases = Vec::new();
        for _ in 0..3 {
            leases.push(worker.lease(IDENTITY).await.unwrap());
        }
        let ports: Vec<u16> = leases
            .iter_mut()
            .map(|lease| lease.stream_mut().local_addr().unwrap().port())
            .collect();
        prober.fate.set(Some((ports[0], fate)));
        for lease in leases {
            lease.release(Disposition::Keep, true);
        }
        eventually("it is closed and counted", || {
            worker.closed("probe-failed") == 1
        })
        .await;
        assert!(worker.counted("leaseway_probes_total", "result", "dead") >= 1);
        eventually("the others are found alive", || {
            let alive = prober.alive.borrow();
            alive.contains(&ports[1]) && alive.contains(&ports[2])
        })
        .await;
        assert_eq!(worker.closed("probe-failed"), 1, "the others stay");
        assert!(!prober.alive.borrow().contains(&ports[0]));
        let mut lease = worker.lease(IDENTITY).await.unwrap();
        let lent = lease.stream_mut().local_addr().unwrap().port();
        assert_ne!(lent, ports[0], "a dead one was lent");
    });
}

#[test]
fn an_idle_connection_that_fails_its_probe_is_closed_and_counted() {
    one_of_three(Fate::Fails, Duration::from_secs(5));
}

#[test]
fn so_is_one_whose_probe_does_not_end() {
    one_of_three(Fate::Hangs, Duration::from_secs(1));
}
