//! Borrowing a connection and giving it back, on one worker.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::Criterion;
use leaseway::config::{Balance, EndpointConfig, PoolConfig, UpstreamConfig};
use leaseway::contract::Disposition;
use leaseway::lease::{Lease, Leasing, borrow};
use leaseway::pool::{Caretaker, Plain, Pools, PoolsParts};
use leaseway::upstream::{Group, PoolCounters};
use tokio::task::LocalSet;

pub(super) fn bench(criterion: &mut Criterion) {
    // The kernel accepts for it; nothing is ever sent.
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let group = group(upstream.local_addr().unwrap());
    let parts = PoolsParts::for_workers(1, &[Arc::clone(&group)]).remove(0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let caretaker: Rc<dyn Caretaker> = Rc::new(Plain::new());
        let pools = Pools::start(parts);
        let ask = || {
            borrow(
                &pools,
                &group,
                &caretaker,
                caretaker.default_target(),
                false,
            )
        };
        let first = match ask() {
            Leasing::Pending(dial) => dial.await.unwrap(),
            Leasing::Ready(_) => panic!("there is nothing to lend yet"),
        };
        first.release(Disposition::Keep, true);

        let mut benches = criterion.benchmark_group("pool");
        benches.bench_function("borrow an idle connection, and give it back", |bencher| {
            bencher.iter(|| ready(ask()).release(Disposition::Keep, true));
        });
        benches.bench_function("wait in line, be served, and give it back", |bencher| {
            let mut cx = Context::from_waker(Waker::noop());
            let mut held = Some(ready(ask()));
            bencher.iter(|| {
                let Leasing::Pending(mut waiting) = ask() else {
                    panic!("the only connection is lent twice");
                };
                assert!(Pin::new(&mut waiting).poll(&mut cx).is_pending());
                held.take().unwrap().release(Disposition::Keep, true);
                match Pin::new(&mut waiting).poll(&mut cx) {
                    Poll::Ready(lease) => held = Some(lease.unwrap()),
                    Poll::Pending => panic!("who waits is not served"),
                }
            });
            // Dropped it would close the connection, which the next run needs.
            held.unwrap().release(Disposition::Keep, true);
        });
        benches.finish();
    });
}

fn ready(leasing: Leasing) -> Lease {
    match leasing {
        Leasing::Ready(lease) => lease.unwrap(),
        Leasing::Pending(_) => panic!("the idle connection is not lent"),
    }
}

/// One connection and no more.
fn group(upstream: SocketAddr) -> Arc<Group> {
    let config = UpstreamConfig {
        name: "bench".to_owned(),
        endpoints: vec![EndpointConfig {
            host: upstream.ip().to_string(),
            port: upstream.port(),
            weight: 1,
        }],
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(1),
        resolve_interval: Duration::from_secs(30),
        pool: PoolConfig {
            max_connections: 1,
            max_idle: 1,
            ..PoolConfig::default()
        },
        probe: None,
    };
    Group::new(config, 1, &PoolCounters::default())
}
