//! The client's side: which commands at the front of its bytes go to a connection now.
//!
//! Commands are taken as many at a time as there are. What has to wait (for replies, or for
//! more bytes) is left uncovered, and the host shows it again.

use std::rc::Rc;

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Request, Side, Steps, Target};

use super::pin::Pin;
use super::{Lease, Session};
use crate::commands::{self, Class};
use crate::config::{MOST_COMMANDS_PER_LEASE, Pooling};
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
    /// Something that has to wait until replies have come.
    Wait,
    /// Empty requests, so many bytes of them.
    Empty(u64),
    /// A command that the session handles itself.
    Own(Class, Command<'a>),
    /// No request.
    Invalid(ProtocolError),
    /// A request that was taken up to here, and is none after all.
    Broken(ProtocolError),
}

/// What follows an answer of the session's own.
pub(super) enum Go {
    /// So many bytes are covered, and there may be more behind them.
    On(u64),
    /// What is there is not whole.
    Wait,
    /// There is no lease any more, or soon no session.
    End,
}

/// How many times at most one call goes from commands that are forwarded to such that are not, and
/// back: a call may return 4,096 steps.
const MAX_ROUNDS: usize = 1024;

/// How many commands at most are handed to a shared connection at a time.
const MAX_SHARED: usize = 4096;

/// A request shorter than this is not begun before its last argument is announced: a client that
/// stops between two arguments owes no bytes that the host knows of, and would hold its
/// connection for as long as it likes.
const MAX_UNMEASURED: u64 = 16 * 1024;

impl Session {
    /// The client has sent this, and no connection is leased.
    #[inline]
    pub(super) fn commands_without_lease(&mut self, shown: &[u8]) -> Choice {
        if let Some(claim) = self.claim.take() {
            // The connection that was to prove it has come and gone.
            self.identity = claim.identity;
            self.proved = true;
        }
        if !self.frame.is_done() {
            return self.swallow(shown);
        }
        if self.shared.config.pooling == Pooling::Command {
            let requests = shareable(shown);
            if !requests.is_empty() {
                return Choice::share(self.target(), requests);
            }
        }
        self.lease = Lease::default();
        let taken = self.take(shown);
        if self.lease.owed > 0 {
            self.lease.first = taken.bytes;
            let steps = self.forward(Steps::new(), &taken);
            return Choice::lease(self.target()).then(steps);
        }
        match taken.next {
            Next::More | Next::Wait => Choice::NeedMore,
            Next::Empty(bytes) => Choice::answer(Steps::new().discard(bytes)),
            Next::Own(class, command) => self.own_without_lease(class, &command, shown),
            Next::Invalid(why) | Next::Broken(why) => {
                Choice::answer(protocol_error(Steps::new(), why))
            }
        }
    }

    /// What the client needs a connection of; none if the host has been told of that last.
    fn target(&mut self) -> Option<Target> {
        let known = self.named.as_ref();
        if known.is_some_and(|known| Rc::ptr_eq(known, &self.identity)) {
            return None;
        }
        self.named = Some(Rc::clone(&self.identity));
        Some(self.identity.target())
    }

    /// The rest of a request that has been answered with an error is of no more use.
    fn swallow(&mut self, shown: &[u8]) -> Choice {
        match self.frame.cover(shown) {
            Ok(0) => Choice::NeedMore,
            Ok(bytes) => Choice::answer(Steps::new().discard(bytes)),
            Err(why) => Choice::answer(protocol_error(Steps::new(), why)),
        }
    }

    /// The client has sent this, and a connection is leased.
    #[inline]
    pub(super) fn commands_in_lease(&mut self, shown: &[u8]) -> Steps {
        // Bytes of the upstream that were covered have come, or these would not be shown.
        self.lease.past_shown = false;
        if self.lease.pin.is_streaming() {
            return Steps::new().forward_rest();
        }
        self.lease.client_waits = self.claim.is_some();
        if self.lease.client_waits {
            // Who the client is depends on the reply to its `HELLO`.
            return Steps::new();
        }
        let mut steps = Steps::new();
        let mut at = 0;
        for round in 0.. {
            if round == MAX_ROUNDS {
                return steps;
            }
            let Some(rest) = usize::try_from(at)
                .ok()
                .and_then(|at| shown.get(at..))
                .filter(|rest| !rest.is_empty())
            else {
                break;
            };
            let taken = self.take(rest);
            steps = self.forward(steps, &taken);
            if self.lease.pin.is_streaming() {
                return steps;
            }
            if self.client_ended && self.lease.may_wait() {
                return self.end_passes(steps);
            }
            if taken.bytes > 0 {
                at += taken.bytes;
                continue;
            }
            let quiet = self.lease.is_quiet();
            let go;
            (steps, go) = match taken.next {
                Next::More => (steps, Go::Wait),
                Next::Empty(bytes) => (steps.discard(bytes), Go::On(bytes)),
                Next::Own(class, command) if quiet => {
                    self.own_in_lease(class, &command, rest, steps)
                }
                Next::Invalid(why) if quiet => return protocol_error(steps, why),
                // It will never be whole, so its own reply is not waited for.
                Next::Broken(why) if quiet || self.lease.owed == 1 => {
                    return protocol_error(steps, why);
                }
                Next::Wait | Next::Own(..) | Next::Invalid(_) | Next::Broken(_) => {
                    self.lease.client_waits = true;
                    return steps;
                }
            };
            match go {
                Go::On(bytes) => at += bytes,
                Go::Wait => break,
                Go::End => return steps,
            }
        }
        // What is left here will never be whole.
        if self.client_ended && self.lease.is_quiet() {
            return steps.close("the client closed its side");
        }
        steps
    }

    /// Passes on what was taken. Where the replies cannot be counted, nobody looks at what follows
    /// either: whatever the relay said to it might overtake a reply, or stand in the middle of one.
    #[inline]
    fn forward(&self, steps: Steps, taken: &Taken<'_>) -> Steps {
        let steps = match taken.bytes {
            0 => steps,
            bytes if taken.replayable => steps.forward_idempotent(bytes),
            bytes => steps.forward(bytes),
        };
        if self.lease.pin.is_streaming() {
            return steps.forward_rest();
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
        while self.frame.is_done() && !self.lease.pin.is_streaming() {
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
        if self.lease.unknown {
            return Err(Next::Wait);
        }
        let command = match request::front(shown) {
            Parsed::Complete { value, .. } => match value {
                Front::Command(command) => command,
                Front::Empty(_) => return Err(Next::Empty(empty(shown))),
            },
            Parsed::Incomplete { .. } => return Err(Next::More),
            Parsed::Invalid(why) => return Err(Next::Invalid(why)),
        };
        let class = match commands::classify(&command) {
            Parsed::Complete { value, .. } => value,
            Parsed::Incomplete { at_least } if at_least > super::own::MAX_SHOWN => Class::Unknown,
            Parsed::Incomplete { .. } => return Err(Next::More),
            Parsed::Invalid(why) => return Err(Next::Invalid(why)),
        };
        if self.is_own(class) {
            return Err(Next::Own(class, command));
        }
        let lease = &mut self.lease;
        let most = u64::from(self.shared.config.max_commands_per_lease.get());
        let full = lease.taken >= most && !lease.pin.is_held();
        let crowded = lease.blocking.len() >= MOST_COMMANDS_PER_LEASE as usize;
        // Its replies must not be taken for those of commands around it.
        let alone = class == Class::Unknown && !lease.is_quiet();
        if full || crowded || alone {
            return Err(Next::Wait);
        }
        let (start, mut frame) = command.rest();
        let covered = frame.cover(&shown[start..]).map_err(Next::Invalid)?;
        // By what is announced, wherever the bytes stop that are here.
        if !frame.is_done() && start as u64 + covered < MAX_UNMEASURED {
            return Err(Next::More);
        }
        if lease.taken == 0 && self.shared.config.pooling == Pooling::Session {
            lease.pin = Pin::for_session();
        }
        lease.pin.see(class, command.argc == 1);
        lease.taken += 1;
        lease.owed += 1;
        lease.unknown = class == Class::Unknown;
        if class == Class::Block && !lease.pin.is_queueing() {
            lease.blocking.push_back(lease.taken);
        }
        *replayable &= class == Class::Read;
        self.frame = frame;
        Ok(start as u64 + covered)
    }

    /// Whether the session handles such a command itself, rather than forward it.
    fn is_own(&self, class: Class) -> bool {
        match class {
            Class::Quit | Class::Reset | Class::Web => true,
            // In a transaction the server counts them as commands.
            Class::SetInfo | Class::Maintenance => !self.lease.pin.is_queueing(),
            // On a pinned connection they are the client's own business with the server.
            Class::Auth | Class::Hello | Class::Select => !self.lease.pin.is_held(),
            _ => false,
        }
    }
}

/// The client's commands, if all of them may go to a connection that others use too: those that
/// leave nothing behind and have one reply at once. None of them do if something else stands behind
/// them, which is to have the same connection: `WAIT` asks for the writes in front of it. So does
/// what stands behind a write and cannot be read yet.
fn shareable(shown: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut at = 0;
    let mut only_reads = true;
    while let Some(rest) = shown.get(at..).filter(|rest| !rest.is_empty()) {
        match front_fits(rest) {
            Fit::Shared(request) if requests.len() < MAX_SHARED => {
                at += request.length as usize;
                only_reads &= request.idempotent;
                requests.push(request);
            }
            Fit::Shared(_) => break,
            Fit::Open if only_reads => break,
            Fit::Open | Fit::Own => return Vec::new(),
        }
    }
    requests
}

/// Whether a command fits on a connection that others use too.
enum Fit {
    /// It does.
    Shared(Request),
    /// It cannot be told before more has come, or before it stands alone.
    Open,
    /// It needs a connection of its own, or none.
    Own,
}

/// Looks at the command at the front.
fn front_fits(shown: &[u8]) -> Fit {
    let command = match request::front(shown) {
        Parsed::Complete {
            value: Front::Command(command),
            ..
        } => command,
        Parsed::Incomplete { .. } => return Fit::Open,
        Parsed::Complete { .. } | Parsed::Invalid(_) => return Fit::Own,
    };
    let idempotent = match commands::classify(&command) {
        Parsed::Complete { value, .. } => match value {
            Class::Read => true,
            Class::Write => false,
            _ => return Fit::Own,
        },
        Parsed::Incomplete { .. } => return Fit::Open,
        Parsed::Invalid(_) => return Fit::Own,
    };
    if !commands::may_stand_behind_others(&command) {
        return Fit::Open;
    }
    let (start, mut frame) = command.rest();
    let Ok(covered) = frame.cover(&shown[start..]) else {
        return Fit::Open;
    };
    match u32::try_from(start as u64 + covered) {
        Ok(length) if frame.is_done() && length as usize <= shown.len() => Fit::Shared(Request {
            length,
            replies: 1,
            idempotent,
        }),
        _ => Fit::Open,
    }
}

/// How long the empty requests at the front are. No server needs them, and one that took such a
/// thing for an error would say so to whoever has the connection by then.
fn empty(shown: &[u8]) -> u64 {
    let mut bytes = 0;
    while let Some(rest) = shown.get(bytes..)
        && let Parsed::Complete {
            value: Front::Empty(len),
            ..
        } = request::front(rest)
    {
        bytes += len;
    }
    bytes as u64
}

/// As Redis says it, and closes.
pub(super) fn protocol_error(steps: Steps, why: ProtocolError) -> Steps {
    steps
        .send(
            Side::Client,
            write::error(&format!("ERR Protocol error: {why}")),
        )
        .close(format!("protocol error: {why}"))
}
