//! How long a connection may be reused, and how many may lie idle.

use std::time::Duration;

use super::upstream::Upstream;
use super::worker::{
    Worker, at_most, config, echo, eventually, on_one_worker, pass, while_hours_pass,
};
use crate::config::PoolConfig;
use crate::contract::Disposition;

/// So long that the time in which a test opens its connections is nothing beside it.
const LIFETIME: Duration = Duration::from_secs(3600);

fn ageing(connections: u32) -> PoolConfig {
    PoolConfig {
        max_lifetime: LIFETIME,
        idle_timeout: LIFETIME * 10,
        ..at_most(connections)
    }
}

/// How many connections can be borrowed once more. They are idle again afterwards.
async fn reusable(worker: &Worker) -> usize {
    let mut reused = Vec::new();
    loop {
        let lease = worker.lease("").await.unwrap();
        if !lease.reused() {
            lease.release(Disposition::Close, true);
            break;
        }
        reused.push(lease);
    }
    let count = reused.len();
    for lease in reused {
        lease.release(Disposition::Keep, true);
    }
    count
}

#[test]
fn connections_opened_together_end_one_by_one_in_the_last_tenth_of_their_lifetime() {
    const MANY: usize = 64;
    let upstream = Upstream::start();
    // One more than are kept, so that there is always room to open one.
    let pool = ageing(MANY as u32 + 1);
    while_hours_pass(config(&[upstream.address], pool), |worker| async move {
        let mut leases = Vec::new();
        for _ in 0..MANY {
            leases.push(worker.lease("").await.unwrap());
        }
        for lease in leases {
            lease.release(Disposition::Keep, true);
        }
        pass(LIFETIME * 89 / 100).await;
        assert_eq!(reusable(&worker).await, MANY, "before the last tenth");
        assert_eq!(worker.closed("max-lifetime"), 0);
        pass(LIFETIME * 6 / 100).await;
        let left = reusable(&worker).await;
        assert!(
            (1..MANY).contains(&left),
            "all {MANY} lived equally long: {left} are left"
        );
        pass(LIFETIME * 5 / 100).await;
        assert_eq!(reusable(&worker).await, 0, "past max-lifetime");
        assert_eq!(worker.closed("max-lifetime"), MANY as u64);
    });
}

#[test]
fn a_connection_that_comes_back_past_its_lifetime_is_closed() {
    let upstream = Upstream::start();
    let seen = upstream.clone();
    while_hours_pass(
        config(&[upstream.address], ageing(4)),
        |worker| async move {
            let mut lease = worker.lease("").await.unwrap();
            pass(LIFETIME).await;
            // Whoever holds it keeps it: a lifetime ends no lease.
            echo(&mut lease, "still here").await;
            lease.release(Disposition::Keep, true);
            assert_eq!((worker.open(), worker.idle()), (0, 0));
            assert_eq!(worker.closed("max-lifetime"), 1);
            eventually("the upstream has seen it close", || seen.open() == 0).await;
        },
    );
}

#[test]
fn a_return_to_a_full_pool_closes() {
    let upstream = Upstream::start();
    let seen = upstream.clone();
    let pool = PoolConfig {
        max_idle: 2,
        ..at_most(5)
    };
    on_one_worker(config(&[upstream.address], pool), |worker| async move {
        let mut leases = Vec::new();
        for _ in 0..5 {
            leases.push(worker.lease("").await.unwrap());
        }
        for (returned, lease) in leases.into_iter().enumerate() {
            lease.release(Disposition::Keep, true);
            assert!(worker.idle() <= 2, "after {returned}");
        }
        assert_eq!((worker.open(), worker.idle()), (2, 2));
        assert_eq!(worker.closed("max-idle"), 3);
        eventually("the upstream has seen three close", || seen.open() == 2).await;
    });
}
