//! Tags that leases put on their connections, and what conversations are told of them: wherever a
//! connection goes, its tag goes with it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::upstream::Upstream;
use super::worker::{at_most, config, eventually, target, with_caretaker};
use crate::config::ProbeConfig;
use crate::contract::{Disposition, Target};
use crate::pool::{Caretaker, Conversation, Greeting};

/// Knows all conversations, which say nothing, and writes down what it is told.
struct Scribe {
    name: Arc<str>,
    target: Arc<Target>,
    told: RefCell<Vec<(&'static str, SocketAddr, Target)>>,
}

impl Scribe {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            name: "scribe".into(),
            target: Arc::new(target("default")),
            told: RefCell::default(),
        })
    }

    fn note(&self, what: &'static str, stream: &TcpStream, target: &Target) {
        let at = stream.local_addr().unwrap();
        self.told.borrow_mut().push((what, at, target.clone()));
    }

    /// What this conversation was told, each time.
    fn told(&self, what: &str) -> Vec<Target> {
        let told = self.told.borrow();
        let of_these = told
            .iter()
            .filter(|(conversation, ..)| *conversation == what);
        of_these.map(|(_, _, target)| target.clone()).collect()
    }
}

impl Caretaker for Scribe {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn default_target(&self) -> &Arc<Target> {
        &self.target
    }

    fn has_connect(&self) -> bool {
        true
    }

    fn has_reset(&self) -> bool {
        true
    }

    fn has_probe(&self) -> bool {
        true
    }

    fn connect<'a>(&'a self, stream: TcpStream, target: &'a Target) -> Conversation<'a, Greeting> {
        self.note("connect", &stream, target);
        let greeting = Greeting {
            tag: b"born".to_vec(),
            heard: false,
        };
        Box::pin(async { Ok((stream, greeting)) })
    }

    fn reset<'a>(&'a self, stream: TcpStream, target: &'a Target) -> Conversation<'a, ()> {
        self.note("reset", &stream, target);
        Box::pin(async { Ok((stream, ())) })
    }

    fn probe<'a>(
        &'a self,
        stream: TcpStream,
        target: &'a Target,
        _: Duration,
    ) -> Conversation<'a, ()> {
        self.note("probe", &stream, target);
        Box::pin(async { Ok((stream, ())) })
    }
}

fn in_group(identity: &str) -> Target {
    Target {
        group: Some("g".to_owned()),
        ..target(identity)
    }
}

#[test]
fn a_tag_stays_with_its_connection_until_a_reset() {
    let upstream = Upstream::start();
    let config = config(&[upstream.address], at_most(1));
    with_caretaker(config, Scribe::new(), |worker| async move {
        let mut lease = worker.lease("").await.unwrap();
        assert_eq!(lease.tag(), b"born");
        lease.retag(b"grown"[..].into());
        lease.release(Disposition::Keep, true);

        let lease = worker.lease("").await.unwrap();
        assert!(lease.reused());
        assert_eq!(lease.tag(), b"grown");
        lease.release(Disposition::Keep, true);

        let mut lease = worker.lease("").await.unwrap();
        assert_eq!(lease.tag(), b"grown", "a lease that says nothing leaves it");
        lease.retag(b"for nothing"[..].into());
        lease.release(Disposition::Reset, true);

        let lease = worker.lease("").await.unwrap();
        assert!(lease.reused());
        assert_eq!(lease.tag(), b"born");
    });
}

#[test]
fn a_probe_is_told_what_its_connection_was_opened_for_and_leaves_the_tag() {
    let upstream = Upstream::start();
    let mut config = config(&[upstream.address], at_most(4));
    config.probe = Some(ProbeConfig {
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        ..ProbeConfig::default()
    });
    let scribe = Scribe::new();
    let seen = Rc::clone(&scribe);
    with_caretaker(config, scribe, |worker| async move {
        let mut lease = worker.lease("somebody").await.unwrap();
        lease.retag(b"grown"[..].into());
        lease.release(Disposition::Keep, true);
        let somebody = in_group("somebody");
        eventually("it is probed", || seen.told("probe").contains(&somebody)).await;
        // A health check has a connection of its own, for nobody.
        let default = in_group("default");
        eventually("health is checked", || {
            seen.told("probe").contains(&default)
        })
        .await;
        assert!(seen.told("connect").contains(&default));
        eventually("it is back", || worker.idle() == 2).await;
        let lease = worker.lease("somebody").await.unwrap();
        assert!(lease.reused());
        assert_eq!(lease.tag(), b"grown");
        lease.release(Disposition::Close, true);
    });
}

#[test]
fn conversations_are_told_the_group_whether_a_session_named_it_or_not() {
    let upstream = Upstream::start();
    let config = config(&[upstream.address], at_most(4));
    let address = upstream.address.to_string();
    let scribe = Scribe::new();
    let seen = Rc::clone(&scribe);
    with_caretaker(config, scribe, |worker| async move {
        let asked = [
            target("plain"),
            in_group("named"),
            Target {
                endpoint: Some(address),
                affinity: Some(7),
                ..target("pinned")
            },
        ];
        for target in asked {
            let lease = worker.lease_of(target).await.unwrap();
            lease.release(Disposition::Reset, true);
        }
        eventually("all are reset", || seen.told("reset").len() == 3).await;
        for identity in ["plain", "named", "pinned"] {
            for conversation in ["connect", "reset"] {
                let told = seen.told(conversation);
                assert!(
                    told.contains(&in_group(identity)),
                    "{conversation} of {identity}: {told:?}"
                );
            }
        }
    });
}
