//! Settings that follow a client from one connection to the next: which, what they are worth, and the
//! SQL that sets and asks for them.

use std::fmt::Write as _;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

/// Those that are always followed, of which servers report every change (`GUC_REPORT`).
const ALWAYS: [&str; 5] = [
    "client_encoding",
    "datestyle",
    "timezone",
    "standard_conforming_strings",
    APPLICATION_NAME,
];

/// The one that changes nothing of what a statement means.
const APPLICATION_NAME: &str = "application_name";

/// How much of an `application_name` a server keeps (`NAMEDATALEN - 1`).
const MAX_APPLICATION_NAME: usize = 63;

/// The longest value that is followed.
pub const MAX_VALUE: usize = 1024;

/// How many more may be followed.
const MAX_MORE: usize = 32;

/// What a statement's meaning has of the settings.
pub type Digest = [u8; 8];

/// The names of the settings that are followed, in lower case.
#[derive(Debug)]
pub struct Tracked(Vec<String>);

impl Tracked {
    /// Those that always are, and these.
    ///
    /// # Errors
    /// One of these is no name of a setting, or there are too many.
    pub fn new(more: &[String]) -> Result<Self, String> {
        let mut names: Vec<String> = ALWAYS.map(str::to_owned).into();
        for name in more {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_plain) {
                return Err(format!("`track`: {name:?} is not the name of a setting"));
            }
            let name = name.to_ascii_lowercase();
            if ["user", "database", "options", "replication"].contains(&name.as_str()) {
                return Err(format!(
                    "`track`: {name} is no setting, but says who a client is"
                ));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.len() > ALWAYS.len() + MAX_MORE {
            return Err(format!("`track`: more than {MAX_MORE} settings"));
        }
        Ok(Self(names))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Those of which servers may not report every change.
    pub fn unreported(&self) -> impl Iterator<Item = usize> + use<> {
        ALWAYS.len()..self.0.len()
    }

    /// Which of them has this name, in whatever case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let is = |known: &String| known.as_bytes().eq_ignore_ascii_case(name);
        self.0.iter().position(is)
    }

    /// What a client wants this one to be that has set it as it started, if that can be followed:
    /// plain ASCII, which is the same in every encoding of a client.
    #[must_use]
    pub fn wish(&self, at: usize, value: &str) -> Option<Vec<u8>> {
        if self.0[at] == APPLICATION_NAME {
            // As a server writes it.
            let plain = |byte: u8| {
                if matches!(byte, b' '..=b'~') {
                    byte
                } else {
                    b'?'
                }
            };
            return Some(
                value
                    .bytes()
                    .take(MAX_APPLICATION_NAME)
                    .map(plain)
                    .collect(),
            );
        }
        can_follow(value.as_bytes()).then(|| value.as_bytes().to_vec())
    }

    /// Whether a client may have this one as it says, without a server that looks at it.
    #[must_use]
    pub fn is_free(&self, at: usize) -> bool {
        self.0[at] == APPLICATION_NAME
    }

    /// The query that makes `has` what is wanted, and which settings its row tells of.
    #[must_use]
    pub fn assign(&self, has: &Values, wanted: &Values) -> (String, Vec<usize>) {
        let values = has.iter().zip(wanted.iter()).enumerate();
        let differ = values.filter(|(_, (has, wanted))| has != wanted);
        let set: Vec<(usize, &[u8])> = differ.map(|(at, (_, wanted))| (at, wanted)).collect();
        self.set(&set)
    }

    /// The query that sets these, in order, in one statement that fails or succeeds as a whole; and which
    /// settings its row tells of.
    #[must_use]
    pub fn set(&self, values: &[(usize, &[u8])]) -> (String, Vec<usize>) {
        let mut sql = "SELECT ".to_owned();
        for (at, value) in values {
            if !sql.ends_with("SELECT ") {
                sql.push_str(", ");
            }
            // Says what the server sets by a literal that means the same whatever its settings.
            let _ = write!(sql, "pg_catalog.set_config('{}', E'", self.0[*at]);
            for byte in *value {
                if matches!(byte, b'\'' | b'\\') {
                    sql.push(char::from(*byte));
                }
                sql.push(char::from(*byte));
            }
            sql.push_str("', false)");
        }
        (sql, values.iter().map(|(at, _)| *at).collect())
    }

    /// The query whose row says what these are.
    #[must_use]
    pub fn ask(&self, which: &[usize]) -> String {
        let asks: Vec<String> = which
            .iter()
            .map(|at| format!("pg_catalog.current_setting('{}')", self.0[*at]))
            .collect();
        format!("SELECT {}", asks.join(", "))
    }

    /// Of all that bears on what a statement means: who parses the same text under other settings may get
    /// another statement.
    #[must_use]
    pub fn digest(&self, values: &Values) -> Digest {
        let mut hash = Sha256::new();
        for (name, value) in self.0.iter().zip(values.iter()) {
            if name != APPLICATION_NAME {
                hash.update((value.len() as u32).to_le_bytes());
                hash.update(value);
            }
        }
        let mut digest = Digest::default();
        digest.copy_from_slice(&hash.finalize()[..size_of::<Digest>()]);
        digest
    }
}

/// Whether a value can be set on another connection as it is.
#[must_use]
pub fn can_follow(value: &[u8]) -> bool {
    value.len() <= MAX_VALUE && value.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// What the settings are, in the order of their names: each with its length in front. Clients that have the
/// same share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(Rc<[u8]>);

impl Values {
    /// Out of the bytes that [`as_bytes`](Self::as_bytes) has given.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// As bytes; the same for the same values.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let (value, tail) = tail.split_at_checked(u16::from_le_bytes(*length).into())?;
            rest = tail;
            Some(value)
        })
    }

    /// With another value for one of them, or for several.
    #[must_use]
    pub fn with(&self, changed: &[(usize, &[u8])]) -> Self {
        self.iter()
            .enumerate()
            .map(|(at, value)| {
                let new = changed.iter().rev().find(|(which, _)| *which == at);
                new.map_or(value, |(_, value)| *value)
            })
            .collect()
    }
}

/// Values are at most [`MAX_VALUE`] bytes long; more is cut off.
impl<V: AsRef<[u8]>> FromIterator<V> for Values {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        let mut bytes = Vec::new();
        for value in values {
            let value = value.as_ref();
            let value = &value[..value.len().min(MAX_VALUE)];
            bytes.extend((value.len() as u16).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        Self(bytes.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_must_be_names() {
        let tracked = Tracked::new(&["Search_Path".to_owned(), "datestyle".to_owned()]).unwrap();
        assert_eq!(tracked.count(), 6);
        assert_eq!(tracked.find(b"DateStyle"), Some(1));
        assert_eq!(tracked.find(b"search_path"), Some(5));
        assert_eq!(tracked.find(b"work_mem"), None);
        for bad in ["", "a'b", "a b", "user"] {
            assert!(Tracked::new(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_differs_is_set() {
        let tracked = Tracked::new(&[]).unwrap();
        let has: Values = ["UTF8", "ISO, MDY", "UTC", "on", "psql"].iter().collect();
        assert_eq!(tracked.assign(&has, &has).1, [0_usize; 0]);
        let wanted = has.with(&[(2, b"Asia/Tokyo"), (4, b"O'Neill\\")]);
        let (sql, which) = tracked.assign(&has, &wanted);
        assert_eq!(which, [2, 4]);
        assert_eq!(
            sql,
            "SELECT pg_catalog.set_config('timezone', E'Asia/Tokyo', false), \
             pg_catalog.set_config('application_name', E'O''Neill\\\\', false)"
        );
    }

    #[test]
    fn a_name_of_an_application_means_the_same_statement() {
        let tracked = Tracked::new(&[]).unwrap();
        let some: Values = ["UTF8", "ISO, MDY", "UTC", "on", "psql"].iter().collect();
        let named = some.with(&[(4, b"other")]);
        assert_eq!(tracked.digest(&some), tracked.digest(&named));
        let elsewhere = some.with(&[(2, b"CET")]);
        assert_ne!(tracked.digest(&some), tracked.digest(&elsewhere));
    }

    #[test]
    fn what_is_not_plain_is_not_followed() {
        let tracked = Tracked::new(&[]).unwrap();
        assert_eq!(tracked.wish(2, "Zürich"), None);
        assert_eq!(tracked.wish(2, "a\nb"), None);
        assert_eq!(tracked.wish(4, "Zürich"), Some(b"Z??rich".to_vec()));
        assert_eq!(tracked.wish(4, &"x".repeat(100)).unwrap().len(), 63);
    }

    proptest! {
        #[test]
        fn values_are_read_as_they_were_written(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8),
            at in 0_usize..8,
            new in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let written: Values = values.iter().collect();
            prop_assert_eq!(&Values::of_bytes(written.as_bytes()), &written);
            prop_assert_eq!(written.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), values.clone());
            let changed = written.with(&[(at, &new)]);
            for (which, value) in changed.iter().enumerate() {
                prop_assert_eq!(value, if which == at { &new[..] } else { &values[which][..] });
            }
        }
    }
}
