//! The client/server protocol, sans I/O: packets, what they are made of, and those that matter here.
//!
//! A packet is a length of three bytes, a number of one, and so many bytes of payload; a payload of
//! 16 MiB - 1 goes on in the next packet (MySQL Source Code Documentation, "MySQL Packets"). Numbers are
//! little-endian. What passes unseen is measured by its [`Head`] alone.

pub mod capability;
pub mod greeting;
pub mod login;
pub mod ok;
pub mod write;

use leaseway_sdk::frame::Parsed;

/// What stands in front of a payload.
pub const HEAD: usize = 4;

/// The longest payload of one packet: what has this length goes on in the next one.
pub const MAX_PAYLOAD: usize = 0xff_ffff;

/// The head of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length with everything.
    pub length: u64,
    /// Its number: 0 begins a command, and each packet of either side adds one.
    pub number: u8,
    /// Whether the next packet goes on with it.
    pub goes_on: bool,
    /// The first byte of its payload, if there is one.
    pub first: Option<u8>,
}

/// The head of the packet at the front, and the first byte of its payload.
#[must_use]
pub fn head(data: &[u8]) -> Parsed<Head> {
    let Some(([a, b, c, number], rest)) = data.split_first_chunk::<HEAD>() else {
        return Parsed::Incomplete { at_least: HEAD };
    };
    let payload = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
    if payload > 0 && rest.is_empty() {
        return Parsed::Incomplete { at_least: HEAD + 1 };
    }
    Parsed::Complete {
        value: Head {
            length: (HEAD + payload) as u64,
            number: *number,
            goes_on: payload == MAX_PAYLOAD,
            first: rest.first().copied().filter(|_| payload > 0),
        },
        len: HEAD + payload,
    }
}

/// The number and the payload of the packet at the front, all of it. One with a payload longer than `max`
/// is invalid.
#[must_use]
pub fn packet(data: &[u8], max: usize) -> Parsed<(u8, &[u8])> {
    match head(data) {
        Parsed::Complete { len, .. } if len - HEAD > max.min(MAX_PAYLOAD - 1) => {
            Parsed::Invalid("the packet is longer than its limit")
        }
        Parsed::Complete { value, len } => match data.get(HEAD..len) {
            Some(payload) => Parsed::Complete {
                value: (value.number, payload),
                len,
            },
            None => Parsed::Incomplete { at_least: len },
        },
        Parsed::Incomplete { at_least } => Parsed::Incomplete { at_least },
        Parsed::Invalid(why) => Parsed::Invalid(why),
    }
}

/// Reads a payload from its front.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number that says itself how long it is.
    pub fn number(&mut self) -> Option<u64> {
        match self.u8()? {
            short @ 0..=0xfa => Some(short.into()),
            0xfc => self.u16().map(u64::from),
            0xfd => {
                let [a, b, c] = self.array()?;
                Some(u32::from_le_bytes([a, b, c, 0]).into())
            }
            0xfe => self.array().map(u64::from_le_bytes),
            // NULL, and the mark of an error: no numbers.
            _ => None,
        }
    }

    /// Bytes behind their number.
    pub fn counted(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.bytes(count)
    }

    /// Bytes in front of a zero.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.bytes(end)?;
        self.u8()?;
        Some(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_head_needs_the_first_byte_of_a_payload() {
        assert_eq!(head(b"\x01\0\0"), Parsed::Incomplete { at_least: 4 });
        assert_eq!(head(b"\x01\0\0\x07"), Parsed::Incomplete { at_least: 5 });
        let value = Head {
            length: 5,
            number: 7,
            goes_on: false,
            first: Some(0x0e),
        };
        assert_eq!(
            head(b"\x01\0\0\x07\x0e"),
            Parsed::Complete { value, len: 5 }
        );
        let empty = Head {
            length: 4,
            first: None,
            ..value
        };
        let parsed = head(b"\0\0\0\x07\x0e");
        assert_eq!(
            parsed,
            Parsed::Complete {
                value: empty,
                len: 4
            }
        );
    }

    #[test]
    fn the_longest_packet_goes_on() {
        let Parsed::Complete { value, .. } = head(b"\xff\xff\xff\0\x03") else {
            panic!("it is complete");
        };
        assert!(value.goes_on);
        assert_eq!(value.length, 4 + 0xff_ffff);
        assert!(matches!(
            packet(b"\xff\xff\xff\0\x03", usize::MAX),
            Parsed::Invalid(_)
        ));
    }

    #[test]
    fn numbers_say_how_long_they_are() {
        for number in [
            0,
            250,
            251,
            0xffff,
            0x1_0000,
            0xff_ffff,
            0x100_0000,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            write::number(&mut bytes, number);
            let mut reader = Reader(&bytes);
            assert_eq!(reader.number(), Some(number));
            assert_eq!(reader.0, b"");
            for cut in 0..bytes.len() {
                assert_eq!(Reader(&bytes[..cut]).number(), None);
            }
        }
        assert_eq!(Reader(b"\xfb").number(), None);
        assert_eq!(Reader(b"\xff\0\0").number(), None);
    }
}
