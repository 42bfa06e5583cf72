//! The upstream connection that a conversation talks to.
//!
//! [`Connection`] adds to the contract's three calls what conversations need: reading by frame
//! and by line, without losing bytes that came too early. What carries the bytes is a
//! [`Transport`]: the host's connection in a module, a script in tests.

use crate::frame::{self, Parsed};

/// Why nothing could be read or written. The connection is of no further use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// The upstream closed it. For `read_exact`: before that many bytes had come.
    #[error("the upstream closed the connection")]
    Closed,
    /// Anything else, in the operating system's words.
    #[error("{0}")]
    Failed(String),
}

/// So that `?` works in conversations, whose errors are text for the log.
impl From<IoError> for String {
    fn from(error: IoError) -> Self {
        error.to_string()
    }
}

/// What carries a conversation's bytes.
pub trait Transport {
    /// Write all of these bytes.
    ///
    /// # Errors
    ///
    /// If the connection broke.
    fn write(&mut self, bytes: &[u8]) -> Result<(), IoError>;

    /// Read at least one byte and at most `max`, and at most 64 KiB. Waits until there is one.
    ///
    /// # Errors
    ///
    /// If the connection broke or was closed by the upstream, or if `max` is 0.
    fn read(&mut self, max: u32) -> Result<Vec<u8>, IoError>;

    /// Read exactly `count` bytes, at most 1 MiB.
    ///
    /// # Errors
    ///
    /// If the connection broke, or was closed before that many bytes had come, or if `count` is
    /// more.
    fn read_exact(&mut self, count: u32) -> Result<Vec<u8>, IoError>;
}

/// How much is asked for when nobody knows how much will come.
const READ_AHEAD: u32 = 4 * 1024;

/// One upstream connection, lent to a conversation.
///
/// Bytes that came along with a frame and belong to the next are kept for the next read. If
/// some are left when the conversation ends well, it fails all the same: nobody else would ever
/// see them.
pub struct Connection<'c> {
    transport: &'c mut dyn Transport,
    /// Read from the transport, and not yet by the conversation.
    unread: Vec<u8>,
}

impl<'c> Connection<'c> {
    /// A connection over this transport.
    pub fn new(transport: &'c mut dyn Transport) -> Self {
        Self {
            transport,
            unread: Vec::new(),
        }
    }

    /// Write all of these bytes.
    ///
    /// # Errors
    ///
    /// If the connection broke.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.transport.write(bytes)
    }

    /// Read at least one byte and at most `max`, and at most 64 KiB. Waits until there is one.
    ///
    /// # Errors
    ///
    /// If the connection broke or was closed by the upstream, or if `max` is 0.
    pub fn read(&mut self, max: u32) -> Result<Vec<u8>, IoError> {
        if self.unread.is_empty() || max == 0 {
            return self.transport.read(max);
        }
        let count = self.unread.len().min(max as usize);
        Ok(self.unread.drain(..count).collect())
    }

    /// Read exactly `count` bytes, at most 1 MiB.
    ///
    /// # Errors
    ///
    /// If the connection broke, or was closed before that many bytes had come.
    pub fn read_exact(&mut self, count: u32) -> Result<Vec<u8>, IoError> {
        let known = self.unread.len().min(count as usize);
        let mut bytes: Vec<u8> = self.unread.drain(..known).collect();
        // `known` is at most `count`, so it fits.
        let missing = count - known as u32;
        if missing > 0 {
            bytes.extend(self.transport.read_exact(missing)?);
        }
        Ok(bytes)
    }

    /// Read one frame. `parse` is shown all unread bytes, again and with more until it knows.
    /// It must bound what it waits for.
    ///
    /// # Errors
    ///
    /// If the connection broke or was closed, or if `parse` says that this is no frame.
    pub fn read_frame<T>(
        &mut self,
        mut parse: impl FnMut(&[u8]) -> Parsed<T>,
    ) -> Result<T, String> {
        loop {
            match parse(&self.unread) {
                Parsed::Complete { value, len } if len <= self.unread.len() => {
                    self.unread.drain(..len);
                    return Ok(value);
                }
                // Measured but not all there: read the rest of it, too.
                Parsed::Complete { .. } | Parsed::Incomplete { .. } => {}
                Parsed::Invalid(why) => {
                    return Err(format!(
                        "{why}; the upstream sent {}",
                        excerpt(&self.unread)
                    ));
                }
            }
            let more = self.transport.read(READ_AHEAD)?;
            self.unread.extend(more);
        }
    }

    /// Read a line of at most `max` bytes; returns it without its LF or CR LF.
    ///
    /// # Errors
    ///
    /// If the connection broke or was closed, or if the line is longer.
    pub fn read_line(&mut self, max: usize) -> Result<Vec<u8>, String> {
        self.read_frame(|data| frame::line(data, max).map(<[u8]>::to_vec))
    }

    /// Read exactly this reply. Gives up at the first byte that differs, without waiting for as
    /// many as were hoped for.
    ///
    /// # Errors
    ///
    /// If something else comes, or if the connection broke or was closed.
    pub fn expect(&mut self, reply: &[u8]) -> Result<(), String> {
        self.read_frame(|data| {
            let known = data.len().min(reply.len());
            if data[..known] != reply[..known] {
                Parsed::Invalid("not the expected reply")
            } else if known < reply.len() {
                Parsed::Incomplete {
                    at_least: reply.len(),
                }
            } else {
                Parsed::Complete {
                    value: (),
                    len: reply.len(),
                }
            }
        })
        .map_err(|why| format!("waiting for {}: {why}", excerpt(reply)))
    }

    /// Write this request, and read exactly this reply: what most probes are.
    ///
    /// # Errors
    ///
    /// If something else comes, or if the connection broke or was closed.
    pub fn ask(&mut self, request: &[u8], reply: &[u8]) -> Result<(), String> {
        self.write(request)?;
        self.expect(reply)
    }

    /// Ends the conversation: an error if bytes were read ahead that nobody asked for.
    pub(crate) fn finish(self) -> Result<(), String> {
        if self.unread.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "the upstream sent {} behind the last reply",
                excerpt(&self.unread)
            ))
        }
    }
}

/// How much of what an upstream sent goes into an error message.
const EXCERPT: usize = 64;

/// Bytes for an error message: printable, quoted, and not too many.
fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(EXCERPT)];
    let rest = bytes.len() - shown.len();
    if rest == 0 {
        format!("\"{}\"", shown.escape_ascii())
    } else {
        format!("\"{}\" and {rest} bytes more", shown.escape_ascii())
    }
}
