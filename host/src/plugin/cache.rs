//! Where compiled plugins are kept between starts.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wasmtime::{Cache, CacheConfig};

/// Write permission of anybody but the owner.
const OTHERS_WRITE: u32 = 0o022;

/// Opens the cache, or says in the log why every start will compile.
pub(super) fn open(dir: &Path) -> Option<Cache> {
    let opened = prepare(dir).map_err(Into::into).and_then(|dir| {
        let mut config = CacheConfig::new();
        config.with_directory(dir);
        Cache::new(config)
    });
    opened
        .inspect_err(|error| {
            tracing::warn!(
                "cannot keep compiled plugins in {} ({error:#}): every start compiles them; \
                 mend it, or set another cache-dir",
                dir.display()
            );
        })
        .ok()
}

/// The absolute path of the directory, which is made if need be. What is found in it is run as
/// machine code, so nobody else may write there.
fn prepare(dir: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mode = fs::metadata(dir)?.permissions().mode();
    if mode & OTHERS_WRITE != 0 {
        return Err(io::Error::other(
            "others may write to it, and what is in it is run: chmod go-w",
        ));
    }
    dir.canonicalize()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_may_write_to_is_not_used() {
        let dir = std::env::temp_dir().join(format!("leaseway-cache-{}", std::process::id()));
        assert!(open(&dir).is_some());
        assert_eq!(
            fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(
            prepare(&dir)
                .unwrap_err()
                .to_string()
                .contains("chmod go-w")
        );
        assert!(open(&dir).is_none());
        fs::remove_dir_all(&dir).unwrap();
    }
}
