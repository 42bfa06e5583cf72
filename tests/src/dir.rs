//! A temporary folder that goes when its value does.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A fresh folder, removed with its contents on drop.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one, with `name` in its name.
    ///
    /// # Panics
    /// The system's temporary folder cannot be written to.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = std::process::id();
        loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("leaseway-{name}-{id}-{n}"));
            match std::fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Left behind by a killed process that had the same id.
                Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(why) => panic!("cannot make {}: {why}", path.display()),
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A leftover in the temporary folder harms nobody; a panic in drop would.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
