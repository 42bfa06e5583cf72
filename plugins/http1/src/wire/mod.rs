//! HTTP/1.1 on the wire, sans I/O: heads, how long bodies are, and chunks (RFC 9112).
//!
//! Nothing here knows of sessions. Whatever two readers could read in two ways is an error: a relay
//! that guesses lets one client's bytes become another's request.

pub mod authority;
pub mod chunked;
pub mod fields;
pub mod framing;
pub mod options;
pub mod request;
pub mod response;
pub mod target;

/// What has come of something that may have arrived in any number of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<T, E> {
    /// All there.
    Complete(T),
    /// Cannot tell yet.
    Incomplete,
    /// It can never be right, and why.
    Invalid(E),
}

/// A protocol's version that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.0.
    Http10,
    /// 1.1, or a later minor version, which is read as 1.1 (RFC 9110, 2.5).
    Http11,
}

/// What there may be at most of one head.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a head, or of a trailer section.
    pub head: usize,
    /// Field lines in it.
    pub fields: usize,
    /// Bytes of a request's target.
    pub target: usize,
}

/// One line without its CR LF.
pub(crate) enum Line<'a> {
    Complete(&'a [u8]),
    Incomplete,
    /// A CR or a LF that stands alone (RFC 9112, 2.2).
    Bare,
}

/// The line that `data` begins with. It takes two bytes more than it has.
pub(crate) fn line(data: &[u8]) -> Line<'_> {
    let Some(end) = data.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return Line::Incomplete;
    };
    match (data[end], data.get(end + 1)) {
        (b'\r', Some(b'\n')) => Line::Complete(&data[..end]),
        (b'\r', None) => Line::Incomplete,
        _ => Line::Bare,
    }
}

/// A character of a token (RFC 9110, 5.6.2).
pub(crate) fn is_tchar(byte: u8) -> bool {
    TCHARS[usize::from(byte)]
}

/// By byte: a head is made of little else.
const TCHARS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

/// A token (RFC 9110, 5.6.2).
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_tchar)
}

/// Without spaces and tabs at both ends (RFC 9110, 5.6.3).
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = text.iter().position(|byte| !blank(byte)) else {
        return &[];
    };
    let end = text
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(0, |at| at + 1);
    &text[start..end]
}

/// `HTTP/1.1` and the like (RFC 9112, 2.3); the major and minor version.
pub(crate) fn version(text: &[u8]) -> Option<(u8, u8)> {
    match text {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Some((major - b'0', minor - b'0'))
        }
        _ => None,
    }
}
