//! Messages of a client that has logged in: which of them go on a connection, and as what.
//!
//! Those that name a prepared statement go under the name that the statement has on connections, behind
//! its `Parse` where this connection does not have it yet. The others pass as they are.

mod message;
mod named;
mod outgoing;

use std::rc::Rc;

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Side, Steps};

use super::lease::{Batch, Harmless};
use super::ledger::Sent;
use super::{MAX_STEPS, Named, Session};
use crate::config::Pooling;
use crate::profile::Profile;
use crate::sql::Lone;
use crate::wire::{self, write};

use message::Message;
use outgoing::Outgoing;

/// How many bytes of our own a call sends at most, or little more; what is left is shown again.
const MAX_OWN: usize = 256 << 10;

/// How many messages a call takes at most, for its time; what is left is shown again.
const MAX_MESSAGES: usize = 1000;

/// What is wrong with a client's message: SQLSTATE and words.
type Wrong = (&'static str, String);

/// What stands behind the messages that have been taken.
enum Next {
    /// Nothing that could be judged yet.
    More,
    /// One that has to wait until others have been answered.
    Answers,
    /// One for which the connection has to be known.
    OnConnection,
    /// `Terminate`, so many bytes long.
    Goodbye(u64),
    /// None that may go there, and why.
    Invalid(Wrong),
}

/// What has become of one message.
enum Taken {
    /// It is on its way.
    Whole,
    /// What is behind it.
    Not(Next),
}

const MORE: Taken = Taken::Not(Next::More);

const ANSWERS: Taken = Taken::Not(Next::Answers);

impl Session {
    /// The client has sent this, and no connection is leased.
    pub(super) fn messages_without_lease(&mut self, shown: &[u8]) -> Choice {
        self.lease.renew();
        if let Parsed::Complete { value: head, .. } = wire::head(shown)
            && matches!(head.kind, b'd' | b'c' | b'f' | b'H')
        {
            // Too late, or to no effect; and no answer would end its lease.
            return Choice::answer(Steps::new().discard(head.length));
        }
        if let Some(length) = self.forgets(shown) {
            let steps = Steps::new().discard(length);
            return Choice::answer(steps.send(Side::Client, deallocated(b'I')));
        }
        if let Some(answer) = self.prepares(shown) {
            return Choice::answer(answer);
        }
        let reads_only = self.reads_only(shown);
        let (out, next) = self.take(shown, false);
        let steps = out.into_steps();
        if steps.is_empty() {
            match next {
                Next::More | Next::Answers => return Choice::NeedMore,
                Next::OnConnection => {}
                Next::Goodbye(bytes) => return Choice::answer(goodbye(steps, bytes)),
                Next::Invalid(why) => return Choice::answer(refused(steps, &why)),
            }
        }
        let named = match reads_only {
            true => Named::ReadOnly,
            false => Named::Usual,
        };
        let target = match &self.profile {
            Some(profile) if self.named != named => match named {
                Named::ReadOnly => profile.read_only_target.clone(),
                _ => Some(profile.target.clone()),
            },
            _ => None,
        };
        self.named = named;
        Choice::lease(target).then(steps)
    }

    /// The client has sent this, and a connection is leased.
    pub(super) fn messages_in_lease(&mut self, shown: &[u8]) -> Steps {
        let (out, next) = self.take(shown, true);
        let steps = out.into_steps();
        if !steps.is_empty() {
            return steps;
        }
        match next {
            Next::More | Next::Answers | Next::OnConnection => steps,
            Next::Goodbye(bytes) => goodbye(steps, bytes),
            Next::Invalid(why) => refused(steps, &why),
        }
    }

    /// Whether statements with a name go from connection to connection.
    fn shares_statements(&self) -> bool {
        self.pooling != Pooling::Session && self.shared.config.max_prepared_statements > 0
    }

    /// Takes the messages at the front that go to the server, and takes note of them.
    fn take(&mut self, shown: &[u8], has_lease: bool) -> (Outgoing, Next) {
        let mut out = Outgoing::default();
        let mut at = 0_u64;
        let mut count = 0;
        let next = loop {
            let rest = usize::try_from(at).ok().and_then(|at| shown.get(at..));
            let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
                break Next::More;
            };
            let head = match wire::head(rest) {
                Parsed::Complete { value, .. } => value,
                Parsed::Incomplete { .. } => break Next::More,
                Parsed::Invalid(why) => break Next::Invalid(("08P01", why.to_owned())),
            };
            if self.lease.ledger.holds_up(head.kind) && head.kind != b'X' {
                break match self.lease.ledger.takes_data() {
                    true => Next::Invalid(("08P01", "too many messages in a COPY".to_owned())),
                    false => Next::Answers,
                };
            }
            let is_long = out.steps.as_slice().len() >= MAX_STEPS || out.bytes.len() >= MAX_OWN;
            if is_long || count >= MAX_MESSAGES {
                break Next::More;
            }
            count += 1;
            if self.lease.ledger.passes_over() && !matches!(head.kind, b'S' | b'X') {
                out.swallow(head.length);
                at += head.length;
                continue;
            }
            let message = Message {
                rest,
                length: head.length,
                has_lease,
            };
            let taken = match head.kind {
                b'X' => break Next::Goodbye(head.length),
                b'Q' => self.query(message, &mut out),
                b'P' => self.parse(message, &mut out),
                b'B' => self.bind(message, &mut out),
                b'D' | b'C' => self.describe_or_close(head.kind, message, &mut out),
                b'E' => self.execute(message, &mut out),
                b'F' => self.calls(message, &mut out),
                b'S' => self.passes(message, Sent::Sync, Batch::Open, &mut out),
                b'c' | b'f' => self.passes(message, Sent::CopyEnd, Batch::Open, &mut out),
                b'd' | b'H' => {
                    out.pass(rest, head.length);
                    Taken::Whole
                }
                kind => {
                    let why = format!("invalid frontend message type {kind}");
                    break Next::Invalid(("08P01", why));
                }
            };
            match taken {
                Taken::Whole => at += head.length,
                Taken::Not(next) => break next,
            }
        };
        if has_lease && matches!(next, Next::Answers) && self.lease.ledger.flushes() {
            // What the client waits for must not wait for its `Sync`.
            out.own(&write::flush());
        }
        (out, next)
    }

    fn passes(
        &mut self,
        message: Message<'_>,
        sent: Sent,
        batch: Batch,
        out: &mut Outgoing,
    ) -> Taken {
        self.lease.send(sent, batch);
        out.pass(message.rest, message.length);
        Taken::Whole
    }

    fn query(&mut self, message: Message<'_>, out: &mut Outgoing) -> Taken {
        let Some(lone) = message.lone(wire::HEAD) else {
            return MORE;
        };
        // In a transaction that has failed the server refuses it.
        let status = self.lease.ledger.status();
        if message.has_lease
            && self.lease.ledger.is_at_rest()
            && status != b'E'
            && let Some(length) = self.forgets(message.rest)
        {
            out.swallow(length);
            out.tell(deallocated(status));
            return Taken::Whole;
        }
        // Which the server forgets with any query of the simple protocol.
        self.lease.unbound = false;
        let batch = self.batch_of(lone);
        if batch == Batch::HarmlessSet {
            self.taint();
        }
        let taken = self.passes(message, Sent::Query, batch, out);
        self.lease.runs |= !lone.sets_nothing();
        self.lease.forgets += usize::from(lone == Lone::ForgetAll);
        taken
    }

    fn batch_of(&self, lone: Lone<'_>) -> Batch {
        match lone {
            Lone::SetLocal => Batch::HarmlessSet,
            Lone::Set(name) if self.shared.tracked.find(name).is_some() => Batch::HarmlessSet,
            _ => Batch::Other,
        }
    }

    /// Settings change in the transaction under way: until it has ended, statements go by names that no other
    /// transaction has.
    fn taint(&mut self) {
        self.lease.taint();
        self.own_digest();
    }

    fn execute(&mut self, message: Message<'_>, out: &mut Outgoing) -> Taken {
        // The portal without a name is of this batch; another may be of any.
        let (batch, is_harmless) = match message.body().first() {
            None => return MORE,
            Some(0) => {
                let bound = Harmless::Bound(self.lease.ledger.segment());
                (Batch::Runs, self.lease.harmless == bound)
            }
            Some(_) => (Batch::Other, false),
        };
        let taken = self.passes(message, Sent::Execute, batch, out);
        self.lease.runs |= !is_harmless;
        taken
    }

    fn calls(&mut self, message: Message<'_>, out: &mut Outgoing) -> Taken {
        let taken = self.passes(message, Sent::Query, Batch::Other, out);
        self.lease.runs = true;
        taken
    }

    /// Whether this is a query, and nothing else, that has the session forget a statement which no server
    /// knows by that name: its length.
    fn forgets(&mut self, shown: &[u8]) -> Option<u64> {
        let Parsed::Complete { value: head, .. } = wire::head(shown) else {
            return None;
        };
        let message = Message {
            rest: shown,
            length: head.length,
            has_lease: false,
        };
        if head.kind != b'Q' {
            return None;
        }
        match message.lone(wire::HEAD)? {
            Lone::Deallocate(name) => self.names.remove(name).map(|_| head.length),
            _ => None,
        }
    }

    /// Whether the first message begins a transaction that only reads, and there are connections for
    /// those.
    fn reads_only(&self, shown: &[u8]) -> bool {
        let has_target = |profile: &Rc<Profile>| profile.read_only_target.is_some();
        if !self.profile.as_ref().is_some_and(has_target) {
            return false;
        }
        let Parsed::Complete { value: head, .. } = wire::head(shown) else {
            return false;
        };
        let message = Message {
            rest: shown,
            length: head.length,
            has_lease: false,
        };
        let behind = match head.kind {
            b'Q' => wire::HEAD,
            b'P' => wire::HEAD + 1,
            _ => return false,
        };
        message.lone(behind) == Some(Lone::BeginReadOnly)
    }
}

fn deallocated(status: u8) -> Vec<u8> {
    let mut words = write::message(b'C', b"DEALLOCATE\0");
    words.extend(write::message(b'Z', &[status]));
    words
}

/// The server is not told: it would close the connection.
fn goodbye(steps: Steps, bytes: u64) -> Steps {
    steps.discard(bytes).close("the client said goodbye")
}

fn refused(steps: Steps, (sqlstate, why): &Wrong) -> Steps {
    steps
        .send(Side::Client, write::error("FATAL", sqlstate, why))
        .close(why.clone())
}
