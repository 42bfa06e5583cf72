//! `cargo xtask plugins`: the first-party plugins as .wasm files, for the host to embed and for
//! the tests to load.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;

use crate::wasm::{Source, TARGET, Toolchain};
use crate::workspace::Workspace;

/// A package that becomes `NAME.wasm`.
struct Plugin {
    package: &'static str,
    name: &'static str,
}

const PLUGINS: &[Plugin] = &[
    Plugin {
        package: "leaseway-plugin-http1",
        name: "http1",
    },
    Plugin {
        package: "leaseway-plugin-redis",
        name: "redis",
    },
    Plugin {
        package: "leaseway-plugin-postgres",
        name: "postgres",
    },
    Plugin {
        package: "leaseway-plugin-sni",
        name: "sni",
    },
    Plugin {
        package: "leaseway-plugin-memcached",
        name: "memcached",
    },
    Plugin {
        package: "leaseway-plugin-mysql",
        name: "mysql",
    },
    Plugin {
        package: "leaseway-example-line",
        name: "line",
    },
    Plugin {
        package: "leaseway-hostile",
        name: "hostile",
    },
    Plugin {
        package: "leaseway-prober",
        name: "prober",
    },
    Plugin {
        package: "leaseway-chooser",
        name: "chooser",
    },
    Plugin {
        package: "leaseway-passer",
        name: "passer",
    },
];

/// The workspace's profile for small modules.
const PROFILE: &str = "plugin";

/// Builds all of them.
pub(crate) fn run(with: Option<Source>) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    let toolchain = Toolchain::find(with)?;
    build(&workspace, &toolchain)
}

fn build(workspace: &Workspace, toolchain: &Toolchain) -> anyhow::Result<()> {
    let folder = workspace.plugins();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // One directory for all, so that std is built once.
    let target_dir = workspace.target().join("wasm");
    for plugin in PLUGINS {
        if !workspace.has(plugin.package) {
            eprintln!("{}: not in this workspace, left out", plugin.package);
            continue;
        }
        let started = Instant::now();
        toolchain
            .cargo("rustc", &target_dir)
            .args(["--package", plugin.package, "--lib"])
            .args(["--profile", PROFILE])
            // Alone: a crate that is an rlib too is not optimised together with its dependencies.
            .args(["--crate-type", "cdylib"])
            .run()
            .with_context(|| format!("cannot build {}", plugin.package))?;
        let built = target_dir
            .join(TARGET)
            .join(PROFILE)
            .join(format!("{}.wasm", plugin.package.replace('-', "_")));
        let to = folder.join(format!("{}.wasm", plugin.name));
        let bytes = put(&built, &to)?;
        eprintln!(
            "{} ({} kB, {:.1} s)",
            to.display(),
            bytes.div_ceil(1000),
            started.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

/// Copies a module where it is wanted; one that has not changed keeps its date, so that what
/// embeds it is not built again. Returns its length.
fn put(from: &Path, to: &Path) -> anyhow::Result<usize> {
    let code = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == code) {
        return Ok(code.len());
    }
    // Renamed into place: a relay that loads it meanwhile sees the old one or the new one.
    let fresh = to.with_extension("wasm.new");
    fs::write(&fresh, &code).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(code.len())
}
