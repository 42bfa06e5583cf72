//! What a request asks for (RFC 9112, 3.2).

use std::borrow::Cow;

use super::authority;

/// A request's target, in one of its four forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A path, and perhaps a query.
    Origin(&'a [u8]),
    /// A whole URI: who it is for, and the path and query, which may be empty.
    Absolute(&'a [u8], &'a [u8]),
    /// Of `CONNECT`: a host and a port.
    Authority(&'a [u8]),
    /// `*`, of `OPTIONS`.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Reads the target of a request with this method.
    #[must_use]
    pub fn read(method: &[u8], text: &'a [u8]) -> Option<Self> {
        if !text.iter().all(is_target_char) {
            return None;
        }
        match text {
            _ if method == b"CONNECT" => authority::has_port(text).then_some(Self::Authority(text)),
            b"*" if method == b"OPTIONS" => Some(Self::Asterisk),
            [b'/', ..] => Some(Self::Origin(text)),
            _ => {
                let colon = text.iter().position(|byte| *byte == b':')?;
                let (scheme, rest) = text.split_at(colon);
                let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
                let rest = rest.strip_prefix(b"://")?;
                let end = rest
                    .iter()
                    .position(|byte| matches!(byte, b'/' | b'?'))
                    .unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                let is_right =
                    (is(b"http") || is(b"https")) && authority::host(authority).is_some();
                is_right.then_some(Self::Absolute(authority, path))
            }
        }
    }

    /// Who it is for, if it says so itself.
    #[must_use]
    pub fn authority(self) -> Option<&'a [u8]> {
        match self {
            Self::Absolute(authority, _) | Self::Authority(authority) => Some(authority),
            Self::Origin(_) | Self::Asterisk => None,
        }
    }

    /// As a server is asked for it (RFC 9112, 3.2.1 and 3.2.4).
    #[must_use]
    pub fn for_server(self, method: &[u8]) -> Cow<'a, [u8]> {
        match self {
            Self::Origin(text) | Self::Authority(text) => text.into(),
            Self::Asterisk => b"*"[..].into(),
            Self::Absolute(_, b"") if method == b"OPTIONS" => b"*"[..].into(),
            Self::Absolute(_, path @ [b'/', ..]) => path.into(),
            Self::Absolute(_, query) => [b"/", query].concat().into(),
        }
    }

    /// The path by which it is routed: without query, with percent-encoded letters, digits, `-`, `.`,
    /// `_` and `~` as they are, and without `.` and `..` (RFC 3986, 6.2.2), so that no way to write a
    /// path leads elsewhere than another. `/` for the forms that have none.
    #[must_use]
    pub fn path(self) -> Vec<u8> {
        let text = match self {
            Self::Origin(text) | Self::Absolute(_, text) => text,
            Self::Authority(_) | Self::Asterisk => b"/",
        };
        let end = text
            .iter()
            .position(|byte| *byte == b'?')
            .unwrap_or(text.len());
        normal(&text[..end])
    }
}

/// Visible ASCII, but for what some read as another character, or as the end of the target.
fn is_target_char(byte: &u8) -> bool {
    byte.is_ascii_graphic() && !b"#\"<>\\".contains(byte)
}

fn normal(path: &[u8]) -> Vec<u8> {
    let decoded = decode_unreserved(path);
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut is_folder = true;
    for segment in decoded.split(|byte| *byte == b'/').skip(1) {
        is_folder = true;
        match segment {
            b"." => {}
            b".." => drop(segments.pop()),
            other => {
                is_folder = false;
                segments.push(other);
            }
        }
    }
    let mut normal = Vec::with_capacity(decoded.len() + 1);
    for segment in &segments {
        normal.push(b'/');
        normal.extend_from_slice(segment);
    }
    if is_folder {
        normal.push(b'/');
    }
    normal
}

fn decode_unreserved(path: &[u8]) -> Vec<u8> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16);
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, behind @ ..] = rest {
        rest = behind;
        if let (b'%', [high, low, after @ ..]) = (first, behind)
            && let (Some(high), Some(low)) = (hex(high), hex(low))
            && let Ok(byte) = u8::try_from(high * 16 + low)
            && (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        {
            decoded.push(byte);
            rest = after;
        } else {
            decoded.push(*first);
        }
    }
    decoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_known() {
        let get = |text| Target::read(b"GET", text);
        assert_eq!(get(b"/a?b"), Some(Target::Origin(b"/a?b")));
        assert_eq!(get(b"http://h:1/a"), Some(Target::Absolute(b"h:1", b"/a")));
        assert_eq!(get(b"HTTPS://h?q"), Some(Target::Absolute(b"h", b"?q")));
        assert_eq!(get(b"http://h"), Some(Target::Absolute(b"h", b"")));
        assert_eq!(Target::read(b"OPTIONS", b"*"), Some(Target::Asterisk));
        let connect = |text| Target::read(b"CONNECT", text);
        assert_eq!(connect(b"h:443"), Some(Target::Authority(b"h:443")));
        for wrong in [
            "*",
            "a",
            "",
            "http:/h/a",
            "ftp://h/a",
            "http:///a",
            "http://u@h/a",
            "/a#b",
            "/a\\b",
            "/\x7f",
            "/\u{e9}",
        ] {
            assert_eq!(get(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(connect(b"/a"), None);
        assert_eq!(connect(b"http://h:443/"), None);
    }

    #[test]
    fn servers_are_asked_for_paths() {
        let asked = |method: &[u8], text| {
            let target = Target::read(method, text).unwrap();
            String::from_utf8(target.for_server(method).into_owned()).unwrap()
        };
        assert_eq!(asked(b"GET", b"http://h/a?b"), "/a?b");
        assert_eq!(asked(b"GET", b"http://h"), "/");
        assert_eq!(asked(b"GET", b"http://h?b"), "/?b");
        assert_eq!(asked(b"OPTIONS", b"http://h"), "*");
        assert_eq!(asked(b"OPTIONS", b"*"), "*");
    }

    #[test]
    fn paths_are_routed_by_what_they_mean() {
        let path = |text| String::from_utf8(Target::Origin(text).path()).unwrap();
        assert_eq!(path(b"/a/b?c/../d"), "/a/b");
        assert_eq!(path(b"/a/../b"), "/b");
        assert_eq!(path(b"/a/%2e%2E/b"), "/b");
        assert_eq!(path(b"/a/./b/."), "/a/b/");
        assert_eq!(path(b"/../../a/.."), "/");
        assert_eq!(path(b"/%61%2f%"), "/a%2f%");
        assert_eq!(path(b"//a"), "//a");
        assert_eq!(path(b"/"), "/");
        assert_eq!(Target::Asterisk.path(), b"/");
        assert_eq!(Target::Absolute(b"h", b"").path(), b"/");
    }
}
