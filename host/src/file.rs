//! Reading a whole file that an operator named, and nothing else that a path may lead to.
//!
//! A pipe or a device may never end, and a file given by mistake may be larger than memory. Used
//! for the config and for plugins.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// A file cannot be read. Says why, but not which: the caller's message does.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What the operating system says.
    #[error("{0}")]
    Io(io::Error),
    /// What the path leads to.
    #[error("it is {0}, not a regular file")]
    NotAFile(&'static str),
    /// Larger than anything that was meant.
    #[error("it is larger than {}MiB", limit >> 20)]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// It is another thing, or larger, or the operating system refuses.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    // Before it is opened, which waits for a writer where it is a pipe.
    let metadata = fs::metadata(path).map_err(ReadError::Io)?;
    if !metadata.is_file() {
        return Err(ReadError::NotAFile(kind(metadata.file_type())));
    }
    if metadata.len() > limit {
        return Err(ReadError::TooLarge { limit });
    }
    // It may have grown since.
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(ReadError::Io)?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge { limit });
    }
    Ok(bytes)
}

fn kind(file: FileType) -> &'static str {
    if file.is_dir() {
        "a directory"
    } else if file.is_fifo() {
        "a pipe"
    } else if file.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn says(path: &Path) -> String {
        read(path, LIMIT).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        assert_eq!(
            says(Path::new("/dev/zero")),
            "it is a device, not a regular file"
        );
        let dir = std::env::temp_dir().join(format!("leaseway-file-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert_eq!(says(&dir), "it is a directory, not a regular file");
        let pipe = dir.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert_eq!(says(&pipe), "it is a pipe, not a regular file");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_above_the_limit_is_not_read() {
        let name = format!("leaseway-file-large-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = File::create(&path).unwrap();
        file.set_len(LIMIT).unwrap();
        assert_eq!(read(&path, LIMIT).unwrap().len() as u64, LIMIT);
        file.set_len(LIMIT + 1).unwrap();
        assert_eq!(says(&path), "it is larger than 1MiB");
        fs::remove_file(&path).unwrap();
    }
}
