//! What a scripted session keeps for the test to look at: its leases, and why it ended.

use crate::{Disposition, LeaseError, Target};

/// One lease that a session asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What was asked for.
    pub target: Target,
    /// Everything that went to the upstream.
    pub sent: Vec<u8>,
    /// How much of what the upstream sent has been read.
    pub received: u64,
    /// What a `retag` has put on the connection, in this lease or in an earlier one that kept it.
    /// None: its tag is still what `connect` returned.
    pub retagged: Option<Vec<u8>>,
    /// What has become of it.
    pub end: LeaseEnd,
}

/// What has become of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// It has been asked for.
    Waiting,
    /// It goes on.
    Held,
    /// There was no connection.
    Failed(LeaseError),
    /// The connection broke.
    Lost,
    /// It ended as the plugin said, in a step or in `pool-return`. Closed as well if its target was
    /// unpooled, or the session ended and the plugin was not asked: for want of the hook, because
    /// the connection was in doubt anyway, or because of how the session ended.
    Returned(Disposition),
    /// The plugin released the connection to be kept or reset, but the host closes it: it is in
    /// doubt, and why.
    Doubted(&'static str),
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// By a `close` step, with its reason.
    Plugin(Option<String>),
    /// The client closed its side, and nothing was left to do.
    ClientClosed,
    /// The client's connection broke.
    ClientError,
    /// The upstream closed a connection that was copied plainly.
    UpstreamClosed,
    /// The upstream was lost in the middle of bytes that a step had promised to the client, and
    /// how. `on-lease-failed` is not called then.
    ReplyCut(String),
    /// No connection, and `on-lease-failed` had nothing to say.
    LeaseFailed(LeaseError),
    /// The plugin still asked for more when it was shown `max-shown` bytes, which are so many.
    MaxShown(usize),
    /// A time limit passed.
    Timeout,
    /// The plugin's own deadline passed.
    Deadline,
    /// The host is shutting down.
    Drain,
}
