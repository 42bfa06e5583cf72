//! The flags of meta commands: whether a server takes them without a word of error, and what they
//! mean for the reply.

use super::{is_time, number};

/// How many flags a command may have: servers refuse more than 20 words, without a look at the data
/// block that stands behind them.
pub(super) const MAX_FLAGS: usize = 16;

/// The longest opaque token. With its flag it has 32 bytes, which is what servers take.
const MAX_OPAQUE: usize = 31;

/// What the flags of a command say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// A reply that says nothing new is left out.
    pub(super) quiet: bool,
    /// The command may change what it reads.
    pub(super) changes: bool,
    /// The reply names the key.
    pub(super) returns_key: bool,
    /// The key stands in base64 for bytes with the end of a line among them. An item that is made by
    /// `mg` or `ma`, or counted up, is not known for one with such a key by servers of 1.6.
    pub(super) has_line_end: bool,
}

/// Reads the flags of a command on this key; none if a server would refuse them.
pub(super) fn flags<'a>(key: &[u8], words: impl Iterator<Item = &'a [u8]>) -> Option<Flags> {
    let mut flags = Flags::default();
    let mut seen = [false; 128];
    for (count, word) in words.enumerate() {
        let (flag, token) = word.split_first()?;
        if count == MAX_FLAGS || std::mem::replace(seen.get_mut(usize::from(*flag))?, true) {
            return None;
        }
        let fits = match flag {
            b'q' => {
                flags.quiet = true;
                token.is_empty()
            }
            b'c' | b'f' | b'h' | b'l' | b's' | b't' | b'u' | b'v' => token.is_empty(),
            b'k' => {
                flags.returns_key = true;
                token.is_empty()
            }
            b'b' => {
                flags.has_line_end = has_line_end(key);
                token.is_empty() && is_base64(key)
            }
            b'I' | b'x' => {
                flags.changes = true;
                token.is_empty()
            }
            b'O' => (1..=MAX_OPAQUE).contains(&token.len()),
            b'P' | b'L' => true,
            b'N' | b'R' | b'T' => {
                flags.changes = true;
                is_time(token)
            }
            b'C' | b'D' | b'E' | b'J' => {
                flags.changes = true;
                number(token, u64::MAX).is_some()
            }
            b'F' => number(token, u64::from(u32::MAX)).is_some(),
            b'M' => token.len() == 1,
            _ => false,
        };
        if !fits {
            return None;
        }
    }
    Some(flags)
}

fn is_base64(key: &[u8]) -> bool {
    let text = key.strip_suffix(b"=").unwrap_or(key);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len().is_multiple_of(4) && !text.is_empty() && text.iter().all(fits)
}

/// Whether the end of a line is among the bytes that this base64 stands for.
fn has_line_end(key: &[u8]) -> bool {
    let mut bits = 0u32;
    let mut count = 0;
    key.iter().filter_map(|byte| sextet(*byte)).any(|sextet| {
        bits = bits << 6 | sextet;
        count += 6;
        if count < 8 {
            return false;
        }
        count -= 8;
        (bits >> count) as u8 == b'\n'
    })
}

/// The six bits of a character of base64; none of the padding.
fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_lines_are_found_in_base64() {
        for (key, found) in [
            (&b"Cg=="[..], true),
            (b"YQo=", true),
            (b"YWIK", true),
            (b"YWJjCg==", true),
            (b"eA0KVkVSU0lPTiAxDQo=", true),
            (b"YWJj", false),
            (b"DQ0N", false),
            (b"", false),
        ] {
            assert_eq!(has_line_end(key), found, "{}", key.escape_ascii());
        }
    }
}
