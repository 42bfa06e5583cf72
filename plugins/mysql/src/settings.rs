//! System variables that follow a client from one connection to the next.
//!
//! The server is asked to tell whenever one of them changes (`session_track_system_variables`); on a
//! connection that others have used, a client's values are put back ahead of its first command.

use std::collections::BTreeMap;

use crate::wire::{Reader, write};

/// Those that always follow. Not all servers have all of them: names differ between MySQL and MariaDB.
/// The collation behind the character sets, which change it.
const ALWAYS: &[&str] = &[
    "autocommit",
    "character_set_client",
    "character_set_results",
    "character_set_connection",
    COLLATION,
    SQL_MODE,
    "time_zone",
    "tx_isolation",
    "tx_read_only",
    "transaction_isolation",
    "transaction_read_only",
    AUTO_IS_NULL,
];

/// Where it is on, `IS NULL` asks for `LAST_INSERT_ID()`.
pub const AUTO_IS_NULL: &str = "sql_auto_is_null";

/// Changes with the character set, which servers do not tell.
pub const COLLATION: &str = "collation_connection";

/// What says which server it is. None of them ever changes.
pub const SERVER: [&str; 3] = ["hostname", "port", "version"];

/// Changes how statements are read.
pub const SQL_MODE: &str = "sql_mode";

/// Changing it changes the collation.
pub const CONNECTION: &str = "character_set_connection";

/// The only one that may be NULL, which servers tell as an empty text.
const NULLABLE: &str = "character_set_results";

/// The longest value that follows a client.
const MAX_VALUE: usize = 1024;

/// The most variables that follow clients.
pub const MAX_TRACKED: usize = 64;

/// Which variables follow clients.
#[derive(Clone, Debug)]
pub struct Tracked {
    names: Vec<String>,
}

impl Tracked {
    /// Those that always do, and these.
    ///
    /// # Errors
    /// One is no name of a variable, or there are too many.
    pub fn new(more: &[String]) -> Result<Self, String> {
        let mut names: Vec<String> = ALWAYS.iter().map(|name| (*name).to_owned()).collect();
        for name in more {
            let name = name.to_ascii_lowercase();
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_name) {
                return Err(format!(
                    "`track`: \"{name}\" is no name of a system variable"
                ));
            }
            // Ours, to learn of all others; and what belongs to one statement.
            if name.starts_with("session_track") || name.ends_with("insert_id") {
                return Err(format!("`track`: {name} cannot follow a client"));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.len() > MAX_TRACKED {
            let most = MAX_TRACKED - ALWAYS.len();
            return Err(format!("`track`: more than {most} variables"));
        }
        Ok(Self { names })
    }

    /// Where this one stands, if it is one of them.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<u8> {
        let names = self.names.iter();
        let at = names
            .map(String::as_bytes)
            .position(|known| known.eq_ignore_ascii_case(name))?;
        u8::try_from(at).ok()
    }

    /// Asks for the values of those that the server has, and what kind of server it is.
    #[must_use]
    pub fn ask(&self) -> String {
        let names = self.names.join("','");
        format!("SHOW SESSION VARIABLES WHERE Variable_name IN ('{names}','version')")
    }

    /// What has the server tell what changes, of these, in a `SET`.
    #[must_use]
    pub fn track(&self, places: &[u8]) -> String {
        let names: Vec<&str> = self.names(places).collect();
        format!(
            "SESSION session_track_schema=ON,SESSION session_track_state_change=ON,\
             SESSION session_track_system_variables='{}'",
            names.join(",")
        )
    }

    /// The names of these.
    pub fn names(&self, places: &[u8]) -> impl Iterator<Item = &str> {
        places.iter().filter_map(|at| self.name(*at))
    }

    fn name(&self, at: u8) -> Option<&str> {
        self.names.get(usize::from(at)).map(String::as_str)
    }

    /// What makes a connection whose variables are `current` what `wanted` says, if that takes anything.
    #[must_use]
    pub fn restore(&self, current: &Values, wanted: &Values) -> Option<String> {
        let mut sets = Vec::new();
        let mut has_connection = false;
        for (at, value) in &wanted.0 {
            let Some(name) = self.name(*at) else {
                continue;
            };
            let is_so = current.0.get(at).is_none_or(|is| is == value);
            if is_so && !(has_connection && name == COLLATION) {
                continue;
            }
            has_connection |= name == CONNECTION;
            sets.push(format!("SESSION {name}={}", literal(name, value)));
        }
        match sets.is_empty() {
            true => None,
            false => Some(format!("SET {}", sets.join(","))),
        }
    }
}

/// Values of variables, by where these stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<u8, Vec<u8>>);

impl Values {
    /// This variable has this value.
    pub fn insert(&mut self, at: u8, value: &[u8]) {
        self.0.insert(at, value.to_vec());
    }

    /// Nothing is said of this one any more.
    pub fn remove(&mut self, at: u8) {
        self.0.remove(&at);
    }

    /// The value of this one.
    #[must_use]
    pub fn get(&self, at: u8) -> Option<&[u8]> {
        self.0.get(&at).map(Vec::as_slice)
    }

    /// Where those stand that have one.
    pub fn places(&self) -> impl Iterator<Item = u8> {
        self.0.keys().copied()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and where `over` says something else, that. What these do not have stays out.
    #[must_use]
    pub fn with(&self, over: &Self) -> Self {
        let mut all = self.clone();
        for (at, value) in &mut all.0 {
            if let Some(other) = over.0.get(at) {
                value.clone_from(other);
            }
        }
        all
    }

    /// Where these differ from the others.
    #[must_use]
    pub fn unlike(&self, others: &Self) -> Self {
        let differ = self
            .0
            .iter()
            .filter(|(at, value)| others.0.get(at) != Some(value));
        Self(differ.map(|(at, value)| (*at, value.clone())).collect())
    }

    /// Adds them to a tag.
    pub fn encode(&self, tag: &mut Vec<u8>) {
        write::number(tag, self.0.len() as u64);
        for (at, value) in &self.0 {
            tag.push(*at);
            write::counted(tag, value);
        }
    }

    /// Reads them from a tag.
    #[must_use]
    pub fn decode(rest: &mut Reader<'_>) -> Option<Self> {
        let count = rest.number()?;
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let at = rest.u8()?;
            values.insert(at, rest.counted()?.to_vec());
        }
        Some(Self(values))
    }
}

/// Whether a value can be put back as it is: printable, and nothing that ends a literal.
#[must_use]
pub fn can_follow(value: &[u8]) -> bool {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !b"'\"\\`".contains(byte);
    value.len() <= MAX_VALUE && value.iter().all(is_plain)
}

/// As it stands in a `SET`. Numbers are no texts to the server.
fn literal(name: &str, value: &[u8]) -> String {
    if value.is_empty() && name == NULLABLE {
        return "NULL".to_owned();
    }
    let text = String::from_utf8_lossy(value);
    let is_number = !value.is_empty()
        && value.len() <= 30
        && value
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && value[0].is_ascii_digit()
        && value.iter().filter(|byte| **byte == b'.').count() <= 1;
    match is_number {
        true => text.into_owned(),
        false => format!("'{text}'"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tracked() -> Tracked {
        Tracked::new(&["wait_timeout".to_owned()]).unwrap()
    }

    fn values(pairs: &[(&str, &str)]) -> Values {
        let mut values = Values::default();
        for (name, value) in pairs {
            values.insert(tracked().find(name.as_bytes()).unwrap(), value.as_bytes());
        }
        values
    }

    #[test]
    fn only_what_differs_is_put_back() {
        let original = values(&[
            ("autocommit", "ON"),
            ("sql_mode", ""),
            ("wait_timeout", "28800"),
            ("character_set_results", "utf8mb4"),
        ]);
        let own = values(&[
            ("autocommit", "OFF"),
            ("wait_timeout", "60"),
            ("character_set_results", ""),
            ("time_zone", "+00:00"),
        ]);
        let wanted = original.with(&own);
        assert_eq!(
            tracked().restore(&original, &wanted).unwrap(),
            "SET SESSION autocommit='OFF',SESSION character_set_results=NULL,SESSION wait_timeout=60"
        );
        assert_eq!(tracked().restore(&wanted, &wanted), None);
        let (none, back) = (Values::default(), wanted.unlike(&original));
        assert_eq!(original.with(&back), wanted);
        assert_eq!(tracked().restore(&wanted, &none), None);
    }

    #[test]
    fn the_collation_is_put_back_behind_the_character_set() {
        let current = values(&[(CONNECTION, "latin1"), (COLLATION, "utf8mb4_bin")]);
        let wanted = values(&[(CONNECTION, "utf8mb4"), (COLLATION, "utf8mb4_bin")]);
        assert_eq!(
            tracked().restore(&current, &wanted).unwrap(),
            "SET SESSION character_set_connection='utf8mb4',\
             SESSION collation_connection='utf8mb4_bin'"
        );
    }

    #[test]
    fn a_tag_has_them_as_they_were() {
        let all = values(&[("autocommit", "OFF"), ("sql_mode", "")]);
        let mut tag = Vec::new();
        all.encode(&mut tag);
        assert_eq!(Values::decode(&mut Reader(&tag)), Some(all));
        for cut in 0..tag.len() {
            assert_eq!(Values::decode(&mut Reader(&tag[..cut])), None);
        }
    }

    #[test]
    fn what_cannot_follow_is_refused() {
        for name in ["", "a b", "a'", "session_track_schema", "LAST_INSERT_ID"] {
            assert!(Tracked::new(&[name.to_owned()]).is_err(), "{name}");
        }
        assert!(can_follow(b"STRICT_TRANS_TABLES,ANSI"));
        for value in [&b"a'b"[..], b"\\", b"\n", b"\xc3\xa4", &[b'x'; 1025]] {
            assert!(!can_follow(value));
        }
    }
}
