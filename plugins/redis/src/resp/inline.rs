//! Splitting an inline request into words, by the same rules as Redis: double quotes with
//! escapes, single quotes without, and both end at a space or the end of the line. Vertical tabs and
//! form feeds are spaces between words, and within a word they are not.
//!
//! Only what people type by hand, and health checks, come this way.

/// The words of a line, without their quotes; `None` if the quotes do not match up.
pub(super) fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        while let [space, tail @ ..] = rest
            && is_space(*space)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let (word, tail) = word(rest)?;
        words.push(word);
        rest = tail;
    }
}

/// The word at the front, and what stands behind it. Quotes may begin in the middle of a word.
fn word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Some((word, rest)),
            [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some((word, rest)),
            [b'"', tail @ ..] => return ended(double(tail, &mut word)?).map(|tail| (word, tail)),
            [b'\'', tail @ ..] => return ended(single(tail, &mut word)?).map(|tail| (word, tail)),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// A closing quote ends the word.
fn ended(tail: &[u8]) -> Option<&[u8]> {
    match tail {
        [] => Some(tail),
        [byte, ..] if is_space(*byte) => Some(tail),
        _ => None,
    }
}

/// The rest of a word in double quotes; what stands behind the closing one.
fn double<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// The rest of a word in single quotes; what stands behind the closing one.
fn single<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [b'\'', tail @ ..] => return Some(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// What C's `isspace` says.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// What a hexadecimal digit means.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::words;

    #[test]
    fn words_are_split_as_redis_splits_them() {
        for (line, expected) in [
            (&b""[..], &[][..]),
            (b" \t ", &[]),
            (b"PING", &[&b"PING"[..]]),
            (b"  set  k v\r", &[b"set", b"k", b"v"]),
            (b"get\x0bk \x0c k", &[b"get\x0bk", b"k"]),
            (b"'get'\x0bk", &[b"get", b"k"]),
            (b"set k \"a b\"", &[b"set", b"k", b"a b"]),
            (b"set k ''", &[b"set", b"k", b""]),
            (b"\"GET\" k", &[b"GET", b"k"]),
            (b"ab\"c d\" e", &[b"abc d", b"e"]),
            (br#""\x41\n\r\t\b\a\\\"\q""#, &[b"A\n\r\t\x08\x07\\\"q"]),
            (br#""\xg1""#, &[b"xg1"]),
            (br"'it\'s \n'", &[br"it's \n"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quotes_must_match_and_end_a_word() {
        for line in [&b"\"a"[..], b"'a", b"\"a\"b", b"'a'b", b"\"a\\", b"'a\\'"] {
            assert_eq!(words(line), None, "{}", line.escape_ascii());
        }
    }
}
