//! Measuring replies: where each one ends.
//!
//! A reply is a line, but for these: `VALUE` announces a data block, and more of the same reply behind
//! it, up to `END`; `VA` announces a data block that the reply ends with; `STAT` and `ITEM` are
//! lines of a list, up to `END`. Data blocks are measured and never looked at.

use super::{MAX_VALUE, number, words};

/// How long a line of a reply may be.
pub const MAX_LINE: usize = 2048;

/// Measures a stream of replies, in any number of pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies {
    /// Within a list, which goes on to its `END`.
    list: bool,
}

/// A line, with its data block if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// May exceed what was shown.
    pub length: u64,
    /// What it is.
    pub kind: Kind,
}

/// What a line means for the reply that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// More of it follows.
    Part,
    /// The `END` of a list.
    End,
    /// All of it, or an error, which ends a list too.
    Last,
    /// The reply to `version`.
    Version,
}

/// These bytes are no reply, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

impl Replies {
    /// Whether the next byte begins a reply.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        !self.list
    }

    /// The line at the front; none if it is not all there.
    ///
    /// # Errors
    ///
    /// If this is no reply.
    pub fn next(&mut self, shown: &[u8]) -> Result<Option<Piece>, Invalid> {
        let window = &shown[..shown.len().min(MAX_LINE)];
        let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
            if shown.len() >= MAX_LINE {
                return Err(Invalid("a reply has a line over 2,048 bytes"));
            }
            return Ok(None);
        };
        let Some(line) = window[..end].strip_suffix(b"\r") else {
            return Err(Invalid("a line of a reply does not end with CR LF"));
        };
        let mut words = words(line);
        let (kind, block) = match words.next().unwrap_or_default() {
            b"VALUE" => (Kind::Part, Some(words.nth(2))),
            b"STAT" | b"ITEM" => (Kind::Part, None),
            b"END" => (Kind::End, None),
            b"VA" if !self.list => (Kind::Last, Some(words.next())),
            b"VERSION" if !self.list => (Kind::Version, None),
            _ if self.list && !is_error(line) => {
                return Err(Invalid("a list has a line that is no part of it"));
            }
            _ => (Kind::Last, None),
        };
        let mut length = end as u64 + 1;
        if let Some(size) = block {
            let size = size.and_then(|size| number(size, MAX_VALUE));
            let size = size.ok_or(Invalid("a reply has a length that is not valid"))?;
            length += size + 2;
        }
        self.list = kind == Kind::Part;
        Ok(Some(Piece { length, kind }))
    }
}

/// Whether the answer to `version` is that of a memcached before 1.6. Those say nothing if there is no
/// room for what is stored with `noreply`, and take the data block for commands.
#[must_use]
pub fn is_before_1_6(answer: &[u8]) -> bool {
    let minor = answer.strip_prefix(b"VERSION 1.").and_then(|rest| {
        let digits = rest.split(|byte| !byte.is_ascii_digit()).next()?;
        number(digits, 99)
    });
    minor.is_some_and(|minor| minor < 6)
}

fn is_error(line: &[u8]) -> bool {
    [&b"ERROR"[..], b"CLIENT_ERROR ", b"SERVER_ERROR "]
        .iter()
        .any(|error| line.starts_with(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(bytes: &[u8]) -> Result<Vec<(u64, Kind)>, Invalid> {
        let mut replies = Replies::default();
        let (mut at, mut found) = (0, Vec::new());
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(piece) = replies.next(rest)? else {
                break;
            };
            found.push((piece.length, piece.kind));
            at += piece.length as usize;
        }
        Ok(found)
    }

    #[test]
    fn replies_of_all_shapes_are_measured() {
        use Kind::*;
        for (bytes, found) in [
            (&b"STORED\r\n"[..], vec![(8, Last)]),
            (b"END\r\n12\r\n", vec![(5, End), (4, Last)]),
            (
                b"VALUE k 0 5\r\nEND\r\n\r\nVALUE l 0 0 9\r\n\r\nEND\r\n",
                vec![(20, Part), (17, Part), (5, End)],
            ),
            (b"VALUE k 0 100\r\nx", vec![(117, Part)]),
            (
                b"VA 2 f0\r\nab\r\nHD\r\nEN\r\n",
                vec![(13, Last), (4, Last), (4, Last)],
            ),
            (
                b"VALUE k 0 1\r\nx\r\nSERVER_ERROR x\r\n",
                vec![(16, Part), (16, Last)],
            ),
            (
                b"STAT a b\r\nSTAT c VERSION\r\nEND\r\n",
                vec![(10, Part), (16, Part), (5, End)],
            ),
            (b"VERSION 1.6\r\nERROR\r\n", vec![(13, Version), (7, Last)]),
            (b"STORED\r", vec![]),
        ] {
            assert_eq!(kinds(bytes), Ok(found), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn old_servers_are_known_by_their_version() {
        for (answer, is_old) in [
            (&b"VERSION 1.2.8\r\n"[..], true),
            (b"VERSION 1.5.22\r\n", true),
            (b"VERSION 1.6\r\n", false),
            (b"VERSION 1.10.1\r\n", false),
            (b"VERSION 2.1\r\n", false),
            (b"VERSION unknown\r\n", false),
        ] {
            assert_eq!(is_before_1_6(answer), is_old, "{}", answer.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_reply_is_found_out() {
        let long = [b'x'; MAX_LINE];
        for bytes in [
            &b"STORED\n"[..],
            b"VALUE k 0\r\n",
            b"VALUE k 0 -1\r\n",
            b"VALUE k 0 1073741825\r\n",
            b"VA x\r\n",
            b"VALUE k 0 0\r\n\r\nSTORED\r\n",
            b"VALUE k 0 0\r\n\r\nVERSION 1\r\n",
            &long,
        ] {
            assert!(kinds(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
