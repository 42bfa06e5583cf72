//! Finds a toolchain that builds for wasm32-wasip1, and says which it took.
//!
//! Three sources, tried in this order: the active toolchain has the target; rustup can add it;
//! Debian's packages, for machines that rustup cannot download to.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::packages;
use crate::shell::{self, Cmd};

/// The target that plugins are built for.
pub(crate) const TARGET: &str = "wasm32-wasip1";

/// Rust of Debian that can build its own std for wasm, and the C library that std links.
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "wasi-libc"];
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";

/// Where the wasm target comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// The target that the active toolchain already has.
    Installed,
    /// `rustup target add`.
    Rustup,
    /// Debian's packages rustc-web, cargo-web, rust-web-src and wasi-libc.
    Debian,
}

/// A toolchain that builds for [`TARGET`].
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// The active one.
    Active,
    /// Debian's, with the linker of the active one.
    Debian {
        /// rust-lld: Debian's own lld may be too old for the objects of its rustc.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// The first source that works, or the one that was asked for.
    ///
    /// # Errors
    /// None works: with the command that mends it.
    pub(crate) fn find(wanted: Option<Source>) -> anyhow::Result<Self> {
        if let Some(source) = wanted {
            return Self::take(source);
        }
        let Err(missing) = Self::take(Source::Installed) else {
            return Ok(Self::Active);
        };
        let Err(no_rustup) = Self::take(Source::Rustup) else {
            return Ok(Self::Active);
        };
        Self::take(Source::Debian).map_err(|no_debian| {
            anyhow::anyhow!(
                "plugins need the {TARGET} target, and none was found\n  \
                 active toolchain: {missing:#}\n  rustup: {no_rustup:#}\n  Debian: {no_debian:#}\n\
                 mend it with `rustup target add {TARGET}`"
            )
        })
    }

    fn take(source: Source) -> anyhow::Result<Self> {
        match source {
            Source::Installed => {
                if !is_installed()? {
                    bail!("has no {TARGET}");
                }
                eprintln!("{TARGET}: from the active toolchain");
                Ok(Self::Active)
            }
            Source::Rustup => {
                Cmd::new("rustup").args(["target", "add", TARGET]).run()?;
                if !is_installed()? {
                    bail!("rustup added {TARGET} to another toolchain than the active one");
                }
                eprintln!("{TARGET}: added by rustup");
                Ok(Self::Active)
            }
            Source::Debian => {
                let linker = linker()?;
                if !debian_is_installed() {
                    packages::install(DEBIAN_PACKAGES, "building for wasm32-wasip1")?;
                }
                eprintln!(
                    "{TARGET}: from Debian's packages, linking with {}",
                    linker.display()
                );
                Ok(Self::Debian { linker })
            }
        }
    }

    /// `cargo <verb>` for [`TARGET`], with its output under `target_dir`.
    pub(crate) fn cargo(&self, verb: &str, target_dir: &Path) -> Cmd {
        let cmd = match self {
            Self::Active => Cmd::new(shell::cargo()).arg(verb),
            Self::Debian { linker } => Cmd::new(DEBIAN_CARGO)
                // build-std is all that is unstable here: Debian ships no std for this target.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTFLAGS", debian_flags(linker))
                // Cargo's own, for the toolchain that runs this process.
                .env_remove("LD_LIBRARY_PATH")
                .env_remove("RUSTC_WRAPPER")
                .arg(verb)
                .args(["-Z", "build-std=std,panic_abort"]),
        };
        cmd.args(["--target", TARGET])
            .arg("--target-dir")
            .arg(target_dir)
    }
}

fn debian_flags(linker: &Path) -> String {
    format!(
        "-Clinker={} -Clinker-flavor=wasm-ld -Clink-self-contained=no -L{DEBIAN_LIBC}",
        linker.display()
    )
}

fn debian_is_installed() -> bool {
    // rust-web-src is what the other three are useless without.
    let sources = Path::new("/usr/lib/rustlib/src/rust/library/std");
    Path::new(DEBIAN_CARGO).is_file()
        && Path::new(DEBIAN_RUSTC).is_file()
        && Path::new(DEBIAN_LIBC).is_dir()
        && sources.exists()
}

fn is_installed() -> anyhow::Result<bool> {
    let folder = Cmd::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .read()?;
    Ok(Path::new(&folder).is_dir())
}

fn linker() -> anyhow::Result<PathBuf> {
    let sysroot = Cmd::new("rustc").args(["--print", "sysroot"]).read()?;
    let version = Cmd::new("rustc").arg("-vV").read()?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("`rustc -vV` names no host")?;
    let linker: PathBuf = [&sysroot, "lib/rustlib", host, "bin/rust-lld"]
        .iter()
        .collect();
    if !linker.is_file() {
        bail!(
            "there is no rust-lld at {}; install a toolchain with it: `rustup toolchain install stable`",
            linker.display()
        );
    }
    Ok(linker)
}
