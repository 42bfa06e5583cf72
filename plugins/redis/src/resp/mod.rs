//! The Redis protocol, sans I/O: where requests and replies begin and end, and what is needed of
//! them to know what they do. Never buffers; knows nothing of leases and sessions.

mod inline;
pub mod reply;
pub mod request;
pub(crate) mod write;

/// A number as Redis writes lengths: decimal digits and nothing else, no sign, no leading zero.
/// What Redis would refuse must not be taken for a length here.
fn number(digits: &[u8]) -> Option<u64> {
    match digits {
        [] => None,
        [b'0', _, ..] => None,
        digits => digits.iter().try_fold(0u64, |sum, byte| {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
            sum.checked_mul(10)?.checked_add(u64::from(digit))
        }),
    }
}
