//! psycopg 3 and asyncpg. What they do is in `tests/peers`; more than 100 MiB pass each way.

use std::time::Duration;

use leaseway_tests::python;

use super::{MODES, Site};

/// Seconds by themselves, and a machine may have more to do.
const DEADLINE: Duration = Duration::from_secs(180);

async fn run(script: &str) {
    let site = Site::start().await;
    for mode in MODES {
        let said = python::script(script, &[&site.url(mode), mode], DEADLINE).await;
        assert!(said.success, "{}{}", said.stdout, said.stderr);
        println!("{}", said.stdout);
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psycopg_works_as_ever() {
    run("psycopg_as_ever").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asyncpg_works_as_ever() {
    run("asyncpg_as_ever").await;
}
