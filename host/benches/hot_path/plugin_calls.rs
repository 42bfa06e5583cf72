//! Calls into plugins, beside the same call to native code that does nothing.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::Criterion;
use leaseway::config::{ModuleSource, PluginConfig, PluginLimits};
use leaseway::contract::{Choice, Disposition, SessionInfo, Side, Step};
use leaseway::plugin::{Fault, Plugin, Runtime, SessionHooks, WorkerPlugin};

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

    let redis = WorkerPlugin::new(load("redis"));
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

/// The plugin of this name, as `cargo xtask plugins` has built it.
fn load(name: &str) -> Arc<Plugin> {
    let folder = match std::env::var_os("LEASEWAY_PLUGINS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins"),
    };
    let file = folder.join(format!("{name}.wasm"));
    assert!(
        file.exists(),
        "{} is missing: run `cargo xtask plugins`, or set LEASEWAY_PLUGINS to a folder that has it",
        file.display()
    );
    let config = PluginConfig {
        name: name.to_owned(),
        module: ModuleSource::File(file),
        config: serde_json::json!({}),
        limits: PluginLimits::default(),
    };
    Runtime::new(None).unwrap().load(&config).unwrap()
}

fn info() -> SessionInfo {
    SessionInfo {
        id: 1,
        listener: "bench".to_owned(),
        client_address: "127.0.0.1:40000".to_owned(),
        local_address: "127.0.0.1:4000".to_owned(),
    }
}
