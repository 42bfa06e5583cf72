//! memcached's protocol, sans I/O: where requests and replies of the text and meta commands begin and
//! end (`protocol.txt` of memcached). Knows nothing of leases and sessions.

pub mod binary;
mod meta;
pub mod reply;
pub mod request;

/// How long a key may be (`KEY_MAX_LENGTH`).
pub const MAX_KEY: usize = 250;

/// The largest value that any server can be told to take (`-I`).
pub const MAX_VALUE: u64 = 1 << 30;

/// A whole number as memcached writes lengths: digits and nothing else, and no more of them than
/// the largest that it may be has. From 1.6.40 on a server takes no number that is longer, whatever
/// it begins with.
pub(crate) fn number(digits: &[u8], most: u64) -> Option<u64> {
    let longest = most.checked_ilog10()? as usize + 1;
    if !(1..=longest).contains(&digits.len()) {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    });
    value.filter(|value| *value <= most)
}

/// A time: 32 bits, with a minus or without.
pub(crate) fn is_time(text: &[u8]) -> bool {
    let (digits, most) = match text.strip_prefix(b"-") {
        Some(digits) => (digits, 1 << 31),
        None => (text, (1 << 31) - 1),
    };
    number(digits, most).is_some()
}

/// The words of a line: only blanks part them.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    line.split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
}
