//! How long a plugin takes from the start of the program to a checked config.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use leaseway_tests::dir::TempDir;

use super::Effort;
use super::peers::{Peer, Tools};
use super::report::{Kind, Table};
use super::series::Better;

/// Loads plugins of several sizes, each with an empty cache and once more with what that left.
pub(super) fn run(title: &str, effort: Effort, tools: &Tools) -> anyhow::Result<Vec<Table>> {
    const COLD: Kind = Kind {
        name: "ms, compiled",
        better: Better::Less,
    };
    const CACHED: Kind = Kind {
        name: "ms, from the cache",
        better: Better::Less,
    };
    let mut table = Table::new(title);
    for _ in 0..effort.rounds {
        for (peer, module) in [
            (Peer::Plain, None),
            (Peer::Chooser, Some("chooser")),
            (Peer::Redis, Some("redis")),
        ] {
            let dir = TempDir::new("bench-load");
            for kind in [COLD, CACHED] {
                let began = Instant::now();
                check(tools, module, &dir)?;
                table.push(peer, kind, began.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    Ok(vec![table])
}

/// Runs `leaseway check`, with a cache of compiled plugins in `dir`.
fn check(tools: &Tools, module: Option<&str>, dir: &TempDir) -> anyhow::Result<()> {
    let listener = "[upstreams.u]\nendpoints = [\"127.0.0.1:1\"]\n\
                    [listeners.l]\nbind = \"127.0.0.1:0\"\nupstreams = [\"u\"]\n";
    let plugins = tools.plugins.display();
    let config = module.map_or_else(
        || listener.to_owned(),
        |name| {
            format!("[plugins.p]\nmodule = \"{plugins}/{name}.wasm\"\n{listener}plugin = \"p\"\n")
        },
    );
    let file = dir.path().join("leaseway.toml");
    std::fs::write(&file, config).context("cannot write a config")?;
    let output = Command::new(&tools.leaseway)
        .args(["check", "--config"])
        .arg(&file)
        .env("XDG_CACHE_HOME", dir.path())
        .output()
        .context("cannot start leaseway")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("leaseway check failed: {said}");
    }
    Ok(())
}
