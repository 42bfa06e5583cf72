//! The `Connection` field: what is meant for the next hop only (RFC 9110, 7.6.1).

use super::fields::Of;
use super::{is_token, trim};

/// How many options there may be.
const MAX_OPTIONS: usize = 32;

/// Fields that are never passed on, whether they are named or not.
const HOP_BY_HOP: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fields that say where a message ends, for whom it is, or from whom: to have them taken out on the way
/// would make another message of it.
const NEVER_NAMED: [&str; 10] = [
    "content-length",
    "forwarded",
    "host",
    "transfer-encoding",
    "trailer",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// The options of all `Connection` fields of a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// `close`.
    pub close: bool,
    /// `keep-alive`.
    pub keep_alive: bool,
    /// `upgrade`.
    pub upgrade: bool,
    /// The others, which name fields.
    named: Vec<&'a [u8]>,
    /// How many there are of all.
    count: usize,
}

impl<'a> Options<'a> {
    /// Reads those of one field.
    ///
    /// # Errors
    ///
    /// Something that is no option, or one that may not be, or too many of them.
    pub fn add(&mut self, value: &'a [u8], of: Of) -> Result<(), &'static str> {
        for option in value.split(|byte| *byte == b',') {
            let option = trim(option);
            // Empty elements of a list are nothing (RFC 9110, 5.6.1.2).
            if option.is_empty() {
                continue;
            }
            self.count += 1;
            if self.count > MAX_OPTIONS {
                return Err("too many options in Connection");
            }
            if !is_token(option) {
                return Err("an option in Connection that is no token");
            }
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            // Some servers name what is for one hop indeed, and is said anew for the next. In requests that
            // is how a coding is hidden from somebody in front of us.
            let is_right = of == Of::Response && is("transfer-encoding");
            if NEVER_NAMED.into_iter().any(is) && !is_right {
                return Err("an option in Connection that names a field of the whole message");
            }
            match option {
                _ if is("close") => self.close = true,
                _ if is("keep-alive") => self.keep_alive = true,
                _ if is("upgrade") => self.upgrade = true,
                // They end here anyway.
                _ if HOP_BY_HOP.into_iter().any(is) => {}
                other => self.named.push(other),
            }
        }
        Ok(())
    }

    /// Whether there are any that name fields, which may be trailers, too.
    #[must_use]
    pub fn name_fields(&self) -> bool {
        !self.named.is_empty()
    }

    /// Whether a field of this name ends here.
    #[must_use]
    pub fn ends(&self, name: &[u8]) -> bool {
        let is_name = |other: &&[u8]| other.eq_ignore_ascii_case(name);
        let is_known = |known: &&str| known.as_bytes().eq_ignore_ascii_case(name);
        HOP_BY_HOP.iter().any(is_known) || self.named.iter().any(is_name)
    }
}
