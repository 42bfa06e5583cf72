//! What a client says first, which has no type byte.

use std::collections::BTreeMap;

use leaseway_sdk::frame::Parsed;

use super::text;

/// The longest start-up packet that a server takes (`MAX_STARTUP_PACKET_LENGTH`).
const MAX_PACKET: usize = 10_000;

/// The most parameters: clients set some ten.
const MAX_PARAMETERS: usize = 64;

/// Codes in the place of a protocol version.
const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSSENC: u32 = 80_877_104;

/// The longest key of a `CancelRequest`, by protocol 3.2.
const MAX_KEY: usize = 256;

/// A client's first words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// `SSLRequest`, or `GSSENCRequest`: may what follows be encrypted?
    Encrypt,
    /// `CancelRequest`.
    Cancel {
        /// The backend's process id, as its `BackendKeyData` said.
        pid: u32,
        /// Its secret key.
        key: Vec<u8>,
    },
    /// `StartupMessage`.
    Start(Start),
}

/// A `StartupMessage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The protocol's version.
    pub major: u16,
    /// The minor one.
    pub minor: u16,
    /// The parameters; the names of those that begin with `_pq_.` are options of the protocol.
    pub parameters: BTreeMap<String, String>,
}

/// Reads the packet that begins here.
#[must_use]
pub fn packet(data: &[u8]) -> Parsed<Packet> {
    let Some((length, _)) = data.split_first_chunk::<4>() else {
        return Parsed::Incomplete { at_least: 4 };
    };
    let length = u32::from_be_bytes(*length) as usize;
    if !(8..=MAX_PACKET).contains(&length) {
        return Parsed::Invalid("invalid length of startup packet");
    }
    let Some(packet) = data.get(4..length) else {
        return Parsed::Incomplete { at_least: length };
    };
    let Some((code, body)) = packet.split_first_chunk::<4>() else {
        return Parsed::Invalid("invalid length of startup packet");
    };
    let value = match (u32::from_be_bytes(*code), body) {
        (SSL | GSSENC, []) => Packet::Encrypt,
        (SSL | GSSENC, _) => return Parsed::Invalid("invalid length of startup packet"),
        (CANCEL, body) => match body.split_first_chunk::<4>() {
            Some((pid, key)) if !key.is_empty() && key.len() <= MAX_KEY => Packet::Cancel {
                pid: u32::from_be_bytes(*pid),
                key: key.to_vec(),
            },
            _ => return Parsed::Invalid("invalid length of cancel request"),
        },
        // What an older one looks like does not matter.
        (version, _) if version >> 16 != 3 => Packet::Start(Start {
            major: (version >> 16) as u16,
            minor: version as u16,
            parameters: BTreeMap::new(),
        }),
        (version, body) => match parameters(body) {
            Ok(parameters) => Packet::Start(Start {
                major: (version >> 16) as u16,
                minor: version as u16,
                parameters,
            }),
            Err(why) => return Parsed::Invalid(why),
        },
    };
    Parsed::Complete { value, len: length }
}

/// Names and values, each ended by a zero byte, and another behind the last.
fn parameters(body: &[u8]) -> Result<BTreeMap<String, String>, &'static str> {
    const LAYOUT: &str = "invalid startup packet layout: expected terminator as last byte";
    let mut parameters = BTreeMap::new();
    let mut rest = body;
    loop {
        let (name, tail) = text(rest).ok_or(LAYOUT)?;
        if name.is_empty() {
            return if tail.is_empty() {
                Ok(parameters)
            } else {
                Err(LAYOUT)
            };
        }
        let (value, tail) = text(tail).ok_or(LAYOUT)?;
        let utf8 = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes);
            text.map(str::to_owned)
                .map_err(|_| "a startup parameter is not UTF-8")
        };
        if parameters.len() >= MAX_PARAMETERS {
            return Err("too many startup parameters");
        }
        parameters.insert(utf8(name)?, utf8(value)?);
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::super::write;
    use super::*;

    #[test]
    fn a_start_is_read_as_it_was_written_and_in_no_other_length() {
        let parameters: BTreeMap<String, String> = [("user", "app"), ("database", "shop")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let bytes = write::start(&parameters);
        let start = Packet::Start(Start {
            major: 3,
            minor: 0,
            parameters,
        });
        let whole = Parsed::Complete {
            value: start,
            len: bytes.len(),
        };
        assert_eq!(packet(&bytes), whole);
        for cut in 0..bytes.len() {
            let part = packet(&bytes[..cut]);
            assert!(matches!(part, Parsed::Incomplete { at_least } if at_least > cut));
        }
        let mut longer = bytes;
        longer.insert(8, b'x');
        assert!(matches!(packet(&longer), Parsed::Invalid(_)));
    }

    #[test]
    fn requests_have_their_codes_and_lengths() {
        let request = |code: u32, body: &[u8]| {
            let mut bytes = (8 + body.len() as u32).to_be_bytes().to_vec();
            bytes.extend(code.to_be_bytes());
            bytes.extend(body);
            bytes
        };
        for code in [SSL, GSSENC] {
            let encrypt = Parsed::Complete {
                value: Packet::Encrypt,
                len: 8,
            };
            assert_eq!(packet(&request(code, b"")), encrypt);
            assert!(matches!(packet(&request(code, b"x")), Parsed::Invalid(_)));
        }
        let cancel = Parsed::Complete {
            value: Packet::Cancel {
                pid: 7,
                key: b"key!".to_vec(),
            },
            len: 16,
        };
        assert_eq!(packet(&request(CANCEL, b"\0\0\0\x07key!")), cancel);
        for body in [&b""[..], b"\0\0\0\x07", &[0; 261]] {
            assert!(matches!(packet(&request(CANCEL, body)), Parsed::Invalid(_)));
        }
    }
}
