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

/// What earns a `ReadyForQuery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Earns {
    /// `Query`, or `FunctionCall`.
    Query,
    /// `Sync`.
    Sync,
}

/// What is known of the connection that a session holds.
#[derive(Debug)]
pub(super) struct Traffic {
    /// What has been sent that earns a `ReadyForQuery` which has not come.
    owed: VecDeque<Earns>,
    /// Messages of the extended protocol have been sent with no `Sync` behind them.
    unsynced: bool,
    /// In a transaction, by the last `ReadyForQuery`: `I` for none.
    status: u8,
    /// What the client has left on the connection.
    pin: Option<&'static str>,
    /// All that is under way is one `SET LOCAL`, which ends with its transaction.
    is_local: bool,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            owed: VecDeque::new(),
            unsynced: false,
            status: b'I',
            pin: None,
            is_local: false,
        }
    }
}

impl Traffic {
    /// Nothing is under way, and no transaction open.
    pub(super) fn is_idle(&self) -> bool {
        self.owed.is_empty() && !self.unsynced && self.status == b'I'
    }

    /// Whether the client has left something on the connection.
    pub(super) fn is_pinned(&self) -> bool {
        self.pin.is_some()
    }

    /// Takes note of a client's message that goes to the server. None if more of it has to be seen.
    fn sends(&mut self, kind: u8, rest: &[u8]) -> Option<()> {
        if matches!(kind, b'Q' | b'P' | b'F') {
            let is_first = self.owed.is_empty() && !self.unsynced;
            self.is_local = is_first && is_set_local(rest)?;
        }
        match kind {
            b'Q' | b'F' => self.owed.push_back(Earns::Query),
            b'S' => {
                self.owed.push_back(Earns::Sync);
                self.unsynced = false;
            }
            b'P' => {
                // A name, which is empty for a statement that the next one replaces.
                if *rest.get(wire::HEAD)? != 0 {
                    self.pin.get_or_insert("a prepared statement");
                }
                self.unsynced = true;
            }
            b'B' | b'D' | b'E' | b'C' => self.unsynced = true,
            _ => {}
        }
        Some(())
    }

    /// Takes note of what a command has done, by its tag.
    fn completed(&mut self, tag: &[u8]) {
        match tag {
            b"LISTEN" => self.pin = Some("LISTEN"),
            b"SET" if self.is_local => {}
            b"SET" => self.pin = self.pin.or(Some("SET")),
            b"PREPARE" => self.pin = self.pin.or(Some("PREPARE")),
            b"DECLARE CURSOR" => self.pin = self.pin.or(Some("DECLARE CURSOR")),
            b"DISCARD ALL" => self.pin = None,
            _ => {}
        }
    }

    /// The server takes data now. What has been sent of `Sync` meanwhile it passes over.
    fn copies_in(&mut self) {
        while self.owed.front() == Some(&Earns::Sync) {
            self.owed.pop_front();
            self.unsynced = true;
        }
    }
}

/// Whether a `Query` or a `Parse` is one `SET LOCAL` and nothing else, which its tag does not tell. None
/// if more of it has to be seen.
fn is_set_local(message: &[u8]) -> Option<bool> {
    const WORDS: &[u8] = b"SET LOCAL ";
    let (kind, body, is_whole) = match (wire::message(message, MAX_SET), message) {
        (
            Parsed::Complete {
                value: (kind, body),
                ..
            },
            _,
        ) => (kind, body, true),
        (Parsed::Incomplete { .. }, [kind, _, _, _, _, body @ ..]) => (*kind, body, false),
        _ => return Some(false),
    };
    let sql = match (kind, wire::text(body)) {
        (b'P', Some((_, sql))) => sql,
        (b'P', None) => return if is_whole { Some(false) } else { None },
        _ => body,
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
    /// No message, and why.
    Invalid(String),
}

impl Session {
    /// The client has sent this, and no connection is leased.
    pub(super) fn messages_without_lease(&mut self, shown: &[u8]) -> Choice {
        self.traffic = Traffic::default();
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
            Next::Invalid(why) => Choice::answer(violation(Steps::new(), &why)),
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
            Next::Invalid(why) => violation(Steps::new(), &why),
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
                Parsed::Invalid(why) => break Next::Invalid(why.to_owned()),
            };
            match head.kind {
                b'X' => break Next::Goodbye(head.length),
                b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'S' | b'H' | b'F' | b'd' | b'c'
                | b'f' => {
                    if self.traffic.sends(head.kind, rest).is_none() {
                        break Next::More;
                    }
                    bytes += head.length;
                }
                kind => {
                    break Next::Invalid(format!("invalid frontend message type {kind}"));
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
                    self.traffic.status = *status;
                    self.traffic.owed.pop_front();
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
                b'G' => self.traffic.copies_in(),
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

fn violation(steps: Steps, why: &str) -> Steps {
    steps
        .send(Side::Client, write::error("FATAL", "08P01", why))
        .close(format!("protocol violation: {why}"))
}
