//! What the server says: whose answer it is, and when the client is done with the connection.

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Disposition, Side, Step, Steps};

use super::lease::Unnamed;
use super::ledger::{By, Closing, Sent};
use super::login::Stage;
use super::{MAX_STEPS, Session};
use crate::config::Pooling;
use crate::settings::{self, Values};
use crate::wire::{self, write};

/// The longest `CommandComplete` that is read: a tag is some 20 bytes long.
const MAX_TAG: usize = 256;

/// The longest message that is read whole: an error, the value of a setting, an answer to ourselves.
const MAX_READ: usize = 48 << 10;

/// feature_not_supported: "cached plan must not change result type", which comes once a table has changed.
const OUTDATED: &str = "0A000";

/// invalid_sql_statement_name: a statement is not there, perhaps since a function has closed it.
const UNKNOWN: &str = "26000";

/// query_canceled: by the client itself, if it comes from where data are read.
const CANCELED: &str = "57014";

/// The longest tag that a connection is given.
const MAX_CONNECTION_TAG: usize = 64 << 10;

impl Session {
    /// The server has sent this.
    pub(super) fn answers(&mut self, shown: &[u8]) -> Steps {
        let mut steps = Steps::new();
        // Where the answer before it came in part, its turn had not come.
        self.answer_itself(&mut steps);
        let mut at = 0_u64;
        while steps.as_slice().len() < MAX_STEPS {
            let rest = usize::try_from(at).ok().and_then(|at| shown.get(at..));
            let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
                break;
            };
            let head = match wire::head(rest) {
                Parsed::Complete { value, .. } => value,
                Parsed::Incomplete { .. } => break,
                Parsed::Invalid(why) => return steps.close(format!("of the server: {why}")),
            };
            at += head.length;
            let is_query = matches!(self.lease.ledger.front(), Some(Sent::OwnQuery))
                || self.lease.ledger.is_answer_to_doubt(head.kind);
            let length = head.length;
            match head.kind {
                b'Z' => {
                    let Some(status) = rest.get(wire::HEAD) else {
                        break;
                    };
                    let passed_over = self.lease.ledger.ready(*status);
                    self.undo(passed_over);
                    if *status == b'I' && !is_query {
                        self.settle_digest();
                    }
                    if is_query {
                        steps.push(Step::Discard(length));
                        self.settle_digest();
                        if matches!(self.stage, Stage::Greeting) {
                            return self.greets_with_connection(steps);
                        }
                    } else if self.pooling == Pooling::Statement && *status != b'I' {
                        return no_transactions(steps, length);
                    } else {
                        steps.push(Step::Forward(length));
                    }
                    self.answer_itself(&mut steps);
                    if self.lease.ledger.asks() {
                        steps.push(Step::Send((Side::Upstream, write::query(""))));
                    }
                    // The client has leased it for something, which may wait for this.
                    let is_ready = is_query && std::mem::take(&mut self.lease.restores);
                    if !is_ready && self.is_done() {
                        match self.asks() {
                            Some(query) => steps.push(Step::Send((Side::Upstream, query))),
                            None => return self.release(steps),
                        }
                    }
                    continue;
                }
                b'E' => {
                    let Some(body) = read(rest, length) else {
                        break;
                    };
                    if is_query {
                        return self.own_query_failed(steps, body);
                    }
                    self.lease.has_ended |= wire::ends_the_session(body);
                    match wire::error(body).0.as_str() {
                        // Parsed once more, it is as its tables are now.
                        OUTDATED => self.lease.prepared().all_closed(),
                        UNKNOWN if self.lease.ledger.is_naming() => {
                            self.lease.prepared().all_closed();
                        }
                        CANCELED if wire::comes_from(body, b"CopyGetData") => {
                            self.lease.ledger.data_failed();
                        }
                        _ => {}
                    }
                    self.lease.ledger.answered(b'E');
                    let passed_over = self.lease.ledger.passed_over();
                    self.undo(passed_over);
                }
                b'C' if !is_query => {
                    let Some(tag) = read(rest, length.min(MAX_TAG as u64)) else {
                        break;
                    };
                    let was_tainted = self.lease.is_tainted;
                    if self.lease.completed(tag.strip_suffix(b"\0").unwrap_or(tag)) {
                        self.names.clear();
                    }
                    if self.lease.is_tainted && !was_tainted {
                        self.own_digest();
                    }
                    self.lease.ledger.answered(b'C');
                }
                b'S' => {
                    let Some(body) = read(rest, length) else {
                        break;
                    };
                    if !is_query {
                        self.reported(body);
                    }
                }
                b'D' if is_query => {
                    let Some(row) = read(rest, length) else {
                        break;
                    };
                    self.learned(row);
                }
                b'1' | b'3' => {
                    let is_own = match self.lease.ledger.answered(head.kind) {
                        Some(sent) => {
                            match &sent {
                                Sent::Parse(Some(parsing)) => {
                                    let is_its = self.lease.prepared().parsed(&parsing.key);
                                    if is_its && !self.lease.is_tainted && !self.lease.is_pinned() {
                                        parsing.statement.is_good(self.who(), parsing.settings());
                                    }
                                }
                                Sent::ParseUnnamed => self.lease.unnamed = Unnamed::Own,
                                _ => {}
                            }
                            sent.is_own()
                        }
                        None => false,
                    };
                    if is_own {
                        steps.push(Step::Discard(length));
                        self.answer_itself(&mut steps);
                        continue;
                    }
                }
                kind => {
                    self.lease.ledger.answered(kind);
                }
            }
            steps.push(match is_query {
                true => Step::Discard(length),
                false => Step::Forward(length),
            });
            if self.pooling != Pooling::Session && self.lease.ledger.is_lost() {
                return lost_count(steps);
            }
            if length > rest.len() as u64 {
                // Nothing may stand behind a part of a message: the server may keep the rest until the client
                // has sent more.
                break;
            }
            self.answer_itself(&mut steps);
        }
        steps
    }

    /// Answers what the server was not asked, where its turn has come.
    fn answer_itself(&mut self, steps: &mut Steps) {
        let mut words = Vec::new();
        while let Some((kind, _)) = self.lease.ledger.answers_itself() {
            words.extend(write::message(kind, b""));
        }
        if !words.is_empty() {
            steps.push(Step::Send((Side::Client, words)));
        }
    }

    /// The server has passed over these: statements are known, or not, as they were before.
    fn undo(&mut self, passed_over: Vec<Sent>) {
        let is_unnamed = |sent: &Sent| matches!(sent, Sent::ParseUnnamed);
        // Another that has been sent behind the next `Sync` may be parsed yet.
        if passed_over.iter().any(is_unnamed) && !self.lease.ledger.awaits_unnamed() {
            if matches!(self.lease.unnamed, Unnamed::Sent(_)) {
                self.lease.unnamed = Unnamed::Others;
            }
            self.lease.unbound = false;
        }
        for sent in passed_over.into_iter().rev() {
            match sent {
                Sent::Parse(Some(parsing)) => {
                    if parsing.by != By::Answered {
                        self.lease.prepared().failed(&parsing.key, parsing.segment);
                    }
                    if let Some(name) = &parsing.name {
                        self.names.remove_if(name, &parsing.statement);
                    }
                }
                Sent::Close(Some(closing)) => match *closing {
                    Closing::Own(Some(key)) => self.lease.prepared().put_back(&key),
                    Closing::Own(None) | Closing::Answered(None) => {}
                    Closing::Answered(Some((name, statement))) => {
                        self.names.insert(&name, statement);
                    }
                },
                _ => {}
            }
        }
    }

    /// The server reports a setting that the client has changed.
    fn reported(&mut self, body: &[u8]) {
        let Some((name, rest)) = wire::text(body) else {
            return;
        };
        let Some((value, _)) = wire::text(rest) else {
            return;
        };
        match self.shared.tracked.find(name) {
            Some(at) if settings::can_follow(value) => self.follow(&[(at, value)]),
            // Says what the server is, and not what a client has made of it.
            None if name == b"in_hot_standby" => {}
            _ => self.lease.pin("a setting"),
        }
    }

    /// These settings are so from now on, for the client and on its connection.
    fn follow(&mut self, changed: &[(usize, &[u8])]) {
        self.follow_all(self.settings.with(changed));
    }

    /// All settings are so.
    pub(super) fn follow_all(&mut self, settings: Values) {
        self.settings = settings;
        if !self.lease.is_tainted {
            self.digest = self.shared.tracked.digest(&self.settings);
        }
    }

    /// Statements go by a name that no other transaction has: nobody knows what settings it has.
    pub(super) fn own_digest(&mut self) {
        // Not even by chance: without it they would go by the names of others.
        self.digest = crate::random().unwrap_or([0xff; 8]);
    }

    /// No transaction is open: settings are known again, unless they have to be asked for.
    fn settle_digest(&mut self) {
        let has_more = self.shared.tracked.unreported().next().is_some();
        if self.lease.is_tainted && !(self.lease.is_unsure && has_more) {
            self.lease.is_tainted = false;
            self.digest = self.shared.tracked.digest(&self.settings);
        }
    }

    /// The server answers our own query for settings.
    fn learned(&mut self, row: &[u8]) {
        let asked = std::mem::take(&mut self.lease.asked);
        let values = wire::row(row);
        let is_known = values.as_ref().is_some_and(|values| {
            let follows = |value: &Option<&[u8]>| value.is_some_and(settings::can_follow);
            values.len() == asked.len() && values.iter().all(follows)
        });
        match values {
            Some(values) if is_known => {
                let changed: Vec<(usize, &[u8])> = asked
                    .into_iter()
                    .zip(values.into_iter().flatten())
                    .collect();
                self.follow(&changed);
            }
            _ => self.lease.pin("a setting"),
        }
    }

    /// Whether the connection is for somebody else now.
    fn is_done(&self) -> bool {
        self.pooling != Pooling::Session && self.lease.ledger.is_idle() && !self.lease.is_pinned()
    }

    /// The query that has to be answered before the connection goes: settings may have changed that the
    /// server does not report.
    fn asks(&mut self) -> Option<Vec<u8>> {
        let which: Vec<usize> = self.shared.tracked.unreported().collect();
        if !std::mem::take(&mut self.lease.is_unsure) || which.is_empty() {
            return None;
        }
        let query = write::query(&self.shared.tracked.ask(&which));
        self.lease.asked = which;
        self.lease.ledger.push(Sent::OwnQuery);
        Some(query)
    }

    /// Gives the connection back, with what others have to know of it.
    pub(super) fn release(&mut self, mut steps: Steps) -> Steps {
        let mut is_fit = self.withdraw();
        if self.has_changed_connection() {
            let statements = self.lease.statements();
            let backend = self.lease.backend.with(&self.settings, &statements);
            is_fit &= backend.tag().len() <= MAX_CONNECTION_TAG;
            if is_fit && backend != self.lease.backend {
                steps.push(Step::Retag(backend.tag().to_vec()));
            }
        }
        steps.release(Disposition::keep_if(is_fit))
    }

    /// Whether the connection is not any more as its tag says.
    pub(super) fn has_changed_connection(&self) -> bool {
        self.lease.has_other_statements() || !self.lease.backend.has(&self.settings)
    }

    /// The server refuses what we have asked of it. What the client has sent behind it cannot be trusted to
    /// mean what it says.
    fn own_query_failed(&mut self, steps: Steps, body: &[u8]) -> Steps {
        let (sqlstate, text) = wire::error(body);
        let sqlstate = if sqlstate.len() == 5 {
            &sqlstate
        } else {
            "XX000"
        };
        steps
            .send(Side::Client, write::error("FATAL", sqlstate, &text))
            .close(format!("settings could not be restored: {sqlstate} {text}"))
    }
}

/// The body of a message at the front, up to what is read of it. None if more has to be seen.
fn read(rest: &[u8], length: u64) -> Option<&[u8]> {
    let end = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_READ);
    rest.get(wire::HEAD..end)
}

/// What came next might be taken for the answer to something else.
fn lost_count(steps: Steps) -> Steps {
    let why = "nobody can tell which answers are to come";
    steps
        .send(Side::Client, write::error("FATAL", "08P01", why))
        .close(why)
}

/// As PgBouncer says it, since clients may look for it.
fn no_transactions(steps: Steps, length: u64) -> Steps {
    let why = "transaction blocks not allowed in statement pooling mode";
    steps
        .discard(length)
        .send(Side::Client, write::error("FATAL", "08P01", why))
        .close(why)
}
