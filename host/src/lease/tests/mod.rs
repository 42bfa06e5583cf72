//! Leases over real connections: limits, the line, other workers, and dead connections.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dialing;
mod handshakes;
mod probes;
mod tags;
mod times;
mod unpooled;
mod upstream;
mod worker;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use crate::config::{PoolConfig, ProbeConfig};
use crate::contract::{Disposition, LeaseError};
use crate::pool::{Plain, PoolsParts};
use crate::upstream::{Group, Health, PoolCounters};
use upstream::Upstream;
use worker::{Worker, at_most, config, echo, eventually, on_one_worker, pass, while_hours_pass};

#[test]
fn a_kept_connection_is_lent_again() {
    let upstream = Upstream::start();
    on_one_worker(
        config(&[upstream.address], at_most(4)),
        |worker| async move {
            for round in 0..5 {
                let mut lease = worker.lease("").await.unwrap();
                assert_eq!(lease.reused(), round > 0);
                echo(&mut lease, "hello").await;
                lease.release(Disposition::Keep, true);
            }
            assert_eq!(worker.open(), 1);
        },
    );
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn a_lease_that_is_dropped_or_unclean_closes_its_connection() {
    let upstream = Upstream::start();
    let seen = upstream.clone();
    on_one_worker(
        config(&[upstream.address], at_most(4)),
        |worker| async move {
            drop(worker.lease("").await.unwrap());
            worker
                .lease("")
                .await
                .unwrap()
                .release(Disposition::Keep, false);
            worker
                .lease("")
                .await
                .unwrap()
                .release(Disposition::Close, true);
            assert_eq!(worker.open(), 0);
            let all_closed = || (seen.accepted(), seen.open()) == (3, 0);
            eventually("the upstream sees three closed", all_closed).await;
        },
    );
}

#[test]
fn who_waits_is_served_in_order_and_never_above_the_limit() {
    let upstream = Upstream::start();
    let seen = upstream.clone();
    on_one_worker(
        config(&[upstream.address], at_most(2)),
        |worker| async move {
            let worker = Rc::new(worker);
            let order = Rc::new(std::cell::RefCell::new(Vec::new()));
            let held = [
                worker.lease("").await.unwrap(),
                worker.lease("").await.unwrap(),
            ];
            let mut tasks = Vec::new();
            for n in 0..20 {
                let (worker, order) = (Rc::clone(&worker), Rc::clone(&order));
                tasks.push(tokio::task::spawn_local(async move {
                    let mut lease = worker.lease("").await.unwrap();
                    order.borrow_mut().push(n);
                    echo(&mut lease, "x").await;
                    lease.release(Disposition::Keep, true);
                }));
                tokio::task::yield_now().await;
            }
            for lease in held {
                lease.release(Disposition::Keep, true);
            }
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*order.borrow(), (0..20).collect::<Vec<_>>());
            assert_eq!(seen.most(), 2);
        },
    );
}

#[test]
fn waiting_ends_after_wait_timeout_and_says_so() {
    let upstream = Upstream::start();
    let pool = PoolConfig {
        wait_timeout: Duration::from_millis(50),
        ..at_most(1)
    };
    on_one_worker(config(&[upstream.address], pool), |worker| async move {
        let held = worker.lease("").await.unwrap();
        match worker.lease("").await {
            Err(LeaseError::WaitTimeout(text)) => {
                assert!(text.contains("all 1 connections"), "{text}");
                assert!(text.contains("wait-timeout = 50ms"), "{text}");
            }
            other => panic!("{:?}", other.err()),
        }
        held.release(Disposition::Keep, true);
        assert!(worker.lease("").await.unwrap().reused());
    });
}

#[test]
fn each_waits_as_long_as_it_may_whoever_comes_and_goes() {
    const LIMIT: Duration = Duration::from_secs(5);
    let upstream = Upstream::start();
    let pool = PoolConfig {
        wait_timeout: LIMIT,
        ..at_most(1)
    };
    while_hours_pass(config(&[upstream.address], pool), |worker| async move {
        let worker = Rc::new(worker);
        // The clock of a line that has run empty is there for the next as well, and so is a new one.
        for round in 0..3 {
            let held = worker.lease("").await.unwrap();
            let mut waiting = Vec::new();
            for _ in 0..4 {
                let one = Rc::clone(&worker);
                waiting.push(tokio::task::spawn_local(async move { one.lease("").await }));
                tokio::task::yield_now().await;
                pass(Duration::from_secs(1)).await;
            }
            // 4 seconds have passed: the first is served, the third gives up, and two have 2 and 4 left.
            held.release(Disposition::Keep, true);
            let served = waiting.remove(0).await.unwrap().unwrap();
            waiting.remove(1).abort();
            let over = || waiting.iter().filter(|one| one.is_finished()).count();
            for refused in 0..2 {
                pass(Duration::from_millis(1900)).await;
                assert_eq!(over(), refused, "round {round}: too early");
                pass(Duration::from_millis(100)).await;
                eventually("one more is refused", || over() == refused + 1).await;
            }
            for one in waiting {
                let refusal = one.await.unwrap().err();
                assert!(
                    matches!(refusal, Some(LeaseError::WaitTimeout(_))),
                    "{refusal:?}"
                );
            }
            drop(served);
        }
    });
}

#[test]
fn another_identity_never_gets_the_connection_but_its_room() {
    let upstream = Upstream::start();
    on_one_worker(
        config(&[upstream.address], at_most(1)),
        |worker| async move {
            worker
                .lease("a")
                .await
                .unwrap()
                .release(Disposition::Keep, true);
            let lease = worker.lease("b").await.unwrap();
            assert!(!lease.reused());
            assert_eq!(worker.open(), 1);
            // In line as well: the connection is closed and a new one opened in its room.
            let worker = Rc::new(worker);
            let waiting = Rc::clone(&worker);
            let task = tokio::task::spawn_local(async move { waiting.lease("c").await.unwrap() });
            tokio::task::yield_now().await;
            lease.release(Disposition::Keep, true);
            let lease = task.await.unwrap();
            assert!(!lease.reused());
            assert_eq!(worker.open(), 1);
        },
    );
}

#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    let upstream = Upstream::start();
    on_one_worker(
        config(&[upstream.address], at_most(1)),
        |worker| async move {
            let worker = Rc::new(worker);
            for _ in 0..50 {
                let held = worker.lease("").await.unwrap();
                let waiting = Rc::clone(&worker);
                let task =
                    tokio::task::spawn_local(async move { waiting.lease("").await.map(drop) });
                tokio::task::yield_now().await;
                // Given and given up in the same moment.
                held.release(Disposition::Keep, true);
                task.abort();
                let _ = task.await;
                assert!(worker.open() <= 1);
            }
            worker.lease("").await.unwrap();
        },
    );
}

#[test]
fn dead_and_talking_connections_are_not_lent() {
    let upstream = Upstream::start();
    let seen = upstream.clone();
    on_one_worker(
        config(&[upstream.address], at_most(4)),
        |worker| async move {
            let mut lease = worker.lease("").await.unwrap();
            echo(&mut lease, "a").await;
            lease.release(Disposition::Keep, true);
            seen.hang_up();
            eventually("the upstream has closed", || seen.open() == 0).await;
            let mut lease = worker.lease("").await.unwrap();
            assert!(!lease.reused());
            echo(&mut lease, "b").await;
            lease.release(Disposition::Keep, true);
            seen.blurt();
            // The byte is on its way; until it is here the connection passes for clean.
            let mut lease = worker.lease("").await.unwrap();
            if lease.reused() {
                assert_eq!(lease.stream_mut().peek(&mut [0]).await.unwrap(), 1);
                lease.release(Disposition::Keep, true);
                assert!(!worker.lease("").await.unwrap().reused());
            }
        },
    );
}

#[test]
fn a_refusal_goes_to_the_next_endpoint_and_names_the_last() {
    let upstream = Upstream::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    on_one_worker(
        config(&[closed, upstream.address], at_most(4)),
        |worker| async move {
            for _ in 0..4 {
                worker.lease("").await.unwrap();
            }
        },
    );
    on_one_worker(config(&[closed], at_most(4)), move |worker| async move {
        match worker.lease("").await {
            Err(LeaseError::ConnectFailed(text)) => assert!(text.contains(&closed.to_string())),
            other => panic!("{:?}", other.err()),
        }
        assert_eq!(worker.open(), 0);
    });
}

/// While a connection is open, what the other side has not acknowledged may arrive yet.
#[test]
fn what_is_on_its_way_on_an_open_connection_may_arrive() {
    let upstream = Upstream::start();
    on_one_worker(
        config(&[upstream.address], at_most(4)),
        |worker| async move {
            let mut lease = worker.lease("").await.unwrap();
            // The upstream echoes, and stops to read when nobody reads that: then all is full.
            let flood = vec![b'x'; 1 << 20];
            let still = Duration::from_millis(300);
            while tokio::time::timeout(still, lease.stream_mut().write(&flood))
                .await
                .is_ok()
            {}
            // Of these few, the kernel says that none was acknowledged.
            lease.wrote(1);
            assert!(lease.delivered());
        },
    );
}

#[test]
fn the_kernel_knows_that_nothing_arrived_at_a_dead_connection() {
    let upstream = Upstream::start();
    let seen = upstream.clone();
    on_one_worker(
        config(&[upstream.address], at_most(4)),
        |worker| async move {
            let mut lease = worker.lease("").await.unwrap();
            echo(&mut lease, "first").await;
            assert!(lease.delivered(), "an answered request has arrived");
            lease.release(Disposition::Keep, true);
            let mut lease = worker.lease("").await.unwrap();
            assert!(!lease.delivered(), "nothing was written in this lease");
            seen.hang_up();
            eventually("the upstream has closed", || seen.open() == 0).await;
            // Depending on who is faster the write itself fails, or the reset comes after it.
            for _ in 0..2 {
                match lease.stream_mut().write_all(b"second").await {
                    Ok(()) => lease.wrote(6),
                    Err(error) => lease.failed(&error),
                }
            }
            let mut byte = [0];
            match lease.stream_mut().read(&mut byte).await {
                Ok(count) => {
                    assert_eq!(count, 0);
                    lease.ended();
                }
                Err(error) => lease.failed(&error),
            }
            assert!(!lease.delivered(), "a dead connection takes nothing in");
            lease.failed(&std::io::ErrorKind::ConnectionReset.into());
            assert!(lease.delivered(), "a reset without a close leaves doubt");
        },
    );
}

/// The kernel counts our own end as a byte that waits to be acknowledged.
#[test]
fn our_own_end_is_no_byte_that_has_not_arrived() {
    let upstream = Upstream::start();
    on_one_worker(
        config(&[upstream.address], at_most(4)),
        |worker| async move {
            let mut lease = worker.lease("").await.unwrap();
            echo(&mut lease, "x").await;
            lease.shut();
            lease.stream_mut().shutdown().await.unwrap();
            lease.ended();
            assert!(lease.delivered(), "it was echoed");
        },
    );
}

#[test]
fn idle_connections_close_after_their_time_down_to_min_idle() {
    let upstream = Upstream::start();
    let seen = upstream.clone();
    let pool = PoolConfig {
        min_idle: 1,
        idle_timeout: Duration::from_millis(10),
        ..at_most(4)
    };
    on_one_worker(config(&[upstream.address], pool), |worker| async move {
        let leases = [
            worker.lease("").await.unwrap(),
            worker.lease("").await.unwrap(),
        ];
        for lease in leases {
            lease.release(Disposition::Keep, true);
        }
        eventually("one is left", || worker.group.endpoints()[0].idle() == 1).await;
        eventually("one is open", || seen.open() == 1).await;
    });
}

#[test]
fn min_idle_connections_are_opened_before_anybody_asks() {
    let upstream = Upstream::start();
    let pool = PoolConfig {
        min_idle: 3,
        ..at_most(4)
    };
    on_one_worker(config(&[upstream.address], pool), |worker| async move {
        eventually("three are warm", || worker.group.endpoints()[0].idle() == 3).await;
        let lease = worker.lease("").await.unwrap();
        assert!(lease.reused(), "it was there before");
    });
    assert!(upstream.accepted() <= 4);
}

#[test]
fn an_endpoint_that_fails_its_checks_is_ejected_and_comes_back() {
    let upstream = Upstream::start();
    let other = Upstream::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut config = config(&[address, other.address], at_most(4));
    config.probe = Some(ProbeConfig {
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(20),
        fall: 2,
        rise: 2,
        end_leases: true,
    });
    drop(upstream);
    on_one_worker(config, |worker| async move {
        let endpoint = Arc::clone(&worker.group.endpoints()[0]);
        eventually("it is ejected", || endpoint.health() == Health::Ejected).await;
        for _ in 0..4 {
            assert_eq!(
                worker.lease("").await.unwrap().endpoint(),
                other.address.to_string()
            );
        }
        let _again = std::net::TcpListener::bind(address).unwrap();
        eventually("it is back", || endpoint.health() == Health::Up).await;
    });
}

/// Many sessions on workers with threads of their own, all through one small pool.
fn on_three_workers(identity: fn(usize) -> &'static str) -> Upstream {
    const WORKERS: usize = 3;
    const ROUNDS: usize = 200;
    let upstream = Upstream::start();
    let counters = PoolCounters::default();
    let config = config(&[upstream.address], at_most(2));
    let group = Group::new(config, WORKERS, &counters);
    let parts = PoolsParts::for_workers(WORKERS, &[Arc::clone(&group)]);
    let done = Arc::new(AtomicUsize::new(0));
    let work = |parts: PoolsParts| {
        let (group, done, counters) = (Arc::clone(&group), Arc::clone(&done), counters.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async move {
            let plain = Rc::new(Plain::new());
            let worker = Rc::new(Worker::new(parts, &group, plain, &counters));
            let sessions = (0..8).map(|session| {
                let worker = Rc::clone(&worker);
                tokio::task::spawn_local(async move {
                    for round in 0..ROUNDS {
                        let mut lease = worker.lease(identity(session)).await.unwrap();
                        assert!(worker.open() <= 2, "more permits than the limit");
                        echo(&mut lease, &format!("{session}:{round}")).await;
                        lease.release(Disposition::Keep, true);
                    }
                })
            });
            for session in sessions.collect::<Vec<_>>() {
                session.await.unwrap();
            }
            done.fetch_add(1, Ordering::SeqCst);
            // Its idle connections are the others' to ask for.
            let all_done = || done.load(Ordering::SeqCst) == WORKERS;
            eventually("all workers are done", all_done).await;
        });
    };
    std::thread::scope(|scope| {
        for parts in parts {
            scope.spawn(|| work(parts));
        }
    });
    upstream
}

#[test]
fn workers_share_a_limit_exactly_and_hand_connections_over() {
    let upstream = on_three_workers(|_| "same");
    assert_eq!((upstream.most(), upstream.accepted()), (2, 2));
}

#[test]
fn workers_make_room_for_each_others_identities() {
    // The upstream may see a new connection before it notices the end of the one that made room
    // for it, so only the permits are counted here.
    on_three_workers(|session| if session % 4 == 0 { "a" } else { "b" });
}
