//! The flags of meta commands: whether a server takes them without a word of error, and what they
//! mean for the reply.

use super::{is_time, number};

/// How many flags a command may have: servers refuse more than 20 words, without a look at the data
/// block that stands behind them.
pub(super) const MAX_FLAGS: usize = 16;

/// The longest opaque token.
const MAX_OPAQUE: usize = 32;

/// What the flags of a command say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// A reply that says nothing new is left out.
    pub(super) quiet: bool,
    /// The command may change what it reads.
    pub(super) changes: bool,
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
            b'c' | b'f' | b'h' | b'k' | b'l' | b's' | b't' | b'u' | b'v' => token.is_empty(),
            b'b' => token.is_empty() && is_base64(key),
            b'I' => {
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
