//! Messages of a client that has logged in, and of the server: which go on a connection, and when
//! the client is done with it.

use std::collections::VecDeque;

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Disposition, Side, Steps};

use super::Session;
use crate::config::Pooling;
use crate::wire::{self, write};

/// The longest `SET LOCAL` that is looked at.
const MAX_SET: usize = 1024;

/// The longest `CommandComplete` that is read: a tag is some 20 bytes long.
const MAX_TAG: usize = 256;

/// The most that a client may have sent which has not been answered.
const MAX_OWED: usize = 1 << 16;

/// How far the names in a message may reach that are looked at; the server cuts them at 63 bytes.
const MAX_NAMES: usize = 512;

/// What has been sent that bears on how many `ReadyForQuery` are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// `Query`, or `FunctionCall`, which earns one.
    Query,
    /// `Sync`, which earns one unless the server takes data when it comes to it.
    Sync,
    /// `CopyDone` or `CopyFail`, with which the data end.
    CopyEnd,
}

/// What is wrong with a client's message: SQLSTATE and words.
type Wrong = (&'static str, String);

/// What is known of the connection that a session holds.
#[derive(Debug)]
pub(super) struct Traffic {
    /// What has been sent and not been answered.
    owed: VecDeque<Sent>,
    /// Messages of the extended protocol have been sent with no `Sync` behind them.
    unsynced: bool,
    /// In a transaction, by the last `ReadyForQuery`: `I` for none.
    status: u8,
    /// What the client has left on the connection.
    pin: Option<&'static str>,
    /// All that is under way is one `SET LOCAL`, which ends with its transaction.
    is_local: bool,
    /// The statement without a name is the client's own, and not somebody else's from before.
    has_unnamed: bool,
    /// It has been parsed, and the client may bind it yet.
    unbound: bool,
    /// The server takes data.
    copies: bool,
    /// Nobody can tell any more how many answers are to come.
    doubtful: bool,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            owed: VecDeque::new(),
            unsynced: false,
            status: b'I',
            pin: None,
            is_local: false,
            has_unnamed: false,
            unbound: false,
            copies: false,
            doubtful: false,
        }
    }
}

impl Traffic {
    /// Nothing is under way, and no transaction open.
    pub(super) fn is_idle(&self) -> bool {
        self.owed.is_empty() && !self.unsynced && !self.doubtful && self.status == b'I'
    }

    /// Whether the client has left something on the connection.
    pub(super) fn is_pinned(&self) -> bool {
        self.pin.is_some() || self.unbound
    }

    /// Takes note of a client's message that goes to the server. None if more of it has to be seen.
    fn sends(&mut self, kind: u8, rest: &[u8]) -> Option<Result<(), Wrong>> {
        let is_first = self.owed.is_empty() && !self.unsynced;
        self.is_local = kind == b'Q' && is_first && is_set_local(rest)?;
        let body = rest.get(wire::HEAD..).unwrap_or_default();
        match kind {
            b'Q' | b'F' => {
                self.owed.push_back(Sent::Query);
                // Which the server forgets with any query of the simple protocol.
                self.unbound = false;
            }
            b'S' => {
                self.owed.push_back(Sent::Sync);
                self.unsynced = false;
            }
            b'c' | b'f' => self.owed.push_back(Sent::CopyEnd),
            b'P' => {
                // A name, which is empty for a statement that the next one replaces.
                if *body.first()? == 0 {
                    self.has_unnamed = true;
                    self.unbound = true;
                } else {
                    self.pin.get_or_insert("a prepared statement");
                }
                self.unsynced = true;
            }
            b'B' => {
                // Of a portal, and of a statement.
                let name = wire::text(body).and_then(|(_, rest)| wire::text(rest));
                if self.is_somebody_elses(name, body)? {
                    return Some(Err(no_statement()));
                }
                self.unbound = false;
                self.unsynced = true;
            }
            b'D' => {
                let name = match body.split_first() {
                    Some((b'S', rest)) => wire::text(rest),
                    Some(_) => Some((&b"a portal"[..], &[][..])),
                    None => None,
                };
                if self.is_somebody_elses(name, body)? {
                    return Some(Err(no_statement()));
                }
                self.unsynced = true;
            }
            b'E' | b'C' => self.unsynced = true,
            _ => {}
        }
        if self.owed.len() > MAX_OWED {
            let why = format!("more than {MAX_OWED} requests without an answer");
            return Some(Err(("08P01", why)));
        }
        Some(Ok(()))
    }

    /// Whether a message names the statement without a name, and the client has parsed none on this
    /// connection. None if more has to be seen.
    fn is_somebody_elses(&self, name: Option<(&[u8], &[u8])>, seen: &[u8]) -> Option<bool> {
        match name {
            Some((name, _)) => Some(name.is_empty() && !self.has_unnamed),
            None if seen.len() > MAX_NAMES => Some(false),
            None => None,
        }
    }

    /// Takes note of what a command has done, by its tag.
    fn completed(&mut self, tag: &[u8]) {
        if std::mem::take(&mut self.copies) && tag.starts_with(b"COPY ") {
            self.copied();
        }
        let is_alone = self.owed == [Sent::Query] && !self.unsynced;
        match tag {
            b"LISTEN" => self.pin = Some("LISTEN"),
            b"SET" if self.is_local => {}
            b"SET" => self.pin = self.pin.or(Some("SET")),
            b"PREPARE" => self.pin = self.pin.or(Some("PREPARE")),
            b"DECLARE CURSOR" => self.pin = self.pin.or(Some("DECLARE CURSOR")),
            // What has been sent behind it may have left something again.
            b"DISCARD ALL" if is_alone => self.pin = None,
            _ => {}
        }
    }

    /// The server has taken all data. What of `Sync` came in front of their end it has passed over.
    fn copied(&mut self) {
        if self.owed.front() == Some(&Sent::Query) {
            // The simple protocol: all that comes behind the query has its answer behind the query's.
            self.doubtful |= self
                .owed
                .iter()
                .skip(1)
                .take_while(|one| **one != Sent::CopyEnd)
                .any(|one| *one == Sent::Sync);
            return;
        }
        while let Some(sent) = self.owed.pop_front() {
            if sent == Sent::CopyEnd {
                return;
            }
        }
        self.doubtful = true;
    }

    /// An error has ended what was under way.
    fn failed(&mut self) {
        // Whether a `Sync` came while the server took data, nobody can tell.
        self.doubtful |= std::mem::take(&mut self.copies) && self.owed.contains(&Sent::Sync);
    }

    /// A `ReadyForQuery` has come.
    fn ready(&mut self, status: u8) {
        self.status = status;
        self.copies = false;
        let mut answered = false;
        while let Some(sent) = self.owed.front() {
            if *sent != Sent::CopyEnd && std::mem::replace(&mut answered, true) {
                return;
            }
            self.owed.pop_front();
        }
        self.doubtful |= !answered;
    }
}

/// invalid_sql_statement_name
fn no_statement() -> Wrong {
    let why = "unnamed prepared statement does not exist on this connection";
    ("26000", why.to_owned())
}

/// Whether a `Query` is one `SET LOCAL` and nothing else, which its tag does not tell. None if more of it
/// has to be seen.
fn is_set_local(message: &[u8]) -> Option<bool> {
    const WORDS: &[u8] = b"SET LOCAL ";
    let (sql, is_whole) = match (wire::message(message, MAX_SET), message) {
        (
            Parsed::Complete {
                value: (_, body), ..
            },
            _,
        ) => (body, true),
        (Parsed::Incomplete { .. }, [_, _, _, _, _, body @ ..]) => (body, false),
        _ => return Some(false),
    };
    let sql = sql.trim_ascii_start();
    let begun = sql.len().min(WORDS.len());
    if !sql[..begun].eq_ignore_ascii_case(&WORDS[..begun]) {
        return Some(false);
    }
    if !is_whole {
        return None;
    }
    let sql = wire::text(sql).map(|(sql, _)| sql.trim_ascii_end());
    Some(sql.is_some_and(|sql| {
        let sql = sql.strip_suffix(b";").unwrap_or(sql);
        sql.len() > WORDS.len() && !sql.contains(&b';')
    }))
}

/// Messages of a client at the front of its bytes.
struct Taken {
    /// How many bytes they are, also past what was shown.
    bytes: u64,
    next: Next,
}

/// What stands behind them.
enum Next {
    /// Nothing that could be judged yet.
    More,
    /// `Terminate`, so many bytes long.
    Goodbye(u64),
    /// None that may go there, and why.
    Invalid(Wrong),
}

impl Session {
    /// The client has sent this, and no connection is leased.
    pub(super) fn messages_without_lease(&mut self, shown: &[u8]) -> Choice {
        self.traffic = Traffic::default();
        if let Parsed::Complete { value: head, .. } = wire::head(shown)
            && matches!(head.kind, b'd' | b'c' | b'f' | b'H')
        {
            // Too late, or to no effect; and no answer would end its lease.
            return Choice::answer(Steps::new().discard(head.length));
        }
        let taken = self.take(shown);
        if taken.bytes > 0 {
            let target = match (&self.identity, self.named) {
                (Some(identity), false) => Some(identity.target()),
                _ => None,
            };
            self.named = true;
            return Choice::lease(target).then(Steps::new().forward(taken.bytes));
        }
        match taken.next {
            Next::More => Choice::NeedMore,
            Next::Goodbye(bytes) => Choice::answer(goodbye(Steps::new(), bytes)),
            Next::Invalid(why) => Choice::answer(refused(Steps::new(), &why)),
        }
    }

    /// The client has sent this, and a connection is leased.
    pub(super) fn messages_in_lease(&mut self, shown: &[u8]) -> Steps {
        let taken = self.take(shown);
        if taken.bytes > 0 {
            return Steps::new().forward(taken.bytes);
        }
        match taken.next {
            Next::More => Steps::new(),
            Next::Goodbye(bytes) => goodbye(Steps::new(), bytes),
            Next::Invalid(why) => refused(Steps::new(), &why),
        }
    }

    /// Takes the messages at the front that go to the server, and takes note of them.
    fn take(&mut self, shown: &[u8]) -> Taken {
        let mut bytes = 0;
        let next = loop {
            let rest = usize::try_from(bytes).ok().and_then(|at| shown.get(at..));
            let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
                break Next::More;
            };
            let head = match wire::head(rest) {
                Parsed::Complete { value, .. } => value,
                Parsed::Incomplete { .. } => break Next::More,
                Parsed::Invalid(why) => break Next::Invalid(("08P01", why.to_owned())),
            };
            match head.kind {
                b'X' => break Next::Goodbye(head.length),
                b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'S' | b'H' | b'F' | b'd' | b'c'
                | b'f' => match self.traffic.sends(head.kind, rest) {
                    None => break Next::More,
                    Some(Err(wrong)) => break Next::Invalid(wrong),
                    Some(Ok(())) => bytes += head.length,
                },
                kind => {
                    let why = format!("invalid frontend message type {kind}");
                    break Next::Invalid(("08P01", why));
                }
            }
        };
        Taken { bytes, next }
    }

    /// The server has sent this.
    pub(super) fn answers(&mut self, shown: &[u8]) -> Steps {
        let mut bytes = 0;
        loop {
            let rest = usize::try_from(bytes).ok().and_then(|at| shown.get(at..));
            let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
                break;
            };
            let head = match wire::head(rest) {
                Parsed::Complete { value, .. } => value,
                Parsed::Incomplete { .. } => break,
                Parsed::Invalid(why) => {
                    return Steps::new()
                        .forward(bytes)
                        .close(format!("of the server: {why}"));
                }
            };
            match head.kind {
                b'Z' => {
                    let Some(status) = rest.get(wire::HEAD) else {
                        break;
                    };
                    self.traffic.ready(*status);
                    bytes += head.length;
                    if self.is_done() {
                        return Steps::new().forward(bytes).release(Disposition::Keep);
                    }
                    continue;
                }
                b'C' if head.length <= MAX_TAG as u64 => match wire::message(rest, MAX_TAG) {
                    Parsed::Complete {
                        value: (_, body), ..
                    } => self
                        .traffic
                        .completed(body.strip_suffix(b"\0").unwrap_or(body)),
                    _ => break,
                },
                b'G' => self.traffic.copies = true,
                b'E' => self.traffic.failed(),
                _ => {}
            }
            bytes += head.length;
        }
        match bytes {
            0 => Steps::new(),
            bytes => Steps::new().forward(bytes),
        }
    }

    /// Whether the connection is for somebody else now.
    fn is_done(&self) -> bool {
        self.pooling() == Pooling::Transaction
            && self.traffic.is_idle()
            && !self.traffic.is_pinned()
    }
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
