//! Host names: in the form in which they are compared, and the patterns of routes.

use std::fmt;

/// The longest host name, in its written form (RFC 1035, section 2.3.4).
pub const MAX_NAME: usize = 253;

/// The longest label of one.
const MAX_LABEL: usize = 63;

/// A host name in lower case, without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

/// Why something is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHostName {
    /// It is an address. RFC 6066 does not let them be server names.
    Address,
    /// It is malformed.
    Malformed,
}

impl fmt::Display for NoHostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "is an IP address, and not a host name",
            Self::Malformed => {
                "is no host name: labels of 1 to 63 letters, digits, `-` and `_` with dots between \
                 them, at most 253 in all (other scripts in their `xn--` form)"
            }
        })
    }
}

impl HostName {
    /// Reads a name that a client or an operator has written.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoHostName> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        if bytes.contains(&b':') {
            return Err(NoHostName::Address);
        }
        if bytes.len() > MAX_NAME || !bytes.split(|byte| *byte == b'.').all(is_label) {
            return Err(NoHostName::Malformed);
        }
        // No top-level domain is a number (RFC 3696, section 2), and `127.1` is an address to many.
        let last = bytes.rsplit(|byte| *byte == b'.').next();
        if last.is_some_and(|label| label.iter().all(u8::is_ascii_digit)) {
            return Err(NoHostName::Address);
        }
        match String::from_utf8(bytes.to_ascii_lowercase()) {
            Ok(name) => Ok(Self(name)),
            // Labels are ASCII.
            Err(_) => Err(NoHostName::Malformed),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind its first label, behind its first two, and so on.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.0
            .match_indices('.')
            .filter_map(|(at, _)| self.0.get(at + 1..))
    }
}

fn is_label(label: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_LABEL).contains(&label.len()) && label.iter().all(fits)
}

/// Which names a route is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// This one.
    Exact(HostName),
    /// Those below this one, however far: `*.example.org`.
    Below(HostName),
    /// All: `*`.
    Any,
}

impl Pattern {
    /// Reads what an operator has written.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(
                "has its `*` in a place where none may be: `*.example.org` is for all names below \
                 example.org, and `*` alone for all names"
                    .to_owned(),
            );
        }
        match HostName::parse(name.as_bytes()) {
            Ok(name) if below => Ok(Self::Below(name)),
            Ok(name) => Ok(Self::Exact(name)),
            Err(why) => Err(why.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_lower_case_and_without_a_last_dot() {
        for (text, name) in [
            ("db.example.org", "db.example.org"),
            ("DB.Example.ORG.", "db.example.org"),
            ("localhost", "localhost"),
            ("_sip.x-1.xn--bcher-kva", "_sip.x-1.xn--bcher-kva"),
            ("1.2.3.x4", "1.2.3.x4"),
        ] {
            assert_eq!(HostName::parse(text.as_bytes()).unwrap().as_str(), name);
        }
    }

    #[test]
    fn addresses_and_what_is_malformed_are_no_names() {
        for text in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "8080",
            "::1",
            "[::1]",
            "a:443",
        ] {
            assert_eq!(
                HostName::parse(text.as_bytes()),
                Err(NoHostName::Address),
                "{text}"
            );
        }
        let long = ["a"; 127].join(".") + ".b";
        let label = "x".repeat(64);
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b",
            "a\0b",
            "b\u{fc}cher",
            "*.a",
            "a/b",
            &long,
            &label,
        ] {
            assert_eq!(
                HostName::parse(text.as_bytes()),
                Err(NoHostName::Malformed),
                "{text}"
            );
        }
        assert!(HostName::parse(&long.as_bytes()[2..]).is_ok());
    }

    #[test]
    fn parents_go_from_near_to_far() {
        let name = HostName::parse(b"a.b.c").unwrap();
        assert_eq!(name.parents().collect::<Vec<_>>(), ["b.c", "c"]);
    }

    #[test]
    fn a_star_may_stand_at_the_front_or_alone() {
        let name = |text: &str| HostName::parse(text.as_bytes()).unwrap();
        for (text, pattern) in [
            ("*", Pattern::Any),
            ("*.Example.org.", Pattern::Below(name("example.org"))),
            ("example.org", Pattern::Exact(name("example.org"))),
        ] {
            assert_eq!(Pattern::parse(text), Ok(pattern));
        }
        for text in ["**", "*.", "*x.org", "a.*.org", "*.*.org", "", "*.1.2.3.4"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
