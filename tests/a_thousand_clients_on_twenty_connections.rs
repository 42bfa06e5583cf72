//! The main job: 1,000 redis clients share at most 20 connections, and a .wasm decides it all.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::tool::redis_benchmark;
use leaseway_tests::watch::{Seen, Watch};

/// A busy machine of two cores needs a minute; only a hang needs this.
const DEADLINE: Duration = Duration::from_secs(600);

/// Requests of each default test; 100,000, which is redis-benchmark's own number, with
/// `LEASEWAY_TESTS_LONG=1`.
const FEWER: &str = "30000";

const CONFIG: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = ["{redis}"]
    pool = { max-connections = 20, wait-timeout = "30s" }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

/// Runs redis-benchmark with 1,000 clients, and looks all the while how many connections the
/// server has.
async fn benchmark(more: &[&str]) {
    let redis = Arc::new(RedisServer::start(&[]).await);
    let relay = Relay::start_with(CONFIG, &[("redis", &redis.addr().to_string())]).await;
    let port = relay.addr().port().to_string();
    let watch = Watch::start(&redis);
    let mut args = vec!["-p", &port, "-c", "1000", "-q"];
    args.extend(more);
    let output = redis_benchmark(&args, DEADLINE).await;
    let Seen { looks, most } = watch.end().await;

    assert!(output.success, "{}{}", output.stdout, output.stderr);
    for text in [&output.stdout, &output.stderr] {
        assert!(!text.to_lowercase().contains("error"), "{text}");
    }
    let tests = output.stdout.matches("requests per second").count();
    assert!(tests >= 19, "{tests} tests ran:\n{}", output.stdout);
    assert!(looks > 10, "looked {looks} times");
    assert!((1..=20).contains(&most), "{most} connections at once");
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
    assert_eq!(metrics.sum("leaseway_pool_wait_timeouts_total"), 0.0);
    let opened = metrics.sum("leaseway_pool_connections_opened_total");
    assert!(opened <= 20.0, "{opened} connections were opened");
    println!("{more:?}: {opened} connections opened, {looks} looks, {most} at once at the most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_default_tests_run_without_an_error() {
    match std::env::var_os("LEASEWAY_TESTS_LONG") {
        Some(_) => benchmark(&[]).await,
        None => benchmark(&["-n", FEWER]).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_they_do_with_pipelines_of_sixteen() {
    benchmark(&["-P", "16"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_they_do_with_a_new_session_for_each_request() {
    benchmark(&["-k", "0", "-n", "4000"]).await;
}
