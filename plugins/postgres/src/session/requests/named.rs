//! Messages that name a prepared statement: they go under the name that it has on connections, behind its
//! `Parse` where this connection does not have it yet.

use std::rc::Rc;

use leaseway_sdk::{Side, Steps};

use super::message::{Message, whole_message};
use super::outgoing::{Outgoing, whole};
use super::{ANSWERS, MORE, Next, Taken, Wrong};
use crate::session::Session;
use crate::session::lease::{Batch, Harmless, Unnamed};
use crate::session::ledger::{By, Closing, Parsing, Sent};
use crate::sql::Lone;
use crate::statements::{Need, PREFIX, Statement, server_name};
use crate::wire::{self, write};

/// How far the names in a message may reach that are looked at; the server cuts them at 63 bytes.
const MAX_NAMES: usize = 512;

/// The longest statement with a name that goes from connection to connection, as a `Parse` message.
/// Longer ones keep their connection.
pub(super) const MAX_STATEMENT: usize = 32 << 10;

impl Session {
    pub(super) fn parse(&mut self, message: Message<'_>, out: &mut Outgoing) -> Taken {
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
            self.lease.harmless = match lone.sets_nothing() {
                true => Harmless::Parsed(self.lease.ledger.segment()),
                false => Harmless::No,
            };
            let batch = self.batch_of(lone);
            if batch == Batch::HarmlessSet {
                self.taint();
            }
            let taken = self.passes(message, Sent::ParseUnnamed, batch, out);
            self.lease.forgets += usize::from(lone == Lone::ForgetAll);
            return taken;
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
        if self.is_in_doubt(&name) || self.lease.ledger.awaits_status() {
            return ANSWERS;
        }
        let statement = self.shared.catalog.get(behind);
        self.keeps_apart(&statement);
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

    /// Whether it has to be seen first what the client calls so.
    fn is_in_doubt(&self, name: &[u8]) -> bool {
        self.lease.ledger.is_in_doubt(name) || self.lease.is_forgetting()
    }

    /// What has to be parsed behind what may have changed settings is for nobody else: the server reports them
    /// at the end of a segment at the earliest, and not at all what has changed back by then.
    fn keeps_apart(&mut self, statement: &Statement) {
        let is_sure = !self.lease.runs || self.lease.ledger.is_at_rest();
        let key = statement.key(self.digest);
        if !is_sure && !self.lease.is_tainted && !self.lease.prepared().has(&key) {
            self.taint();
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

    pub(super) fn bind(&mut self, message: Message<'_>, out: &mut Outgoing) -> Taken {
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
        let old = wire::HEAD + portal.len() + 1 + name.len() + 1;
        let before = [portal, b"\0"].concat();
        if portal.is_empty() {
            self.lease.harmless = self
                .lease
                .harmless
                .bound(name.is_empty(), self.lease.ledger.segment());
        }
        if name.is_empty() {
            let batch = match portal.is_empty() {
                true => Batch::Bound,
                false => Batch::Other,
            };
            let Some(unnamed) = self.unnamed() else {
                return ANSWERS;
            };
            self.lease.unbound = false;
            return match unnamed {
                "" => self.passes(message, Sent::Bind, batch, out),
                none => self.passes_as((b'B', &before, none), message, old, Sent::Bind, out),
            };
        }
        // It replaces the portal, and leaves the statement without a name alone.
        self.passes_renamed(message, (b'B', &before, name), old, Sent::Bind, out)
    }

    pub(super) fn describe_or_close(
        &mut self,
        kind: u8,
        message: Message<'_>,
        out: &mut Outgoing,
    ) -> Taken {
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
                return self.passes(message, sent, Batch::Open, out);
            }
            return match self.unnamed() {
                None => ANSWERS,
                Some("") => self.passes(message, sent, Batch::Open, out),
                Some(none) => {
                    self.passes_as((b'D', b"S", none), message, wire::HEAD + 2, sent, out)
                }
            };
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
        if self.is_in_doubt(name) {
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

    /// What the server is to take for the statement without a name: one that it does not have, where its own
    /// may be somebody else's. None if that has to be seen first.
    fn unnamed(&self) -> Option<&'static str> {
        match self.lease.unnamed {
            Unnamed::Own => Some(""),
            Unnamed::Sent(segment) if segment == self.lease.ledger.segment() => Some(""),
            Unnamed::Sent(_) => None,
            Unnamed::Others => Some(PREFIX),
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
        if self.is_in_doubt(name) {
            return ANSWERS;
        }
        let name = match self.names.get(name).map(Rc::clone) {
            Some(statement) => {
                self.keeps_apart(&statement);
                if self.must_wait(&statement) {
                    return ANSWERS;
                }
                self.ensure(&statement, out);
                server_name(&statement.key(self.digest))
            }
            // Not one that others have prepared; the server knows none of this name.
            None if name.starts_with(PREFIX.as_bytes()) => PREFIX.to_owned(),
            // One that has been prepared by SQL, or that there is not.
            None => return self.passes(message, sent, Batch::Other, out),
        };
        self.passes_as((kind, before, &name), message, old, sent, out)
    }

    /// A message that begins otherwise: with its type, this, and the name of a statement, in the place of `old`
    /// bytes.
    fn passes_as(
        &mut self,
        (kind, before, name): (u8, &[u8], &str),
        message: Message<'_>,
        old: usize,
        sent: Sent,
        out: &mut Outgoing,
    ) -> Taken {
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

    /// Answers a `Parse` and its `Sync` without a server, if one has parsed the same for others already: all
    /// connections may be busy with whom the client waits for. The connection that runs it gets it.
    pub(super) fn prepares(&mut self, shown: &[u8]) -> Option<Steps> {
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
        if !statement.was_good(self.who(), self.digest)
            || !self.names.has_room(catalog, name, behind)
        {
            return None;
        }
        self.names.insert(name, statement);
        let mut words = write::message(b'1', b"");
        words.extend(write::ready());
        let length = (parse.len() + sync.len()) as u64;
        Some(Steps::new().discard(length).send(Side::Client, words))
    }
}

fn long_name() -> Wrong {
    let why = format!("a name of more than {MAX_NAMES} bytes");
    ("08P01", why)
}
