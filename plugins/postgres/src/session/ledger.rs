//! What has been sent to the server and not been answered, and with that: which answer is whose, and when all
//! have come.
//!
//! Sans-I/O, and without a word of SQL. Every message that earns an answer is an entry, in the order in
//! which the server gets it; what a plugin sends on its own is marked as such, and so is what it answers
//! itself without asking the server. Source: PostgreSQL documentation, "Message Flow": an error in the
//! extended protocol has the server pass over everything up to the next `Sync`, and while it takes data of
//! a `COPY` it passes over `Sync` itself.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::statements::{Key, Statement};

/// The most that may be sent which has not been answered. Past that a client waits.
pub(super) const MAX_SENT: usize = 1 << 14;

/// One thing that was sent.
#[derive(Debug)]
pub(super) enum Sent {
    /// `Query`, or `FunctionCall`.
    Query,
    /// A `Query` of our own.
    OwnQuery,
    /// `Parse`.
    Parse(Option<Box<Parsing>>),
    /// `Bind`.
    Bind,
    /// `Describe`.
    Describe,
    /// `Execute`.
    Execute,
    /// `Close`.
    Close(Option<Box<Closing>>),
    /// `Sync`.
    Sync,
    /// `CopyDone` or `CopyFail`, with which the data end.
    CopyEnd,
}

/// `Parse` of a statement that connections share.
#[derive(Debug)]
pub(super) struct Parsing {
    /// What it is.
    pub(super) key: Key,
    /// The segment that it belongs to.
    pub(super) segment: u64,
    /// Who sees the answer.
    pub(super) by: By,
    /// The statement itself.
    pub(super) statement: Rc<Statement>,
    /// What the client calls it, if it does so from now on.
    pub(super) name: Option<Box<[u8]>>,
}

impl Parsing {
    /// Of the settings under which it is parsed.
    pub(super) fn settings(&self) -> [u8; 8] {
        let mut settings = [0; 8];
        settings.copy_from_slice(&self.key[self.key.len() - 8..]);
        settings
    }
}

/// `Close` of a statement that connections share.
#[derive(Debug)]
pub(super) enum Closing {
    /// Ours, of one too many, or of one that may not be there.
    Own(Option<Key>),
    /// Answered for the client, which has called it so.
    Answered(Option<(Box<[u8]>, Rc<Statement>)>),
}

/// Whose a `Parse` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The client's, and it gets the server's answer.
    Client,
    /// Ours.
    Own,
    /// The client's; the statement is there already, and the server is not asked.
    Answered,
}

impl Sent {
    /// What we answer ourselves: the type of the answer, once its turn has come.
    fn answered(&self) -> Option<u8> {
        match self {
            Self::Parse(Some(parsing)) if parsing.by == By::Answered => Some(b'1'),
            Self::Close(Some(closing)) if matches!(**closing, Closing::Answered(_)) => Some(b'3'),
            _ => None,
        }
    }

    /// The name that it gives to a statement, or takes away.
    fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Parse(Some(parsing)) => parsing.name.as_deref(),
            Self::Close(Some(closing)) => match &**closing {
                Closing::Answered(named) => named.as_ref().map(|(name, _)| &**name),
                Closing::Own(_) => None,
            },
            _ => None,
        }
    }

    /// Whether the client knows nothing of it.
    pub(super) fn is_own(&self) -> bool {
        match self {
            Self::OwnQuery => true,
            Self::Parse(Some(parsing)) => parsing.by == By::Own,
            Self::Close(Some(closing)) => matches!(**closing, Closing::Own(_)),
            _ => false,
        }
    }
}

/// What has been sent and not been answered.
#[derive(Debug)]
pub(super) struct Ledger {
    sent: VecDeque<Sent>,
    /// How many of them give a name to a statement, or take it away.
    names: usize,
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
    /// Nobody can tell any more how many answers are to come.
    doubtful: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            sent: VecDeque::new(),
            names: 0,
            segment: 0,
            unsynced: false,
            status: b'I',
            skips: false,
            copies: false,
            doubtful: false,
        }
    }
}

impl Ledger {
    /// Nothing is under way, and no transaction open.
    pub(super) fn is_idle(&self) -> bool {
        self.is_at_rest() && self.status == b'I' && !self.doubtful
    }

    /// Nothing is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.sent.is_empty() && !self.unsynced
    }

    /// Whether a transaction is open, by the last `ReadyForQuery`.
    pub(super) fn status(&self) -> u8 {
        self.status
    }

    /// Whether a client has to wait before it sends more.
    pub(super) fn is_full(&self) -> bool {
        self.sent.len() >= MAX_SENT
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
        let is_end = |one: &Sent| matches!(one, Sent::Query | Sent::Sync);
        self.sent.iter().any(is_end)
    }

    /// Whether it has to be seen first what becomes of messages that were sent ahead of another `Sync` and name
    /// the same statement: the server may pass over them.
    pub(super) fn is_in_doubt(&self, name: &[u8]) -> bool {
        if self.names == 0 {
            return false;
        }
        let mut is_earlier = false;
        self.sent.iter().rev().any(|one| {
            is_earlier |= matches!(one, Sent::Sync);
            is_earlier && one.name() == Some(name)
        })
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
        self.names += usize::from(sent.name().is_some());
        self.sent.push_back(sent);
    }

    /// This goes ahead of everything: a query of our own, at the start of a lease.
    pub(super) fn push_front(&mut self, sent: Sent) {
        self.sent.push_front(sent);
    }

    /// What the server's next answer is for.
    pub(super) fn front(&self) -> Option<&Sent> {
        self.sent.front()
    }

    /// An answer of this type has come, which is not `ReadyForQuery`. Returns what it ends.
    pub(super) fn answered(&mut self, kind: u8) -> Option<Sent> {
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
                self.doubtful |= std::mem::take(&mut self.copies) && self.has_sync_in_data();
                false
            }
            // Of several statements of a simple query one may have ended.
            b'T' | b'n' => matches!(front, Some(Sent::Describe)),
            b'C' | b'I' | b's' => matches!(front, Some(Sent::Execute)),
            b'1' | b'2' | b'3' => {
                let is_its = match front {
                    Some(Sent::Parse(_)) => kind == b'1',
                    Some(Sent::Bind) => kind == b'2',
                    Some(Sent::Close(_)) => kind == b'3',
                    _ => false,
                };
                self.doubtful |= !is_its;
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
            self.doubtful |= self.has_sync_in_data();
            return;
        }
        let end = self
            .sent
            .iter()
            .position(|one| matches!(one, Sent::CopyEnd));
        match end {
            // Of the `Execute` itself the end is still to be told.
            Some(end @ 1..) => {
                self.sent.drain(1..=end);
            }
            _ => self.doubtful = true,
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
        if matches!(self.front(), Some(Sent::Query | Sent::OwnQuery)) {
            self.pop();
            return Vec::new();
        }
        let sync = self.sent.iter().position(|one| matches!(one, Sent::Sync));
        let Some(sync) = sync else {
            self.doubtful = true;
            return Vec::new();
        };
        self.doubtful |= sync > 0 && !skips;
        let passed_over: Vec<Sent> = self.sent.drain(..sync).collect();
        self.names -= passed_over.iter().filter_map(Sent::name).count();
        self.pop();
        passed_over
    }

    /// Takes what has been answered. An end of data that comes next is of no `COPY`, or of one that has
    /// failed.
    fn pop(&mut self) -> Option<Sent> {
        let sent = self.sent.pop_front();
        self.names -= usize::from(sent.as_ref().and_then(Sent::name).is_some());
        while matches!(self.front(), Some(Sent::CopyEnd)) {
            self.sent.pop_front();
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::statements::Catalog;

    fn ledger(sent: impl IntoIterator<Item = Sent>) -> Ledger {
        let mut ledger = Ledger::default();
        for one in sent {
            ledger.push(one);
        }
        ledger
    }

    fn answer(ledger: &mut Ledger, kinds: &[u8]) {
        for kind in kinds {
            match kind {
                b'Z' => drop(ledger.ready(b'I')),
                b'c' => ledger.copied(),
                kind => drop(ledger.answered(*kind)),
            }
        }
    }

    fn own_parse() -> Sent {
        Sent::Parse(Some(Box::new(Parsing {
            key: Key::default(),
            segment: 0,
            by: By::Own,
            statement: Catalog::default().get(b"SELECT 1"),
            name: None,
        })))
    }

    fn answered_close() -> Sent {
        Sent::Close(Some(Box::new(Closing::Answered(None))))
    }

    #[test]
    fn each_answer_ends_what_it_is_for() {
        use Sent::{Bind, Describe, Execute, Parse, Query, Sync};
        let mut ledger = ledger([Parse(None), Bind, Describe, Execute, Sync, Query]);
        answer(&mut ledger, b"12TDDCZTDDC");
        assert!(matches!(ledger.front(), Some(Query)));
        assert!(!ledger.is_idle() && ledger.is_one_query());
        answer(&mut ledger, b"TDCZ");
        assert!(ledger.is_idle());
    }

    #[test]
    fn an_error_passes_over_everything_up_to_a_sync() {
        use Sent::{Bind, Execute, Parse, Query, Sync};
        let mut ledger = ledger([Parse(None), Bind, own_parse(), Query, Sync, Bind, Execute]);
        assert!(ledger.answered(b'1').is_some());
        assert!(ledger.answered(b'E').is_none());
        let over = ledger.ready(b'I');
        assert!(
            matches!(over[..], [Bind, Parse(Some(_)), Query]),
            "{over:?}"
        );
        answer(&mut ledger, b"2C");
        assert!(!ledger.is_at_rest(), "there is no Sync behind it");
        ledger.push(Sync);
        answer(&mut ledger, b"Z");
        assert!(ledger.is_idle());
    }

    #[test]
    fn what_is_answered_here_waits_for_its_turn() {
        use Sent::{Bind, Execute, Sync};
        let mut ledger = ledger([Bind, Execute, answered_close(), answered_close(), Sync]);
        answer(&mut ledger, b"2D");
        assert!(ledger.answers_itself().is_none());
        answer(&mut ledger, b"C");
        for _ in 0..2 {
            assert!(matches!(ledger.answers_itself(), Some((b'3', _))));
        }
        assert!(ledger.answers_itself().is_none());
        answer(&mut ledger, b"Z");
        assert!(ledger.is_idle());
        // Nor is it answered where the server would have passed over it.
        let mut ledger = self::ledger([Bind, answered_close(), Sync]);
        answer(&mut ledger, b"E");
        assert!(ledger.answers_itself().is_none());
        assert_eq!(ledger.ready(b'I').len(), 2);
        assert!(ledger.is_idle());
    }

    #[test]
    fn a_sync_in_the_middle_of_data_is_passed_over() {
        use Sent::{Bind, CopyEnd, Execute, Parse, Query, Sync};
        let mut extended = ledger([Parse(None), Bind, Execute, Sync, CopyEnd, Sync]);
        answer(&mut extended, b"12GcCZ");
        assert!(extended.is_idle());
        let mut simple = ledger([Query, CopyEnd, Query]);
        answer(&mut simple, b"GcCZ");
        assert!(simple.is_one_query());
        answer(&mut simple, b"CZ");
        assert!(simple.is_idle());
        // It failed: a `Sync` behind the data counts as ever, and one in front of their end may or may not.
        for (sent, is_sure) in [
            (vec![Execute, CopyEnd, Sync], true),
            (vec![Execute, Sync, CopyEnd, Sync], false),
            (vec![Execute, Sync], false),
        ] {
            let mut failed = ledger(sent);
            answer(&mut failed, b"GEZ");
            assert_eq!(failed.is_idle(), is_sure);
            // If both are answered after all, it is too late to be sure.
            answer(&mut failed, b"Z");
            assert!(!failed.is_idle());
        }
    }

    #[test]
    fn an_end_of_no_data_is_ignored() {
        use Sent::{CopyEnd, Query};
        assert!(ledger([CopyEnd]).is_idle());
        let mut late = ledger([Query, Query, CopyEnd, Query]);
        answer(&mut late, b"CZCZ");
        assert!(late.is_one_query());
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_doubtful() {
        for kinds in [&b"1"[..], b"Z", b"3", b"2"] {
            let mut ledger = Ledger::default();
            answer(&mut ledger, kinds);
            assert!(!ledger.is_idle(), "{kinds:?}");
        }
        let mut ledger = ledger([Sent::Bind, Sent::Sync]);
        answer(&mut ledger, b"1");
        answer(&mut ledger, b"2Z");
        assert!(!ledger.is_idle());
    }

    proptest! {
        /// Whatever comes, nothing panics, and nothing is at rest that has not been answered.
        #[test]
        fn any_answers_to_anything(
            events in prop::collection::vec((any::<bool>(), 0_usize..9), 0..60),
        ) {
            let mut ledger = Ledger::default();
            for (is_sent, which) in events {
                if is_sent {
                    ledger.push(match which {
                        0 => Sent::Query,
                        1 => Sent::OwnQuery,
                        2 => own_parse(),
                        3 => Sent::Bind,
                        4 => Sent::Describe,
                        5 => Sent::Execute,
                        6 => answered_close(),
                        7 => Sent::CopyEnd,
                        _ => Sent::Sync,
                    });
                } else {
                    answer(&mut ledger, &[b"123TCEGcZ"[which]]);
                }
                while ledger.answers_itself().is_some() {}
                prop_assert!(!ledger.is_idle() || ledger.front().is_none());
            }
        }
    }
}
