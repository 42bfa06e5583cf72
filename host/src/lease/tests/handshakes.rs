//! Handshakes and probes that fail: who is to blame, and where the session goes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::upstream::Upstream;
use super::worker::{SOON, at_most, config, eventually, on_one_worker, target, with_caretaker};
use crate::config::{PoolConfig, ProbeConfig};
use crate::contract::{Disposition, LeaseError, Target};
use crate::pool::{Caretaker, Conversation, Greeting, Trouble};
use crate::upstream::Health;

/// How a conversation with an endpoint ends.
#[derive(Clone)]
enum Fate {
    Fails(Trouble),
    Hangs,
}

/// Content with every endpoint but those that the test names.
struct Picky {
    name: Arc<str>,
    target: Arc<Target>,
    connects: RefCell<HashMap<SocketAddr, Fate>>,
    probes: RefCell<HashMap<SocketAddr, Fate>>,
}

impl Picky {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            name: "picky".into(),
            target: Arc::new(target("")),
            connects: RefCell::default(),
            probes: RefCell::default(),
        })
    }

    /// Freezes an endpoint: its kernel accepts, where nothing has to be said the handshake succeeds,
    /// and nothing is answered.
    fn freeze(&self, address: SocketAddr) {
        self.probes.borrow_mut().insert(address, Fate::Hangs);
    }
}

async fn meet(
    fates: &RefCell<HashMap<SocketAddr, Fate>>,
    stream: TcpStream,
) -> Result<TcpStream, Trouble> {
    let peer = stream.peer_addr().unwrap();
    let fate = fates.borrow().get(&peer).cloned();
    match fate {
        None => Ok(stream),
        Some(Fate::Fails(trouble)) => Err(trouble),
        Some(Fate::Hangs) => std::future::pending().await,
    }
}

impl Caretaker for Picky {
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
        false
    }

    fn has_probe(&self) -> bool {
        true
    }

    fn connect<'a>(&'a self, stream: TcpStream, _: &'a Target) -> Conversation<'a, Greeting> {
        let greeting = Greeting {
            tag: b"tag".to_vec(),
            heard: false,
        };
        Box::pin(async { Ok((meet(&self.connects, stream).await?, greeting)) })
    }

    fn reset<'a>(&'a self, _: TcpStream, _: &'a Target) -> Conversation<'a, ()> {
        unreachable!("there is no reset")
    }

    fn probe<'a>(&'a self, stream: TcpStream, _: &'a Target, _: Duration) -> Conversation<'a, ()> {
        Box::pin(async { Ok((meet(&self.probes, stream).await?, ())) })
    }
}

#[test]
fn a_handshake_that_breaks_goes_to_the_next_endpoint_and_a_refusal_is_final() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let picky = Picky::new();
    let caretaker = Rc::clone(&picky);
    let config = config(&[first.address, second.address], at_most(4));
    with_caretaker(config, caretaker, |worker| async move {
        let broke = Fate::Fails(Trouble::Broke("closed in mid-handshake".to_owned()));
        picky.connects.borrow_mut().insert(first.address, broke);
        for _ in 0..4 {
            let lease = worker.lease("").await.unwrap();
            assert_eq!(lease.endpoint(), second.address.to_string());
            assert_eq!(lease.tag(), b"tag");
        }
        let refused = Fate::Fails(Trouble::Refused("WRONGPASS".to_owned()));
        for address in [first.address, second.address] {
            let mut connects = picky.connects.borrow_mut();
            connects.insert(address, refused.clone());
        }
        let opened = || worker.counted("leaseway_pool_connections_opened_total", "group", "g");
        let before = opened();
        let error = worker.lease("other").await.err();
        assert_eq!(error, Some(LeaseError::HandshakeFailed("WRONGPASS".into())));
        assert_eq!(opened(), before + 1, "one endpoint was asked");
    });
}

#[test]
fn a_handshake_that_does_not_end_takes_no_longer_than_wait_timeout() {
    let upstream = Upstream::start();
    let picky = Picky::new();
    picky
        .connects
        .borrow_mut()
        .insert(upstream.address, Fate::Hangs);
    let pool = PoolConfig {
        wait_timeout: Duration::from_millis(100),
        ..at_most(4)
    };
    let config = config(&[upstream.address], pool);
    with_caretaker(config, picky, |worker| async move {
        let asked = Instant::now();
        match worker.lease("").await.err() {
            Some(LeaseError::WaitTimeout(text)) => {
                assert!(text.contains("wait-timeout = 100ms"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert!(asked.elapsed() < SOON);
        assert_eq!(worker.open(), 0);
    });
}

/// Checks often, and ejects at once. As is usual, a check takes less than the time between two.
fn strict() -> ProbeConfig {
    ProbeConfig {
        interval: Duration::from_millis(60),
        timeout: Duration::from_millis(10),
        fall: 1,
        rise: 1,
        end_leases: true,
    }
}

#[test]
fn a_fault_of_the_plugins_probe_ejects_nobody_and_a_bad_answer_does() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let picky = Picky::new();
    let caretaker = Rc::clone(&picky);
    let mut config = config(&[first.address, second.address], at_most(4));
    config.probe = Some(strict());
    with_caretaker(config, caretaker, |worker| async move {
        let endpoint = Arc::clone(&worker.group.endpoints()[0]);
        let fault = Fate::Fails(Trouble::Fault("plugin picky: trap".to_owned()));
        picky.probes.borrow_mut().insert(first.address, fault);
        let checks = || worker.counted("leaseway_probes_total", "result", "dead");
        eventually("checks have failed", || checks() >= 5).await;
        assert_eq!(endpoint.health(), Health::Up);
        let refused = Fate::Fails(Trouble::Refused("LOADING".to_owned()));
        picky.probes.borrow_mut().insert(first.address, refused);
        eventually("it is ejected", || endpoint.health() == Health::Ejected).await;
        picky.probes.borrow_mut().clear();
        eventually("it is back", || endpoint.health() == Health::Up).await;
    });
}

#[test]
fn leases_of_an_ejected_endpoint_end_while_another_is_healthy() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let picky = Picky::new();
    let caretaker = Rc::clone(&picky);
    let mut config = config(&[first.address, second.address], at_most(4));
    config.probe = Some(strict());
    with_caretaker(config, caretaker, |worker| async move {
        let woken = Rc::new(std::cell::Cell::new(0));
        let count = Rc::clone(&woken);
        worker
            .pools
            .on_leases_ended(move || count.set(count.get() + 1));
        let leases = [
            worker.lease("a").await.unwrap(),
            worker.lease("a").await.unwrap(),
        ];
        assert_ne!(leases[0].endpoint(), leases[1].endpoint());
        picky.freeze(first.address);
        let of = |address: SocketAddr| {
            let name = address.to_string();
            leases.iter().find(move |lease| lease.endpoint() == name)
        };
        let is_ended = |address| of(address).is_some_and(crate::lease::Lease::is_ended);
        eventually("its lease ends", || is_ended(first.address)).await;
        eventually("its session is woken", || woken.get() > 0).await;
        assert!(!is_ended(second.address));
        // The last one is not taken from anybody: there is nowhere else to go.
        picky.freeze(second.address);
        let last = Arc::clone(&worker.group.endpoints()[1]);
        eventually("it is ejected too", || last.health() == Health::Ejected).await;
        assert!(!is_ended(second.address));
        // A lease that begins now is none of those that were ended, but as all are ejected it may
        // be of one that says nothing: as soon as there is another to go to, it ends too.
        let late = [
            worker.lease("b").await.unwrap(),
            worker.lease("b").await.unwrap(),
        ];
        assert!(late.iter().all(|lease| !lease.is_ended()));
        picky.probes.borrow_mut().remove(&second.address);
        let frozen = first.address.to_string();
        let late = late.iter().find(|lease| lease.endpoint() == frozen);
        eventually("the late one ends", || {
            late.is_some_and(crate::lease::Lease::is_ended)
        })
        .await;
        assert_eq!(last.health(), Health::Up);
    });
}

/// One that is slow for once is no reason to take leases away, nor one that breaks off.
#[test]
fn leases_end_only_after_fall_silent_checks() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let picky = Picky::new();
    let caretaker = Rc::clone(&picky);
    let mut config = config(&[first.address, second.address], at_most(4));
    config.probe = Some(ProbeConfig {
        fall: 3,
        ..strict()
    });
    with_caretaker(config, caretaker, |worker| async move {
        let leases = [
            worker.lease("a").await.unwrap(),
            worker.lease("a").await.unwrap(),
        ];
        let endpoint = Arc::clone(&worker.group.endpoints()[0]);
        let broke = Fate::Fails(Trouble::Broke("too many clients".to_owned()));
        picky.probes.borrow_mut().insert(first.address, broke);
        eventually("it is ejected", || endpoint.health() == Health::Ejected).await;
        let dead = || worker.counted("leaseway_probes_total", "result", "dead");
        let before = dead();
        eventually("it is checked again", || dead() >= before + 5).await;
        assert!(leases.iter().all(|lease| !lease.is_ended()));
        picky.freeze(first.address);
        let before = dead();
        eventually("it is silent once", || dead() > before).await;
        assert!(leases.iter().all(|lease| !lease.is_ended()));
        let of_first = |lease: &&crate::lease::Lease| lease.endpoint() == first.address.to_string();
        let lease = leases.iter().find(of_first);
        eventually("its lease ends", || {
            lease.is_some_and(crate::lease::Lease::is_ended)
        })
        .await;
        assert!(dead() >= before + 3);
    });
}

/// Clients may bring passwords of their own, and the plugin have none that the server would take.
#[test]
fn a_server_that_never_lets_the_check_in_is_alive() {
    let upstream = Upstream::start();
    let picky = Picky::new();
    let caretaker = Rc::clone(&picky);
    let mut config = config(&[upstream.address], at_most(4));
    config.probe = Some(strict());
    let refused = Fate::Fails(Trouble::Refused("NOAUTH".to_owned()));
    picky
        .connects
        .borrow_mut()
        .insert(upstream.address, refused.clone());
    with_caretaker(config, caretaker, |worker| async move {
        let endpoint = Arc::clone(&worker.group.endpoints()[0]);
        let checks = || worker.closed("handshake-failed");
        eventually("it is checked", || checks() >= 5).await;
        assert_eq!(endpoint.health(), Health::Up);
        // Once it has let one in, a refusal is another matter.
        picky.connects.borrow_mut().clear();
        let alive = || worker.counted("leaseway_probes_total", "result", "alive");
        eventually("a check succeeds", || alive() >= 1).await;
        picky
            .connects
            .borrow_mut()
            .insert(upstream.address, refused.clone());
        picky.probes.borrow_mut().insert(upstream.address, refused);
        eventually("it is ejected", || endpoint.health() == Health::Ejected).await;
    });
}

#[test]
fn a_server_that_has_let_a_session_in_is_ejected_when_it_refuses() {
    let upstream = Upstream::start();
    let picky = Picky::new();
    let caretaker = Rc::clone(&picky);
    let mut config = config(&[upstream.address], at_most(1));
    config.probe = Some(strict());
    with_caretaker(config, caretaker, |worker| async move {
        let endpoint = Arc::clone(&worker.group.endpoints()[0]);
        let _lease = worker.lease("").await.unwrap();
        let refused = Fate::Fails(Trouble::Refused("WRONGPASS".to_owned()));
        picky
            .connects
            .borrow_mut()
            .insert(upstream.address, refused);
        eventually("it is ejected", || endpoint.health() == Health::Ejected).await;
    });
}

/// What strikes all of them at once may be this machine's own trouble.
#[test]
fn leases_have_nowhere_to_go_where_all_endpoints_are_silent() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let picky = Picky::new();
    let caretaker = Rc::clone(&picky);
    let mut config = config(&[first.address, second.address], at_most(4));
    config.probe = Some(ProbeConfig {
        fall: 3,
        ..strict()
    });
    with_caretaker(config, caretaker, |worker| async move {
        let leases = [
            worker.lease("a").await.unwrap(),
            worker.lease("a").await.unwrap(),
        ];
        picky.freeze(first.address);
        picky.freeze(second.address);
        eventually("both are ejected", || worker.group.all_ejected()).await;
        let dead = || worker.counted("leaseway_probes_total", "result", "dead");
        let before = dead();
        eventually("both are checked again", || dead() >= before + 6).await;
        assert!(leases.iter().all(|lease| !lease.is_ended()));
    });
}

#[test]
fn nobody_waits_at_a_full_endpoint_while_another_has_room() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let pool = PoolConfig {
        wait_timeout: Duration::from_millis(100),
        ..at_most(2)
    };
    on_one_worker(
        config(&[first.address, second.address], pool),
        |worker| async move {
            let mut held = Vec::new();
            for _ in 0..4 {
                held.push(worker.lease("").await.unwrap());
            }
            let full = worker.lease("").await.err();
            assert!(matches!(full, Some(LeaseError::WaitTimeout(_))), "{full:?}");
            // Whichever has its turn: the one with room is found, three times in a row.
            let free = held.pop().unwrap();
            let endpoint = free.endpoint().to_owned();
            free.release(Disposition::Keep, true);
            for _ in 0..3 {
                let lease = worker.lease("").await.unwrap();
                assert_eq!(lease.endpoint(), endpoint);
                lease.release(Disposition::Keep, true);
            }
        },
    );
}

/// A server that does not listen any more may go on to serve those that it has.
#[test]
fn refused_dials_eject_and_end_no_lease() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let picky = Picky::new();
    let caretaker = Rc::clone(&picky);
    let mut config = config(&[first.address, second.address], at_most(4));
    config.probe = Some(strict());
    with_caretaker(config, caretaker, |worker| async move {
        let leases = [
            worker.lease("a").await.unwrap(),
            worker.lease("a").await.unwrap(),
        ];
        let endpoint = Arc::clone(&worker.group.endpoints()[0]);
        let alive = || worker.counted("leaseway_probes_total", "result", "alive");
        eventually("checks are let in", || alive() >= 4).await;
        let refused = Fate::Fails(Trouble::Refused("max clients".to_owned()));
        picky
            .connects
            .borrow_mut()
            .insert(first.address, refused.clone());
        picky.probes.borrow_mut().insert(first.address, refused);
        eventually("it is ejected", || endpoint.health() == Health::Ejected).await;
        let opened = || worker.counted("leaseway_pool_connections_opened_total", "group", "g");
        let before = opened();
        eventually("it is checked again", || opened() >= before + 5).await;
        assert!(leases.iter().all(|lease| !lease.is_ended()));
        // And no session is sent there to be refused.
        for _ in 0..4 {
            let lease = worker.lease("a").await.unwrap();
            assert_eq!(lease.endpoint(), second.address.to_string());
        }
    });
}

#[test]
fn every_connection_that_is_counted_as_opened_is_counted_when_it_closes() {
    let upstream = Upstream::start();
    let picky = Picky::new();
    let caretaker = Rc::clone(&picky);
    let mut config = config(&[upstream.address], at_most(1));
    config.probe = Some(strict());
    with_caretaker(config, caretaker, |worker| async move {
        // The only one, so that checks have each their own.
        let _lease = worker.lease("").await.unwrap();
        let opened = || worker.sum("leaseway_pool_connections_opened_total");
        let closed = || worker.sum("leaseway_pool_connections_closed_total");
        eventually("checks were let in", || worker.closed("checked") >= 3).await;
        picky
            .connects
            .borrow_mut()
            .insert(upstream.address, Fate::Hangs);
        let abandoned = || worker.closed("handshake-failed");
        eventually("checks gave up", || abandoned() >= 3).await;
        picky.connects.borrow_mut().clear();
        eventually("only the lease is left", || opened() == closed() + 1).await;
    });
}
