//! Prepared statements: those of a client, by the names that it gave them, and those of a connection, by
//! what they are.
//!
//! A statement goes by another name on connections, which tells what it is ([`server_name`]), so that
//! clients that prepare the same share it, and none meets another's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use crate::auth::hex;

/// What the names of all statements on connections begin with.
pub const PREFIX: &str = "lw_";

/// Which statement it is, and under which settings it was parsed.
pub type Key = [u8; DIGEST + 8];

/// How much of a text's digest: 128 bits, so that nobody can make another text with the same one.
const DIGEST: usize = 16;

/// The most that a client's statements may take, in bytes.
const MAX_OF_CLIENT: usize = 1 << 20;

/// The most that those of all clients of an instance may take: half of the memory that it has by default.
const MAX_OF_INSTANCE: usize = 8 << 20;

/// What a name costs besides its bytes, and what a statement does.
const OVERHEAD: usize = 64;

/// The name of a statement on connections.
#[must_use]
pub fn server_name(key: &Key) -> String {
    format!("{PREFIX}{}", hex(key))
}

/// A statement as it is parsed.
#[derive(Debug)]
pub struct Statement {
    digest: [u8; DIGEST],
    /// What stands behind the name in its `Parse`: the text and the types of its parameters.
    pub body: Box<[u8]>,
    /// For whom, and under which settings, a server has parsed it.
    parsed: RefCell<Vec<(Who, [u8; 8])>>,
    /// What it takes of its instance's budget.
    _taken: Taken,
}

/// A digest of an identity.
pub type Who = [u8; 16];

/// How many of those it is known for of whom a server has parsed a statement.
const MAX_PARSED: usize = 16;

/// How many bytes an instance has for statements.
#[derive(Debug, Default)]
struct Budget(Cell<usize>);

/// A part of it, which is given back when this is dropped.
#[derive(Debug, Default)]
struct Taken {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Taken {
    fn of(budget: &Rc<Budget>) -> Self {
        Self {
            budget: Rc::clone(budget),
            bytes: 0,
        }
    }

    fn take(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.0.set(self.budget.0.get() + bytes);
    }

    fn give(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.0.set(self.budget.0.get() - bytes);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give(self.bytes);
    }
}

impl Statement {
    /// What it is on a connection with settings of this digest.
    #[must_use]
    pub fn key(&self, settings: [u8; 8]) -> Key {
        let mut key = [0; DIGEST + 8];
        key[..DIGEST].copy_from_slice(&self.digest);
        key[DIGEST..].copy_from_slice(&settings);
        key
    }

    /// A server has parsed it.
    pub fn is_good(&self, who: Who, settings: [u8; 8]) {
        let mut parsed = self.parsed.borrow_mut();
        if parsed.len() < MAX_PARSED && !parsed.contains(&(who, settings)) {
            parsed.push((who, settings));
        }
    }

    /// Whether a server has parsed it before.
    #[must_use]
    pub fn was_good(&self, who: Who, settings: [u8; 8]) -> bool {
        self.parsed.borrow().contains(&(who, settings))
    }
}

fn digest(body: &[u8]) -> [u8; DIGEST] {
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&Sha256::digest(body)[..DIGEST]);
    digest
}

/// The statements of all clients of an instance, each kept once.
#[derive(Debug, Default)]
pub struct Catalog {
    known: RefCell<Known>,
    budget: Rc<Budget>,
}

#[derive(Debug, Default)]
struct Known {
    statements: BTreeMap<[u8; DIGEST], Rc<Statement>>,
    /// At how many those are looked for that no client has any more.
    sweep_at: usize,
}

impl Catalog {
    /// The statement with this body.
    pub fn get(&self, body: &[u8]) -> Rc<Statement> {
        let digest = digest(body);
        let mut known = self.known.borrow_mut();
        if let Some(statement) = known.statements.get(&digest) {
            return Rc::clone(statement);
        }
        if known.statements.len() >= known.sweep_at {
            known.sweep();
            known.sweep_at = 2 * known.statements.len() + 64;
        }
        let mut taken = Taken::of(&self.budget);
        taken.take(body.len() + OVERHEAD);
        let statement = Rc::new(Statement {
            digest,
            body: body.into(),
            parsed: RefCell::default(),
            _taken: taken,
        });
        known.statements.insert(digest, Rc::clone(&statement));
        statement
    }

    /// The statement with this body, if some client has it.
    #[must_use]
    pub fn find(&self, body: &[u8]) -> Option<Rc<Statement>> {
        let known = self.known.borrow();
        known.statements.get(&digest(body)).map(Rc::clone)
    }

    /// Whether there is room for one more, and its name.
    fn has_room(&self, bytes: usize) -> bool {
        let has_room = || self.budget.0.get() + bytes <= MAX_OF_INSTANCE;
        has_room() || {
            self.known.borrow_mut().sweep();
            has_room()
        }
    }
}

impl Known {
    /// Forgets what no client has.
    fn sweep(&mut self) {
        self.statements.retain(|_, one| Rc::strong_count(one) > 1);
    }
}

/// The statements of a client.
#[derive(Debug)]
pub struct Names {
    by_name: BTreeMap<Box<[u8]>, Rc<Statement>>,
    /// What they would take if no other client had them: what a client may have must not depend on
    /// others.
    bytes: usize,
    /// What the names take.
    taken: Taken,
}

impl Names {
    /// Of a client that has none.
    #[must_use]
    pub fn new(catalog: &Catalog) -> Self {
        Self {
            by_name: BTreeMap::new(),
            bytes: 0,
            taken: Taken::of(&catalog.budget),
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Rc<Statement>> {
        self.by_name.get(name)
    }

    /// Whether there is room for one more.
    #[must_use]
    pub fn has_room(&self, catalog: &Catalog, name: &[u8], body: &[u8]) -> bool {
        let cost = cost(name, body);
        self.bytes + cost <= MAX_OF_CLIENT && catalog.has_room(cost)
    }

    /// Gives a statement a name, if there is none of that name.
    pub fn insert(&mut self, name: &[u8], statement: Rc<Statement>) {
        if !self.by_name.contains_key(name) {
            self.bytes += cost(name, &statement.body);
            self.taken.take(name.len() + OVERHEAD);
            self.by_name.insert(name.into(), statement);
        }
    }

    /// Forgets a name.
    pub fn remove(&mut self, name: &[u8]) -> Option<Rc<Statement>> {
        let statement = self.by_name.remove(name)?;
        self.bytes -= cost(name, &statement.body);
        self.taken.give(name.len() + OVERHEAD);
        Some(statement)
    }

    /// Forgets a name if it is this statement's.
    pub fn remove_if(&mut self, name: &[u8], statement: &Rc<Statement>) {
        if self
            .get(name)
            .is_some_and(|known| Rc::ptr_eq(known, statement))
        {
            self.remove(name);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_name.clear();
        self.bytes = 0;
        self.taken.give(self.taken.bytes);
    }
}

fn cost(name: &[u8], body: &[u8]) -> usize {
    name.len() + body.len() + 2 * OVERHEAD
}

/// The statements that a connection has, the least used ones first.
#[derive(Debug, Default)]
pub struct Prepared {
    known: Vec<(Key, State)>,
    is_changed: bool,
}

/// How sure it is that the connection has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    There,
    /// It has been sent, in this segment of messages, and has not been answered.
    Sent(u64),
    /// The same, and settings may be others when it is parsed.
    Distrusted(u64),
}

/// What has to be done so that a statement is there.
#[derive(Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// It has to be parsed, and another to be closed before that, if there is none too many.
    Parse(Option<Key>),
}

impl Prepared {
    /// Out of what [`encode`](Self::encode) has made.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let (keys, _) = bytes.as_chunks::<{ DIGEST + 8 }>();
        Self {
            known: keys.iter().map(|key| (*key, State::There)).collect(),
            is_changed: false,
        }
    }

    /// All that are there for certain.
    pub fn encode(&self, into: &mut Vec<u8>) {
        for (key, state) in &self.known {
            if *state == State::There {
                into.extend_from_slice(key);
            }
        }
    }

    /// Whether it is another list than the one that was decoded.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Whether it is there, or has been sent, as its key says.
    #[must_use]
    pub fn has(&self, key: &Key) -> bool {
        self.known
            .iter()
            .any(|(known, state)| known == key && !matches!(state, State::Distrusted(_)))
    }

    /// Whether it has to be seen first what becomes of others: this one has been sent ahead of another `Sync`, or
    /// there is none that could make room.
    #[must_use]
    pub fn must_wait(&self, segment: u64, key: &Key, most: usize) -> bool {
        match self.known.iter().find(|(known, _)| known == key) {
            Some((_, State::There)) => false,
            Some((_, State::Sent(of) | State::Distrusted(of))) => *of != segment,
            None => {
                let is_there = |(_, state): &(Key, State)| *state == State::There;
                self.known.len() >= most.max(1) && !self.known.iter().any(is_there)
            }
        }
    }

    /// What has been sent and not been parsed is parsed under other settings than its key says.
    pub fn distrust(&mut self) {
        for (_, state) in &mut self.known {
            if let State::Sent(segment) = *state {
                *state = State::Distrusted(segment);
            }
        }
    }

    /// A statement is used by a message of this segment. At most `most` are kept.
    pub fn use_in(&mut self, segment: u64, key: &Key, most: usize) -> Need {
        let at = self.known.iter().position(|(known, _)| known == key);
        if let Some(at) = at {
            let (_, state) = self.known[at];
            if at + 1 < self.known.len() {
                let last = self.known.remove(at);
                self.known.push(last);
                // Which is the least used one matters once one has to go.
                self.is_changed |= self.known.len() >= most;
            }
            if state == State::There
                || state == State::Sent(segment)
                || state == State::Distrusted(segment)
            {
                return Need::Nothing;
            }
            // What was sent before another `Sync` may have been passed over.
            self.known.pop();
        }
        self.is_changed = true;
        let evicted = match self.known.len() >= most.max(1) {
            true => self
                .known
                .iter()
                .position(|(_, state)| *state == State::There)
                .map(|at| self.known.remove(at).0),
            false => None,
        };
        self.known.push((*key, State::Sent(segment)));
        Need::Parse(evicted)
    }

    /// The server has parsed it. Returns whether it is what its key says.
    pub fn parsed(&mut self, key: &Key) -> bool {
        let Some(at) = self.known.iter().position(|(known, _)| known == key) else {
            return false;
        };
        if let State::Distrusted(_) = self.known[at].1 {
            // Closed and parsed once more when it is needed again.
            self.known.remove(at);
            return false;
        }
        self.known[at].1 = State::There;
        true
    }

    /// Nothing is known of it any more.
    pub fn forget(&mut self, key: &Key) {
        self.known.retain(|(known, _)| known != key);
        self.is_changed = true;
    }

    /// The server has not parsed what was sent in this segment. It may have closed what was there before,
    /// or not: only what has been sent later counts.
    pub fn failed(&mut self, key: &Key, segment: u64) {
        self.known.retain(|(known, state)| {
            let other = matches!(state, State::Sent(of) | State::Distrusted(of) if *of != segment);
            known != key || other
        });
        self.is_changed = true;
    }

    /// The server has not closed it.
    pub fn put_back(&mut self, key: &Key) {
        if !self.known.iter().any(|(known, _)| known == key) {
            self.known.insert(0, (*key, State::There));
            self.is_changed = true;
        }
    }

    /// The server has closed all, but for those that have been sent behind that.
    pub fn all_closed(&mut self) {
        let before = self.known.len();
        self.known.retain(|(_, state)| *state != State::There);
        self.is_changed |= before != self.known.len();
    }
}

#[cfg(test)]
mod tests;
