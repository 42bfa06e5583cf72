//! Where the built plugins are.

use std::path::PathBuf;

/// The variable that names the folder; set by `cargo xtask test`.
const FOLDER: &str = "LEASEWAY_PLUGINS";

/// The folder of the built plugins: `$LEASEWAY_PLUGINS`, or `plugins` in the target directory.
#[must_use]
pub fn folder() -> PathBuf {
    std::env::var_os(FOLDER).map_or_else(|| target().join("plugins"), PathBuf::from)
}

/// The path of `NAME.wasm`.
///
/// # Panics
/// It has not been built.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let path = folder().join(format!("{name}.wasm"));
    assert!(
        path.is_file(),
        "there is no {}; mend it with `cargo xtask plugins`",
        path.display()
    );
    path
}

/// The folder of this profile's programs: a test runs from `deps` in it.
pub fn programs() -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its own path");
    exe.parent()
        .and_then(|deps| deps.parent())
        .expect("a test runs from target/PROFILE/deps")
        .to_owned()
}

/// The target directory.
pub(crate) fn target() -> PathBuf {
    programs()
        .parent()
        .expect("a profile's folder is in the target directory")
        .to_owned()
}
