//! What is known of a connection, and written into its tag: how its server greets, whom to cancel, and
//! what clients have left on it that others may find.

use std::ops::Range;

use crate::settings::Values;

/// The key by which queries of a connection are cancelled: its process id, and a secret.
pub type CancelKey = [u8; 8];

/// A connection's tag, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    tag: Vec<u8>,
    greeting: Range<usize>,
    original: Range<usize>,
    current: Range<usize>,
}

impl Backend {
    /// Of a fresh connection: the `ParameterStatus` messages with which the server has greeted, and what the
    /// settings are that are followed.
    #[must_use]
    pub fn fresh(key: CancelKey, greeting: &[u8], settings: &Values) -> Self {
        Self::of(key, greeting, settings.as_bytes(), settings.as_bytes(), &[])
    }

    fn of(key: CancelKey, greeting: &[u8], original: &[u8], current: &[u8], rest: &[u8]) -> Self {
        let mut tag =
            Vec::with_capacity(20 + greeting.len() + original.len() + current.len() + rest.len());
        tag.extend_from_slice(&key);
        let mut part = |bytes: &[u8]| {
            tag.extend((bytes.len() as u32).to_le_bytes());
            let start = tag.len();
            tag.extend_from_slice(bytes);
            start..tag.len()
        };
        let greeting = part(greeting);
        let original = part(original);
        let current = part(current);
        tag.extend_from_slice(rest);
        Self {
            tag,
            greeting,
            original,
            current,
        }
    }

    /// Reads a tag. None if it is not one of ours.
    #[must_use]
    pub fn read(tag: &[u8]) -> Option<Self> {
        Self::default().reread(tag)
    }

    /// [`Backend::read`], in the storage of another.
    #[must_use]
    pub fn reread(self, tag: &[u8]) -> Option<Self> {
        let mut at = size_of::<CancelKey>();
        let mut part = || {
            let (length, _) = tag.get(at..)?.split_first_chunk::<4>()?;
            let start = at + 4;
            at = start.checked_add(u32::from_le_bytes(*length) as usize)?;
            (at <= tag.len()).then_some(start..at)
        };
        let (greeting, original, current) = (part()?, part()?, part()?);
        let mut storage = self.tag;
        tag.clone_into(&mut storage);
        Some(Self {
            greeting,
            original,
            current,
            tag: storage,
        })
    }

    /// None, with the storage of this one.
    #[must_use]
    pub fn emptied(self) -> Self {
        let mut tag = self.tag;
        tag.clear();
        Self {
            tag,
            ..Self::default()
        }
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &[u8] {
        &self.tag
    }

    /// Whom to cancel.
    #[must_use]
    pub fn key(&self) -> CancelKey {
        let mut key = CancelKey::default();
        key.copy_from_slice(&self.tag[..size_of::<CancelKey>()]);
        key
    }

    /// How the server has greeted: `ParameterStatus` messages.
    #[must_use]
    pub fn greeting(&self) -> &[u8] {
        &self.tag[self.greeting.clone()]
    }

    /// What the settings were when the connection was opened.
    #[must_use]
    pub fn original(&self) -> Values {
        Values::of_bytes(&self.tag[self.original.clone()])
    }

    /// What they are.
    #[must_use]
    pub fn current(&self) -> Values {
        Values::of_bytes(&self.tag[self.current.clone()])
    }

    /// Whether they are these.
    #[must_use]
    pub fn has(&self, settings: &Values) -> bool {
        self.tag[self.current.clone()] == *settings.as_bytes()
    }

    /// The statements that it has, as `Prepared` writes them.
    #[must_use]
    pub fn statements(&self) -> &[u8] {
        &self.tag[self.current.end..]
    }

    /// The same connection with these settings and statements.
    #[must_use]
    pub fn with(&self, settings: &Values, statements: &[u8]) -> Self {
        let original = &self.tag[self.original.clone()];
        Self::of(
            self.key(),
            self.greeting(),
            original,
            settings.as_bytes(),
            statements,
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_is_read_as_it_was_written() {
        let settings: Values = ["UTF8", "UTC"].iter().collect();
        let fresh = Backend::fresh(*b"pid-key!", b"S...", &settings);
        assert_eq!(Backend::read(fresh.tag()).as_ref(), Some(&fresh));
        assert_eq!(fresh.key(), *b"pid-key!");
        assert_eq!(fresh.greeting(), b"S...");
        assert_eq!(fresh.statements(), b"");
        let other = settings.with(&[(1, b"CET")]);
        let used = fresh.with(&other, b"abc");
        let read = Backend::read(used.tag()).unwrap();
        assert_eq!(fresh.clone().reread(used.tag()).as_ref(), Some(&read));
        assert_eq!(used.clone().emptied(), Backend::default());
        assert_eq!(read.original(), settings);
        assert!(read.has(&other) && !read.has(&settings));
        assert_eq!(read.current(), other);
        assert_eq!(read.statements(), b"abc");
        assert_eq!(read.greeting(), b"S...");
    }

    proptest! {
        #[test]
        fn foreign_tags_do_no_harm(tag in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(backend) = Backend::read(&tag) {
                let _ = (backend.key(), backend.greeting(), backend.original(), backend.current());
                prop_assert_eq!(backend.tag(), &tag[..]);
            }
        }
    }
}
