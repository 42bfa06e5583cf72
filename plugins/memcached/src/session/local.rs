//! What needs no server: mistakes, `mn`, and what is for each of several servers. All of it that
//! stands at the front is answered at once, since a client can send very much of it in a few bytes.

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Side, Steps};

use super::{Session, error};
use crate::wire::request::{Class, Front};

/// So many bytes of replies are enough for one answer: a call must not take long.
const MAX_REPLIES: usize = 16 * 1024;

impl Session {
    /// Answers what stands at the front.
    pub(super) fn answer(&self, shown: &[u8]) -> Choice {
        let mut replies = Vec::new();
        let mut covered: u64 = 0;
        while let Some(rest) = usize::try_from(covered).ok().and_then(|at| shown.get(at..))
            && replies.len() < MAX_REPLIES
            && let Parsed::Complete { value, .. } = self.front(rest)
            && let Some((reply, length)) = self.local(&value)
        {
            replies.extend(reply);
            covered += length;
        }
        let told = match replies.is_empty() {
            true => Steps::new(),
            false => Steps::new().send(Side::Client, replies),
        };
        Choice::answer(told.discard(covered))
    }

    /// The reply to what needs no server, and the length of that.
    fn local(&self, front: &Front<'_>) -> Option<(Vec<u8>, u64)> {
        match front {
            Front::Command(command) if self.is_for_each(command) => {
                if command.class == (Class::Admin { quiet: true }) {
                    // Its client does not read what is said to it, and takes that for the next reply.
                    return Some((Vec::new(), command.length));
                }
                let name = command.head().next().unwrap_or_default().escape_ascii();
                let reply = error(&format!(
                    "CLIENT_ERROR leaseway: `{name}` is for one server, and keys are on several; ask \
                     each of them"
                ));
                Some((reply, command.length))
            }
            Front::Noop(length) => Some((error("MN"), *length)),
            Front::Refused {
                error: why,
                length: Some(length),
            } => match why.is_empty() {
                true => Some((Vec::new(), *length)),
                false => Some((error(why), *length)),
            },
            Front::Command(_)
            | Front::Refused { length: None, .. }
            | Front::Quit
            | Front::Binary(_) => None,
        }
    }
}
