//! What a scripted session keeps for the test to look at: its leases, and why it ended.

use crate::{Disposition, LeaseError, Target};

/// One lease that a session asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What was asked for.
    pub target: Target,
    /// Everything that went to the upstream.
    pub sent: Vec<u8>,
    /// How much has come from the upstream.
    pub received: u64,
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
    /// It ended as the plugin said, in a step or in `pool-return`, or was closed for want of the
    /// hook.
    Returned(Disposition),
    /// The plugin wanted the connection kept, but the host closes it: it is in doubt, and why.
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
    /// No connection, and `on-lease-failed` had nothing to say.
    LeaseFailed(LeaseError),
    /// The plugin still asked for more when it was shown this much.
    MaxShown(usize),
    /// A time limit passed.
    Timeout,
    /// The host is shutting down.
    Drain,
}
