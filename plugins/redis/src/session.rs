//! One client: which of its commands go where, and when its connection is free for others.

use leaseway_sdk::{
    Choice, ChooseUpstream, Disposition, LeaseError, LeaseOutcome, OnData, OnEof, OnLeaseFailed,
    PoolReturn, Side, Steps,
};

use crate::Pooling;
use crate::commands::Class;
use crate::conversations::encode;
use crate::identity::Identity;
use crate::request::{Local, Request, read};
use crate::resp::reply::Replies;
use crate::resp::request::Rest;

/// One client.
#[derive(Debug)]
pub struct Session {
    pooling: Pooling,
    max_commands: u64,
    default_identity: Identity,
    identity: Identity,
    /// Set while a lease under a new identity is under way.
    previous: Option<Identity>,
    /// The request that is covered in part.
    rest: Rest,
    /// Bytes that the lease under way is to forward first.
    asked: u64,
    /// Replies that have not been covered.
    expected: u64,
    replies: Replies,
    /// Commands of this lease.
    commands: u64,
    hold: Hold,
}

/// Why the connection is not free behind the last reply.
#[derive(Debug, Clone, Copy, Default)]
struct Hold {
    multi: bool,
    watch: bool,
    asking: bool,
    /// For the rest of the session; RESET would mend it.
    pinned: bool,
    /// Replies cannot be counted: copied until the session ends.
    stream: bool,
    /// Something here was refused, so that what we think of the connection may not be so.
    doubt: bool,
}

impl Hold {
    fn any(self) -> bool {
        self.multi || self.watch || self.asking || self.pinned || self.stream
    }
}

/// What to do with the bytes at the front.
enum Plan {
    /// Cannot tell, or cannot yet.
    Wait,
    /// Forward so many, all of them safe to send twice or not.
    Forward { count: u64, idempotent: bool },
    /// Swallow so many.
    Discard(u64),
    /// Something that is not forwarded as it is.
    Local { what: Local, len: u64 },
    /// The client does not speak RESP.
    Refuse(&'static str),
}

impl Session {
    pub(crate) fn new(identity: Identity, pooling: Pooling, max_commands: u64) -> Self {
        Self {
            pooling,
            max_commands,
            default_identity: identity.clone(),
            identity,
            previous: None,
            rest: Rest::default(),
            asked: 0,
            expected: 0,
            replies: Replies::default(),
            commands: 0,
            hold: Hold::default(),
        }
    }

    /// Whether the connection stays with the client behind the last reply.
    fn holds(&self) -> bool {
        self.hold.any() || self.pooling == Pooling::Session
    }

    /// Decides about the bytes at the front, as many as make one step.
    fn plan(&mut self, data: &[u8], leased: bool) -> Plan {
        let mut count = 0;
        let mut idempotent = true;
        while let Some(shown) = usize::try_from(count).ok().and_then(|at| data.get(at..)) {
            if !self.rest.is_done() {
                match self.rest.cover(shown) {
                    Ok(0) => break,
                    Ok(covered) => count += covered,
                    Err(why) => return Plan::Refuse(why),
                }
                continue;
            }
            if shown.is_empty() || self.commands >= self.max_commands && !self.holds() {
                break;
            }
            let first = count == 0;
            match read(shown, &self.identity, leased && self.holds()) {
                Request::Unknown => break,
                Request::Invalid(why) if first => return Plan::Refuse(why),
                Request::Empty(len) if first => return Plan::Discard(len),
                Request::Local { what, len } if first && self.expected == 0 => {
                    return Plan::Local { what, len };
                }
                Request::Forward {
                    class,
                    alone,
                    covered,
                    rest,
                } => {
                    // Replies that cannot be counted begin behind all that can.
                    let stream = class == Class::Stream;
                    if stream && !(first && self.expected == 0) {
                        break;
                    }
                    idempotent &= class == Class::Plain { read: true };
                    self.take(class, alone);
                    self.rest = rest;
                    count += covered;
                    if stream {
                        break;
                    }
                }
                // It waits until what is under way has gone.
                Request::Invalid(_) | Request::Empty(_) | Request::Local { .. } => break,
            }
        }
        if count == 0 {
            Plan::Wait
        } else {
            Plan::Forward { count, idempotent }
        }
    }

    /// Takes note of a command that is forwarded.
    fn take(&mut self, class: Class, alone: bool) {
        self.commands += 1;
        let hold = &mut self.hold;
        if hold.stream {
            return;
        }
        self.expected += 1;
        hold.asking = false;
        match class {
            // Refused with arguments, which leaves everything as it is.
            Class::Multi if alone => hold.multi = true,
            Class::EndOfMulti if alone && hold.multi => {
                hold.multi = false;
                hold.watch = false;
            }
            Class::Unwatch if alone && !hold.multi => hold.watch = false,
            Class::Watch => hold.watch = true,
            Class::Asking => hold.asking = true,
            Class::Pin => hold.pinned = true,
            Class::Stream => {
                hold.stream = true;
                self.expected = 0;
            }
            _ => {}
        }
    }

    /// The connection goes; what remains is as at the start of the session.
    fn let_go(&mut self) -> Disposition {
        let disposition = self.disposition();
        self.hold = Hold::default();
        self.commands = 0;
        self.replies = Replies::default();
        disposition
    }

    /// What may become of the connection as it stands.
    fn disposition(&self) -> Disposition {
        if self.expected > 0 || !self.replies.at_boundary() || self.hold.stream {
            Disposition::Close
        } else if self.holds() || self.hold.doubt {
            Disposition::Reset
        } else {
            Disposition::Keep
        }
    }

    /// Steps for a command that is answered here, while nothing is under way.
    fn answer(&mut self, what: &Local, len: u64, leased: bool) -> Steps {
        let steps = Steps::new().discard(len);
        match what {
            Local::Quit => steps.send(Side::Client, b"+OK\r\n").close("QUIT"),
            Local::Swallow => steps.send(Side::Client, b"+OK\r\n"),
            Local::Refuse(why) => steps.send(Side::Client, format!("-{why}\r\n")),
            Local::Reset => {
                self.identity = self.default_identity.clone();
                let steps = if leased {
                    steps.release(self.let_go())
                } else {
                    steps
                };
                steps.send(Side::Client, b"+RESET\r\n")
            }
            // Only ever without a lease: see `choose_upstream`.
            Local::Become(_) | Local::Hello { .. } => steps.close("an identity cannot change here"),
        }
    }

    /// An error for every command that waits for a reply.
    fn sorry(&mut self, text: &str, steps: Steps) -> Steps {
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let errors = std::mem::take(&mut self.expected);
        let mut bytes = Vec::new();
        for _ in 0..errors {
            bytes.extend_from_slice(text.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        if bytes.is_empty() {
            steps
        } else {
            steps.send(Side::Client, bytes)
        }
    }
}

impl ChooseUpstream for Session {
    fn choose_upstream(&mut self, bytes: &[u8]) -> Choice {
        self.settle_identity();
        if !self.rest.is_done() {
            // The tail of a request whose connection was lost.
            return match self.rest.cover(bytes) {
                Ok(0) => Choice::NeedMore,
                Ok(covered) => Choice::answer(Steps::new().discard(covered)),
                Err(why) => protocol_error(why),
            };
        }
        self.commands = 0;
        match self.plan(bytes, false) {
            Plan::Wait => Choice::NeedMore,
            Plan::Forward { count, idempotent } => {
                self.asked = count;
                let steps = Steps::new();
                let then = if idempotent {
                    steps.forward_idempotent(count)
                } else {
                    steps.forward(count)
                };
                Choice::lease(self.identity.target()).then(then)
            }
            Plan::Discard(len) => Choice::answer(Steps::new().discard(len)),
            Plan::Refuse(why) => protocol_error(why),
            Plan::Local {
                what: Local::Become(identity),
                len,
            } => {
                self.asked = len;
                self.expected = 1;
                let then = Steps::new().discard(len).send(Side::Client, b"+OK\r\n");
                let target = identity.target();
                self.previous = Some(std::mem::replace(&mut self.identity, identity));
                let keep = if self.pooling == Pooling::Session {
                    then
                } else {
                    then.release(Disposition::Keep)
                };
                Choice::lease(target).then(keep)
            }
            Plan::Local {
                what: Local::Hello { identity, name },
                len,
            } => {
                self.asked = len;
                self.expected = 1;
                self.commands = 1;
                let version = [b'0' + identity.protocol];
                let mut words: Vec<&[u8]> = vec![b"HELLO", &version];
                if let Some(name) = &name {
                    words.extend([b"SETNAME", name.as_slice()]);
                    self.hold.pinned = true;
                }
                let hello = encode(&words);
                let then = Steps::new().discard(len).send(Side::Upstream, hello);
                let target = identity.target();
                self.previous = Some(std::mem::replace(&mut self.identity, identity));
                Choice::lease(target).then(then)
            }
            Plan::Local { what, len } => Choice::answer(self.answer(&what, len, false)),
        }
    }
}

fn protocol_error(why: &str) -> Choice {
    Choice::refuse(format!("-ERR Protocol error: {why}\r\n"), why)
}

impl OnData for Session {
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps {
        self.settle_identity();
        let steps = Steps::new();
        if origin == Side::Client {
            return match self.plan(data, true) {
                Plan::Wait => steps,
                Plan::Forward {
                    count,
                    idempotent: true,
                } => steps.forward_idempotent(count),
                Plan::Forward { count, .. } => steps.forward(count),
                Plan::Discard(len) => steps.discard(len),
                Plan::Local {
                    what: Local::Become(_) | Local::Hello { .. },
                    ..
                } => steps,
                Plan::Local { what, len } => self.answer(&what, len, true),
                Plan::Refuse(why) => steps
                    .send(Side::Client, format!("-ERR Protocol error: {why}\r\n"))
                    .close(why),
            };
        }
        if self.hold.stream {
            return steps.forward_rest();
        }
        match self.replies.cover(data, self.expected) {
            Err(why) => steps.close(why.to_string()),
            Ok(covered) if covered.bytes == 0 && self.expected == 0 => {
                steps.close("the server sent a reply that nobody asked for")
            }
            Ok(covered) => {
                self.expected -= covered.replies.min(self.expected);
                // What was refused may not have begun or ended what it would have.
                self.hold.doubt |= covered.errors && self.hold.any();
                let steps = steps.forward(covered.bytes);
                if self.expected == 0 && self.replies.at_boundary() && !self.holds() {
                    return steps.release(self.let_go());
                }
                steps
            }
        }
    }
}

impl Session {
    /// A lease under a new identity has come: it stays.
    fn settle_identity(&mut self) {
        if self.previous.take().is_some() && self.commands == 0 {
            // AUTH or SELECT, answered by the step behind the lease.
            self.expected = 0;
        }
    }
}

impl OnEof for Session {
    fn on_eof(&mut self, _: Side) -> Steps {
        if self.expected > 0 && !self.hold.stream {
            return Steps::new();
        }
        Steps::new().close("the client is gone")
    }
}

impl OnLeaseFailed for Session {
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps {
        let text = match why {
            LeaseError::HandshakeFailed(text) if text.starts_with(|c: char| c.is_uppercase()) => {
                format!("-{text}")
            }
            why => format!("-ERR leaseway: {why}"),
        };
        let lost = matches!(why, LeaseError::Lost(_));
        let whole = self.replies.at_boundary();
        let held = std::mem::take(&mut self.hold);
        self.replies = Replies::default();
        self.commands = 0;
        if let Some(previous) = self.previous.take() {
            self.identity = previous;
        }
        if !lost {
            // Nothing was sent, so nothing is held either, whatever the commands would have begun.
            let steps = Steps::new().discard(std::mem::take(&mut self.asked));
            return self.sorry(&text, steps);
        }
        if !whole {
            return Steps::new().close(format!("in mid-reply: {why}"));
        }
        // What was held on the connection is lost with it: the client must not go on as if not.
        let gone = held.any() || self.pooling == Pooling::Session;
        self.expected = self.expected.max(u64::from(gone));
        let steps = self.sorry(&text, Steps::new());
        if gone {
            steps.close(format!("with its state: {why}"))
        } else {
            steps.discard(0)
        }
    }
}

impl PoolReturn for Session {
    fn pool_return(&mut self, _: LeaseOutcome) -> Disposition {
        self.disposition()
    }
}
