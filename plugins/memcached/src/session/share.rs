//! Commands that share a connection: those of exactly one reply, all there, and all for one place.

use leaseway_sdk::Request;

use super::Session;
use crate::places::Place;
use crate::wire::request::{Class, Command};

/// How many are handed to a connection at a time.
const MAX_SHARED: usize = 4096;

impl Session {
    /// The commands from this one on that may share a connection, at its place; none if it may not.
    pub(super) fn shareable(
        &self,
        place: Place,
        first: &Command<'_>,
        shown: &[u8],
    ) -> Vec<Request> {
        let end = usize::try_from(first.length).ok();
        let Some((rest, request)) = end.and_then(|end| shown.get(end..)).zip(request(first)) else {
            return Vec::new();
        };
        let behind = self.along(place, rest, first.line.len());
        let behind = behind.map_while(|command| self::request(&command));
        std::iter::once(request)
            .chain(behind)
            .take(MAX_SHARED)
            .collect()
    }
}

/// The request that a command is, if it may share a connection.
fn request(command: &Command<'_>) -> Option<Request> {
    let idempotent = match command.class {
        Class::Retrieve { idempotent, .. } | Class::Keyed { idempotent } => idempotent,
        Class::Version => true,
        Class::Quiet { .. } | Class::Admin { .. } => return None,
    };
    let length = u32::try_from(command.length).ok()?;
    (!command.echoes).then_some(Request {
        length,
        replies: 1,
        idempotent,
    })
}
