//! The client's side: which commands at the front of its bytes go to a connection now.
//!
//! Commands are taken as many at a time as there are. What has to wait (for replies, or for
//! more bytes) is left uncovered, and the host shows it again.

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Side, Steps};

use super::pin::Pin;
use super::{Lease, Session};
use crate::commands::{self, Class};
use crate::config::Pooling;
use crate::resp::request::{self, Command, Front, ProtocolError};
use crate::resp::write;

/// Commands to forward, and what stopped the search for more.
struct Taken<'a> {
    /// How many bytes they cover, also past what was shown.
    bytes: u64,
    /// Whether they may all be sent twice.
    replayable: bool,
    next: Next<'a>,
}

/// What stands behind the commands that were taken.
enum Next<'a> {
    /// Nothing that could be judged yet.
    More,
    /// Commands that this lease has no room for.
    Full,
    /// A command that the session handles itself.
    Own(Class, Command<'a>),
    /// No request.
    Invalid(ProtocolError),
    /// A request that was taken up to here, and is none after all.
    Broken(ProtocolError),
}

impl Session {
    /// The client has sent this, and no connection is leased.
    #[inline]
    pub(super) fn commands_without_lease(&mut self, shown: &[u8]) -> Choice {
        if let Some(claim) = self.claim.take() {
            // The connection that was to prove it has come and gone.
            self.identity = claim.identity;
        }
        if !self.frame.is_done() {
            return self.swallow(shown);
        }
        self.lease = Lease::default();
        let taken = self.take(shown);
        if self.lease.owed > 0 {
            self.lease.first = taken.bytes;
            let steps = forward(taken.bytes, taken.replayable);
            return Choice::lease(self.identity.target()).then(steps);
        }
        if taken.bytes > 0 {
            // Empty requests.
            return Choice::answer(Steps::new().discard(taken.bytes));
        }
        match taken.next {
            Next::More | Next::Full => Choice::NeedMore,
            Next::Own(class, command) => self.own_without_lease(class, &command),
            Next::Invalid(why) | Next::Broken(why) => Choice::answer(protocol_error(why)),
        }
    }

    /// The rest of a request that has been answered with an error is of no more use.
    fn swallow(&mut self, shown: &[u8]) -> Choice {
        match self.frame.cover(shown) {
            Ok(0) => Choice::NeedMore,
            Ok(bytes) => Choice::answer(Steps::new().discard(bytes)),
            Err(why) => Choice::answer(protocol_error(why)),
        }
    }

    /// The client has sent this, and a connection is leased.
    #[inline]
    pub(super) fn commands_in_lease(&mut self, shown: &[u8]) -> Steps {
        // Bytes of the upstream that were covered have come, or these would not be shown.
        self.lease.past_shown = false;
        self.lease.client_waits = self.claim.is_some();
        if self.lease.client_waits {
            // Who the client is depends on the reply to its `HELLO`.
            return Steps::new();
        }
        let taken = self.take(shown);
        if taken.bytes > 0 {
            return forward(taken.bytes, taken.replayable);
        }
        let quiet = self.lease.is_quiet();
        let steps = match taken.next {
            Next::More => Steps::new(),
            Next::Own(class, command) if quiet => self.own_in_lease(class, &command),
            Next::Invalid(why) if quiet => protocol_error(why),
            // It will never be whole, so its own reply is not waited for.
            Next::Broken(why) if quiet || self.lease.owed == 1 => protocol_error(why),
            Next::Full | Next::Own(..) | Next::Invalid(_) | Next::Broken(_) => {
                self.lease.client_waits = true;
                Steps::new()
            }
        };
        if self.client_ended && !self.lease.client_waits && self.lease.is_quiet() {
            return steps.close("the client closed its side");
        }
        steps
    }

    /// Takes the commands at the front that can be sent, and takes note of them.
    #[inline]
    fn take<'a>(&mut self, shown: &'a [u8]) -> Taken<'a> {
        let mut taken = Taken {
            bytes: 0,
            replayable: true,
            next: Next::More,
        };
        if !self.frame.is_done() {
            // What has been sent of it decides whether it may be sent twice; to say no is safe.
            taken.replayable = false;
            match self.frame.cover(shown) {
                Ok(bytes) => taken.bytes = bytes,
                Err(why) => {
                    taken.next = Next::Broken(why);
                    return taken;
                }
            }
        }
        while self.frame.is_done() {
            let Some(rest) = usize::try_from(taken.bytes)
                .ok()
                .and_then(|at| shown.get(at..))
                .filter(|rest| !rest.is_empty())
            else {
                break;
            };
            match self.take_one(rest, &mut taken.replayable) {
                Ok(bytes) => taken.bytes += bytes,
                Err(next) => {
                    taken.next = next;
                    break;
                }
            }
        }
        taken
    }

    /// Takes the command at the front; how many bytes of it are covered.
    #[inline]
    fn take_one<'a>(&mut self, shown: &'a [u8], replayable: &mut bool) -> Result<u64, Next<'a>> {
        let command = match request::front(shown) {
            Parsed::Complete { value, .. } => match value {
                Front::Command(command) => command,
                Front::Empty(len) => return Ok(len as u64),
            },
            Parsed::Incomplete { .. } => return Err(Next::More),
            Parsed::Invalid(why) => return Err(Next::Invalid(why)),
        };
        let class = match commands::classify(&command) {
            Parsed::Complete { value, .. } => value,
            Parsed::Incomplete { at_least } if at_least > super::own::MAX_SHOWN => Class::Stream,
            Parsed::Incomplete { .. } => return Err(Next::More),
            Parsed::Invalid(why) => return Err(Next::Invalid(why)),
        };
        if self.is_own(class) {
            return Err(Next::Own(class, command));
        }
        let lease = &mut self.lease;
        let most = u64::from(self.shared.config.max_commands_per_lease.get());
        if lease.taken >= most && !lease.pin.is_held() {
            return Err(Next::Full);
        }
        let (start, mut frame) = command.rest();
        let covered = frame.cover(&shown[start..]).map_err(Next::Invalid)?;
        if lease.taken == 0 && self.shared.config.pooling == Pooling::Session {
            lease.pin = Pin::for_session();
        }
        lease.pin.see(class, command.argc == 1);
        lease.taken += 1;
        lease.owed += 1;
        *replayable &= class == Class::Read;
        self.frame = frame;
        Ok(start as u64 + covered)
    }

    /// Whether the session handles such a command itself, rather than forward it.
    fn is_own(&self, class: Class) -> bool {
        match class {
            Class::Quit | Class::Reset | Class::SetInfo | Class::Web => true,
            // On a pinned connection they are the client's own business with the server.
            Class::Auth | Class::Hello | Class::Select => !self.lease.pin.is_held(),
            _ => false,
        }
    }
}

#[inline]
fn forward(bytes: u64, replayable: bool) -> Steps {
    if replayable {
        Steps::new().forward_idempotent(bytes)
    } else {
        Steps::new().forward(bytes)
    }
}

/// As Redis says it, and closes.
fn protocol_error(why: ProtocolError) -> Steps {
    Steps::new()
        .send(
            Side::Client,
            write::error(&format!("ERR Protocol error: {why}")),
        )
        .close(format!("protocol error: {why}"))
}
