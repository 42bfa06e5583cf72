//! `cargo xtask test`: every check and every test, in stages; what CI runs.
//!
//! One profile for all of it, so that wasmtime is compiled once. A stage that fails ends the run:
//! what comes after it would only repeat the failure in other words.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::demo;
use crate::drivers;
use crate::packages;
use crate::plugins;
use crate::shell::{self, Cmd};
use crate::workspace::Workspace;

/// The programs that tests start, with the package that each is in.
const SERVERS: &[(&str, &str)] = &[
    ("redis-server", "redis-server"),
    ("redis-benchmark", "redis-tools"),
    ("redis-cli", "redis-tools"),
    // What Debian calls the server's programs is in no PATH; this comes with it.
    ("pg_ctlcluster", "postgresql"),
    ("psql", "postgresql-client"),
    ("pgbench", "postgresql"),
    ("nginx", "nginx-light"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("memcached", "memcached"),
    ("memccapable", "libmemcached-tools"),
    ("wrk", "wrk"),
    ("mariadbd", "mariadb-server"),
    ("mariadb", "mariadb-client"),
    ("mariadb-slap", "mariadb-client"),
];

/// Runs all stages.
///
/// # Errors
/// The first stage that failed.
pub(crate) fn run() -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    let mut report = Report::default();
    let outcome = stages(&workspace, &mut report);
    report.print();
    outcome
}

fn stages(workspace: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    report.stage(
        "servers",
        "look for redis, postgresql, mariadb, memcached, nginx, and the clients that tests use",
        install,
    )?;
    report.stage("drivers", "cargo xtask drivers", drivers::run)?;
    report.command("format", &cargo(workspace, ["fmt", "--all", "--check"]))?;
    report.stage("plugins", "cargo xtask plugins", || plugins::run(None))?;
    // With all targets, dependencies have the features that the tests need too: the same ones are
    // used by every stage. The host alone would be built once more.
    let build = ["build", "--locked", "--workspace", "--all-targets"];
    report.command("build", &cargo(workspace, build))?;
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets"];
    report.command(
        "clippy",
        &cargo(workspace, clippy).args(["--", "-D", "warnings"]),
    )?;
    let test = cargo(workspace, ["test", "--locked", "--workspace"])
        .env("LEASEWAY_BIN", workspace.program("debug", "leaseway"))
        .env("LEASEWAY_PLUGINS", workspace.plugins());
    report.command("tests", &test)?;
    // Workspaces of their own, which none of the other stages knows.
    for plugin in ["http1", "memcached", "mysql", "postgres", "redis", "sni"] {
        let fuzz = format!("plugins/{plugin}/fuzz/Cargo.toml");
        let build = cargo(workspace, ["build", "--locked", "--manifest-path"])
            .arg(workspace.root().join(fuzz))
            .arg("--target-dir")
            .arg(workspace.target().join("fuzz"));
        report.command("fuzz", &build)?;
    }
    let doc = ["doc", "--locked", "--no-deps", "--workspace"];
    report.command(
        "docs",
        &cargo(workspace, doc).env("RUSTDOCFLAGS", "-Dwarnings"),
    )?;
    deny(workspace, report)?;
    // With the relay that the stages before have built. It fails if a client saw an error.
    report.stage("demo", "cargo xtask demo --dev", || demo::run(true))
}

/// What may be linked in. Without cargo-deny both stages are left out; without a way to fetch the
/// database of advisories, the second one is, since that says nothing about this workspace.
fn deny(workspace: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    let deny = |args: &[&str]| cargo(workspace, ["deny"]).args(args.iter().copied());
    if !shell::has("cargo-deny") {
        report.skip("deny", "not installed: `cargo install --locked cargo-deny`");
        return Ok(());
    }
    let rules = deny(&["check", "bans", "licenses", "sources"]);
    report.command("deny", &rules)?;
    if let Err(why) = deny(&["fetch", "db"]).read() {
        eprintln!("\n{why:#}");
        report.skip("advisories", "their database cannot be fetched");
        return Ok(());
    }
    report.command("advisories", &deny(&["check", "advisories"]))
}

fn cargo<const N: usize>(workspace: &Workspace, args: [&str; N]) -> Cmd {
    Cmd::new(shell::cargo())
        .args(args)
        .current_dir(workspace.root())
}

fn install() -> anyhow::Result<()> {
    let mut missing: Vec<&str> = SERVERS
        .iter()
        .filter(|(program, _)| !shell::has(program))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if !missing.is_empty() {
        packages::install(&missing, "testing against real servers")?;
    }
    Ok(())
}

/// What has been run, for the summary.
#[derive(Debug, Default)]
struct Report {
    lines: Vec<String>,
}

impl Report {
    fn command(&mut self, name: &str, command: &Cmd) -> anyhow::Result<()> {
        self.stage(name, &command.to_string(), || command.run())
    }

    fn stage(
        &mut self,
        name: &str,
        command: &str,
        run: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        eprintln!("\n== {name}: {command}");
        let started = Instant::now();
        let outcome = run();
        let took = seconds(started.elapsed());
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        eprintln!("== {name}: {word} after {took}");
        self.lines.push(format!("{name:<10} {word:<7} {took:>9}"));
        if let Err(why) = outcome {
            bail!("stage {name:?}: {why:#}");
        }
        Ok(())
    }

    fn skip(&mut self, name: &str, why: &str) {
        eprintln!("\n== {name}: left out: {why}");
        self.lines.push(format!("{name:<10} left out ({why})"));
    }

    fn print(&self) {
        eprintln!("\n{}", self.lines.join("\n"));
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_failed_stage_is_named_and_reported() {
        let mut report = Report::default();
        report.stage("first", "true", || Ok(())).unwrap();
        let why = report
            .stage("second", "false", || bail!("no luck"))
            .unwrap_err();
        assert_eq!(why.to_string(), r#"stage "second": no luck"#);
        assert!(report.lines[0].contains("ok"), "{:?}", report.lines);
        assert!(report.lines[1].contains("FAILED"), "{:?}", report.lines);
    }
}
