//! Scripts that use Python's drivers, in `tests/peers`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::plugins;
use crate::tool::{self, Output};

/// What installs the drivers.
pub const MEND: &str = "cargo xtask drivers";

/// The virtual environment that the drivers are in, in the target directory.
pub const ENVIRONMENT: &str = "drivers";

/// What is to be installed in it, in the workspace.
pub const REQUIREMENTS: &str = "tests/peers/requirements.txt";

/// Runs `tests/peers/NAME.py`.
///
/// # Panics
/// The drivers are not installed, or others than it wants; or it has not ended within `deadline`.
pub async fn script(name: &str, args: &[&str], deadline: Duration) -> Output {
    let environment = plugins::target().join(ENVIRONMENT);
    assert!(
        is_current(&environment, &workspace()),
        "{} does not have the drivers of {REQUIREMENTS}; mend it with `{MEND}`",
        environment.display()
    );
    let python = environment.join("bin/python");
    let script = workspace().join(format!("tests/peers/{name}.py"));
    let script = script.to_string_lossy();
    // `-B`: what is compiled is not left beside the sources.
    let args = [&["-B", &*script], args].concat();
    tool::run(&python.to_string_lossy(), &args, deadline, MEND).await
}

/// Whether this environment has what the workspace asks for.
#[must_use]
pub fn is_current(environment: &Path, workspace: &Path) -> bool {
    let wanted = std::fs::read(workspace.join(REQUIREMENTS));
    let has = std::fs::read(stamp(environment));
    matches!((wanted, has), (Ok(wanted), Ok(has)) if wanted == has)
}

/// Where an environment has a copy of the requirements that have been installed in it.
#[must_use]
pub fn stamp(environment: &Path) -> PathBuf {
    environment.join("installed.txt")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::TempDir;

    #[test]
    fn other_versions_make_an_environment_out_of_date() {
        let (environment, workspace) = (TempDir::new("drivers"), TempDir::new("workspace"));
        let requirements = workspace.path().join(REQUIREMENTS);
        std::fs::create_dir_all(requirements.parent().unwrap()).unwrap();
        std::fs::write(&requirements, "driver==1").unwrap();
        assert!(!is_current(environment.path(), workspace.path()));
        std::fs::copy(&requirements, stamp(environment.path())).unwrap();
        assert!(is_current(environment.path(), workspace.path()));
        std::fs::write(&requirements, "driver==2").unwrap();
        assert!(!is_current(environment.path(), workspace.path()));
    }
}
