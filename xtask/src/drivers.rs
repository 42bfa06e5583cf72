//! `cargo xtask drivers`: Python's drivers of PostgreSQL and MySQL, in a virtual environment in the target directory,
//! for the tests to run scripts with. Made once, and again when other versions are asked for.

use std::fs;

use anyhow::Context;
use leaseway_tests::python::{ENVIRONMENT, REQUIREMENTS, is_current, stamp};

use crate::packages;
use crate::shell::{self, Cmd};
use crate::workspace::Workspace;

/// Makes the environment, unless it is there.
pub(crate) fn run() -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    let folder = workspace.target().join(ENVIRONMENT);
    if is_current(&folder, workspace.root()) {
        eprintln!("{} is what it should be", folder.display());
        return Ok(());
    }
    // Without this module of Python's, which Debian has in a package of its own, an environment has no
    // pip.
    let has_venv = Cmd::new("python3").args(["-c", "import ensurepip, venv"]);
    if !shell::has("python3") || has_venv.read().is_err() {
        packages::install(
            &["python3", "python3-venv"],
            "testing with Python's drivers",
        )?;
    }
    eprintln!("making {} with {REQUIREMENTS}", folder.display());
    Cmd::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder)
        .run()?;
    let requirements = workspace.root().join(REQUIREMENTS);
    Cmd::new(folder.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(&requirements)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .run()?;
    let stamp = stamp(&folder);
    fs::copy(&requirements, &stamp).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(())
}
