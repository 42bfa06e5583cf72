//! What is known of a connection, and written into its tag: what its variables were when it was opened, and
//! what clients have made of it that others may find.

use crate::settings::Values;
use crate::wire::{Reader, write};

/// A connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// What the server's variables were.
    pub original: Values,
    /// Those that have another value now.
    pub changed: Values,
    /// The default database; empty if there is none.
    pub database: Vec<u8>,
}

impl Backend {
    /// Reads a tag. None if it is not one of ours.
    #[must_use]
    pub fn read(tag: &[u8]) -> Option<Self> {
        let mut rest = Reader(tag);
        let database = rest.counted()?.to_vec();
        let original = Values::decode(&mut rest)?;
        let changed = Values::decode(&mut rest)?;
        rest.0.is_empty().then_some(Self {
            original,
            changed,
            database,
        })
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Vec<u8> {
        let mut tag = Vec::new();
        write::counted(&mut tag, &self.database);
        self.original.encode(&mut tag);
        self.changed.encode(&mut tag);
        tag
    }

    /// What this variable is.
    #[must_use]
    pub fn value(&self, at: u8) -> Option<&[u8]> {
        self.changed.get(at).or_else(|| self.original.get(at))
    }

    /// What its variables are.
    #[must_use]
    pub fn current(&self) -> Values {
        self.original.with(&self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_as_it_is_written() {
        let mut backend = Backend {
            database: b"shop".to_vec(),
            ..Backend::default()
        };
        backend.original.insert(0, b"ON");
        backend.original.insert(5, b"");
        backend.changed.insert(0, b"OFF");
        let tag = backend.tag();
        assert_eq!(Backend::read(&tag), Some(backend.clone()));
        assert_eq!(backend.current().get(0), Some(&b"OFF"[..]));
        assert_eq!(backend.value(0), Some(&b"OFF"[..]));
        for cut in 0..tag.len() {
            assert_eq!(Backend::read(&tag[..cut]), None);
        }
    }
}
