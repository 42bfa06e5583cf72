//! Programs that refuse to run as root, run as somebody else then.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs this program as that user if the test is root. The user has to own the folders that it writes to:
/// [`give`].
#[must_use]
pub fn command(user: &str, program: impl AsRef<OsStr>) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    // Which becomes the program, so that its process is the one that is signalled.
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", user, "--regid", user, "--clear-groups"])
        .arg(program)
        .current_dir("/");
    command
}

/// Lets that user write to a folder, if the test is root.
///
/// # Panics
/// There is no such folder, or no such user.
pub fn give(user: &str, folder: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut command = Command::new("chown");
    command.arg(user).arg(folder);
    run(command, "a package that makes the user");
}

/// Runs a program to its end; `mend` is how to get it.
///
/// # Panics
/// It cannot be started, or fails; with what it said.
pub fn run(mut command: Command, mend: &str) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|why| panic!("cannot run {command:?}: {why}; mend it with `{mend}`"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
