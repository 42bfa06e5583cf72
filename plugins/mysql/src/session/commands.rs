//! What the client asks: which of its commands go on a connection, which are answered here, and which are
//! refused.
//!
//! One command at a time: the next one is looked at when the one before it has been answered.

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Disposition, Leased, Side, Step, Steps};

use super::Session;
use super::lease::{Lease, Own, UnderWay, Whose};
use super::login::Stage;
use crate::backend::Backend;
use crate::charset;
use crate::conversations::command::{INIT_DB, PING, QUERY, QUIT, RESET_CONNECTION};
use crate::reply::{Kind, Reply};
use crate::settings::{AUTO_IS_NULL, Values};
use crate::sql::{self, Quotes, Text};
use crate::wire::capability::AUTOCOMMIT;
use crate::wire::ok::Failure;
use crate::wire::{self, HEAD, Head, write};

const FIELD_LIST: u8 = 0x04;
const STATISTICS: u8 = 0x09;
const CHANGE_USER: u8 = 0x11;
const STMT_PREPARE: u8 = 0x16;
const STMT_EXECUTE: u8 = 0x17;
const STMT_SEND_LONG_DATA: u8 = 0x18;
const STMT_CLOSE: u8 = 0x19;
const STMT_RESET: u8 = 0x1a;
const SET_OPTION: u8 = 0x1b;
const STMT_FETCH: u8 = 0x1c;

/// The longest `COM_CHANGE_USER`.
const MAX_CHANGE: u64 = 16 << 10;

/// The shortest `COM_STMT_SEND_LONG_DATA`: the numbers of the statement and its parameter. To a shorter one, which
/// has no answer, some servers give one.
const MIN_LONG_DATA: u64 = (HEAD + 1 + 4 + 2) as u64;

/// The length of `COM_STMT_CLOSE`. It has no answer, but one that is longer than the server takes has.
const CLOSE_LENGTH: u64 = (HEAD + 1 + 4) as u64;

/// By this number MariaDB's clients name the statement that has been prepared last.
const LAST_STATEMENT: u32 = u32::MAX;

/// What makes a server forget warnings and errors: only what uses a table does.
pub(super) const FORGET: &[u8] = b"DO (SELECT COUNT(*) FROM information_schema.ENGINES LIMIT 0)";

/// Asks for what servers do not tell by themselves.
pub(super) const COLLATION: &[u8] = b"SELECT @@collation_connection";

/// A command that goes to a connection.
#[derive(Debug)]
pub(super) struct Command {
    head: Head,
    code: u8,
    text: Text,
    /// The statement that it is about.
    statement: u32,
}

impl Command {
    /// What kind of answer it has. None: no answer.
    fn kind(&self) -> Option<Kind> {
        Some(match self.code {
            QUERY | STMT_EXECUTE => Kind::Results,
            STATISTICS => Kind::Raw,
            FIELD_LIST => Kind::Fields,
            STMT_PREPARE => Kind::Prepared,
            STMT_FETCH => Kind::Rows,
            STMT_SEND_LONG_DATA | STMT_CLOSE => return None,
            _ => Kind::One,
        })
    }
}

/// What is to be done about what the client has sent.
enum Next {
    /// More of it has to be seen.
    More,
    /// It goes to a connection.
    Send(Command),
    /// It is swallowed, and the client is told this.
    Answer(u64, Vec<u8>),
    /// It wants its session to be as it was at first.
    Reset(u64),
    /// It wants to be somebody else.
    Change(u64),
    /// It leaves.
    Goodbye(u64),
    /// It cannot be understood any more.
    Wrong(&'static str),
}

impl Session {
    /// The client has sent this, and no connection is leased.
    pub(super) fn command_without_lease(&mut self, shown: &[u8]) -> Choice {
        self.lease = Lease::default();
        match self.next(shown) {
            Next::More => Choice::NeedMore,
            Next::Send(command) => {
                self.waiting = Some(command);
                Choice::lease(self.target.take())
            }
            Next::Reset(length) => {
                self.forgets_settings();
                let steps = Steps::new().discard(length);
                Choice::answer(steps.send(Side::Client, write::ok(1, AUTOCOMMIT)))
            }
            Next::Change(length) => self.changes(body(shown, length), Steps::new().discard(length)),
            next => Choice::answer(answered_here(next)),
        }
    }

    /// The client has sent this, and a connection is leased.
    pub(super) fn command_in_lease(&mut self, shown: &[u8]) -> Steps {
        if self.lease.goes_on {
            return match wire::head(shown) {
                Parsed::Complete { value, .. } => {
                    self.lease.goes_on = value.goes_on;
                    let steps = Steps::new().forward(value.length);
                    match self.lease.is_quiet() {
                        true => self.settle(steps),
                        false => steps,
                    }
                }
                _ => Steps::new(),
            };
        }
        if !self.lease.under_way.is_empty() {
            return Steps::new();
        }
        match self.next(shown) {
            Next::More => Steps::new(),
            Next::Send(command) => self.sends(command),
            // As good as new, which a connection that is given back with a reset is as well.
            Next::Reset(length) => {
                self.forgets_settings();
                let steps = self.gives_back(Steps::new().discard(length));
                steps.send(Side::Client, write::ok(1, AUTOCOMMIT))
            }
            Next::Change(length) => {
                let steps = self.gives_back(Steps::new().discard(length));
                match self.changes(body(shown, length), steps) {
                    Choice::Answer(steps) => steps.into(),
                    _ => Steps::new(),
                }
            }
            next => answered_here(next),
        }
    }

    /// Gives a connection back in the middle of a session, with whatever the client has left on it.
    fn gives_back(&mut self, steps: Steps) -> Steps {
        let disposition = match self.must_close() {
            true => Disposition::Close,
            false => Disposition::Reset,
        };
        self.follows_database();
        self.lease = Lease::default();
        steps.release(disposition)
    }

    fn forgets_settings(&mut self) {
        self.settings = Values::default();
        self.insert_id = 0;
        self.quotes = Quotes::default();
        // It has dropped its own, and is not to be in that of another.
        if let Some(identity) = &self.identity
            && self.database.is_empty()
        {
            self.database.clone_from(&identity.database);
        }
    }

    /// What the client wants, by its first packet.
    fn next(&self, shown: &[u8]) -> Next {
        let head = match wire::head(shown) {
            Parsed::Complete { value, .. } => value,
            Parsed::Incomplete { .. } => return Next::More,
            Parsed::Invalid(why) => return Next::Wrong(why),
        };
        // The server would refuse it, and nobody may be left with that answer.
        if head.number != 0 {
            return Next::Wrong("packets out of order");
        }
        let code = head.first.unwrap_or_default();
        let body = body(shown, head.length);
        let is_whole = shown.len() as u64 >= head.length;
        let command = |text| Command {
            head,
            code,
            text,
            statement: 0,
        };
        match code {
            QUIT => Next::Goodbye(head.length),
            INIT_DB | PING | STATISTICS | FIELD_LIST => Next::Send(command(Text::default())),
            QUERY | STMT_PREPARE => match self.reads(body, is_whole, head) {
                Some(text) if code == STMT_PREPARE => Next::Send(command(text.prepared())),
                Some(text) => Next::Send(command(text)),
                None => Next::More,
            },
            STMT_EXECUTE | STMT_SEND_LONG_DATA | STMT_CLOSE | STMT_RESET | STMT_FETCH => {
                self.of_statement(command(Text::default()), body, is_whole)
            }
            // A reset leaves it as it is.
            SET_OPTION => Next::Send(command(Text {
                pin: Some("COM_SET_OPTION"),
                closes: true,
                ..Text::default()
            })),
            RESET_CONNECTION => Next::Reset(head.length),
            CHANGE_USER if head.length > MAX_CHANGE => Next::Wrong("COM_CHANGE_USER is too long"),
            CHANGE_USER if is_whole => Next::Change(head.length),
            CHANGE_USER => Next::More,
            _ if head.goes_on => Next::Wrong("a command that is not relayed, of over 16 MiB"),
            _ => {
                // ER_UNKNOWN_COM_ERROR
                let failure = Failure::new(1047, "08S01", "Unknown command: it is not relayed");
                Next::Answer(head.length, write::error(1, &failure))
            }
        }
    }

    /// What the text of a command does. None if more of it has to be seen.
    fn reads(&self, sql: &[u8], is_whole: bool, head: Head) -> Option<Text> {
        if self.keeps_connection() {
            return Some(Text::default());
        }
        let is_enough = is_whole && !head.goes_on;
        if !is_whole && sql.len() < sql::MAX_LOOKED_AT {
            return None;
        }
        let looked_at = &sql[..sql.len().min(sql::MAX_LOOKED_AT)];
        let is_all = is_enough && looked_at.len() == sql.len();
        let mut text = sql::read(looked_at, is_all, self.quotes, &self.shared.tracked);
        if self.hides_ascii() {
            text.hides();
        }
        Some(text)
    }

    /// Whether a text in the client's character set cannot be read byte by byte.
    fn hides_ascii(&self) -> bool {
        let collation = self
            .identity
            .as_ref()
            .map_or(0, |identity| identity.collation);
        let own = self.shared.tracked.find(b"character_set_client");
        let own = own.and_then(|at| self.settings.get(at));
        charset::hides_ascii(collation, own)
    }

    /// A command about a prepared statement, which has to be one of the client's own on this connection.
    fn of_statement(&self, mut command: Command, body: &[u8], is_whole: bool) -> Next {
        let Some(id) = body.first_chunk::<4>() else {
            return match is_whole {
                true => Next::Wrong("a command about a statement that has no number"),
                false => Next::More,
            };
        };
        if command.code == STMT_SEND_LONG_DATA && command.head.length < MIN_LONG_DATA {
            return Next::Wrong("COM_STMT_SEND_LONG_DATA is too short");
        }
        if command.code == STMT_CLOSE && command.head.length > CLOSE_LENGTH {
            return Next::Wrong("COM_STMT_CLOSE is too long");
        }
        command.statement = u32::from_le_bytes(*id);
        let statements = &self.lease.statements;
        let is_known = statements.contains(&command.statement)
            || (command.statement == LAST_STATEMENT && !statements.is_empty());
        if is_known {
            return Next::Send(command);
        }
        if command.head.goes_on {
            return Next::Wrong("a command about no statement, of over 16 MiB");
        }
        let answer = match command.code {
            STMT_SEND_LONG_DATA | STMT_CLOSE => Vec::new(),
            // ER_UNKNOWN_STMT_HANDLER
            _ => write::error(
                1,
                &Failure::new(1243, "HY000", "Unknown prepared statement handler"),
            ),
        };
        Next::Answer(command.head.length, answer)
    }

    /// The session has got a connection, for a command that waits. It is made as the session wants it, ahead
    /// of that.
    pub(super) fn adopts(&mut self, leased: &Leased) -> Steps {
        let Some(backend) = Backend::read(&leased.tag) else {
            return Steps::new().close("the connection's tag was not made by this plugin");
        };
        self.lease.is_leased = true;
        self.lease.before = backend.clone();
        self.lease.backend = backend;
        let read_by = self.quotes;
        self.knows_quotes();
        // If it was read as another connection reads, it is shown again.
        let waiting = self.waiting.take();
        match waiting.filter(|_| read_by.hold_for(self.quotes)) {
            Some(command) => self.sends(command),
            None => Steps::new(),
        }
    }

    /// Sends a command; or first what has to be done before it, after which it is shown again.
    fn sends(&mut self, command: Command) -> Steps {
        if let Some(first) = self.comes_first(&command) {
            return first;
        }
        let kind = command.kind();
        let Command {
            head,
            code,
            text,
            statement,
        } = command;
        self.lease.commands += 1;
        self.lease.goes_on = head.goes_on;
        let is_repeatable = code == PING || (code == QUERY && text.is_repeatable);
        let mut steps = Steps::new();
        steps.push(match is_repeatable {
            true => Step::ForwardIdempotent(head.length),
            false => Step::Forward(head.length),
        });
        self.lease.take_note(&text);
        self.lease.has_prepared_set |= code == STMT_PREPARE && text.sets;
        self.lease.is_unanswered |= code == STMT_SEND_LONG_DATA;
        if let Some(kind) = kind {
            let reply = Reply::new(kind, self.is_modern());
            let whose = Whose::Client(Box::new(text));
            self.lease.under_way.push_back(UnderWay { reply, whose });
            return steps;
        }
        if code == STMT_CLOSE {
            self.lease.statements.remove(&statement);
            return self.settle(steps);
        }
        steps
    }

    /// What has to be done on the connection before this command. It is shown again when that has been
    /// answered: if the server refuses it, the command must not be carried out.
    fn comes_first(&mut self, command: &Command) -> Option<Steps> {
        let mut steps = Steps::new();
        if self.lease.commands == 0 {
            if !self.database.is_empty() && self.lease.backend.database != self.database {
                let database = self.database.clone();
                steps = self.asks(Own::Restore, INIT_DB, &database, steps);
            }
            let current = self.lease.backend.current();
            let wanted = self.lease.backend.original.with(&self.settings);
            if let Some(sql) = self.shared.tracked.restore(&current, &wanted) {
                steps = self.asks(Own::Restore, QUERY, sql.as_bytes(), steps);
                self.lease.backend.changed = wanted.unlike(&self.lease.backend.original);
            }
            if command.text.wants_rows {
                steps = self.asks(Own::Forget, QUERY, FORGET, steps);
            }
        }
        let wants_insert_id = command.text.wants_insert_id || self.asks_by_null();
        if wants_insert_id && !self.lease.has_insert_id {
            let sql = format!("SET last_insert_id={}", self.insert_id);
            steps = self.asks(Own::Restore, QUERY, sql.as_bytes(), steps);
            self.lease.has_insert_id = true;
        }
        if steps.is_empty() {
            return None;
        }
        self.lease.commands = self.lease.commands.max(1);
        Some(steps)
    }

    /// Whether any statement may ask for `LAST_INSERT_ID()`.
    fn asks_by_null(&self) -> bool {
        let at = self.shared.tracked.find(AUTO_IS_NULL.as_bytes());
        let value = at.and_then(|at| self.lease.backend.value(at));
        !self.keeps_connection() && value.is_some_and(|value| value != b"OFF")
    }

    /// Asks something of the server that the client does not see.
    pub(super) fn asks(&mut self, what: Own, code: u8, rest: &[u8], steps: Steps) -> Steps {
        let kind = match what {
            Own::Collation => Kind::Results,
            Own::Restore | Own::Status | Own::Forget => Kind::One,
        };
        self.lease.under_way.push_back(UnderWay {
            reply: Reply::new(kind, self.is_modern()),
            whose: Whose::Own(what),
        });
        steps.send(Side::Upstream, write::command(code, rest))
    }

    /// The number of the packet that a client would get next.
    pub(super) fn next_number(&self) -> u8 {
        match self.stage {
            Stage::Welcome(number) => number,
            _ => {
                let mut all = self.lease.under_way.iter();
                all.find_map(|one| match one.whose {
                    Whose::Client(_) => Some(one.reply.number()),
                    Whose::Own(_) => None,
                })
                .unwrap_or(1)
            }
        }
    }
}

/// What follows the code of a command, as far as it has been shown.
fn body(shown: &[u8], length: u64) -> &[u8] {
    let end = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(shown.len());
    shown.get(HEAD + 1..end).unwrap_or_default()
}

/// What needs no connection.
fn answered_here(next: Next) -> Steps {
    match next {
        Next::Answer(length, words) => {
            let steps = Steps::new().discard(length);
            match words.is_empty() {
                true => steps,
                false => steps.send(Side::Client, words),
            }
        }
        // The server is not told: it would close the connection.
        Next::Goodbye(length) => Steps::new()
            .discard(length)
            .close("the client said goodbye"),
        Next::Wrong(why) => {
            // ER_UNKNOWN_COM_ERROR
            let failure = Failure::new(1047, "08S01", why);
            Steps::new()
                .send(Side::Client, write::error(1, &failure))
                .close(why)
        }
        Next::More | Next::Send(_) | Next::Reset(_) | Next::Change(_) => Steps::new(),
    }
}
