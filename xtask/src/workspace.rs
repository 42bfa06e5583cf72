//! Where things are: asks cargo, so that a moved target directory or a missing member is known.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::shell::{self, Cmd};

/// The workspace that this command runs in.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    packages: Vec<String>,
}

impl Workspace {
    /// Asks `cargo metadata`.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let text = Cmd::new(shell::cargo())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .read()?;
        let metadata: Value =
            serde_json::from_str(&text).context("cargo metadata did not answer with JSON")?;
        let path = |key: &str| {
            metadata[key]
                .as_str()
                .map(PathBuf::from)
                .with_context(|| format!("cargo metadata names no {key}"))
        };
        let packages = metadata["packages"]
            .as_array()
            .context("cargo metadata lists no packages")?
            .iter()
            .filter_map(|package| package["name"].as_str().map(str::to_owned))
            .collect();
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            packages,
        })
    }

    /// The folder of the workspace's Cargo.toml.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where the built plugins go, and where the tests look for them.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// A program that cargo has built in the profile with this folder.
    pub(crate) fn program(&self, profile: &str, name: &str) -> PathBuf {
        self.target.join(profile).join(name)
    }

    /// Builds the host in an optimised profile: `release`, or `dist`, as operators should run it. Returns the
    /// program.
    pub(crate) fn build_host(&self, profile: &str) -> anyhow::Result<PathBuf> {
        let build = Cmd::new(shell::cargo())
            .args(["build", "--locked", "--package", "leaseway", "--profile"])
            .arg(profile)
            .current_dir(&self.root);
        eprintln!("{build}");
        build.run()?;
        Ok(self.program(profile, "leaseway"))
    }

    /// Whether the workspace has a package of this name.
    pub(crate) fn has(&self, package: &str) -> bool {
        self.packages.iter().any(|known| known == package)
    }
}
