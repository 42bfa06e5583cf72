//! Runs the tools that come with a server, and returns what they print.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// What a tool printed, and whether it was content.
#[derive(Debug, Clone)]
pub struct Output {
    /// Whether it ended with status 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs redis-benchmark.
///
/// # Panics
/// It is not installed, or has not ended within `deadline`.
pub async fn redis_benchmark(args: &[&str], deadline: Duration) -> Output {
    run(
        "redis-benchmark",
        args,
        deadline,
        "apt-get install redis-tools",
    )
    .await
}

/// Runs redis-cli.
///
/// # Panics
/// It is not installed, or has not ended within `deadline`.
pub async fn redis_cli(args: &[&str], deadline: Duration) -> Output {
    run("redis-cli", args, deadline, "apt-get install redis-tools").await
}

/// Runs psql.
///
/// # Panics
/// It is not installed, or has not ended within `deadline`.
pub async fn psql(args: &[&str], deadline: Duration) -> Output {
    run("psql", args, deadline, "apt-get install postgresql-client").await
}

/// Runs pgbench.
///
/// # Panics
/// It is not installed, or has not ended within `deadline`.
pub async fn pgbench(args: &[&str], deadline: Duration) -> Output {
    run("pgbench", args, deadline, "apt-get install postgresql").await
}

/// Runs pgbench; none if it has not ended within `deadline`, and so was killed.
///
/// # Panics
/// It is not installed.
pub async fn pgbench_within(args: &[&str], deadline: Duration) -> Option<Output> {
    run_within("pgbench", args, deadline, "apt-get install postgresql").await
}

/// Runs curl, silently; an error of its own is said in standard error.
///
/// # Panics
/// It is not installed, or has not ended within `deadline`.
pub async fn curl(args: &[&str], deadline: Duration) -> Output {
    let args = [&["-sS"], args].concat();
    run("curl", &args, deadline, "apt-get install curl").await
}

/// Runs openssl, without anything to read.
///
/// # Panics
/// It is not installed, or has not ended within `deadline`.
pub async fn openssl(args: &[&str], deadline: Duration) -> Output {
    run("openssl", args, deadline, "apt-get install openssl").await
}

/// Runs memccapable, which tests servers of memcached's protocol.
///
/// # Panics
/// It is not installed, or has not ended within `deadline`.
pub async fn memccapable(args: &[&str], deadline: Duration) -> Output {
    let mend = "apt-get install libmemcached-tools";
    run("memccapable", args, deadline, mend).await
}

/// Runs wrk.
///
/// # Panics
/// It is not installed, or has not ended within `deadline`.
pub async fn wrk(args: &[&str], deadline: Duration) -> Output {
    run("wrk", args, deadline, "apt-get install wrk").await
}

/// Runs mariadb, the client, without any config files.
///
/// # Panics
/// It is not installed, or has not ended within `deadline`.
pub async fn mariadb(args: &[&str], deadline: Duration) -> Output {
    let args = [&["--no-defaults"], args].concat();
    run("mariadb", &args, deadline, "apt-get install mariadb-client").await
}

/// Runs mariadb-slap, also known as mysqlslap, without any config files.
///
/// # Panics
/// It is not installed, or has not ended within `deadline`.
pub async fn mariadb_slap(args: &[&str], deadline: Duration) -> Output {
    let args = [&["--no-defaults"], args].concat();
    run(
        "mariadb-slap",
        &args,
        deadline,
        "apt-get install mariadb-client",
    )
    .await
}

/// Runs any program; `mend` is how to get it.
pub(crate) async fn run(program: &str, args: &[&str], deadline: Duration, mend: &str) -> Output {
    run_within(program, args, deadline, mend)
        .await
        .unwrap_or_else(|| panic!("{program} {args:?} has not ended within {deadline:?}"))
}

async fn run_within(
    program: &str,
    args: &[&str],
    deadline: Duration,
    mend: &str,
) -> Option<Output> {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|why| panic!("cannot start {program}: {why}; mend it with `{mend}`"));
    let output = timeout(deadline, child.wait_with_output())
        .await
        .ok()?
        .unwrap_or_else(|why| panic!("{program} {args:?}: {why}"));
    Some(Output {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
