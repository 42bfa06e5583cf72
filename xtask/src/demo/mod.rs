//! `cargo xtask demo`: 1,000 clients on a real server, first directly and then through Leaseway
//! with 20 connections, while every pooled connection is killed several times.
//!
//! Here is the order of events; what a client does, what a server is and what is printed have
//! files of their own. The relay and the server are started by the tests' own means.

mod figures;
mod load;
mod report;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use leaseway_tests::Relay;

use crate::plugins;
use crate::shell::{self, Cmd};
use crate::workspace::Workspace;
use figures::Figures;
use load::{Load, Outcome};
use report::Side;
use server::Server;

/// Clients at a time.
const CLIENTS: usize = 1000;
/// Upstream connections that the relay may have.
const CONNECTIONS: u64 = 20;
/// Files that each process needs: one for each client, and some to spare.
const FILES: u64 = 4096;
/// How long the relay may take to drain.
const DRAIN: Duration = Duration::from_secs(30);

/// Runs the demo.
///
/// # Errors
/// Something cannot be built or started, or a client saw an error.
pub(crate) fn run(dev: bool) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    plugins::run(None)?;
    let binary = build_host(&workspace, dev)?;
    shell::raise_file_limit(FILES);
    tokio::runtime::Runtime::new()
        .context("cannot start the clients' event loop")?
        .block_on(show(&workspace, binary))
}

async fn show(workspace: &Workspace, binary: PathBuf) -> anyhow::Result<()> {
    let server = Server::start(workspace).await?;
    println!("{} on {}", server.name(), server.addr());
    let load = Load {
        protocol: server.protocol(),
        clients: CLIENTS,
    };

    let direct = side(
        &server,
        None,
        load.run("directly", server.addr(), &server, false),
    )
    .await?;

    let plugins = workspace.plugins();
    let values = [
        ("upstream", &*server.addr().to_string()),
        ("plugin", server.plugin()),
        ("plugins", &*plugins.to_string_lossy()),
        ("connections", &*CONNECTIONS.to_string()),
    ];
    let mut relay = Relay::start_binary(&binary, server.relay_config(), &values).await;
    println!(
        "leaseway on {}, metrics on http://{}/metrics, at most {CONNECTIONS} connections upstream",
        relay.addr(),
        relay.admin()
    );
    let run = load.run("through Leaseway", relay.addr(), &server, true);
    let through = side(&server, Some(&relay), run).await?;
    let figures = Figures::of(&relay.metrics().await);
    let log = relay.log();
    let status = relay.terminate(DRAIN).await;

    report::print(&direct, &through, &figures);
    for side in [&direct, &through] {
        side.outcome.check().with_context(|| {
            let last: Vec<&str> = log.lines().rev().take(10).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            format!("the relay's last words were:\n{}\n", last.join("\n"))
        })?;
    }
    if !status.success() {
        bail!("the relay did not end well after SIGTERM: {status}");
    }
    println!("\nNo client saw an error.");
    Ok(())
}

/// Runs one load, and what the server saw of it.
async fn side(
    server: &Server,
    relay: Option<&Relay>,
    run: impl Future<Output = anyhow::Result<Outcome>>,
) -> anyhow::Result<Side> {
    let before = server.accepted().await;
    let outcome = run.await?;
    let after = server.accepted().await;
    // The server's word where it keeps count, or else the relay's.
    let opened = match (before, after, relay) {
        (Some(before), Some(after), _) => after - before,
        (_, _, Some(relay)) => Figures::of(&relay.metrics().await).opened,
        (_, _, None) => outcome.clients as u64,
    };
    Ok(Side { outcome, opened })
}

fn build_host(workspace: &Workspace, dev: bool) -> anyhow::Result<PathBuf> {
    if !dev {
        return workspace.build_host("release");
    }
    // As the tests build it: with other features, dependencies would be built once more.
    let build = Cmd::new(shell::cargo())
        .args(["build", "--locked", "--workspace", "--all-targets"])
        .current_dir(workspace.root());
    eprintln!("{build}");
    build.run()?;
    Ok(workspace.program("debug", "leaseway"))
}
