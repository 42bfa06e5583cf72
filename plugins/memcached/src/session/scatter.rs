//! A retrieval whose keys are on several servers: each is asked for its own, one after the other,
//! and the client gets all items, and one `END`.

use std::collections::{BTreeMap, VecDeque};

use leaseway_sdk::{Choice, Disposition, LeaseError, Side, Steps};

use super::{Lease, Session, own_error};
use crate::places::Place;
use crate::wire::reply::{Kind, Replies};
use crate::wire::request::Command;

/// What is still to be asked, and how far the answer under way is.
pub(super) struct Scatter {
    /// The questions behind the one that is asked, with their places.
    left: VecDeque<(Place, Vec<u8>)>,
    replies: Replies,
    past_shown: bool,
}

impl Session {
    /// Asks the servers of these keys.
    pub(super) fn scatter(&mut self, command: &Command<'_>) -> Choice {
        let head: Vec<&[u8]> = command.head().collect();
        let head = head.join(&b' ');
        let mut left: Vec<(Place, Vec<u8>)> = Vec::new();
        let mut known = BTreeMap::new();
        for key in command.keys() {
            let place = self.places.of(key);
            let at = *known.entry(place).or_insert_with(|| {
                left.push((place, head.clone()));
                left.len() - 1
            });
            left[at].1.push(b' ');
            left[at].1.extend_from_slice(key);
        }
        let mut scatter = Scatter {
            left: left.into(),
            replies: Replies::default(),
            past_shown: false,
        };
        // Taken at once, so that nothing is left to be taken if a lease fails.
        let steps = self.ask_next(&mut scatter, Steps::new().discard(command.length));
        self.lease = Lease::Scatter(scatter);
        Choice::answer(steps)
    }

    /// Leases the next server and asks it.
    fn ask_next(&mut self, scatter: &mut Scatter, steps: Steps) -> Steps {
        let Some((place, mut question)) = scatter.left.pop_front() else {
            return steps;
        };
        question.extend(b"\r\n");
        // A target in full: steps do not know which was named last. Nor does anybody afterwards, since
        // this one may never be leased.
        self.named = None;
        let target = self.places.target(place);
        steps.lease(target).send(Side::Upstream, question)
    }

    /// The server that is being asked has sent this.
    pub(super) fn gather(&mut self, data: &[u8]) -> Steps {
        let Lease::Scatter(mut scatter) = std::mem::take(&mut self.lease) else {
            return Steps::new().close("the server spoke unasked");
        };
        scatter.past_shown = false;
        let mut steps = Steps::new();
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let piece = match scatter.replies.next(rest) {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(why) => return steps.close(why.0),
            };
            match piece.kind {
                Kind::Part => steps = steps.forward(piece.length),
                Kind::End if !scatter.left.is_empty() => {
                    steps = steps.discard(piece.length).release(Disposition::Keep);
                    steps = self.ask_next(&mut scatter, steps);
                    self.lease = Lease::Scatter(scatter);
                    return steps;
                }
                // An error is the end, whoever has not been asked yet.
                Kind::End | Kind::Last => {
                    return steps.forward(piece.length).release(Disposition::Keep);
                }
                Kind::Version => return steps.close("the server spoke unasked"),
            }
            scatter.past_shown = piece.length > rest.len() as u64;
            match usize::try_from(piece.length) {
                Ok(length) if !scatter.past_shown => at += length,
                _ => break,
            }
        }
        self.lease = Lease::Scatter(scatter);
        steps
    }
}

impl Scatter {
    /// There is no connection, or no longer one. Items may have been sent before; an error in the
    /// place of the next one ends them.
    pub(super) fn failed(self, why: &LeaseError) -> Steps {
        match self.past_shown {
            true => Steps::new().close(format!("in the middle of a reply: {why}")),
            false => Steps::new().send(Side::Client, own_error(why)),
        }
    }
}
