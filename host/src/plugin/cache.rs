//! Where compiled plugins are kept between starts.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use wasmtime::{Cache, CacheConfig};

/// Write permission of anybody but the owner.
const OTHERS_WRITE: u32 = 0o022;
/// May write anywhere, and so is no danger that a directory brings.
const ROOT: u32 = 0;

/// Of zstd. What has been used often is not compressed again by a higher one, as wasmtime would: that took
/// 130 MB of a relay's memory, for as long as it ran.
const COMPRESSION: i32 = 3;

/// Opens the cache, or says in the log why every start will compile.
pub(super) fn open(dir: &Path) -> Option<Cache> {
    let opened = prepare(dir).map_err(Into::into).and_then(|dir| {
        let mut config = CacheConfig::new();
        config
            .with_directory(dir)
            .with_baseline_compression_level(COMPRESSION)
            .with_optimized_compression_level(COMPRESSION);
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
/// machine code, so nobody else may write there, or give themselves the right to.
fn prepare(dir: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let metadata = fs::metadata(dir)?;
    let own = rustix::process::geteuid().as_raw();
    check(metadata.uid(), metadata.mode(), own).map_err(io::Error::other)?;
    dir.canonicalize()
}

/// Whether only `own` and root can write to a directory of this owner and mode.
fn check(owner: u32, mode: u32, own: u32) -> Result<(), &'static str> {
    if owner != own && owner != ROOT {
        return Err(
            "another user owns it, and what is in it is run: chown it to the user of this process",
        );
    }
    if mode & OTHERS_WRITE != 0 {
        return Err("others may write to it, and what is in it is run: chmod go-w");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_used_often_is_not_compressed_again() {
        let folder =
            std::env::temp_dir().join(format!("leaseway-cache-level-{}", std::process::id()));
        let cache = open(&folder).unwrap();
        assert_eq!(
            cache.optimized_compression_level(),
            cache.baseline_compression_level()
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_directory_of_another_user_is_not_used() {
        assert_eq!(check(1000, 0o700, 1000), Ok(()));
        assert_eq!(check(ROOT, 0o755, 1000), Ok(()));
        for own in [1000, ROOT] {
            let why = check(1001, 0o700, own).unwrap_err();
            assert!(why.contains("chown"), "{why}");
        }
    }

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
