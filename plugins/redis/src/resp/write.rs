//! Writing what the plugin says itself: requests to servers, and lines to clients.

/// How long an error's text may be, so that a long reason fills no client's screen.
const MAX_ERROR: usize = 512;

/// `+OK`.
pub(crate) const OK: &[u8] = b"+OK\r\n";

/// A request of these arguments.
pub(crate) fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
        bytes.extend(*argument);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// An error in a server's own words. Whatever would break the line becomes a space.
pub(crate) fn error(text: &str) -> Vec<u8> {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line = String::from("-");
    for c in clean {
        if line.len() + c.len_utf8() > MAX_ERROR {
            break;
        }
        line.push(c);
    }
    line.push_str("\r\n");
    line.into_bytes()
}

/// An error of the relay's own.
pub(crate) fn own_error(why: impl std::fmt::Display) -> Vec<u8> {
    error(&format!("ERR leaseway: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_arrays_of_bulks() {
        assert_eq!(
            request(&[b"SELECT", b"3"]),
            b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
        );
    }

    #[test]
    fn errors_are_one_line_whatever_they_say() {
        assert_eq!(own_error("a\r\n+OK"), b"-ERR leaseway: a  +OK\r\n");
        let long = error(&"é".repeat(1000));
        assert!(long.len() <= MAX_ERROR + 2);
        assert!(std::str::from_utf8(&long).is_ok_and(|text| text.ends_with("é\r\n")));
    }
}
