//! Calls into plugins, beside the same call to native code that does nothing.

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use leaseway::contract::{Choice, Disposition, LeaseError, Side, Step};
use leaseway::plugin::{Fault, SessionHooks, WorkerPlugin};

use super::built::{info, load, load_with};

/// A request of 64 bytes, as Redis clients send it.
const REQUEST: &[u8] =
    b"*2\r\n$3\r\nGET\r\n$44\r\nuser:0000000000000000000000000000000000000:a\r\n";
/// A reply with a value of 64 bytes.
const REPLY: &[u8] = b"$64\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";

/// A hook, as native code has it.
type OnData = dyn Fn(Side, &[u8]) -> Result<Vec<Step>, Fault>;

pub(super) fn bench(criterion: &mut Criterion) {
    assert_eq!(REQUEST.len(), 64);
    let mut group = criterion.benchmark_group("plugin");

    // Called as a session calls its hooks: through a pointer that the compiler does not see through.
    let native: Box<OnData> = black_box(Box::new(|_, data| {
        Ok(vec![Step::Forward(data.len() as u64)])
    }));
    group.bench_function("on-data, native no-op", |bencher| {
        bencher.iter(|| native(Side::Client, black_box(REQUEST)).unwrap());
    });

    let passer = WorkerPlugin::new(load("passer"));
    let mut session = passer.open(&info()).unwrap();
    for (name, bytes) in [
        ("on-data, wasm no-op, 64 B", REQUEST),
        ("on-data, wasm no-op, 16 KiB", &[0; 16 << 10]),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| session.on_data(Side::Client, black_box(bytes)).unwrap());
        });
    }
    group.bench_function("choose-upstream, wasm no-op", |bencher| {
        bencher.iter(|| session.choose_upstream(black_box(REQUEST)).unwrap());
    });
    // To be compared with a call that does nothing: this one makes two of its own.
    group.bench_function("a hook that puts and takes, wasm", |bencher| {
        let why = LeaseError::Draining;
        bencher.iter(|| {
            let taken = session.on_request_failed(black_box(&why), 7).unwrap();
            assert_eq!(taken.len(), 16);
        });
    });
    group.bench_function("session opened and dropped", |bencher| {
        bencher.iter(|| passer.open(black_box(&info())).unwrap());
    });
    let plugin = load("passer");
    group.bench_function("fresh instance with a session", |bencher| {
        bencher.iter(|| {
            WorkerPlugin::new(Arc::clone(&plugin))
                .open(&info())
                .unwrap()
        });
    });

    let redis = WorkerPlugin::new(load_with(
        "redis",
        serde_json::json!({ "pooling": "command-exclusive" }),
    ));
    let mut session = redis.open(&info()).unwrap();
    group.bench_function("redis GET: request and reply", |bencher| {
        bencher.iter(|| {
            let choice = session.choose_upstream(black_box(REQUEST)).unwrap();
            assert!(matches!(choice, Choice::Lease(_)), "{choice:?}");
            let steps = session.on_data(Side::Upstream, black_box(REPLY)).unwrap();
            let released = |step: &Step| matches!(step, Step::Release(Disposition::Keep));
            assert!(steps.iter().any(released), "{steps:?}");
        });
    });
    group.finish();
}
