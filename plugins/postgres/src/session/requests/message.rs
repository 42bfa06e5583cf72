//! A message of a client, of which all or a part has been shown.

use leaseway_sdk::frame::Parsed;

use super::named::MAX_STATEMENT;
use crate::sql::{self, Lone};
use crate::wire;

/// A message at the front of a client's bytes.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    /// The bytes that it begins.
    pub(super) rest: &'a [u8],
    /// Its length, which may be more.
    pub(super) length: u64,
    pub(super) has_lease: bool,
}

impl<'a> Message<'a> {
    /// What has been shown of its body.
    pub(super) fn body(&self) -> &'a [u8] {
        self.behind(wire::HEAD)
    }

    /// What has been shown of it behind so many bytes.
    fn behind(&self, at: usize) -> &'a [u8] {
        let shown = self.rest.len();
        let end = usize::try_from(self.length).map_or(shown, |end| end.min(shown));
        self.rest.get(at..end).unwrap_or_default()
    }

    /// What the SQL is that begins there, if it stands alone. None if more has to be seen.
    pub(super) fn lone(&self, at: usize) -> Option<Lone<'a>> {
        let text = self.behind(at);
        // Most do not, and are not looked through.
        if !sql::may_matter(text) {
            return Some(Lone::Other);
        }
        if let Some((sql, _)) = wire::text(text) {
            return Some(sql::lone(sql));
        }
        let is_whole = self.rest.len() as u64 >= self.length;
        match is_whole || text.len() > sql::MAX_LOOKED_AT {
            true => Some(Lone::Other),
            false => None,
        }
    }
}

/// The message at the front, if it is of this type, all there, and not too long.
pub(super) fn whole_message(shown: &[u8], wanted: u8) -> Option<&[u8]> {
    match wire::message(shown, MAX_STATEMENT) {
        Parsed::Complete {
            value: (kind, _),
            len,
        } if kind == wanted => Some(&shown[..len]),
        _ => None,
    }
}
