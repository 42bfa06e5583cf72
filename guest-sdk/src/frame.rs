//! Reading framed input, sans I/O: what may have arrived in any number of pieces is measured,
//! borrowed and never copied.
//!
//! A parser here is a function from the bytes that there are to [`Parsed`]. Hooks call it on
//! what they are shown, conversations through
//! [`Connection::read_frame`](crate::Connection::read_frame). Nothing here allocates, and length
//! arithmetic is checked.

/// What a parser makes of the bytes that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A frame starts here and it is all there, or as much of it as the parser needs.
    Complete {
        /// What the frame says.
        value: T,
        /// How many bytes the frame has, with everything around it: what to forward or discard.
        len: usize,
    },
    /// Cannot tell yet.
    Incomplete {
        /// How many bytes there must be, counted from the same start, before it makes sense to
        /// look again. Always more than there were.
        at_least: usize,
    },
    /// This can never become a frame, and why.
    Invalid(&'static str),
}

impl<T> Parsed<T> {
    /// The same frame, with another value.
    #[inline]
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Parsed<U> {
        match self {
            Self::Complete { value, len } => Parsed::Complete {
                value: f(value),
                len,
            },
            Self::Incomplete { at_least } => Parsed::Incomplete { at_least },
            Self::Invalid(why) => Parsed::Invalid(why),
        }
    }
}

/// A line that ends with LF or CR LF; the value is the line without its end. `max` bounds the
/// whole line, its end included.
#[inline]
pub fn line(data: &[u8], max: usize) -> Parsed<&[u8]> {
    let window = &data[..data.len().min(max)];
    match window.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let value = &data[..end];
            Parsed::Complete {
                value: value.strip_suffix(b"\r").unwrap_or(value),
                len: end + 1,
            }
        }
        None if data.len() >= max => Parsed::Invalid("the line is longer than its limit"),
        None => Parsed::Incomplete {
            at_least: data.len() + 1,
        },
    }
}

/// How the length of a frame is written in front of it.
///
/// ```
/// use leaseway_sdk::frame::{LengthPrefix, Parsed};
///
/// // PostgreSQL: a type byte, then 32 bits that count themselves and the body.
/// const MESSAGE: LengthPrefix = LengthPrefix::u32_be().after(1).counts_itself();
///
/// assert_eq!(MESSAGE.measure(b"Z\0\0\0\x05", 1024), Parsed::Complete { value: 1, len: 6 });
/// assert_eq!(MESSAGE.body(b"Z\0\0\0\x05I", 1024), Parsed::Complete { value: &b"I"[..], len: 6 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthPrefix {
    /// Bytes in front of the length.
    after: usize,
    /// Bytes that the length itself has.
    width: usize,
    big_endian: bool,
    counts_itself: bool,
}

impl LengthPrefix {
    const fn new(width: usize, big_endian: bool) -> Self {
        Self {
            after: 0,
            width,
            big_endian,
            counts_itself: false,
        }
    }

    /// One byte.
    #[must_use]
    pub const fn u8() -> Self {
        Self::new(1, true)
    }

    /// 16 bits, most significant byte first.
    #[must_use]
    pub const fn u16_be() -> Self {
        Self::new(2, true)
    }

    /// 16 bits, least significant byte first.
    #[must_use]
    pub const fn u16_le() -> Self {
        Self::new(2, false)
    }

    /// 24 bits, least significant byte first.
    #[must_use]
    pub const fn u24_le() -> Self {
        Self::new(3, false)
    }

    /// 32 bits, most significant byte first.
    #[must_use]
    pub const fn u32_be() -> Self {
        Self::new(4, true)
    }

    /// 32 bits, least significant byte first.
    #[must_use]
    pub const fn u32_le() -> Self {
        Self::new(4, false)
    }

    /// So many bytes (a message type, say) stand in front of the length. They count neither in
    /// the length nor in the body, but in `len`.
    #[must_use]
    pub const fn after(mut self, bytes: usize) -> Self {
        self.after = bytes;
        self
    }

    /// The number written is the body's length and that of the number itself.
    #[must_use]
    pub const fn counts_itself(mut self) -> Self {
        self.counts_itself = true;
        self
    }

    /// How many bytes stand in front of the body.
    #[must_use]
    pub const fn header(self) -> usize {
        self.after.saturating_add(self.width)
    }

    /// Measures a frame as soon as its header is there: the value is the body's length, and
    /// `len`, the whole frame's, may exceed what there is. That is enough to forward it. `max`
    /// bounds the body.
    #[inline]
    pub fn measure(self, data: &[u8], max: usize) -> Parsed<usize> {
        let header = self.header();
        let Some(number) = data.get(self.after..header) else {
            return Parsed::Incomplete { at_least: header };
        };
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let written = if self.big_endian {
            number.iter().fold(0, join)
        } else {
            number.iter().rev().fold(0, join)
        };
        let own = if self.counts_itself { self.width } else { 0 };
        let Some(body) = written.checked_sub(own as u64) else {
            return Parsed::Invalid("the length is too small to count itself");
        };
        match usize::try_from(body) {
            Ok(body) if body <= max => match header.checked_add(body) {
                Some(len) => Parsed::Complete { value: body, len },
                None => Parsed::Invalid("the length does not fit in memory"),
            },
            _ => Parsed::Invalid("the length is over its limit"),
        }
    }

    /// A frame with all of its body, which is the value. `max` bounds the body.
    #[inline]
    pub fn body(self, data: &[u8], max: usize) -> Parsed<&[u8]> {
        match self.measure(data, max) {
            Parsed::Complete { len, .. } => match data.get(self.header()..len) {
                Some(value) => Parsed::Complete { value, len },
                None => Parsed::Incomplete { at_least: len },
            },
            Parsed::Incomplete { at_least } => Parsed::Incomplete { at_least },
            Parsed::Invalid(why) => Parsed::Invalid(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_ends_with_lf_or_cr_lf() {
        let complete = |value, len| Parsed::Complete { value, len };
        assert_eq!(line(b"ab\nc", 10), complete(&b"ab"[..], 3));
        assert_eq!(line(b"ab\r\nc", 10), complete(&b"ab"[..], 4));
        assert_eq!(line(b"a\rb\n", 10), complete(&b"a\rb"[..], 4));
        assert_eq!(line(b"\n", 10), complete(&b""[..], 1));
    }

    #[test]
    fn a_line_may_be_as_long_as_its_limit_and_no_longer() {
        assert!(matches!(line(b"abc\n", 4), Parsed::Complete { len: 4, .. }));
        assert_eq!(line(b"abc", 4), Parsed::Incomplete { at_least: 4 });
        assert!(matches!(line(b"abcd", 4), Parsed::Invalid(_)));
        assert!(matches!(line(b"abcd\n", 4), Parsed::Invalid(_)));
        assert!(matches!(line(b"", 0), Parsed::Invalid(_)));
    }

    #[test]
    fn prefixes_of_all_widths_are_read() {
        let measured = |prefix: LengthPrefix, data: &[u8]| match prefix.measure(data, 1 << 30) {
            Parsed::Complete { value, len } => (value, len),
            other => panic!("{other:?}"),
        };
        assert_eq!(measured(LengthPrefix::u8(), &[7]), (7, 8));
        assert_eq!(measured(LengthPrefix::u16_be(), &[1, 2]), (258, 260));
        assert_eq!(measured(LengthPrefix::u16_le(), &[1, 2]), (513, 515));
        let mysql = LengthPrefix::u24_le();
        assert_eq!(measured(mysql, &[1, 0, 1]), (65537, 65540));
        assert_eq!(measured(LengthPrefix::u32_be(), &[0, 0, 1, 0]), (256, 260));
        assert_eq!(measured(LengthPrefix::u32_le(), &[0, 1, 0, 0]), (256, 260));
    }

    #[test]
    fn lengths_out_of_bounds_are_invalid() {
        let counted = LengthPrefix::u32_be().counts_itself();
        assert!(matches!(
            counted.measure(&[0, 0, 0, 3], 9),
            Parsed::Invalid(_)
        ));
        let plain = LengthPrefix::u32_be();
        assert!(matches!(
            plain.measure(&[0, 0, 0, 10], 9),
            Parsed::Invalid(_)
        ));
        assert!(matches!(plain.measure(&[255; 4], 9), Parsed::Invalid(_)));
        let far = LengthPrefix::u8().after(usize::MAX);
        assert_eq!(
            far.measure(&[1], 9),
            Parsed::Incomplete {
                at_least: usize::MAX
            }
        );
    }

    proptest! {
        /// No input makes a parser panic, read past its frame, or ask for what it has.
        #[test]
        fn parsers_keep_their_word(
            data in prop::collection::vec(any::<u8>(), 0..64),
            max in 0usize..64,
            after in 0usize..4,
            counts in any::<bool>(),
        ) {
            let mut prefix = LengthPrefix::u16_be().after(after);
            if counts {
                prefix = prefix.counts_itself();
            }
            for parsed in [line(&data, max), prefix.body(&data, max)] {
                match parsed {
                    Parsed::Complete { value, len } => {
                        prop_assert!(len <= data.len() && value.len() <= max);
                        // The same frame, whatever comes behind it.
                        let again = match parsed == line(&data, max) {
                            true => line(&data[..len], max),
                            false => prefix.body(&data[..len], max),
                        };
                        prop_assert_eq!(again, parsed);
                    }
                    Parsed::Incomplete { at_least } => prop_assert!(at_least > data.len()),
                    Parsed::Invalid(_) => {}
                }
            }
        }
    }
}
