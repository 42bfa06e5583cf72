//! Messages of the frontend/backend protocol, version 3, sans-I/O: how long they are, and what the
//! few say that matter here.
//!
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol", sections "Message Flow"
//! and "Message Formats".

pub mod startup;
pub mod write;

use leaseway_sdk::frame::{LengthPrefix, Parsed};

/// The longest message that a server takes or sends: what it can allocate at once, 1 GiB.
const MAX_MESSAGE: usize = 0x3fff_ffff;

/// A type byte, then 32 bits that count themselves and the body.
const MESSAGE: LengthPrefix = LengthPrefix::u32_be().after(1).counts_itself();

/// Bytes in front of a message's body.
pub const HEAD: usize = MESSAGE.header();

/// What stands in front of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its type.
    pub kind: u8,
    /// Its length in bytes, with the type and the length itself.
    pub length: u64,
}

/// Reads the head of the message that begins here.
#[inline]
#[must_use]
pub fn head(data: &[u8]) -> Parsed<Head> {
    // The length that is written counts itself, and the type does not count.
    match (MESSAGE.measure(data, MAX_MESSAGE - (HEAD - 1)), data) {
        (Parsed::Complete { len, .. }, [kind, ..]) => Parsed::Complete {
            value: Head {
                kind: *kind,
                length: len as u64,
            },
            len: HEAD,
        },
        (Parsed::Complete { .. } | Parsed::Incomplete { .. }, _) => {
            Parsed::Incomplete { at_least: HEAD }
        }
        (Parsed::Invalid(_), _) => Parsed::Invalid("the length of a message is out of range"),
    }
}

/// Reads a whole message of at most `max` bytes: its type and its body.
#[must_use]
pub fn message(data: &[u8], max: usize) -> Parsed<(u8, &[u8])> {
    match head(data) {
        Parsed::Complete { value: head, .. } if head.length <= max as u64 => {
            MESSAGE.body(data, max).map(|body| (head.kind, body))
        }
        Parsed::Complete { .. } => Parsed::Invalid("a message is longer than its limit"),
        Parsed::Incomplete { at_least } => Parsed::Incomplete { at_least },
        Parsed::Invalid(why) => Parsed::Invalid(why),
    }
}

/// The text up to the next zero byte, and what stands behind that.
#[must_use]
pub fn text(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|byte| *byte == 0)?;
    Some((&data[..end], &data[end + 1..]))
}

/// The values of a `DataRow`'s body. None if it is not one.
#[must_use]
pub fn row(body: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let (count, mut rest) = body.split_first_chunk()?;
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, tail) = rest.split_first_chunk()?;
        let length = i32::from_be_bytes(*length);
        let (value, tail) = match usize::try_from(length) {
            Ok(length) => {
                let (value, tail) = tail.split_at_checked(length)?;
                (Some(value), tail)
            }
            // NULL is minus one.
            Err(_) => (None, tail),
        };
        values.push(value);
        rest = tail;
    }
    rest.is_empty().then_some(values)
}

/// Whether the server closes the connection behind an `ErrorResponse` with this body, or with a beginning of
/// it.
#[must_use]
pub fn ends_the_session(body: &[u8]) -> bool {
    let mut rest = body;
    // The two that say how bad it is stand in front.
    for _ in 0..2 {
        let Some((field, tail)) = rest.split_first() else {
            return false;
        };
        let Some((value, tail)) = text(tail) else {
            return false;
        };
        if matches!(field, b'S' | b'V') && matches!(value, b"FATAL" | b"PANIC") {
            return true;
        }
        rest = tail;
    }
    false
}

/// Whether an `ErrorResponse` with this body names this function of the server as where it comes from.
#[must_use]
pub fn comes_from(body: &[u8], routine: &[u8]) -> bool {
    let mut fields = body.split(|byte| *byte == 0);
    fields.any(|field| field.strip_prefix(b"R") == Some(routine))
}

/// SQLSTATE and message of an `ErrorResponse`'s body.
#[must_use]
pub fn error(body: &[u8]) -> (String, String) {
    let mut code = String::new();
    let mut message = String::new();
    let mut rest = body;
    while let Some((&field, tail)) = rest.split_first()
        && field != 0
        && let Some((value, tail)) = text(tail)
    {
        match field {
            b'C' => code = String::from_utf8_lossy(value).into_owned(),
            b'M' => message = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
        rest = tail;
    }
    (code, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_error_is_read_as_it_was_written() {
        let bytes = write::error("FATAL", "28P01", "no such user");
        let Parsed::Complete {
            value: (b'E', body),
            len,
        } = message(&bytes, 1000)
        else {
            panic!("{bytes:?}");
        };
        assert_eq!(len, bytes.len());
        assert_eq!(error(body), ("28P01".to_owned(), "no such user".to_owned()));
    }

    #[test]
    fn an_error_that_ends_the_session_is_told_from_others() {
        for (severity, ends) in [("ERROR", false), ("FATAL", true), ("PANIC", true)] {
            let bytes = write::error(severity, "57P01", "terminating connection");
            assert_eq!(ends_the_session(&bytes[HEAD..]), ends, "{severity}");
        }
        let localized = b"SSCHWERWIEGEND\0VFATAL\0C57P01\0\0";
        assert!(ends_the_session(localized));
        assert!(!ends_the_session(b"SERROR\0VERROR\0MFATAL\0\0"));
    }

    #[test]
    fn a_row_is_read_by_its_columns() {
        let body = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(row(body), Some(vec![Some(&b"ab"[..]), None, Some(b"")]));
        for cut in 0..body.len() {
            assert_eq!(row(&body[..cut]), None);
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for length in [0_u32, 3, MAX_MESSAGE as u32 + 1, u32::MAX] {
            let mut bytes = vec![b'Q'];
            bytes.extend(length.to_be_bytes());
            assert!(matches!(head(&bytes), Parsed::Invalid(_)), "{length}");
        }
    }

    proptest! {
        #[test]
        fn a_part_of_a_message_asks_for_no_more_than_the_rest(
            body in prop::collection::vec(any::<u8>(), 0..200),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = write::message(b'x', &body);
            let cut = cut.index(bytes.len());
            match message(&bytes[..cut], 1000) {
                Parsed::Incomplete { at_least } => {
                    prop_assert!(at_least > cut && at_least <= bytes.len());
                }
                other => prop_assert!(false, "{other:?}"),
            }
            let whole = Parsed::Complete { value: (b'x', &body[..]), len: bytes.len() };
            prop_assert_eq!(message(&bytes, 1000), whole);
        }

        #[test]
        fn nothing_panics(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = head(&data);
            let _ = message(&data, 50);
            let _ = error(&data);
            let _ = ends_the_session(&data);
            let _ = row(&data);
            let _ = startup::packet(&data);
        }
    }
}
