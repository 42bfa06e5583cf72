//! OK, EOF and ERR packets: what they tell of a session, and OK packets for clients that did not ask for
//! that (MySQL Source Code Documentation, "OK_Packet", "EOF_Packet" and "ERR_Packet").

use super::capability::STATE_CHANGED;
use super::{Reader, write};

/// What an OK packet says. The server has been asked to track the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done<'a> {
    /// 0x00, or 0xfe at the end of rows.
    mark: u8,
    rows: u64,
    /// The value that a column has been given by itself, or 0.
    pub insert_id: u64,
    /// Status flags.
    pub status: u16,
    /// How many warnings there are.
    pub warnings: u16,
    info: &'a [u8],
    /// How the session's state has changed.
    changes: &'a [u8],
}

impl<'a> Done<'a> {
    /// Reads one; None if it is none.
    #[must_use]
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        let mut rest = Reader(payload);
        let mark = rest.u8()?;
        let (rows, insert_id) = (rest.number()?, rest.number()?);
        let (status, warnings) = (rest.u16()?, rest.u16()?);
        // Where both are empty they may be left out.
        let info = match rest.0 {
            [] => &[][..],
            _ => rest.counted()?,
        };
        let changes = match status & STATE_CHANGED != 0 && !rest.0.is_empty() {
            true => rest.counted()?,
            false => &[],
        };
        Some(Self {
            mark,
            rows,
            insert_id,
            status,
            warnings,
            info,
            changes,
        })
    }

    /// The same without what the server has tracked, as a payload for a client that did not ask for it.
    #[must_use]
    pub fn without_changes(&self) -> Vec<u8> {
        let mut payload = vec![self.mark];
        write::number(&mut payload, self.rows);
        write::number(&mut payload, self.insert_id);
        payload.extend((self.status & !STATE_CHANGED).to_le_bytes());
        payload.extend(self.warnings.to_le_bytes());
        if !self.info.is_empty() {
            write::counted(&mut payload, self.info);
        }
        payload
    }

    /// How the session's state has changed. None at the end if the rest cannot be read.
    pub fn changes(&self) -> impl Iterator<Item = Option<Change<'a>>> {
        let mut rest = Reader(self.changes);
        let mut variables = Reader(&[]);
        std::iter::from_fn(move || {
            if variables.0.is_empty() {
                if rest.0.is_empty() {
                    return None;
                }
                let (kind, data) = (rest.u8(), rest.counted());
                let (Some(kind), Some(data)) = (kind, data) else {
                    rest.0 = &[];
                    return Some(None);
                };
                match kind {
                    0 => variables.0 = data,
                    1 => return Some(Reader(data).counted().map(Change::Database)),
                    2 => return Some(Some(Change::Any)),
                    _ => return Some(Some(Change::Other)),
                }
            }
            let (name, value) = (variables.counted(), variables.counted());
            let (Some(name), Some(value)) = (name, value) else {
                variables.0 = &[];
                rest.0 = &[];
                return Some(None);
            };
            Some(Some(Change::Variable(name, value)))
        })
    }
}

/// How a session's state has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// This system variable has this value now.
    Variable(&'a [u8], &'a [u8]),
    /// This is the default database now; empty if there is none.
    Database(&'a [u8]),
    /// In some way that is not told.
    Any,
    /// In one that does not matter here.
    Other,
}

/// The warnings and the status flags of an EOF packet.
#[must_use]
pub fn end_of_rows(payload: &[u8]) -> Option<(u16, u16)> {
    let mut rest = Reader(payload);
    rest.u8()?;
    Some((rest.u16()?, rest.u16()?))
}

/// What an ERR packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The number of the error.
    pub code: u16,
    /// Five letters and digits.
    pub sqlstate: &'a str,
    /// The message.
    pub text: std::borrow::Cow<'a, str>,
}

impl<'a> Failure<'a> {
    /// One of ours.
    #[must_use]
    pub fn new(code: u16, sqlstate: &'a str, text: &'a str) -> Self {
        Self {
            code,
            sqlstate,
            text: text.into(),
        }
    }

    /// Reads a payload that begins with 0xff. As a client logs in, the SQLSTATE may be left out.
    #[must_use]
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        let mut rest = Reader(payload.strip_prefix(b"\xff")?);
        let code = rest.u16()?;
        let mut sqlstate = "HY000";
        if let [b'#', state @ ..] = rest.0
            && let Some((state, text)) = state.split_at_checked(5)
            && state.iter().all(u8::is_ascii_alphanumeric)
        {
            sqlstate = std::str::from_utf8(state).unwrap_or(sqlstate);
            rest.0 = text;
        }
        Some(Self {
            code,
            sqlstate,
            text: String::from_utf8_lossy(rest.0),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As MariaDB 10.11 has sent them.
    const SET: &[u8] = b"\0\0\0\x02\x40\0\0\0\x27\x00\x0f\nautocommit\x03OFF\x00\x11\ttime_zone\x06+00:00\x02\x011";

    #[test]
    fn changes_are_read() {
        let done = Done::read(SET).unwrap();
        assert_eq!(done.status, 0x4002);
        let changes: Vec<_> = done.changes().map(Option::unwrap).collect();
        let wanted = [
            Change::Variable(b"autocommit", b"OFF"),
            Change::Variable(b"time_zone", b"+00:00"),
            Change::Any,
        ];
        assert_eq!(changes, wanted);
        let used = Done::read(b"\0\0\0\x02\x40\0\0\0\x04\x01\x02\x01d").unwrap();
        let changes: Vec<_> = used.changes().collect();
        assert_eq!(changes, [Some(Change::Database(b"d"))]);
    }

    #[test]
    fn what_was_not_asked_for_is_left_out() {
        let payload = b"\0\x01\x02\x02\x40\x03\0\x02ok\x04\x01\x02\x01d";
        let plain = Done::read(payload).unwrap().without_changes();
        assert_eq!(plain, b"\0\x01\x02\x02\0\x03\0\x02ok");
        let plain = Done::read(SET).unwrap().without_changes();
        assert_eq!(plain, b"\0\0\0\x02\0\0\0");
    }

    #[test]
    fn no_cut_is_taken_for_a_whole() {
        for cut in 0..SET.len() {
            if let Some(done) = Done::read(&SET[..cut]) {
                assert!(cut <= 8, "cut at {cut}: {done:?}");
            }
        }
        let bad = Done::read(b"\0\0\0\x02\x40\0\0\0\x03\x00\x05\x09").unwrap();
        assert_eq!(bad.changes().last(), Some(None));
    }

    #[test]
    fn errors_are_read_as_they_are_written() {
        let failure = Failure::new(1045, "28000", "no");
        let bytes = write::error(2, &failure);
        assert_eq!(bytes, b"\x0b\0\0\x02\xff\x15\x04#28000no");
        assert_eq!(Failure::read(&bytes[4..]), Some(failure));
        let early = Failure::read(b"\xff\x10\x04Too many connections").unwrap();
        assert_eq!((early.code, early.sqlstate), (1040, "HY000"));
    }
}
