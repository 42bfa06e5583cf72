//! What has been sent to the server and not been answered, and with that: which answer is whose, and when all
//! have come.
//!
//! Sans-I/O, and without a word of SQL. Every message that earns an answer is an entry, in the order in
//! which the server gets it; what a plugin sends on its own is marked as such, and so is what it answers
//! itself without asking the server. Source: PostgreSQL documentation, "Message Flow": an error in the
//! extended protocol has the server pass over everything up to the next `Sync`, and while it takes data of
//! a `COPY` it passes over `Sync` itself.

mod sent;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

pub(super) use sent::{By, Closing, Parsing, Sent};

/// The most that may be sent which has not been answered. Past that a client waits.
const MAX_SENT: usize = 1 << 14;

/// How many that usually are.
const USUAL: usize = 8;

/// The most bytes of statements in them.
const MAX_HELD: usize = 256 << 10;

/// What has been sent and not been answered.
#[derive(Debug)]
pub(super) struct Ledger {
    sent: VecDeque<Sent>,
    /// The names that some of them give to a statement, or take away, and for each the segments of these. A
    /// pipeline may be long: nothing is looked for in all of it for each message.
    names: BTreeMap<Box<[u8]>, VecDeque<u64>>,
    /// How many of them have a `ReadyForQuery` of their own, of which nobody knows what it says.
    ends: usize,
    /// How many bytes of statements they hold.
    held: usize,
    /// The server has been told to answer what there is.
    flushed: bool,
    /// Of the query in front something has been answered.
    begun: bool,
    /// How many `Sync` have been sent.
    segment: u64,
    /// Messages of the extended protocol have been sent with no `Sync` behind them.
    unsynced: bool,
    /// In a transaction, by the last `ReadyForQuery`: `I` for none.
    status: u8,
    /// The server passes over what comes, up to a `Sync`.
    skips: bool,
    /// The server takes data.
    copies: bool,
    doubt: Doubt,
}

/// How sure it is which answers are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    /// Nobody knows whether the server has passed over a `Sync`: it came among data that the server has refused,
    /// ahead of that or behind it. At the next `ReadyForQuery` it can be asked.
    OfSync,
    /// The same, and more was sent behind that: it is taken for passed over, since clients put it in front of
    /// the data, and once all has been answered the server is asked as well.
    Assumed,
    /// It has been, by an empty query: what comes until that is answered is for what was sent before.
    Asked,
    /// The query has been answered, and its `ReadyForQuery` comes next.
    Answered,
    /// Nobody can tell any more.
    Lasting,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            sent: VecDeque::new(),
            names: BTreeMap::new(),
            ends: 0,
            held: 0,
            flushed: false,
            begun: false,
            segment: 0,
            unsynced: false,
            status: b'I',
            skips: false,
            copies: false,
            doubt: Doubt::None,
        }
    }
}

impl Ledger {
    /// One of which nothing is known, in the storage of this one, if that is no more than a lease usually needs.
    pub(super) fn renewed(&mut self) -> Self {
        let mut sent = std::mem::take(&mut self.sent);
        sent.clear();
        sent.shrink_to(USUAL);
        Self {
            sent,
            ..Self::default()
        }
    }

    /// Nothing is under way, and no transaction open.
    pub(super) fn is_idle(&self) -> bool {
        self.is_at_rest() && self.status == b'I' && self.doubt == Doubt::None
    }

    /// Nothing is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.sent.is_empty() && !self.unsynced
    }

    /// Whether a transaction is open, by the last `ReadyForQuery`.
    pub(super) fn status(&self) -> u8 {
        self.status
    }

    /// Whether a client has to wait before it sends this.
    pub(super) fn holds_up(&self, kind: u8) -> bool {
        match self.doubt {
            Doubt::None | Doubt::Assumed | Doubt::Lasting => {
                self.sent.len() >= MAX_SENT || self.held > MAX_HELD
            }
            Doubt::OfSync => !matches!(kind, b'S' | b'd' | b'c' | b'f' | b'H'),
            Doubt::Asked | Doubt::Answered => true,
        }
    }

    /// Whether nobody can tell any more which answers are to come.
    pub(super) fn is_lost(&self) -> bool {
        self.doubt == Doubt::Lasting
    }

    /// Whether the server has to be asked which answers are to come, by an empty query.
    pub(super) fn asks(&mut self) -> bool {
        let is_time = match self.doubt {
            Doubt::OfSync => true,
            Doubt::Assumed => self.is_at_rest(),
            _ => false,
        };
        if !is_time {
            return false;
        }
        self.doubt = Doubt::Asked;
        self.sent.clear();
        self.names.clear();
        (self.ends, self.held) = (0, 0);
        true
    }

    /// While the server is asked which answers are to come: whether this one is to our question.
    pub(super) fn is_answer_to_doubt(&mut self, kind: u8) -> bool {
        match (self.doubt, kind) {
            (Doubt::Asked, b'I') => {
                self.doubt = Doubt::Answered;
                true
            }
            (Doubt::Answered, b'Z') => true,
            _ => false,
        }
    }

    /// Whether answers are taken for those of what stands in front.
    fn knows_its_place(&self) -> bool {
        matches!(self.doubt, Doubt::None | Doubt::Assumed)
    }

    fn is_asked(&self) -> bool {
        matches!(self.doubt, Doubt::Asked | Doubt::Answered)
    }

    /// Whether the server takes data, in which case nothing may be answered for as long as the client likes.
    pub(super) fn takes_data(&self) -> bool {
        self.copies
    }

    /// The number of the segment that messages belong to which are sent now.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// All that is under way is one query.
    pub(super) fn is_one_query(&self) -> bool {
        self.sent.len() == 1 && matches!(self.front(), Some(Sent::Query)) && !self.unsynced
    }

    /// Whether a `ReadyForQuery` is to come of which nobody knows what it says. Behind what we ask no
    /// transaction is open.
    pub(super) fn awaits_status(&self) -> bool {
        self.ends > 0
    }

    /// Whether it has to be seen first what becomes of messages that were sent ahead of another `Sync` and name
    /// the same statement: the server may pass over them.
    pub(super) fn is_in_doubt(&self, name: &[u8]) -> bool {
        let first = self.names.get(name).and_then(VecDeque::front);
        first.is_some_and(|segment| *segment != self.segment)
    }

    /// Whether a statement without a name has been sent and not been parsed.
    pub(super) fn awaits_unnamed(&self) -> bool {
        self.sent
            .iter()
            .any(|one| matches!(one, Sent::ParseUnnamed))
    }

    /// This goes to the server.
    pub(super) fn push(&mut self, sent: Sent) {
        match sent {
            Sent::Query | Sent::OwnQuery => {}
            // Of no `COPY`: the server ignores it.
            Sent::CopyEnd if self.sent.is_empty() => return,
            Sent::CopyEnd => {}
            Sent::Sync => {
                self.unsynced = false;
                self.segment += 1;
            }
            _ => self.unsynced = true,
        }
        if let Some(name) = sent.name() {
            let segments = self.names.entry(name.into()).or_default();
            segments.push_back(self.segment);
        }
        self.ends += usize::from(sent.is_end());
        self.held += sent.held();
        self.flushed = false;
        self.sent.push_back(sent);
    }

    /// The client waits for an answer: whether the server has to be told to give what it has.
    pub(super) fn flushes(&mut self) -> bool {
        !self.sent.is_empty() && !std::mem::replace(&mut self.flushed, true)
    }

    /// Whether the server passes over whatever comes but a `Sync`.
    pub(super) fn passes_over(&self) -> bool {
        self.skips
            && self.doubt == Doubt::None
            && !self.sent.iter().any(|one| matches!(one, Sent::Sync))
    }

    /// This goes ahead of everything: a query of our own, at the start of a lease.
    pub(super) fn push_front(&mut self, sent: Sent) {
        self.sent.push_front(sent);
    }

    /// What the server's next answer is for.
    pub(super) fn front(&self) -> Option<&Sent> {
        self.sent.front()
    }

    /// Whether the server's next answer is for what names a statement or a portal.
    pub(super) fn is_naming(&self) -> bool {
        matches!(self.front(), Some(Sent::Bind | Sent::Describe))
    }

    /// An answer of this type has come, which is not `ReadyForQuery`. Returns what it ends.
    pub(super) fn answered(&mut self, kind: u8) -> Option<Sent> {
        if self.is_asked() {
            return None;
        }
        self.begun |= matches!(kind, b'C' | b'I' | b'E' | b'V');
        let front = self.front();
        let is_ended = match kind {
            b'G' => {
                self.copies = true;
                false
            }
            b'E' => {
                self.skips |= !matches!(
                    front,
                    None | Some(Sent::Query | Sent::OwnQuery | Sent::Sync)
                );
                if std::mem::take(&mut self.copies) && self.has_sync_in_data() {
                    self.refused_data();
                }
                false
            }
            // Of several statements of a simple query one may have ended.
            b'T' | b'n' => matches!(front, Some(Sent::Describe)),
            b'C' | b'I' | b's' => matches!(front, Some(Sent::Execute)),
            b'1' | b'2' | b'3' => {
                let is_its = match front {
                    Some(Sent::Parse(_) | Sent::ParseUnnamed) => kind == b'1',
                    Some(Sent::Bind) => kind == b'2',
                    Some(Sent::Close(_)) => kind == b'3',
                    _ => false,
                };
                self.doubt_unless(is_its);
                is_its
            }
            _ => false,
        };
        if is_ended { self.pop() } else { None }
    }

    /// What comes next and is answered without the server: the type of the answer.
    pub(super) fn answers_itself(&mut self) -> Option<(u8, Sent)> {
        if self.skips {
            return None;
        }
        let kind = self.front()?.answered()?;
        Some((kind, self.pop()?))
    }

    /// The server has taken all data. What of `Sync` came in front of their end it has passed over.
    pub(super) fn copied(&mut self) {
        if !std::mem::take(&mut self.copies) {
            return;
        }
        if matches!(self.front(), Some(Sent::Query | Sent::OwnQuery)) {
            // The simple protocol: all that comes behind the query has its answer behind the query's.
            let is_sure = !self.has_sync_in_data();
            self.doubt_unless(is_sure);
            return;
        }
        let end = self
            .sent
            .iter()
            .position(|one| matches!(one, Sent::CopyEnd));
        match end {
            // Of the `Execute` itself the end is still to be told.
            Some(end @ 1..) => {
                self.drain(1..end + 1);
            }
            _ => self.doubt = Doubt::Lasting,
        }
    }

    /// An error has come: what the server passes over up to the next `Sync`, which is known at once.
    pub(super) fn passed_over(&mut self) -> Vec<Sent> {
        if !self.skips || !self.knows_its_place() {
            return Vec::new();
        }
        let sync = self.sent.iter().position(|one| matches!(one, Sent::Sync));
        let end = sync.unwrap_or(self.sent.len());
        self.drain(0..end)
    }

    /// The client has ended its data with an error of its own, which the server has come to: what of `Sync`
    /// came in front of that it has passed over.
    pub(super) fn data_failed(&mut self) {
        if !self.copies || !matches!(self.front(), Some(Sent::Execute)) {
            return;
        }
        let is_end = |one: &Sent| matches!(one, Sent::CopyEnd);
        if let Some(end) = self.sent.iter().position(is_end) {
            self.drain(1..end + 1);
            self.copies = false;
        }
    }

    /// Takes these, in front of which nothing has a name.
    fn drain(&mut self, which: Range<usize>) -> Vec<Sent> {
        let drained: Vec<Sent> = self.sent.drain(which).collect();
        for sent in &drained {
            self.has_gone(sent);
        }
        drained
    }

    fn has_gone(&mut self, sent: &Sent) {
        if let Some(name) = sent.name()
            && let Some(segments) = self.names.get_mut(name)
        {
            segments.pop_front();
            if segments.is_empty() {
                self.names.remove(name);
            }
        }
        self.ends -= usize::from(sent.is_end());
        self.held -= sent.held();
    }

    /// The server has refused data, and a `Sync` was sent ahead of their end.
    fn refused_data(&mut self) {
        let is_of_copy = |one: &Sent| matches!(one, Sent::Execute | Sent::Sync | Sent::CopyEnd);
        let is_end = |one: &Sent| matches!(one, Sent::CopyEnd);
        self.doubt = match self.sent.iter().position(is_end) {
            _ if self.sent.iter().all(is_of_copy) => Doubt::OfSync,
            Some(end @ 1..) if self.sent.range(..end).all(is_of_copy) => {
                self.drain(1..end + 1);
                Doubt::Assumed
            }
            _ => Doubt::Lasting,
        };
    }

    fn doubt_unless(&mut self, is_sure: bool) {
        if !is_sure {
            self.doubt = Doubt::Lasting;
        }
    }

    /// Whether a `Sync` has been sent ahead of the end of the data: it is passed over if the server took
    /// data when it came, and is answered if not.
    fn has_sync_in_data(&self) -> bool {
        self.sent
            .iter()
            .take_while(|one| !matches!(one, Sent::CopyEnd))
            .any(|one| matches!(one, Sent::Sync))
    }

    /// A `ReadyForQuery` has come. Returns what the server has passed over.
    pub(super) fn ready(&mut self, status: u8) -> Vec<Sent> {
        self.status = status;
        self.copies = false;
        let skips = std::mem::take(&mut self.skips);
        match self.doubt {
            Doubt::Answered => {
                self.doubt = Doubt::None;
                self.unsynced = false;
                return Vec::new();
            }
            // All that was sent is of one `COPY`, and has no names.
            Doubt::OfSync | Doubt::Asked => return Vec::new(),
            Doubt::None | Doubt::Assumed | Doubt::Lasting => {}
        }
        let begun = std::mem::take(&mut self.begun);
        if matches!(self.front(), Some(Sent::Query | Sent::OwnQuery)) {
            // Not to this one, of which nothing has been answered.
            self.doubt_unless(begun);
            self.pop();
            return Vec::new();
        }
        let sync = self.sent.iter().position(|one| matches!(one, Sent::Sync));
        let Some(sync) = sync else {
            self.doubt = Doubt::Lasting;
            return Vec::new();
        };
        self.doubt_unless(sync == 0 || skips);
        let passed_over = self.drain(0..sync);
        self.pop();
        passed_over
    }

    /// Takes what has been answered. An end of data that comes next is of no `COPY`, or of one that has
    /// failed.
    fn pop(&mut self) -> Option<Sent> {
        let sent = self.sent.pop_front();
        if let Some(sent) = &sent {
            self.has_gone(sent);
        }
        while matches!(self.front(), Some(Sent::CopyEnd)) {
            self.sent.pop_front();
        }
        sent
    }
}

#[cfg(test)]
mod tests;
