//! Measuring requests: which command stands at the front, and where it ends.
//!
//! A request is looked at twice. [`front`] reads the name, and as many arguments as the caller
//! wants, from what is shown. [`Rest`] then covers the frame to its end, as it comes and past what
//! is shown, so that a value of hundreds of megabytes never enters the plugin. Redis' own limits
//! hold here too, in Redis' words. Called by the session with what the client has sent.

use leaseway_sdk::frame::{self, Parsed};

use super::{integer, number};

/// How many arguments a request may have, its name included.
pub const MAX_ARGUMENTS: u64 = 1024 * 1024;
/// How long one argument may be: Redis' default `proto-max-bulk-len`.
pub const MAX_BULK: u64 = 512 * 1024 * 1024;
/// How long an inline request may be, its line end included.
pub const MAX_INLINE: usize = 64 * 1024;
/// How long a line may be that says a length: a type, a sign, 19 digits, CR LF, and to spare.
pub const MAX_HEADER: usize = 32;
/// A name longer than this is no command's, and is not waited for.
pub const MAX_NAME: usize = 64;

/// Why the client's bytes are no request, in Redis' words.
pub type ProtocolError = &'static str;

const BAD_COUNT: ProtocolError = "invalid multibulk length";
const BAD_LENGTH: ProtocolError = "invalid bulk length";
const NO_BULK: ProtocolError = "expected '$'";
const BIG_INLINE: ProtocolError = "too big inline request";
const UNBALANCED: ProtocolError = "unbalanced quotes in request";
const NUL_INLINE: ProtocolError = "inline request with a NUL byte";

/// What stands at the front of the client's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Front<'a> {
    /// Nothing to do and nothing to answer: an empty line or an empty array, so long.
    Empty(usize),
    /// A command. Its name is there; the rest may not be.
    Command(Command<'a>),
}

/// A command at the front of the client's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// How many arguments it has, its name included; at least one.
    pub argc: u64,
    form: Form<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form<'a> {
    /// The frame from its first byte, where its arguments begin, and the name if it is not
    /// too long for one.
    Bulks {
        data: &'a [u8],
        first: usize,
        name: &'a [u8],
    },
    /// The length of the line, and its arguments without their quotes.
    Inline { len: usize, words: Vec<Vec<u8>> },
}

/// Reads the command at the front, up to its name.
#[inline]
pub fn front(data: &[u8]) -> Parsed<Front<'_>> {
    match data.first() {
        None => Parsed::Incomplete { at_least: 1 },
        Some(b'*') => bulks(data),
        Some(_) => inline(data),
    }
}

#[inline]
fn bulks(data: &[u8]) -> Parsed<Front<'_>> {
    let (says, first) = match header(data, BAD_COUNT) {
        Parsed::Complete { value, len } => (value, len),
        Parsed::Incomplete { at_least } => return Parsed::Incomplete { at_least },
        Parsed::Invalid(why) => return Parsed::Invalid(why),
    };
    if integer(says).is_some_and(|count| count <= 0) {
        return complete(Front::Empty(first), first);
    }
    let Some(argc) = number(says).filter(|argc| *argc <= MAX_ARGUMENTS) else {
        return Parsed::Invalid(BAD_COUNT);
    };
    let Some(rest) = data.get(first..) else {
        return Parsed::Incomplete {
            at_least: first + 1,
        };
    };
    match bulk(rest) {
        Parsed::Complete {
            value: (head, len), ..
        } => {
            let name = if len > MAX_NAME as u64 {
                &[]
            } else {
                // At most `MAX_NAME`, so it fits.
                let end = first + head + len as usize;
                match data.get(first + head..end) {
                    Some(name) => name,
                    None => return Parsed::Incomplete { at_least: end },
                }
            };
            let form = Form::Bulks { data, first, name };
            complete(Front::Command(Command { argc, form }), first)
        }
        Parsed::Incomplete { at_least } => Parsed::Incomplete {
            at_least: first + at_least,
        },
        Parsed::Invalid(why) => Parsed::Invalid(why),
    }
}

fn inline(data: &[u8]) -> Parsed<Front<'_>> {
    match frame::line(data, MAX_INLINE) {
        Parsed::Complete { value, len } => {
            // Redis looks for the line's end as for a C string's, and would never find it.
            if value.contains(&0) {
                return Parsed::Invalid(NUL_INLINE);
            }
            match super::inline::words(value) {
                None => Parsed::Invalid(UNBALANCED),
                Some(words) if words.is_empty() => complete(Front::Empty(len), len),
                Some(words) => {
                    let argc = words.len() as u64;
                    let form = Form::Inline { len, words };
                    complete(Front::Command(Command { argc, form }), len)
                }
            }
        }
        Parsed::Incomplete { at_least } => Parsed::Incomplete { at_least },
        Parsed::Invalid(_) => Parsed::Invalid(BIG_INLINE),
    }
}

fn complete(value: Front<'_>, len: usize) -> Parsed<Front<'_>> {
    Parsed::Complete { value, len }
}

/// A line that says a length behind its type, without either; its length with its CR LF.
#[inline]
fn header(data: &[u8], bad: ProtocolError) -> Parsed<&[u8]> {
    let window = &data[..data.len().min(MAX_HEADER)];
    match window.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) if end > 1 => Parsed::Complete {
            value: &data[1..end],
            len: end + 2,
        },
        None if data.len() < MAX_HEADER => Parsed::Incomplete {
            at_least: data.len() + 1,
        },
        _ => Parsed::Invalid(bad),
    }
}

/// The header of an argument: how long it is itself, and the argument behind it.
#[inline]
fn bulk(data: &[u8]) -> Parsed<(usize, u64)> {
    match data.first() {
        None => return Parsed::Incomplete { at_least: 1 },
        Some(b'$') => {}
        Some(_) => return Parsed::Invalid(NO_BULK),
    }
    match header(data, BAD_LENGTH) {
        Parsed::Complete { value, len } => match number(value).filter(|body| *body <= MAX_BULK) {
            Some(body) => Parsed::Complete {
                value: (len, body),
                len,
            },
            None => Parsed::Invalid(BAD_LENGTH),
        },
        Parsed::Incomplete { at_least } => Parsed::Incomplete { at_least },
        Parsed::Invalid(why) => Parsed::Invalid(why),
    }
}

impl Command<'_> {
    /// The command's name as the client wrote it; empty if it is longer than any.
    #[inline]
    #[must_use]
    pub fn name(&self) -> &[u8] {
        match &self.form {
            Form::Bulks { name, .. } => name,
            Form::Inline { words, .. } => match words.first() {
                Some(name) if name.len() <= MAX_NAME => name,
                _ => &[],
            },
        }
    }

    /// The arguments behind the name, at most so many, once they are all shown. `len` is how far
    /// the frame has been read then.
    #[must_use]
    pub fn arguments(&self, most: usize) -> Parsed<Vec<&[u8]>> {
        match &self.form {
            Form::Inline { len, words } => Parsed::Complete {
                value: words.iter().skip(1).take(most).map(Vec::as_slice).collect(),
                len: *len,
            },
            Form::Bulks { data, first, .. } => {
                let count = usize::try_from(self.argc).map_or(most, |argc| (argc - 1).min(most));
                let mut value = Vec::new();
                let mut at = *first;
                for index in 0..=count {
                    let (head, body) = match bulk(data.get(at..).unwrap_or_default()) {
                        Parsed::Complete { value, .. } => value,
                        Parsed::Incomplete { at_least } => {
                            return Parsed::Incomplete {
                                at_least: at + at_least,
                            };
                        }
                        Parsed::Invalid(why) => return Parsed::Invalid(why),
                    };
                    // At most `MAX_BULK`, so it fits.
                    let (start, end) = (at + head, at + head + body as usize);
                    match data.get(start..end) {
                        // The name itself is index 0.
                        Some(argument) if index > 0 => value.push(argument),
                        Some(_) => {}
                        None => return Parsed::Incomplete { at_least: end + 2 },
                    }
                    at = end + 2;
                }
                if at > data.len() {
                    return Parsed::Incomplete { at_least: at };
                }
                Parsed::Complete { value, len: at }
            }
        }
    }

    /// Where its frame begins to be covered: what [`Rest::cover`] has to be shown from, and what
    /// it then expects.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> (usize, Rest) {
        match &self.form {
            Form::Bulks { first, .. } => (*first, Rest { bulks: self.argc }),
            Form::Inline { len, .. } => (*len, Rest::default()),
        }
    }
}

/// The part of a request's frame that no step has covered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Arguments whose header has not been covered.
    bulks: u64,
}

impl Rest {
    /// Whether the whole frame has been covered.
    #[inline]
    #[must_use]
    pub fn is_done(self) -> bool {
        self.bulks == 0
    }

    /// Covers what there is of the frame, and bodies to their ends, also past what is shown.
    /// Returns how many bytes that is; half a header is not covered.
    ///
    /// # Errors
    ///
    /// If what stands there is no argument. The frame has no end then.
    #[inline]
    pub fn cover(&mut self, shown: &[u8]) -> Result<u64, ProtocolError> {
        let mut covered = 0u64;
        while self.bulks > 0 {
            let Some(rest) = usize::try_from(covered).ok().and_then(|at| shown.get(at..)) else {
                break;
            };
            match bulk(rest) {
                Parsed::Complete {
                    value: (head, body),
                    ..
                } => {
                    // Bounded by `MAX_BULK`, and no two of them reach past what is shown.
                    covered += head as u64 + body + 2;
                    self.bulks -= 1;
                }
                Parsed::Incomplete { .. } => break,
                Parsed::Invalid(why) => return Err(why),
            }
        }
        Ok(covered)
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
