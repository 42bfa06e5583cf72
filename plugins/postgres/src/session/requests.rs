//! Messages of a client that has logged in: which of them go on a connection, and as what.
//!
//! Those that name a prepared statement go under the name that the statement has on connections, behind
//! its `Parse` where this connection does not have it yet. The others pass as they are.

use std::rc::Rc;

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Side, Step, Steps};

use super::lease::{Batch, Lease, Unnamed};
use super::ledger::{By, Closing, Parsing, Sent};
use super::{Named, Session};
use crate::config::Pooling;
use crate::identity::Identity;
use crate::sql::{self, Lone};
use crate::statements::{Need, PREFIX, Statement, server_name};
use crate::wire::{self, write};

/// How far the names in a message may reach that are looked at; the server cuts them at 63 bytes.
const MAX_NAMES: usize = 512;

/// The longest statement with a name that goes from connection to connection, as a `Parse` message.
/// Longer ones keep their connection.
const MAX_STATEMENT: usize = 32 << 10;

/// The longest message that is copied into one write with others; a longer one passes unseen.
const MAX_COPIED: usize = 2048;

/// How many bytes of our own a call sends at most, or little more; what is left is shown again.
const MAX_OWN: usize = 256 << 10;

/// How many steps a call returns at most, or little more; what is left is shown again.
const MAX_STEPS: usize = 1000;

/// What is wrong with a client's message: SQLSTATE and words.
type Wrong = (&'static str, String);

/// What is to be done with the messages at the front of a client's bytes.
#[derive(Default)]
struct Outgoing {
    steps: Steps,
    /// Bytes to send to the server, behind the steps.
    bytes: Vec<u8>,
    /// How many of the client's bytes these stand for.
    covered: u64,
}

impl Outgoing {
    /// The message passes as it is. So much of it has been shown.
    fn pass(&mut self, shown: &[u8], length: u64) {
        // Among messages that do not pass as they are a short one is copied, to be written with them.
        if let Some(whole) = whole(shown, length)
            && whole.len() <= MAX_COPIED
            && !self.bytes.is_empty()
        {
            self.bytes.extend_from_slice(whole);
            self.covered += length;
            return;
        }
        self.flush();
        self.steps.push(Step::Forward(length));
    }

    /// The message passes with another beginning: `old` bytes of it go, and `new` ones come.
    fn pass_with(&mut self, new: &[u8], old: usize, shown: &[u8], length: u64) {
        self.bytes.extend_from_slice(new);
        self.covered += old as u64;
        let rest = length - old as u64;
        match whole(shown, length) {
            Some(whole) if whole.len() <= MAX_COPIED => {
                self.bytes.extend_from_slice(&whole[old..]);
                self.covered += rest;
            }
            _ => {
                self.flush();
                self.steps.push(Step::Forward(rest));
            }
        }
    }

    /// The message does not go to the server.
    fn swallow(&mut self, length: u64) {
        self.covered += length;
    }

    /// We send this.
    fn own(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The client gets this.
    fn tell(&mut self, bytes: Vec<u8>) {
        self.steps.push(Step::Send((Side::Client, bytes)));
    }

    fn flush(&mut self) {
        if self.covered > 0 {
            self.steps
                .push(Step::Discard(std::mem::take(&mut self.covered)));
        }
        if !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            self.steps.push(Step::Send((Side::Upstream, bytes)));
        }
    }

    fn into_steps(mut self) -> Steps {
        self.flush();
        self.steps
    }
}

/// The message, if all of it has been shown.
fn whole(shown: &[u8], length: u64) -> Option<&[u8]> {
    shown.get(..usize::try_from(length).ok()?)
}

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
        self.lease = Lease::default();
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
        let target = match &self.identity {
            Some(identity) if self.named != named => Some(match named {
                Named::ReadOnly => identity.read_only_target(),
                _ => identity.target(),
            }),
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
            if out.steps.as_slice().len() >= MAX_STEPS || out.bytes.len() >= MAX_OWN {
                break Next::More;
            }
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
                b'F' => self.passes(message, Sent::Query, Batch::Other, &mut out),
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
        self.passes(message, Sent::Query, batch, out)
    }

    fn batch_of(&self, lone: Lone<'_>) -> Batch {
        match lone {
            Lone::SetLocal => Batch::HarmlessSet,
            Lone::Set(name) if self.shared.tracked.find(name).is_some() => Batch::HarmlessSet,
            _ => Batch::Other,
        }
    }

    fn parse(&mut self, message: Message<'_>, out: &mut Outgoing) -> Taken {
        let body = message.body();
        let Some((name, _)) = wire::text(body) else {
            if body.len() <= MAX_NAMES {
                return MORE;
            }
            self.lease.pin("a prepared statement");
            return self.passes(message, Sent::Parse(None), Batch::Other, out);
        };
        if name.is_empty() {
            // A statement that the next one replaces.
            let Some(lone) = message.lone(wire::HEAD + 1) else {
                return MORE;
            };
            if self.lease.unnamed != Unnamed::Own {
                self.lease.unnamed = Unnamed::Sent(self.lease.ledger.segment());
            }
            self.lease.unbound = true;
            let batch = self.batch_of(lone);
            if batch == Batch::HarmlessSet {
                self.taint();
            }
            return self.passes(message, Sent::ParseUnnamed, batch, out);
        }
        let (name, behind) = (name.to_vec(), &body[name.len() + 1..]);
        let is_shared = self.shares_statements() && message.length <= MAX_STATEMENT as u64;
        if !is_shared || !self.names.has_room(&self.shared.catalog, &name, behind) {
            self.lease.pin("a prepared statement");
            return self.passes(message, Sent::Parse(None), Batch::Other, out);
        }
        if whole(message.rest, message.length).is_none() {
            return MORE;
        }
        if !message.has_lease {
            return Taken::Not(Next::OnConnection);
        }
        // What a transaction has come to decides whether the server would parse anything.
        if self.lease.ledger.is_in_doubt(&name) || self.lease.ledger.awaits_status() {
            return ANSWERS;
        }
        let statement = self.shared.catalog.get(behind);
        if self.must_wait(&statement) {
            return ANSWERS;
        }
        let (statement, by, named) = match self.names.get(&name) {
            // There is one of that name: parsed twice, the server says what it thinks of this.
            Some(_) => {
                self.ensure(&statement, out);
                (statement, By::Client, None)
            }
            None => {
                self.names.insert(&name, Rc::clone(&statement));
                if self.lease.ledger.status() == b'E' {
                    // It is for the server to say what a transaction that has failed still parses.
                    let key = statement.key(self.digest);
                    self.lease.prepared().forget(&key);
                }
                let by = match self.need(&statement, out) {
                    true => By::Client,
                    false => By::Answered,
                };
                (statement, by, Some(name.into_boxed_slice()))
            }
        };
        let key = statement.key(self.digest);
        let parsing = Parsing {
            key,
            segment: self.lease.ledger.segment(),
            by,
            statement,
            name: named,
        };
        let is_first = self.lease.ledger.front().is_none();
        let sent = Sent::Parse(Some(Box::new(parsing)));
        self.lease.send(sent, Batch::Other);
        out.swallow(message.length);
        if by == By::Client {
            out.own(&write::parse(&server_name(&key), behind));
        } else if is_first {
            self.answer_own(out);
        }
        Taken::Whole
    }

    /// Has the client told what is answered here, and has nothing in front of it.
    fn answer_own(&mut self, out: &mut Outgoing) {
        while let Some((kind, _)) = self.lease.ledger.answers_itself() {
            out.tell(write::message(kind, b""));
        }
    }

    /// Makes room for a statement that the connection does not have. Returns whether it does not; then it
    /// has to be parsed.
    fn need(&mut self, statement: &Statement, out: &mut Outgoing) -> bool {
        let segment = self.lease.ledger.segment();
        let key = statement.key(self.digest);
        let most = self.shared.config.max_prepared_statements;
        let Need::Parse(evicted) = self.lease.prepared().use_in(segment, &key, most) else {
            return false;
        };
        if let Some(evicted) = evicted {
            out.own(&write::close_statement(&server_name(&evicted)));
            let closing = Closing::Own(Some(evicted));
            self.lease
                .send(Sent::Close(Some(Box::new(closing))), Batch::Other);
        }
        // It may be there all the same: sent earlier, or left by who knows whom.
        out.own(&write::close_statement(&server_name(&key)));
        let closing = Closing::Own(None);
        self.lease
            .send(Sent::Close(Some(Box::new(closing))), Batch::Other);
        true
    }

    /// Whether others have to be answered before this one can be used.
    fn must_wait(&mut self, statement: &Statement) -> bool {
        let segment = self.lease.ledger.segment();
        let key = statement.key(self.digest);
        let most = self.shared.config.max_prepared_statements;
        self.lease.prepared().must_wait(segment, &key, most)
    }

    /// Settings change in the transaction under way: until it has ended, statements go by names that no other
    /// transaction has.
    fn taint(&mut self) {
        self.lease.taint();
        self.own_digest();
    }

    /// Sees to it that the connection has a statement when the next message comes.
    fn ensure(&mut self, statement: &Rc<Statement>, out: &mut Outgoing) {
        if !self.need(statement, out) {
            return;
        }
        let key = statement.key(self.digest);
        out.own(&write::parse(&server_name(&key), &statement.body));
        let parsing = Parsing {
            key,
            segment: self.lease.ledger.segment(),
            by: By::Own,
            statement: Rc::clone(statement),
            name: None,
        };
        self.lease
            .send(Sent::Parse(Some(Box::new(parsing))), Batch::Other);
    }

    fn bind(&mut self, message: Message<'_>, out: &mut Outgoing) -> Taken {
        let body = message.body();
        let names = wire::text(body).and_then(|(portal, rest)| {
            let (statement, _) = wire::text(rest)?;
            Some((portal, statement))
        });
        let Some((portal, name)) = names else {
            return match body.len() > MAX_NAMES {
                true if self.shares_statements() => Taken::Not(Next::Invalid(long_name())),
                true => self.passes(message, Sent::Bind, Batch::Other, out),
                false => MORE,
            };
        };
        if name.is_empty() {
            let batch = match portal.is_empty() {
                true => Batch::Follows,
                false => Batch::Other,
            };
            if let Some(not) = self.lacks_unnamed() {
                return Taken::Not(not);
            }
            self.lease.unbound = false;
            return self.passes(message, Sent::Bind, batch, out);
        }
        // It replaces the portal, and leaves the statement without a name alone.
        let old = wire::HEAD + portal.len() + 1 + name.len() + 1;
        let before = [portal, b"\0"].concat();
        self.passes_renamed(message, (b'B', &before, name), old, Sent::Bind, out)
    }

    fn describe_or_close(&mut self, kind: u8, message: Message<'_>, out: &mut Outgoing) -> Taken {
        let body = message.body();
        let sent = match kind {
            b'D' => Sent::Describe,
            _ => Sent::Close(None),
        };
        let Some((b'S', rest)) = body.split_first() else {
            // A portal.
            return match body.is_empty() {
                true => MORE,
                false => self.passes(message, sent, Batch::Open, out),
            };
        };
        let Some((name, _)) = wire::text(rest) else {
            return match body.len() > MAX_NAMES {
                true if self.shares_statements() => Taken::Not(Next::Invalid(long_name())),
                true => self.passes(message, sent, Batch::Other, out),
                false => MORE,
            };
        };
        if name.is_empty() {
            if kind == b'C' {
                self.lease.unnamed = Unnamed::Others;
                self.lease.unbound = false;
            } else if let Some(not) = self.lacks_unnamed() {
                return Taken::Not(not);
            }
            return self.passes(message, sent, Batch::Open, out);
        }
        if kind == b'D' {
            let old = wire::HEAD + 1 + name.len() + 1;
            return self.passes_renamed(message, (b'D', b"S", name), old, sent, out);
        }
        if !self.shares_statements() {
            return self.passes(message, sent, Batch::Other, out);
        }
        if !message.has_lease {
            return Taken::Not(Next::OnConnection);
        }
        if self.lease.ledger.is_in_doubt(name) {
            return ANSWERS;
        }
        // Others may have it as well; and to close what is not there is no error.
        let Some(statement) = self.names.remove(name) else {
            return match self.lease.is_pinned() && !name.starts_with(PREFIX.as_bytes()) {
                true => self.passes(message, sent, Batch::Other, out),
                false => self.closes(None, message, out),
            };
        };
        let closed = Some((name.into(), statement));
        self.closes(closed, message, out)
    }

    /// Why the statement without a name cannot be named now, if it cannot: it may be somebody else's.
    fn lacks_unnamed(&self) -> Option<Next> {
        match self.lease.unnamed {
            Unnamed::Own => None,
            Unnamed::Sent(segment) if segment == self.lease.ledger.segment() => None,
            Unnamed::Sent(_) => Some(Next::Answers),
            Unnamed::Others => Some(Next::Invalid(no_statement())),
        }
    }

    /// The client closes a statement that stays on the connection.
    fn closes(
        &mut self,
        closed: Option<(Box<[u8]>, Rc<Statement>)>,
        message: Message<'_>,
        out: &mut Outgoing,
    ) -> Taken {
        let is_first = self.lease.ledger.front().is_none();
        let closing = Closing::Answered(closed);
        self.lease
            .send(Sent::Close(Some(Box::new(closing))), Batch::Other);
        out.swallow(message.length);
        if is_first {
            self.answer_own(out);
        }
        Taken::Whole
    }

    /// A message that names a statement: its type, what stands in front of the name, and the name; up to which
    /// it is `old` bytes long.
    fn passes_renamed(
        &mut self,
        message: Message<'_>,
        (kind, before, name): (u8, &[u8], &[u8]),
        old: usize,
        sent: Sent,
        out: &mut Outgoing,
    ) -> Taken {
        if !self.shares_statements() {
            return self.passes(message, sent, Batch::Other, out);
        }
        if !message.has_lease {
            return Taken::Not(Next::OnConnection);
        }
        if message.length < old as u64 {
            let why = "a message ends before the names in it".to_owned();
            return Taken::Not(Next::Invalid(("08P01", why)));
        }
        if self.lease.ledger.is_in_doubt(name) {
            return ANSWERS;
        }
        let name = match self.names.get(name).map(Rc::clone) {
            Some(statement) if self.must_wait(&statement) => return ANSWERS,
            Some(statement) => {
                self.ensure(&statement, out);
                server_name(&statement.key(self.digest))
            }
            // Not one that others have prepared; the server knows none of this name.
            None if name.starts_with(PREFIX.as_bytes()) => PREFIX.to_owned(),
            // One that has been prepared by SQL, or that there is not.
            None => return self.passes(message, sent, Batch::Other, out),
        };
        let length =
            message.length - old as u64 + (wire::HEAD + before.len() + name.len() + 1) as u64;
        let Ok(length) = u32::try_from(length - 1) else {
            let why = "a message is too long".to_owned();
            return Taken::Not(Next::Invalid(("08P01", why)));
        };
        let mut new = vec![kind];
        new.extend(length.to_be_bytes());
        new.extend_from_slice(before);
        new.extend_from_slice(name.as_bytes());
        new.push(0);
        self.lease.send(sent, Batch::Other);
        out.pass_with(&new, old, message.rest, message.length);
        Taken::Whole
    }

    fn execute(&mut self, message: Message<'_>, out: &mut Outgoing) -> Taken {
        // The portal without a name is of this batch; another may be of any.
        match message.body().first() {
            None => MORE,
            Some(0) => self.passes(message, Sent::Execute, Batch::Follows, out),
            Some(_) => self.passes(message, Sent::Execute, Batch::Other, out),
        }
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

    /// Answers a `Parse` and its `Sync` without a server, if one has parsed the same for others already: all
    /// connections may be busy with whom the client waits for. The connection that runs it gets it.
    fn prepares(&mut self, shown: &[u8]) -> Option<Steps> {
        if !self.shares_statements() {
            return None;
        }
        let parse = whole_message(shown, b'P')?;
        let sync = whole_message(&shown[parse.len()..], b'S')?;
        let (name, behind) = wire::text(&parse[wire::HEAD..])?;
        if name.is_empty() || self.names.get(name).is_some() {
            return None;
        }
        let statement = self.shared.catalog.find(behind)?;
        let catalog = &self.shared.catalog;
        if !statement.was_good(self.who, self.digest) || !self.names.has_room(catalog, name, behind)
        {
            return None;
        }
        self.names.insert(name, statement);
        let mut words = write::message(b'1', b"");
        words.extend(write::ready());
        let length = (parse.len() + sync.len()) as u64;
        Some(Steps::new().discard(length).send(Side::Client, words))
    }

    /// Whether the first message begins a transaction that only reads, and there are connections for
    /// those.
    fn reads_only(&self, shown: &[u8]) -> bool {
        let has_group = |identity: &Identity| identity.read_only_group.is_some();
        if !self.identity.as_ref().is_some_and(has_group) {
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

/// A message at the front of a client's bytes.
#[derive(Clone, Copy)]
struct Message<'a> {
    /// The bytes that it begins.
    rest: &'a [u8],
    /// Its length, which may be more.
    length: u64,
    has_lease: bool,
}

impl<'a> Message<'a> {
    /// What has been shown of its body.
    fn body(&self) -> &'a [u8] {
        let end =
            usize::try_from(self.length).map_or(self.rest.len(), |end| end.min(self.rest.len()));
        self.rest.get(wire::HEAD..end).unwrap_or_default()
    }

    /// What the SQL is that begins there, if it stands alone. None if more has to be seen.
    fn lone(&self, at: usize) -> Option<Lone<'a>> {
        let end =
            usize::try_from(self.length).map_or(self.rest.len(), |end| end.min(self.rest.len()));
        let text = self.rest.get(at..end).unwrap_or_default();
        if let Some((sql, _)) = wire::text(text) {
            return Some(sql::lone(sql));
        }
        let is_whole = self.rest.len() as u64 >= self.length;
        match is_whole || text.len() > sql::MAX_LOOKED_AT || !sql::may_matter(text) {
            true => Some(Lone::Other),
            false => None,
        }
    }
}

/// The message at the front, if it is of this type, all there, and not too long.
fn whole_message(shown: &[u8], wanted: u8) -> Option<&[u8]> {
    match wire::message(shown, MAX_STATEMENT) {
        Parsed::Complete {
            value: (kind, _),
            len,
        } if kind == wanted => Some(&shown[..len]),
        _ => None,
    }
}

/// invalid_sql_statement_name
fn no_statement() -> Wrong {
    let why = "unnamed prepared statement does not exist on this connection";
    ("26000", why.to_owned())
}

fn long_name() -> Wrong {
    let why = format!("a name of more than {MAX_NAMES} bytes");
    ("08P01", why)
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
