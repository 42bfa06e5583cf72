//! Finding out whether a server is alive: one request, whose answer is read to its end.

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Connection, IoError};

use crate::config::Config;
use crate::wire::chunked::{Chunks, Piece};
use crate::wire::framing::Body;
use crate::wire::response::{Asked, Response, Then};
use crate::wire::{Limits, Read};

/// How long the body of an answer may be.
const MAX_BODY: u64 = 1 << 20;

/// How much of a body is read at a time.
const PIECE: u32 = 16 << 10;

/// What of an answer counts.
struct Said {
    status: u16,
    then: Then,
    persists: bool,
}

/// Asks once.
///
/// # Errors
///
/// Another answer than the expected one, or none.
pub(crate) fn probe(c: &mut Connection<'_>, config: &Config) -> Result<(), String> {
    let asked = Asked {
        head: config.probe.request.starts_with("HEAD "),
        ..Asked::default()
    };
    let limits = config.limits();
    c.write(&config.probe.bytes())?;
    let said = loop {
        let said = head(c, limits, asked)?;
        if said.then != Then::Another {
            break said;
        }
    };
    let status = said.status;
    match config.probe.expect {
        Some(expected) if status != expected => {
            return Err(format!("it answers {status}, not {expected}"));
        }
        None if status >= 500 => return Err(format!("it answers {status}")),
        Some(_) | None => {}
    }
    match said.then {
        Then::Body(Body::Length(length)) if length <= MAX_BODY => skip(c, length)?,
        Then::Body(Body::Length(_)) => return Err(too_long()),
        Then::Body(Body::Chunked) => chunks(c, limits)?,
        Then::Body(Body::UntilClose) | Then::Another | Then::Tunnel => {}
    }
    // The server is well, but closes: nobody else is to find the connection half open.
    if said.persists { Ok(()) } else { closed(c) }
}

fn head(c: &mut Connection<'_>, limits: Limits, asked: Asked) -> Result<Said, String> {
    c.read_frame(|data| match Response::read(data, limits, asked) {
        Read::Complete(response) => Parsed::Complete {
            len: response.len,
            value: Said {
                status: response.status,
                then: response.then,
                persists: response.persists(),
            },
        },
        Read::Incomplete => Parsed::Incomplete {
            at_least: data.len() + 1,
        },
        Read::Invalid(why) => Parsed::Invalid(why),
    })
}

fn skip(c: &mut Connection<'_>, length: u64) -> Result<(), String> {
    let mut left = length;
    while left > 0 {
        let most = PIECE.min(u32::try_from(left).unwrap_or(PIECE));
        left -= c.read(most)?.len() as u64;
    }
    Ok(())
}

fn chunks(c: &mut Connection<'_>, limits: Limits) -> Result<(), String> {
    let mut state = Chunks::default();
    let mut length = 0_u64;
    loop {
        let (piece, next) = c.read_frame(|data| {
            let mut next = state;
            match next.next(data, limits) {
                Read::Complete(piece) => Parsed::Complete {
                    len: match piece {
                        Piece::Frame { len, .. } | Piece::End(len) => len,
                        // Skipped below.
                        Piece::Data(_) => 0,
                    },
                    value: (piece, next),
                },
                Read::Incomplete => Parsed::Incomplete {
                    at_least: data.len() + 1,
                },
                Read::Invalid(_) => Parsed::Invalid("its chunks are malformed"),
            }
        })?;
        state = next;
        match piece {
            Piece::Frame { .. } => {}
            Piece::Data(size) => {
                length = length.saturating_add(size);
                if length > MAX_BODY {
                    return Err(too_long());
                }
                skip(c, size)?;
            }
            Piece::End(_) => return Ok(()),
        }
    }
}

/// Reads until the server closes.
fn closed(c: &mut Connection<'_>) -> Result<(), String> {
    let mut length = 0;
    loop {
        match c.read(PIECE) {
            Ok(more) => length += more.len() as u64,
            Err(IoError::Closed) => return Ok(()),
            Err(other) => return Err(other.into()),
        }
        if length > MAX_BODY {
            return Err(too_long());
        }
    }
}

fn too_long() -> String {
    format!("its answer is longer than {MAX_BODY} bytes")
}
