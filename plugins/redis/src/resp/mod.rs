//! The Redis protocol, sans I/O: where requests and replies begin and end, and what is needed of
//! them to know what they do. Never buffers; knows nothing of leases and sessions.

mod inline;
pub mod reply;
pub mod request;
pub(crate) mod write;

/// A whole number as Redis reads them (`string2ll`): decimal digits, a minus or none, no plus, no
/// leading zero, no minus zero.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', b'0', ..] => None,
        [b'-', digits @ ..] => 0i64.checked_sub_unsigned(number(digits)?),
        digits => i64::try_from(number(digits)?).ok(),
    }
}

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

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn integers_are_what_redis_takes_for_them() {
        for (text, value) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("-0", None),
            ("-", None),
            ("", None),
            ("+3", None),
            ("03", None),
            (" 3", None),
            ("3x", None),
        ] {
            assert_eq!(integer(text.as_bytes()), value, "{text}");
        }
    }
}
