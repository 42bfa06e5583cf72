//! Requests: the head, and all that a relay must know of it (RFC 9112, 3).

use super::fields::{Fields, Flaw, Of};
use super::framing::{Body, Coding, Length};
use super::options::Options;
use super::target::Target;
use super::{Limits, Line, Read, Version, authority, is_tchar, is_token, line, trim, version};

/// The longest method; the longest that is registered has 17 letters.
pub const MAX_METHOD: usize = 32;

/// What else a request line has, beside method and target.
const REST_OF_LINE: usize = " HTTP/1.1 ".len();

/// Why a request is refused, whatever it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// What is wrong with it.
    pub why: &'static str,
}

const fn refusal(status: u16, why: &'static str) -> Refusal {
    Refusal { status, why }
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Syntax(why) => refusal(400, why),
            Flaw::TooLarge => refusal(431, "the headers are too large"),
            Flaw::TooMany => refusal(431, "there are too many headers"),
        }
    }
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a [u8],
    /// What it asks for.
    pub target: Target<'a>,
    /// Its version.
    pub version: Version,
    /// For whom it is: of the target, or else of `Host`. None for what is older than `Host`.
    pub authority: Option<&'a [u8]>,
    /// The headers.
    pub fields: Fields<'a>,
    /// The options of `Connection`.
    pub options: Options<'a>,
    /// How long the body is; never [`Body::UntilClose`].
    pub body: Body,
    /// Whether it says how long: a body of no length may still be said.
    pub says_length: bool,
    /// It waits for a `100 (Continue)`.
    pub expects: bool,
    /// It understands trailers.
    pub takes_trailers: bool,
    /// It asks for another protocol.
    pub upgrades: bool,
    /// How often it may be passed on, if it says so and that counts for this method.
    pub max_forwards: Option<u64>,
    /// The length of the head, with the empty line.
    pub len: usize,
}

impl<'a> Request<'a> {
    /// Reads the head that `data` begins with.
    pub fn read(data: &'a [u8], limits: Limits) -> Read<Self, Refusal> {
        // What speaks another protocol, TLS say, may never send a line.
        if let Some(first) = data.first()
            && !is_tchar(*first)
            && !matches!(first, b'\r' | b'\n')
        {
            return Read::Invalid(refusal(400, "the request's method is no token"));
        }
        let room = limits.head.min(limits.target + MAX_METHOD + REST_OF_LINE);
        let window = &data[..data.len().min(room)];
        let text = match line(window) {
            Line::Complete(text) => text,
            Line::Bare => {
                return Read::Invalid(refusal(400, "a bare CR or LF in the request line"));
            }
            Line::Incomplete if data.len() < room => return Read::Incomplete,
            Line::Incomplete => return Read::Invalid(too_long(window)),
        };
        let (method, target, version) = match start(text, limits) {
            Ok(start) => start,
            Err(refusal) => return Read::Invalid(refusal),
        };
        let before = text.len() + 2;
        let (fields, rest) = match Fields::read(&data[before..], before, limits, Of::Request) {
            Read::Complete(section) => section,
            Read::Incomplete => return Read::Incomplete,
            Read::Invalid(flaw) => return Read::Invalid(flaw.into()),
        };
        match Self::of(method, target, version, fields) {
            Ok(request) => Read::Complete(Self {
                len: before + rest,
                ..request
            }),
            Err(refusal) => Read::Invalid(refusal),
        }
    }

    fn of(
        method: &'a [u8],
        target: Target<'a>,
        version: Version,
        fields: Fields<'a>,
    ) -> Result<Self, Refusal> {
        let mut found = Found::default();
        for (name, value) in fields.iter() {
            found.take(name, value)?;
        }
        let authority = found.authority(target, version)?;
        let (body, says_length) = found.body(method, version)?;
        let options = found.options;
        let asks = found.upgrade && options.upgrade && version == Version::Http11;
        Ok(Self {
            method,
            target,
            version,
            authority,
            fields,
            body,
            says_length,
            // Both mean nothing in 1.0 (RFC 9110, 10.1.1 and 7.8).
            expects: found.expects && version == Version::Http11,
            upgrades: asks && !found.http2 && body == Body::Length(0),
            takes_trailers: found.trailers,
            max_forwards: found
                .max_forwards
                .filter(|_| matches!(method, b"OPTIONS" | b"TRACE")),
            options,
            len: 0,
        })
    }

    /// Whether its connection may serve another request, as the client wants it (RFC 9112, 9.3).
    #[must_use]
    pub fn persists(&self) -> bool {
        !self.options.close && (self.version == Version::Http11 || self.options.keep_alive)
    }

    /// Whether doing it twice is as good as doing it once (RFC 9110, 9.2.2).
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        matches!(
            self.method,
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
        )
    }

    /// Whether a body has no meaning for this method, so that some servers do not read it (RFC 9110, 9.3.1,
    /// 9.3.2 and 9.3.5).
    #[must_use]
    pub fn body_means_nothing(&self) -> bool {
        matches!(self.method, b"GET" | b"HEAD" | b"DELETE")
    }

    /// The host that it is for, without port, if it names one.
    #[must_use]
    pub fn host(&self) -> Option<&'a [u8]> {
        self.authority.and_then(authority::host)
    }
}

/// What is known of a request line that does not end.
fn too_long(text: &[u8]) -> Refusal {
    match text.iter().position(|byte| *byte == b' ') {
        Some(0) => refusal(400, "the request line begins with a blank"),
        Some(..=MAX_METHOD) => refusal(414, "the request's target is too long"),
        _ => refusal(501, "the request's method is too long to be known"),
    }
}

/// Method, target and version.
fn start(text: &[u8], limits: Limits) -> Result<(&[u8], Target<'_>, Version), Refusal> {
    let mut parts = text.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(name), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(refusal(
            400,
            "the request line is not method, target and version",
        ));
    };
    if !is_token(method) {
        return Err(refusal(400, "the request's method is no token"));
    }
    if method.len() > MAX_METHOD {
        return Err(refusal(501, "the request's method is too long to be known"));
    }
    let version = match version(name) {
        Some((1, 0)) => Version::Http10,
        Some((1, _)) => Version::Http11,
        Some(_) => return Err(refusal(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")),
        None => return Err(refusal(400, "the request's version is not HTTP/1.1")),
    };
    if target.len() > limits.target {
        return Err(refusal(414, "the request's target is too long"));
    }
    let target = Target::read(method, target);
    let target = target.ok_or(refusal(400, "the request's target is none"))?;
    Ok((method, target, version))
}

/// Whether a quoted string (RFC 9110, 5.6.4) has no end: whatever is put behind it is read as a part of it.
fn ends_in_quotes(value: &[u8]) -> bool {
    let mut bytes = value.iter();
    let mut quoted = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            _ => {}
        }
    }
    quoted
}

/// What the fields say that a relay must know.
#[derive(Default)]
struct Found<'a> {
    options: Options<'a>,
    hosts: usize,
    host: Option<&'a [u8]>,
    length: Length,
    coding: Coding,
    expects: bool,
    trailers: bool,
    upgrade: bool,
    http2: bool,
    max_forwards: Option<u64>,
}

impl<'a> Found<'a> {
    fn take(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), Refusal> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let items = || value.split(|byte| *byte == b',').map(trim);
        match name.len() {
            2 if is("te") => {
                self.trailers |= items().any(|item| item.eq_ignore_ascii_case(b"trailers"));
            }
            4 if is("host") => {
                self.hosts += 1;
                self.host = Some(value);
            }
            6 if is("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(refusal(417, "only 100-continue can be expected"));
                }
                self.expects = true;
            }
            7 if is("upgrade") => {
                self.upgrade = true;
                let is_http2 = |item: &[u8]| {
                    let start = item.get(..2).unwrap_or_default();
                    start.eq_ignore_ascii_case(b"h2")
                };
                self.http2 |= items().any(is_http2);
            }
            9 if is("forwarded") && ends_in_quotes(value) => {
                return Err(refusal(400, "a quoted string in Forwarded has no end"));
            }
            10 if is("connection") => {
                let added = self.options.add(value, Of::Request);
                added.map_err(|why| refusal(400, why))?;
            }
            12 if is("max-forwards") => {
                let text = std::str::from_utf8(value).ok();
                let number = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                self.max_forwards = number.and_then(|text| text.parse().ok());
            }
            14 if is("content-length") => self.length = self.length.and(value),
            17 if is("transfer-encoding") => self.coding = self.coding.and(value),
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112, 3.2 and 3.2.2.
    fn authority(&self, target: Target<'a>, version: Version) -> Result<Option<&'a [u8]>, Refusal> {
        match (self.hosts, self.host) {
            (0, _) if version == Version::Http11 => {
                return Err(refusal(400, "there is no Host header"));
            }
            (0, _) => {}
            // A target without an authority of its own has an empty one.
            (1, Some(b"")) => {}
            (1, Some(host)) if authority::host(host).is_some() => {}
            (1, _) => return Err(refusal(400, "the Host header is no host")),
            _ => return Err(refusal(400, "there is more than one Host header")),
        }
        Ok(target
            .authority()
            .or(self.host)
            .filter(|host| !host.is_empty()))
    }

    /// RFC 9112, 6.3, and what it leaves open decided against the client.
    fn body(&self, method: &[u8], version: Version) -> Result<(Body, bool), Refusal> {
        let said = match (self.coding, self.length) {
            (Coding::Invalid, _) => {
                return Err(refusal(
                    400,
                    "Transfer-Encoding does not end with one chunked",
                ));
            }
            (Coding::Chunked | Coding::Unknown, _) if version == Version::Http10 => {
                return Err(refusal(400, "HTTP/1.0 has no Transfer-Encoding"));
            }
            (Coding::Chunked | Coding::Unknown, length) if length != Length::None => {
                return Err(refusal(400, "both Content-Length and Transfer-Encoding"));
            }
            (Coding::Unknown, _) => {
                return Err(refusal(501, "no Transfer-Encoding but chunked is known"));
            }
            (Coding::Chunked, _) => (Body::Chunked, true),
            (Coding::None, Length::None) => (Body::Length(0), false),
            (Coding::None, Length::Once(length)) => (Body::Length(length), true),
            (Coding::None, Length::Huge) => {
                return Err(refusal(413, "the body is larger than any can be"));
            }
            (Coding::None, Length::Repeated(_)) => {
                return Err(refusal(400, "more than one Content-Length"));
            }
            (Coding::None, Length::Invalid) => {
                return Err(refusal(400, "the Content-Length is no number"));
            }
        };
        // A body has no meaning there (RFC 9110, 9.3.6 and 9.3.8), and would be taken for another
        // request, or for what belongs into the tunnel.
        if matches!(method, b"CONNECT" | b"TRACE") && said.0 != Body::Length(0) {
            return Err(refusal(400, "a body with a method that can have none"));
        }
        Ok(said)
    }
}
