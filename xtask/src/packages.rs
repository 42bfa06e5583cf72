//! Installs Debian packages where this process may, and otherwise names the command that does.

use anyhow::bail;

use crate::shell::{self, Cmd};

/// Installs `packages`, needed for `purpose`.
///
/// # Errors
/// No apt-get here, or not root: then with the command to run.
pub(crate) fn install(packages: &[&str], purpose: &str) -> anyhow::Result<()> {
    let list = packages.join(" ");
    if !shell::has("apt-get") {
        bail!("{purpose} needs what Debian calls {list}; install it and run this again");
    }
    let update = Cmd::new("apt-get").args(["update", "-qq"]);
    let install = Cmd::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(packages.iter().copied())
        .env("DEBIAN_FRONTEND", "noninteractive");
    if !shell::is_root() {
        bail!(
            "{purpose} needs {list}; run `sudo apt-get update && sudo apt-get install {list}`, \
             then this again"
        );
    }
    eprintln!("installing {list} for {purpose}");
    // A list that cannot be refreshed may still be good enough to install from.
    if let Err(why) = update.run() {
        eprintln!("warning: {why:#}");
    }
    install.run()
}
