//! Commands over a connection of their own: those whose replies cannot be counted (`noreply`, the
//! flag `q`), those whose replies are lists, and values that are too long to be shown.
//!
//! Behind them the server is asked for its version. Servers answer in order, so whatever comes
//! before that answer is the client's, and behind it nothing is left to come.

use leaseway_sdk::{Choice, Disposition, LeaseError, Side, Steps};

use super::{Lease, Session, error, own_error};
use crate::places::Place;
use crate::wire::reply::{Kind, Replies, is_before_1_6};
use crate::wire::request::{Class, Command};

/// What ends the exchange.
const SENTINEL: &[u8] = b"version\r\n";

/// How many commands one connection carries before others get their turn.
const MAX_COMMANDS: usize = 1024;

/// A value shorter than this is waited for before a connection is: a slow client holds none.
const MAX_WAITED: u64 = 16 * 1024;

/// What a data block ends with.
const BLOCK_END: &[u8] = b"\r\n";

/// Commands on a connection of their own.
#[derive(Default)]
pub(super) struct Batch {
    /// How many of the client's bytes they are.
    length: u64,
    /// How many of them are told if they fail.
    errors: u64,
    /// How many have a reply for certain.
    loud: u64,
    /// How many have one at most.
    quiet: u64,
    /// A data block passes unseen, and its end has not been looked at.
    open: bool,
    /// The sentinel has been sent.
    asked: bool,
    /// Replies that have ended.
    seen: u64,
    replies: Replies,
    /// More has been covered than was shown, and nobody knows whether it has come.
    past_shown: bool,
    /// What looks like the answer to the sentinel may be a client's making: nobody is to have the
    /// connection next.
    spent: bool,
    /// A store that is not to be answered is among them: an old server may have taken its data block
    /// for commands, one of which is the sentinel's double.
    unanswered_store: bool,
}

impl Session {
    /// The command at the front needs a connection of its own, and those behind it may come along.
    pub(super) fn batch(&mut self, place: Place, first: &Command<'_>, shown: &[u8]) -> Choice {
        let mut batch = Batch::default();
        if first.length > shown.len() as u64 {
            if first.length <= MAX_WAITED {
                return Choice::NeedMore;
            }
            batch.add(first);
            batch.open = true;
            // The end of the block is to be seen: a server that misses it takes what follows for
            // commands.
            let steps = Steps::new().forward(first.length - BLOCK_END.len() as u64);
            self.lease = Lease::Batch(batch);
            return Choice::lease(self.target(place)).then(steps);
        }
        for command in self.along(place, shown, 0).take(MAX_COMMANDS) {
            // The client's own question would be taken for the sentinel.
            if command.class == Class::Version || self.is_for_each(&command) {
                break;
            }
            batch.add(&command);
        }
        batch.asked = true;
        let steps = Steps::new()
            .forward(batch.length)
            .send(Side::Upstream, SENTINEL);
        self.lease = Lease::Batch(batch);
        Choice::lease(self.target(place)).then(steps)
    }
}

impl Batch {
    fn add(&mut self, command: &Command<'_>) {
        self.length += command.length;
        self.spent |= command.echoes;
        self.unanswered_store |=
            matches!(command.class, Class::Quiet { .. }) && command.has_block();
        match command.class {
            Class::Quiet { errors } => {
                self.quiet += 1;
                self.errors += u64::from(errors);
            }
            Class::Admin { quiet: true } => self.quiet += 1,
            _ => {
                self.loud += 1;
                self.errors += 1;
            }
        }
    }

    /// Whether the client cannot finish any more what it has begun.
    pub(super) fn is_cut(&self) -> bool {
        self.open
    }

    /// The client has sent more.
    pub(super) fn rest(&mut self, data: &[u8]) -> Steps {
        if !self.open {
            return Steps::new();
        }
        let Some(end) = data.get(..BLOCK_END.len()) else {
            return Steps::new();
        };
        if end != BLOCK_END {
            let why = "CLIENT_ERROR bad data chunk";
            // Where a reply may be under way, nothing is said.
            return match self.seen == 0 && self.replies.at_boundary() && !self.past_shown {
                true => Steps::new().send(Side::Client, error(why)).close(why),
                false => Steps::new().close(why),
            };
        }
        self.open = false;
        self.asked = true;
        Steps::new()
            .forward(BLOCK_END.len() as u64)
            .send(Side::Upstream, SENTINEL)
    }

    /// The server has sent this.
    pub(super) fn replies(&mut self, data: &[u8]) -> Steps {
        // The host shows more only when everything covered has come.
        self.past_shown = false;
        let mut steps = Steps::new();
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let piece = match self.replies.next(rest) {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(why) => return steps.close(why.0),
            };
            match piece.kind {
                Kind::Version if !self.asked => return steps.close("the server spoke unasked"),
                Kind::Version if self.seen < self.loud => {
                    return steps.close("the server has left out a reply");
                }
                Kind::Version => {
                    let answer = rest.get(..piece.length as usize).unwrap_or_default();
                    let in_doubt = self.unanswered_store && is_before_1_6(answer);
                    let disposition = Disposition::keep_if(!self.spent && !in_doubt);
                    return steps.discard(piece.length).release(disposition);
                }
                Kind::End | Kind::Last => self.seen += 1,
                Kind::Part => {}
            }
            if self.seen > self.loud + self.quiet {
                return steps.close("the server spoke unasked");
            }
            steps = steps.forward(piece.length);
            self.past_shown = piece.length > rest.len() as u64;
            match usize::try_from(piece.length) {
                Ok(length) if !self.past_shown => at += length,
                _ => break,
            }
        }
        steps
    }

    /// There is no connection, or no longer one.
    pub(super) fn failed(self, why: &LeaseError) -> Steps {
        let said = own_error(why);
        if !matches!(why, LeaseError::Lost(_)) {
            // All of it still stands in front of the client's bytes.
            let errors = said.repeat(usize::try_from(self.errors).unwrap_or(1));
            let steps = match errors.is_empty() {
                true => Steps::new(),
                false => Steps::new().send(Side::Client, errors),
            };
            return steps.discard(self.length);
        }
        if self.past_shown || !self.replies.at_boundary() || self.quiet > 0 {
            // Which of them it was whose reply has not come, nobody knows.
            return Steps::new().close(format!("in the middle of replies: {why}"));
        }
        let owed = usize::try_from(self.loud.saturating_sub(self.seen)).unwrap_or(1);
        let steps = Steps::new().send(Side::Client, said.repeat(owed));
        match self.open {
            true => steps.discard(BLOCK_END.len() as u64),
            false => steps,
        }
    }
}
