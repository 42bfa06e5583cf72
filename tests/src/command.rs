//! The `leaseway` binary: where it is, and running one of its commands to the end.

use std::path::PathBuf;
use std::process::Command;

use crate::plugins;

/// The variable that names the binary; set by `cargo xtask test`.
const BINARY: &str = "LEASEWAY_BIN";
/// How to get it.
pub(crate) const MEND: &str = "cargo build -p leaseway";

/// `$LEASEWAY_BIN`, or the one that was built beside the tests.
#[must_use]
pub fn binary() -> PathBuf {
    std::env::var_os(BINARY).map_or_else(|| plugins::programs().join("leaseway"), PathBuf::from)
}

/// Runs a command that ends by itself: its exit code, and all that it said.
///
/// # Panics
/// There is no binary, it was killed, or it said what is not UTF-8.
#[must_use]
pub fn leaseway(args: &[&str]) -> (i32, String) {
    let output = Command::new(binary())
        .args(args)
        .output()
        .unwrap_or_else(|why| panic!("cannot start leaseway: {why}; mend it with `{MEND}`"));
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().expect("it was not killed"),
        String::from_utf8(said).expect("it says UTF-8"),
    )
}
