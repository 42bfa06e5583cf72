//! Chunks (RFC 9112, 7.1): how far each goes. Their data is measured and not looked at.

use super::fields::{Fields, Flaw, Of};
use super::{Limits, Line, Read, line, trim};

/// How long the line in front of a chunk may be, with its extensions.
pub const MAX_CHUNK_LINE: usize = 1024;

/// Digits of a chunk's size; more would not fit.
const MAX_SIZE_DIGITS: usize = 16;

/// Fields that may not come behind a body: whoever put them with the headers would read another
/// message (RFC 9110, 6.5.1).
const NO_TRAILERS: [&str; 24] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// A part of a chunked body, of so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The line in front of a chunk, or the end of the line behind its data. `plain`: a size and
    /// nothing else.
    Frame {
        /// Bytes of it.
        len: usize,
        /// Bytes of data behind it.
        size: u64,
        /// Whether it has no extensions.
        plain: bool,
    },
    /// Data, which may reach past what is there.
    Data(u64),
    /// The trailer section, with the empty line that ends the body.
    End(usize),
}

/// Where a chunked body stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunks {
    /// In front of a chunk's size.
    #[default]
    Size,
    /// In front of so much data.
    Data(u64),
    /// Behind a chunk's data.
    DataEnd,
    /// In front of the trailer section.
    Trailers,
    /// At the end.
    Done,
}

impl Chunks {
    /// The piece that the body goes on with, given the bytes behind the last one.
    pub fn next(&mut self, data: &[u8], limits: Limits) -> Read<Piece, Flaw> {
        match *self {
            Self::Size => self.size(data),
            Self::Data(size) => {
                *self = Self::DataEnd;
                Read::Complete(Piece::Data(size))
            }
            Self::DataEnd => match data {
                [b'\r', b'\n', ..] => {
                    *self = Self::Size;
                    Read::Complete(Piece::Frame {
                        len: 2,
                        size: 0,
                        plain: true,
                    })
                }
                [] | [b'\r'] => Read::Incomplete,
                _ => Read::Invalid(Flaw::Syntax("a chunk longer than it said")),
            },
            Self::Trailers => match Fields::read(data, 0, limits, Of::Request) {
                Read::Incomplete => Read::Incomplete,
                Read::Invalid(flaw) => Read::Invalid(flaw),
                Read::Complete((fields, len)) => {
                    let forbidden = |name: &[u8]| {
                        let is = |other: &str| other.as_bytes().eq_ignore_ascii_case(name);
                        NO_TRAILERS.into_iter().any(is)
                    };
                    if fields.iter().any(|(name, _)| forbidden(name)) {
                        return Read::Invalid(Flaw::Syntax("a trailer that must be a header"));
                    }
                    *self = Self::Done;
                    Read::Complete(Piece::End(len))
                }
            },
            Self::Done => Read::Incomplete,
        }
    }

    fn size(&mut self, data: &[u8]) -> Read<Piece, Flaw> {
        let window = &data[..data.len().min(MAX_CHUNK_LINE)];
        let text = match line(window) {
            Line::Complete(text) => text,
            Line::Bare => return Read::Invalid(Flaw::Syntax("a bare CR or LF in a chunk's size")),
            Line::Incomplete if data.len() >= MAX_CHUNK_LINE => {
                return Read::Invalid(Flaw::Syntax("a chunk's size with too long extensions"));
            }
            Line::Incomplete => return Read::Incomplete,
        };
        let digits = text
            .iter()
            .position(|byte| !byte.is_ascii_hexdigit())
            .unwrap_or(text.len());
        let (number, extensions) = text.split_at(digits);
        if number.is_empty() || number.len() > MAX_SIZE_DIGITS {
            return Read::Invalid(Flaw::Syntax("a chunk's size that is no hexadecimal number"));
        }
        // Bad whitespace is allowed in front of an extension, and nowhere else (RFC 9112, 7.1.1).
        let is_right = extensions.is_empty() || trim(extensions).first() == Some(&b';');
        if !is_right
            || extensions
                .iter()
                .any(|byte| matches!(byte, 0..=8 | 10..=31 | 127))
        {
            return Read::Invalid(Flaw::Syntax(
                "something other than an extension behind a chunk's size",
            ));
        }
        let size = number.iter().fold(0_u64, |sum, digit| {
            sum << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or(0))
        });
        *self = match size {
            0 => Self::Trailers,
            size => Self::Data(size),
        };
        Read::Complete(Piece::Frame {
            len: text.len() + 2,
            size,
            plain: extensions.is_empty(),
        })
    }
}
