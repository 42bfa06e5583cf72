//! What is known of the request under way, and of its response.

use leaseway_sdk::Target;

use crate::rewrite::Persistence;
use crate::wire::Version;
use crate::wire::chunked::Chunks;
use crate::wire::response::Asked;

/// One request and its response.
pub(super) struct Exchange {
    pub(super) asked: Asked,
    pub(super) version: Version,
    /// What the client wants to become of its connection.
    pub(super) persistence: Persistence,
    /// Where it goes, to lease such a connection again.
    pub(super) target: Target,
    /// The head for the server, until it has been sent; and longer, while it may be sent again.
    pub(super) head: Vec<u8>,
    /// The bytes of the client's head, until they have been swallowed.
    pub(super) client_head: usize,
    /// Doing it twice is as good as doing it once, it has no body, and it has not been tried again.
    pub(super) repeats: bool,
    /// The server has begun to answer.
    pub(super) heard: bool,
    /// It has a body and expects a 100 (Continue), which has not come.
    pub(super) expects: bool,
    /// The request or its response has a body, or announces one, where not everybody looks for it: what
    /// stands there may be taken for the next request, or for its response.
    pub(super) doubt: bool,
    pub(super) upload: Upload,
    /// The trailers of its body are passed on.
    pub(super) trailers: bool,
    pub(super) reply: Reply,
    /// Heads of 1xx that have come.
    pub(super) interim: u32,
}

/// Where a request's body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// All of it has been passed on, or there is none.
    Done,
    /// So many bytes of it; so many of those have been shown already.
    Length(u64, usize),
    /// All but its last byte passes unseen: the session is to see when that has come.
    Last,
    /// Chunks, and how much data they have had.
    Chunked(Chunks, u64),
}

/// Where a response stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Its head has not come, or only heads of 1xx.
    Head,
    /// As in [`Upload::Last`]: of a response that has come before the request's body was sent.
    Last,
    /// Chunks; what of them is passed on, and whether the connection is kept behind them.
    Chunked {
        chunks: Chunks,
        keep: bool,
        passed: Passed,
    },
    /// The server closes behind it.
    UntilClose,
    /// Bytes of another protocol.
    Tunnel,
    /// It has ended, or what is left of it passes with no more to be done.
    Done,
}

/// What of a chunked response is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    All,
    /// All but the trailers.
    Chunks,
    /// The data alone: the client understands no chunks.
    Data,
}

impl Exchange {
    /// What the client is told of its connection, if the request has been sent to its end.
    pub(super) fn persistence(&self) -> Persistence {
        match self.upload {
            Upload::Done => self.persistence,
            Upload::Length(..) | Upload::Last | Upload::Chunked(..) => Persistence::Close,
        }
    }
}
