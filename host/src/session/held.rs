//! What the engine knows of the connection that its session holds, or waits for.

use std::sync::Arc;

use crate::contract::Target;

/// Where a session stands with its lease.
#[derive(Debug)]
pub(super) enum LeaseState {
    /// Holds none and wants none.
    None,
    /// Waits for one.
    Asked(Asked),
    /// Holds one.
    Held(Held),
}

/// A lease that has been asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) target: Arc<Target>,
    /// Set when this is to replace a dead connection unseen.
    pub(super) replaces: Option<Box<Dead>>,
}

/// A connection that is being replaced.
#[derive(Debug)]
pub(super) struct Dead {
    /// How it died.
    pub(super) why: String,
    /// Bytes that were sent on it, and will be sent again.
    pub(super) sent: u64,
    /// The tag that the plugin was told; none where it was told of none.
    pub(super) told: Option<Vec<u8>>,
    /// The tag that the plugin has put on it.
    pub(super) retag: Option<Box<[u8]>>,
}

/// A lease that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) target: Arc<Target>,
    /// Bytes sent to the upstream, and received from it.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// The tag that the plugin has put on it in this lease.
    pub(super) retag: Option<Box<[u8]>>,
    pub(super) replay: Replay,
    /// A write failed: what is meant for the upstream is dropped until its side ends.
    pub(super) write_failed: bool,
}

/// Whether a dead connection can be replaced unseen.
#[derive(Debug)]
pub(super) enum Replay {
    /// No: it is fresh, has replied, or more was sent than is kept.
    Off,
    /// What was sent so far: `prefix`, and behind it the client's kept bytes.
    Recording {
        /// Sent bytes that do not stand in the client's input any more.
        prefix: Vec<u8>,
        /// The plugin vouched for all of it.
        safe: bool,
    },
}

impl Held {
    pub(super) fn not_safe_to_repeat(&mut self) {
        if let Replay::Recording { safe, .. } = &mut self.replay {
            *safe = false;
        }
    }

    pub(super) fn recording(&self) -> bool {
        matches!(self.replay, Replay::Recording { .. })
    }
}
