//! What says how long a body is: `Content-Length` and `Transfer-Encoding` (RFC 9112, 6).

use super::trim;

/// The length of a body, as the head says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes; none for a request that says nothing.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All that comes until the connection is closed. Of responses only.
    UntilClose,
}

/// What all `Content-Length` lines of a head say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    /// There is none.
    #[default]
    None,
    /// This, once.
    Once(u64),
    /// This, more than once: in one line or in several.
    Repeated(u64),
    /// More than there can be.
    Huge,
    /// No number, or several that differ.
    Invalid,
}

impl Length {
    /// With one more line.
    #[must_use]
    pub fn and(self, line: &[u8]) -> Self {
        line.split(|byte| *byte == b',').fold(self, |so_far, item| {
            match (so_far, number(trim(item))) {
                (Self::None, Length::Once(this)) => Self::Once(this),
                (Self::None, other) => other,
                (Self::Once(before) | Self::Repeated(before), Self::Once(this))
                    if before == this =>
                {
                    Self::Repeated(this)
                }
                _ => Self::Invalid,
            }
        })
    }
}

/// Digits and nothing else (RFC 9110, 8.6).
fn number(text: &[u8]) -> Length {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Length::Invalid;
    }
    let sum = text.iter().try_fold(0_u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    sum.map_or(Length::Huge, Length::Once)
}

/// What all `Transfer-Encoding` lines of a head say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// There is none.
    #[default]
    None,
    /// `chunked`, once and alone.
    Chunked,
    /// Another coding, with `chunked` behind it or not.
    Unknown,
    /// Nothing that says where the body ends.
    Invalid,
}

impl Coding {
    /// With one more line.
    #[must_use]
    pub fn and(self, line: &[u8]) -> Self {
        line.split(|byte| *byte == b',').fold(self, |so_far, item| {
            let item = trim(item);
            match so_far {
                _ if item.is_empty() => Self::Invalid,
                // Nothing may stand behind `chunked`, nor may it be applied twice (RFC 9112, 6.1).
                Self::Chunked | Self::Invalid => Self::Invalid,
                Self::None if item.eq_ignore_ascii_case(b"chunked") => Self::Chunked,
                Self::None | Self::Unknown => Self::Unknown,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_digits_that_agree() {
        let said = |lines: &[&str]| {
            let add = |length: Length, line: &&str| length.and(line.as_bytes());
            lines.iter().fold(Length::None, add)
        };
        assert_eq!(said(&[]), Length::None);
        assert_eq!(said(&["0"]), Length::Once(0));
        assert_eq!(said(&["00012"]), Length::Once(12));
        assert_eq!(said(&["5", "5"]), Length::Repeated(5));
        assert_eq!(said(&["5, 5"]), Length::Repeated(5));
        assert_eq!(said(&["18446744073709551615"]), Length::Once(u64::MAX));
        assert_eq!(said(&["18446744073709551616"]), Length::Huge);
        for wrong in [
            "", " ", "+5", "-5", "5 5", "0x5", "5,", ",5", "5,6", "1e3", "5;",
        ] {
            assert_eq!(said(&[wrong]), Length::Invalid, "{wrong}");
        }
        assert_eq!(said(&["5", "6"]), Length::Invalid);
        assert_eq!(said(&["18446744073709551616", "5"]), Length::Invalid);
    }

    #[test]
    fn chunked_stands_alone() {
        let said = |lines: &[&str]| {
            let add = |coding: Coding, line: &&str| coding.and(line.as_bytes());
            lines.iter().fold(Coding::None, add)
        };
        assert_eq!(said(&[]), Coding::None);
        assert_eq!(said(&[" ChUnKeD\t"]), Coding::Chunked);
        assert_eq!(said(&["gzip, chunked"]), Coding::Unknown);
        assert_eq!(said(&["xchunked"]), Coding::Unknown);
        assert_eq!(said(&["chunked;a=b"]), Coding::Unknown);
        for wrong in [
            "",
            ",",
            "chunked, chunked",
            "chunked, gzip",
            "chunked,",
            ",chunked",
        ] {
            assert_eq!(said(&[wrong]), Coding::Invalid, "{wrong}");
        }
        assert_eq!(said(&["chunked", "identity"]), Coding::Invalid);
        assert_eq!(said(&["identity", "chunked"]), Coding::Unknown);
    }
}
