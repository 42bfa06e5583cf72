//! `host[:port]`, of the `Host` field and of targets (RFC 3986, 3.2).

/// The host of an authority, without the port.
///
/// None if it is no authority, or one with user information, which nobody sends who means well
/// (RFC 9110, 4.2.4).
#[must_use]
pub fn host(authority: &[u8]) -> Option<&[u8]> {
    let (host, port) = split(authority)?;
    let port_is_right = port.is_none_or(|port| port.iter().all(u8::is_ascii_digit));
    (port_is_right && !host.is_empty()).then_some(host)
}

/// Whether it is what `CONNECT` wants: a host and a port, both there (RFC 9110, 9.3.6).
#[must_use]
pub fn has_port(authority: &[u8]) -> bool {
    let number = |port: &[u8]| std::str::from_utf8(port).ok()?.parse::<u16>().ok();
    let port = split(authority).and_then(|(_, port)| number(port?));
    host(authority).is_some() && port.is_some_and(|port| port > 0)
}

fn split(authority: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if let Some(literal) = authority.strip_prefix(b"[") {
        let end = literal.iter().position(|byte| *byte == b']')?;
        let address = &literal[..end];
        let is_right = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.');
        if address.is_empty() || !address.iter().all(is_right) {
            return None;
        }
        let host = &authority[..end + 2];
        return match &literal[end + 1..] {
            [] => Some((host, None)),
            [b':', port @ ..] => Some((host, Some(port))),
            _ => None,
        };
    }
    let mut parts = authority.splitn(2, |byte| *byte == b':');
    let host = parts.next()?;
    let is_right = |byte: &u8| {
        // Unreserved characters, parts of percent-encoding, and sub-delims.
        byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte)
    };
    host.iter().all(is_right).then_some((host, parts.next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_ports() {
        assert_eq!(host(b"a.example"), Some(&b"a.example"[..]));
        assert_eq!(host(b"a.example:80"), Some(&b"a.example"[..]));
        assert_eq!(host(b"a.example:"), Some(&b"a.example"[..]));
        assert_eq!(host(b"[::1]:80"), Some(&b"[::1]"[..]));
        assert_eq!(host(b"[::1]"), Some(&b"[::1]"[..]));
        for wrong in [
            "", ":80", "a b", "a/b", "u@a", "a:b", "a:1:2", "[::1", "[::1]x", "[]", "[g/]:1",
            "a\\b", "a#", "a?b",
        ] {
            assert_eq!(host(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn connect_wants_a_port() {
        assert!(has_port(b"a.example:443") && has_port(b"[::1]:1"));
        for wrong in ["a.example", "a.example:", "a:0", "a:65536", ":443", "a:+1"] {
            assert!(!has_port(wrong.as_bytes()), "{wrong}");
        }
    }
}
