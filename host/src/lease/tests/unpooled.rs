//! Connections that are none of the pool's: they are there while the pool is full, and nobody else
//! ever gets one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::upstream::Upstream;
use super::worker::{Worker, at_most, config, echo, eventually, on_one_worker, target};
use crate::config::PoolConfig;
use crate::contract::{Disposition, LeaseError, Target};
use crate::lease::Lease;

fn alone(identity: &str) -> Target {
    Target {
        unpooled: true,
        ..target(identity)
    }
}

fn limits(pooled: u32, unpooled: u32, wait_timeout: Duration) -> PoolConfig {
    PoolConfig {
        max_unpooled: unpooled,
        wait_timeout,
        ..at_most(pooled)
    }
}

/// Connections outside of the pool to the first endpoint.
fn unpooled(worker: &Worker) -> u32 {
    worker.group.endpoints()[0].unpooled()
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn it_is_there_while_the_pool_is_full_and_closes_whatever_the_plugin_says() {
    let upstream = Upstream::start();
    let seen = upstream.clone();
    let config = config(&[upstream.address], limits(1, 2, LONG));
    on_one_worker(config, |worker| async move {
        let mut held = worker.lease("a").await.unwrap();
        echo(&mut held, "pooled").await;
        for (round, disposition) in [
            Disposition::Keep,
            Disposition::Reset,
            Disposition::Close,
            Disposition::Keep,
        ]
        .into_iter()
        .enumerate()
        {
            let mut lease = worker.lease_of(alone("a")).await.unwrap();
            assert!(!lease.reused());
            echo(&mut lease, "unpooled").await;
            assert_eq!((worker.open(), unpooled(&worker)), (1, 1));
            let states = ["idle", "leased", "unpooled"]
                .map(|state| worker.counted("leaseway_pool_connections", "state", state));
            assert_eq!(states, [0, 1, 1]);
            lease.release(disposition, true);
            assert_eq!((worker.idle(), unpooled(&worker)), (0, 0), "{round}");
            eventually("it is closed", || seen.open() == 1).await;
        }
        assert_eq!((worker.closed("unpooled"), worker.closed("plugin")), (3, 1));
        held.release(Disposition::Keep, true);
        assert_eq!(worker.idle(), 1);
        let states = ["leased", "unpooled"]
            .map(|state| worker.counted("leaseway_pool_connections", "state", state));
        assert_eq!(states, [0, 0]);
    });
}

#[test]
fn it_is_never_taken_from_the_pool() {
    let upstream = Upstream::start();
    let config = config(&[upstream.address], limits(4, 2, LONG));
    on_one_worker(config, |worker| async move {
        worker
            .lease("a")
            .await
            .unwrap()
            .release(Disposition::Keep, true);
        assert_eq!(worker.idle(), 1);
        let lease = worker.lease_of(alone("a")).await.unwrap();
        assert!(!lease.reused());
        assert_eq!(worker.idle(), 1);
        drop(lease);
        assert_eq!(unpooled(&worker), 0);
        assert!(worker.lease("a").await.unwrap().reused());
    });
}

#[test]
fn who_finds_none_left_waits_in_turn_and_not_for_ever() {
    let upstream = Upstream::start();
    let wait = Duration::from_millis(300);
    let config = config(&[upstream.address], limits(4, 1, wait));
    on_one_worker(config, |worker| async move {
        let worker = Rc::new(worker);
        let held = worker.lease_of(alone("a")).await.unwrap();
        let waits = || worker.sum("leaseway_pool_waiting");
        let waiting = {
            let worker = Rc::clone(&worker);
            tokio::task::spawn_local(async move { worker.lease_of(alone("b")).await })
        };
        eventually("it waits", || waits() == 1).await;
        held.release(Disposition::Keep, true);
        let held = waiting.await.unwrap().unwrap();
        assert_eq!((waits(), unpooled(&worker)), (0, 1));
        match worker.lease_of(alone("c")).await {
            Err(LeaseError::WaitTimeout(text)) => {
                assert!(text.contains("all 1 unpooled connections"), "{text}");
                assert!(
                    text.contains("wait-timeout = 300ms: max-unpooled"),
                    "{text}"
                );
            }
            other => panic!("{:?}", other.err()),
        }
        assert_eq!(waits(), 0);
        assert_eq!(worker.sum("leaseway_pool_wait_timeouts_total"), 1);
        // Those of the pool are there all the while.
        assert!(worker.lease("a").await.is_ok());
        held.release(Disposition::Keep, true);
        assert!(worker.lease_of(alone("d")).await.is_ok());
    });
}

#[test]
fn only_so_many_may_wait() {
    let upstream = Upstream::start();
    let pool = PoolConfig {
        max_waiting: 0,
        ..limits(4, 1, LONG)
    };
    on_one_worker(config(&[upstream.address], pool), |worker| async move {
        let _held = worker.lease_of(alone("a")).await.unwrap();
        match worker.lease_of(alone("b")).await {
            Err(LeaseError::WaitTimeout(text)) => {
                assert!(text.contains("max-waiting = 0"), "{text}");
            }
            other => panic!("{:?}", other.err()),
        }
    });
}

#[test]
fn room_at_another_endpoint_goes_before_a_wait() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let config = config(&[first.address, second.address], limits(4, 1, LONG));
    on_one_worker(config, |worker| async move {
        let one = worker.lease_of(alone("a")).await.unwrap();
        let other = worker.lease_of(alone("a")).await.unwrap();
        assert_ne!(one.endpoint(), other.endpoint());
    });
}

#[test]
fn a_wait_ends_where_it_is_in_vain() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let config = config(&[first.address, second.address], limits(4, 1, LONG));
    let elsewhere = second.address.to_string();
    on_one_worker(config, |worker| async move {
        let worker = Rc::new(worker);
        let lease = |worker: &Rc<Worker>| {
            let worker = Rc::clone(worker);
            tokio::task::spawn_local(async move { worker.lease_of(alone("a")).await })
        };
        let held = [
            worker.lease_of(alone("a")).await.unwrap(),
            worker.lease_of(alone("a")).await.unwrap(),
        ];
        let waits = || worker.sum("leaseway_pool_waiting");
        let waiting = lease(&worker);
        eventually("it waits", || waits() == 1).await;
        // Wherever it waits, it goes to the second when the first is ejected.
        let endpoint = Arc::clone(&worker.group.endpoints()[0]);
        assert!(endpoint.check_failed(1));
        worker.pools.announce_ejection(&endpoint);
        let (at_second, _at_first): (Vec<_>, Vec<_>) = held
            .into_iter()
            .partition(|held| held.endpoint() == elsewhere);
        drop(at_second);
        let moved = waiting.await.unwrap().unwrap();
        assert_eq!(moved.endpoint(), elsewhere);

        let waiting = lease(&worker);
        eventually("it waits", || waits() == 1).await;
        worker.pools.drain();
        let refused = waiting.await.unwrap().err();
        assert_eq!(refused, Some(LeaseError::Draining));
        assert_eq!(waits(), 0);
    });
}

#[test]
fn it_is_spent_once_the_upstream_has_got_something_and_closes_it() {
    let upstream = Upstream::start();
    let config = config(&[upstream.address], limits(4, 2, LONG));
    on_one_worker(config, |worker| async move {
        let mut pooled = worker.lease("a").await.unwrap();
        let mut unused = worker.lease_of(alone("a")).await.unwrap();
        let mut lease = worker.lease_of(alone("a")).await.unwrap();
        echo(&mut pooled, "pooled").await;
        echo(&mut lease, "unpooled").await;
        assert!(!lease.is_spent());
        upstream.hang_up();
        for lease in [&mut pooled, &mut unused, &mut lease] {
            assert_eq!(lease.stream_mut().read(&mut [0]).await.unwrap(), 0);
            lease.ended();
        }
        let spent = [&pooled, &unused, &lease].map(Lease::is_spent);
        assert_eq!(spent, [false, false, true]);
        lease.failed(&std::io::ErrorKind::ConnectionReset.into());
        assert!(!lease.is_spent());
    });
}
