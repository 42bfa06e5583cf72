//! Responses: the head, and how long the body is (RFC 9112, 4 and 6.3).

use super::fields::{Fields, Flaw, Of};
use super::framing::{Body, Coding, Length};
use super::options::Options;
use super::{Limits, Line, Read, Version, line, version};

/// What of a request its response depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The method was `HEAD`.
    pub head: bool,
    /// The method was `CONNECT`.
    pub connect: bool,
    /// It asked for another protocol.
    pub upgrade: bool,
}

/// A response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// Its version.
    pub version: Version,
    /// From 100 to 599.
    pub status: u16,
    /// The words behind the status; may be empty.
    pub reason: &'a [u8],
    /// The headers.
    pub fields: Fields<'a>,
    /// The options of `Connection`.
    pub options: Options<'a>,
    /// What it says of a length, whether a body follows or not.
    pub length: Option<u64>,
    /// It says that it is chunked, whether a body follows or not.
    pub chunked: bool,
    /// It announces a body where there can be none, so that the server may send one all the same.
    pub misleads: bool,
    /// What follows.
    pub then: Then,
    /// The length of the head, with the empty line.
    pub len: usize,
}

/// What follows a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Another head, of the same response: this one was 1xx.
    Another,
    /// A body, which may have no bytes.
    Body(Body),
    /// Another protocol, or a tunnel.
    Tunnel,
}

impl<'a> Response<'a> {
    /// Reads the head that `data` begins with.
    ///
    /// # Errors
    ///
    /// What is no answer to this request.
    pub fn read(data: &'a [u8], limits: Limits, asked: Asked) -> Read<Self, &'static str> {
        let window = &data[..data.len().min(limits.head)];
        let text = match line(window) {
            Line::Complete(text) => text,
            Line::Bare => return Read::Invalid("a bare CR or LF in the status line"),
            Line::Incomplete if data.len() >= limits.head => {
                return Read::Invalid("the status line is too long");
            }
            Line::Incomplete => return Read::Incomplete,
        };
        let Some((version, status, reason)) = start(text) else {
            return Read::Invalid("the status line is none");
        };
        let before = text.len() + 2;
        let (fields, rest) = match Fields::read(&data[before..], before, limits, Of::Response) {
            Read::Complete(section) => section,
            Read::Incomplete => return Read::Incomplete,
            Read::Invalid(Flaw::Syntax(why)) => return Read::Invalid(why),
            Read::Invalid(Flaw::TooLarge | Flaw::TooMany) => {
                return Read::Invalid("the headers are too large, or too many");
            }
        };
        let response = Self {
            version,
            status,
            reason,
            fields,
            options: Options::default(),
            length: None,
            chunked: false,
            misleads: false,
            then: Then::Another,
            len: before + rest,
        };
        match response.judge(asked) {
            Ok(response) => Read::Complete(response),
            Err(why) => Read::Invalid(why),
        }
    }

    fn judge(mut self, asked: Asked) -> Result<Self, &'static str> {
        let (mut length, mut coding) = (Length::None, Coding::None);
        for (name, value) in self.fields.iter() {
            if name.eq_ignore_ascii_case(b"content-length") {
                length = length.and(value);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                coding = coding.and(value);
            } else if name.eq_ignore_ascii_case(b"connection") {
                self.options.add(value, Of::Response)?;
            }
        }
        let tunnels = match self.status {
            101 if !asked.upgrade => return Err("101 that was not asked for"),
            101 => true,
            status => asked.connect && (200..300).contains(&status),
        };
        if tunnels || matches!(self.status, 100..200 | 204) {
            // Nothing that they say of a length counts, and they must not say it (RFC 9112, 6.1 and 6.3;
            // RFC 9110, 8.6).
            let none = [Length::None, Length::Once(0), Length::Repeated(0)];
            self.misleads = coding != Coding::None || !none.contains(&length);
            self.then = match self.status {
                _ if tunnels => Then::Tunnel,
                204 => Then::Body(Body::Length(0)),
                _ => Then::Another,
            };
            return Ok(self);
        }
        let body = match (coding, length) {
            (Coding::None, Length::None) => Body::UntilClose,
            // The same value again is as good as once (RFC 9112, 6.3).
            (Coding::None, Length::Once(length) | Length::Repeated(length)) => Body::Length(length),
            (Coding::None, Length::Huge | Length::Invalid) => {
                return Err("the Content-Length is no number");
            }
            (Coding::Chunked, Length::None) if self.version == Version::Http11 => Body::Chunked,
            (Coding::Chunked | Coding::Unknown, _) if self.version == Version::Http10 => {
                return Err("HTTP/1.0 has no Transfer-Encoding");
            }
            (Coding::Chunked, _) => return Err("both Content-Length and Transfer-Encoding"),
            (Coding::Unknown | Coding::Invalid, _) => {
                return Err("the Transfer-Encoding is not chunked");
            }
        };
        match body {
            Body::Length(length) => self.length = Some(length),
            Body::Chunked => self.chunked = true,
            Body::UntilClose => {}
        }
        let has_none = asked.head || self.status == 304;
        self.then = Then::Body(if has_none { Body::Length(0) } else { body });
        Ok(self)
    }

    /// Whether the server keeps the connection (RFC 9112, 9.3).
    #[must_use]
    pub fn persists(&self) -> bool {
        let close_ends_it = self.then == Then::Body(Body::UntilClose) || self.then == Then::Tunnel;
        let keeps = self.version == Version::Http11 || self.options.keep_alive;
        keeps && !self.options.close && !close_ends_it
    }
}

/// Version, status and reason. The blank behind the status is missing in many a response without a
/// reason.
fn start(text: &[u8]) -> Option<(Version, u16, &[u8])> {
    let (name, rest) = text.split_at_checked(8)?;
    let version = match version(name)? {
        (1, 0) => Version::Http10,
        (1, _) => Version::Http11,
        _ => return None,
    };
    let (digits, reason) = match rest {
        [b' ', a, b, c] => ([a, b, c], &[][..]),
        [b' ', a, b, c, b' ', reason @ ..] => ([a, b, c], reason),
        _ => return None,
    };
    let mut status = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        status = status * 10 + u16::from(digit - b'0');
    }
    let is_right = |byte: &u8| !matches!(byte, 0..=8 | 10..=31 | 127);
    ((100..600).contains(&status) && reason.iter().all(is_right))
        .then_some((version, status, reason))
}
