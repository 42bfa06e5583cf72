//! An upstream that plays its part of a conversation by a script.

use std::collections::VecDeque;

use crate::export::Exported;
use crate::{Connection, IoError, Target, Transport};

/// The most that one `read` returns.
const MAX_READ: u32 = 64 << 10;
/// The most that one `read_exact` returns.
const MAX_READ_EXACT: u32 = 1 << 20;
/// The longest tag.
pub(super) const MAX_TAG: usize = 64 << 10;

/// One line of a script.
enum Line {
    Expect(Vec<u8>),
    Reply(Vec<u8>),
    Close,
    Fail(String),
}

/// An upstream connection whose other end follows a script: what the plugin must write, and what
/// it gets to read for it, in this order.
///
/// A plugin that writes something else, or waits for a reply that the script does not have,
/// panics.
#[derive(Default)]
pub struct ScriptedConnection {
    script: VecDeque<Line>,
    /// Sent by the upstream, and not read yet.
    readable: VecDeque<u8>,
    pieces: Option<usize>,
}

impl ScriptedConnection {
    /// A connection on which nothing is said yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The plugin must write these bytes next, in one piece or in several.
    #[must_use]
    pub fn expect(mut self, bytes: &[u8]) -> Self {
        self.script.push_back(Line::Expect(bytes.to_vec()));
        self
    }

    /// The upstream sends these.
    #[must_use]
    pub fn reply(mut self, bytes: &[u8]) -> Self {
        self.script.push_back(Line::Reply(bytes.to_vec()));
        self
    }

    /// The upstream closes the connection. What is written then breaks it.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.script.push_back(Line::Close);
        self
    }

    /// The connection breaks, with this message.
    #[must_use]
    pub fn fail(mut self, why: &str) -> Self {
        self.script.push_back(Line::Fail(why.to_owned()));
        self
    }

    /// A read gets so many bytes at most.
    ///
    /// # Panics
    ///
    /// If that is none.
    #[must_use]
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "bytes cannot arrive in pieces of none");
        self.pieces = Some(bytes);
        self
    }

    /// Lets the upstream say what it says without being asked for more.
    fn speak(&mut self) {
        while let Some(Line::Reply(bytes)) = self
            .script
            .pop_front_if(|line| matches!(line, Line::Reply(_)))
        {
            self.readable.extend(bytes);
        }
    }

    /// Why there is nothing to read, and will not be.
    fn silence(&self) -> IoError {
        match self.script.front() {
            Some(Line::Close) => IoError::Closed,
            Some(Line::Fail(why)) => IoError::Failed(why.clone()),
            Some(Line::Expect(bytes)) => panic!(
                "the plugin waits for a reply, but the script expects it to write \"{}\" first",
                bytes.escape_ascii()
            ),
            Some(Line::Reply(_)) | None => {
                panic!("the plugin waits for a reply, but the script is at its end")
            }
        }
    }

    /// Runs a conversation.
    fn converse<T>(
        &mut self,
        conversation: impl FnOnce(&mut Connection<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut connection = Connection::new(self);
        let result = conversation(&mut connection)?;
        connection.finish()?;
        self.speak();
        if let Some(Line::Expect(bytes)) = self.script.front() {
            panic!(
                "the plugin ended the conversation, but the script expects it to write \"{}\"",
                bytes.escape_ascii()
            );
        }
        Ok(result)
    }

    /// Refuses what the host looks for behind a conversation.
    fn must_be_silent(self) -> Result<(), String> {
        if self.readable.is_empty() {
            return Ok(());
        }
        let unread: Vec<u8> = self.readable.into();
        Err(format!("bytes left unread: \"{}\"", unread.escape_ascii()))
    }
}

impl Transport for ScriptedConnection {
    fn write(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        let mut written = bytes;
        while !written.is_empty() {
            self.speak();
            match self.script.front_mut() {
                Some(Line::Expect(expected)) => {
                    let count = expected.len().min(written.len());
                    assert!(
                        expected[..count] == written[..count],
                        "the plugin wrote \"{}\", but the script expects \"{}\"",
                        written.escape_ascii(),
                        expected.escape_ascii()
                    );
                    expected.drain(..count);
                    written = &written[count..];
                    if expected.is_empty() {
                        self.script.pop_front();
                    }
                }
                Some(Line::Close) => return Err(IoError::Closed),
                Some(Line::Fail(why)) => return Err(IoError::Failed(why.clone())),
                Some(Line::Reply(_)) | None => panic!(
                    "the plugin wrote \"{}\", but the script is at its end",
                    written.escape_ascii()
                ),
            }
        }
        Ok(())
    }

    fn read(&mut self, max: u32) -> Result<Vec<u8>, IoError> {
        if max == 0 {
            return Err(IoError::Failed("read of 0 bytes".to_owned()));
        }
        self.speak();
        if self.readable.is_empty() {
            return Err(self.silence());
        }
        let count = self
            .readable
            .len()
            .min(max.min(MAX_READ) as usize)
            .min(self.pieces.unwrap_or(usize::MAX));
        Ok(self.readable.drain(..count).collect())
    }

    fn read_exact(&mut self, count: u32) -> Result<Vec<u8>, IoError> {
        if count > MAX_READ_EXACT {
            return Err(IoError::Failed(format!(
                "read-exact of {count} bytes, at most {MAX_READ_EXACT}"
            )));
        }
        self.speak();
        let count = count as usize;
        if self.readable.len() < count {
            return Err(self.silence());
        }
        Ok(self.readable.drain(..count).collect())
    }
}

/// Lets the plugin shake hands with this upstream; returns the tag. What it leaves unread is for
/// the first session that leases the connection. A target without a group gets the group `test`,
/// here and in the other conversations: the host's always have one.
///
/// # Errors
///
/// What a waiting session would get as `handshake-failed`.
pub fn connect<P: Exported>(
    plugin: &P,
    mut upstream: ScriptedConnection,
    target: &Target,
) -> Result<Vec<u8>, String> {
    let target = in_a_group(target);
    let tag = upstream.converse(|c| P::connect(plugin, c, &target))?;
    if tag.len() > MAX_TAG {
        let length = tag.len();
        return Err(format!(
            "connect returned a tag of {length} bytes, at most {MAX_TAG}"
        ));
    }
    Ok(tag)
}

/// Lets the plugin make this connection as good as new.
///
/// # Errors
///
/// Why the host would close it. Bytes left unread are an error too.
pub fn reset<P: Exported>(
    plugin: &P,
    mut upstream: ScriptedConnection,
    target: &Target,
) -> Result<(), String> {
    let target = in_a_group(target);
    upstream.converse(|c| P::reset(plugin, c, &target))?;
    upstream.must_be_silent()
}

/// Lets the plugin find out whether this connection, idle for so long, is alive.
///
/// # Errors
///
/// Why the host would close it. Bytes left unread are an error too.
pub fn probe<P: Exported>(
    plugin: &P,
    mut upstream: ScriptedConnection,
    target: &Target,
    idle_ms: u64,
) -> Result<(), String> {
    let target = in_a_group(target);
    upstream.converse(|c| P::probe(plugin, c, &target, idle_ms))?;
    upstream.must_be_silent()
}

/// The target as a conversation gets it: in a group, `test` if it names none, and without what only
/// says where to go.
fn in_a_group(target: &Target) -> Target {
    Target {
        group: Some(target.group.clone().unwrap_or_else(|| "test".to_owned())),
        endpoint: None,
        affinity: None,
        ..target.clone()
    }
}
