//! Commands that share a connection: those of exactly one reply, all there, and all for one place.

use leaseway_sdk::Request;
use leaseway_sdk::frame::Parsed;

use super::Session;
use crate::places::Place;
use crate::wire::request::{Class, Front};

/// How many are handed to a connection at a time.
const MAX_SHARED: usize = 4096;

impl Session {
    /// The commands at the front that may share a connection; none if the first may not.
    pub(super) fn shareable(&self, shown: &[u8]) -> Option<(Place, Vec<Request>)> {
        let mut place = None;
        let mut requests = Vec::new();
        let mut at = 0;
        while requests.len() < MAX_SHARED
            && let Some(rest) = shown.get(at..).filter(|rest| !rest.is_empty())
            && let Parsed::Complete {
                value: Front::Command(command),
                ..
            } = self.front(rest)
        {
            if command.echoes {
                break;
            }
            let idempotent = match command.class {
                Class::Retrieve { idempotent, .. } | Class::Keyed { idempotent } => idempotent,
                Class::Version => true,
                Class::Quiet { .. } | Class::Admin { .. } => break,
            };
            let length = match u32::try_from(command.length) {
                Ok(length) if length as usize <= rest.len() => length,
                _ => break,
            };
            let Some(here) = self.place(&command) else {
                break;
            };
            if *place.get_or_insert(here) != here {
                break;
            }
            at += length as usize;
            requests.push(Request {
                length,
                replies: 1,
                idempotent,
            });
        }
        Some((place.filter(|_| !requests.is_empty())?, requests))
    }
}
