//! Commands that share a connection: those of exactly one reply, all there, and all for one place.

use leaseway_sdk::Request;
use leaseway_sdk::frame::Parsed;

use super::{MAX_LINES, Session};
use crate::places::Place;
use crate::wire::request::{Class, Command, Front};

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
        let mut lines = first.line.len();
        let Some(first) = request(first, shown) else {
            return Vec::new();
        };
        let mut at = first.length as usize;
        let mut requests = vec![first];
        while requests.len() < MAX_SHARED
            && let Some(rest) = shown.get(at..).filter(|rest| !rest.is_empty())
            && let Parsed::Complete {
                value: Front::Command(command),
                ..
            } = self.front(rest)
            && lines + command.line.len() <= MAX_LINES
            && let Some(request) = request(&command, rest)
            && self.place(&command) == Some(place)
        {
            lines += command.line.len();
            at += request.length as usize;
            requests.push(request);
        }
        requests
    }
}

/// The request that a command is, if it may share a connection.
fn request(command: &Command<'_>, shown: &[u8]) -> Option<Request> {
    let idempotent = match command.class {
        Class::Retrieve { idempotent, .. } | Class::Keyed { idempotent } => idempotent,
        Class::Version => true,
        Class::Quiet { .. } | Class::Admin { .. } => return None,
    };
    let length = u32::try_from(command.length).ok()?;
    let is_there = length as usize <= shown.len();
    (is_there && !command.echoes).then_some(Request {
        length,
        replies: 1,
        idempotent,
    })
}
