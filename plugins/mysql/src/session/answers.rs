//! What the server says: whose answer it is, what it tells of the session, and when the client is done with
//! the connection.

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Disposition, Side, Step, Steps};

use super::commands::{COLLATION, FORGET};
use super::lease::{Lease, Own, UnderWay, Whose};
use super::{MAX_STEPS, Session};
use crate::conversations::command::{PING, QUERY};
use crate::conversations::values;
use crate::reply::{End, Part};
use crate::settings::{self, CONNECTION};
use crate::sql::Text;
use crate::wire::capability::{AUTOCOMMIT, IN_TRANS, NO_BACKSLASH_ESCAPES, STATE_CHANGED};
use crate::wire::ok::{Change, Done, Failure};
use crate::wire::{self, HEAD, Head, write};

/// The longest tag that a connection is given.
const MAX_TAG: usize = 64 << 10;

impl Session {
    /// The server has sent this.
    pub(super) fn answers(&mut self, shown: &[u8]) -> Steps {
        let mut steps = Steps::new();
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
            let end = usize::try_from(head.length)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let payload = &rest[HEAD..end];
            let Some(front) = self.lease.under_way.front_mut() else {
                return self.unasked(steps, head, payload);
            };
            let is_own = matches!(front.whose, Whose::Own(_));
            let part = front.reply.see(head, payload);
            at += head.length;
            match (part, is_own) {
                (Part::Unknown, _) => break,
                (Part::Wrong(why), _) => return steps.close(format!("of the server: {why}")),
                (Part::Middle, false) => steps.push(Step::Forward(head.length)),
                (Part::Middle, true) => {
                    steps.push(Step::Discard(head.length));
                    self.learns(head, payload);
                }
                (Part::Result(end), false) => {
                    self.passes(head, end, &mut steps);
                    self.ended(end);
                }
                (Part::Last(end), false) => {
                    self.passes(head, end, &mut steps);
                    self.ended(end);
                    if let Some(UnderWay {
                        whose: Whose::Client(text),
                        ..
                    }) = self.lease.under_way.pop_front()
                    {
                        self.answered(end, &text);
                    }
                    steps = self.settle(steps);
                    if !self.lease.is_leased {
                        return steps;
                    }
                }
                (Part::Result(_), true) => {
                    return steps.close("the server answers more than it was asked");
                }
                (Part::Last(end), true) => {
                    steps.push(Step::Discard(head.length));
                    let front = self.lease.under_way.pop_front();
                    if let Some(UnderWay {
                        whose: Whose::Own(own),
                        ..
                    }) = front
                    {
                        if let End::Failed = end {
                            return refused(steps, payload);
                        }
                        self.own_answered(own, end);
                        if own != Own::Restore && self.lease.under_way.is_empty() {
                            steps = self.settle(steps);
                            if !self.lease.is_leased {
                                return steps;
                            }
                        }
                    }
                }
            }
            if head.length > rest.len() as u64 {
                break;
            }
        }
        steps
    }

    /// A packet passes that ends something. Who has not asked to be told how the session's state changes is
    /// not told.
    fn passes(&self, head: Head, end: End<'_>, steps: &mut Steps) {
        match end {
            End::Done { done, .. } if done.status & STATE_CHANGED != 0 && !self.hears_changes() => {
                steps.push(Step::Discard(head.length));
                let packet = write::packet(head.number, &done.without_changes());
                steps.push(Step::Send((Side::Client, packet)));
            }
            _ => steps.push(Step::Forward(head.length)),
        }
    }

    /// A packet that answers nothing: a server says why it closes a connection.
    fn unasked(&mut self, steps: Steps, head: Head, payload: &[u8]) -> Steps {
        if head.first != Some(0xff) {
            return steps.close("the server answers what it was not asked");
        }
        if (payload.len() + HEAD) as u64 != head.length {
            return match head.length <= crate::reply::MAX_READ {
                true => steps,
                false => steps.close("the server says why it closes a connection in over 32 KiB"),
            };
        }
        self.lease.has_ended = true;
        // As the first packet of the answer to whatever the client asks next.
        let packet = write::packet(1, payload);
        steps
            .discard(head.length)
            .send(Side::Client, packet)
            .close("the server has ended the session")
    }

    /// Something of the client's has ended: what the server tells with that.
    fn ended(&mut self, end: End<'_>) {
        match end {
            End::Done { done, rows } => {
                self.has_status(done.status, done.warnings);
                // If the client has given it, the connection remembers another one: which, it has yet to be told.
                if done.insert_id != 0 && !rows {
                    self.insert_id = done.insert_id;
                }
                self.follows(&done, true);
            }
            End::Eof(warnings, status) => {
                self.has_status(status, warnings);
                if status & STATE_CHANGED != 0 {
                    // MySQL tells how with the next OK, MariaDB never.
                    self.lease.is_unknown = true;
                    self.lease.owes_change = true;
                }
            }
            End::Failed => {
                self.lease.is_unknown = true;
                self.lease.has_diagnostics = true;
                // This may be the answer to what earns none.
                self.lease.closes |= self.lease.is_unanswered;
            }
            End::Prepared(id, warnings) => {
                self.lease.statements.insert(id);
                self.lease.has_diagnostics |= warnings > 0;
            }
            // Not even whether the server has taken what was sent before.
            End::Told => return,
        }
        self.lease.is_unanswered = false;
    }

    fn has_status(&mut self, status: u16, warnings: u16) {
        let is_open = status & IN_TRANS != 0;
        if self.lease.in_transaction && !is_open {
            self.lease.once = false;
        }
        self.lease.in_transaction = is_open;
        self.lease.is_manual = status & AUTOCOMMIT == 0;
        self.lease.is_unknown = false;
        self.quotes.escapes = Some(status & NO_BACKSLASH_ESCAPES == 0);
        self.lease.has_diagnostics |= warnings > 0;
    }

    /// A command of the client's has been answered.
    fn answered(&mut self, end: End<'_>, text: &Text) {
        let is_done = !matches!(end, End::Failed);
        if text.unlocks && is_done {
            self.lease.locks = false;
        }
        // What a trigger has changed until then no server tells, not even later.
        self.lease.is_unsure |= !(is_done || text.is_repeatable);
        // Whatever transaction has ended ahead of it in the same text.
        self.lease.once |= text.once;
        let is_result = !matches!(end, End::Done { rows: false, .. } | End::Failed);
        if text.gives_insert_id && is_result {
            // To what, only the connection knows.
            self.lease.pin("LAST_INSERT_ID");
        }
    }

    /// How the session's state has changed, of the connection and (`is_client`) for the client.
    fn follows(&mut self, done: &Done<'_>, is_client: bool) {
        let (mut has_variables, mut has_database, mut is_changed) = (false, false, false);
        for change in done.changes() {
            match change {
                Some(Change::Variable(name, value)) => {
                    has_variables = true;
                    let Some(at) = self.shared.tracked.find(name) else {
                        continue;
                    };
                    if !settings::can_follow(value) {
                        self.lease.pin("a variable");
                        continue;
                    }
                    self.lease.backend.changed.insert(at, value);
                    if is_client {
                        self.settings.insert(at, value);
                        self.lease.asks_collation |= name == CONNECTION.as_bytes();
                        self.knows_quotes();
                    }
                }
                Some(Change::Database(name)) => {
                    has_database = true;
                    // It has been dropped, and others have chosen theirs on all other connections; or which it is
                    // depends on a character set.
                    if name.is_empty() || !name.is_ascii() {
                        self.lease.pin("a database");
                    }
                    self.lease.backend.database = name.to_vec();
                    if is_client {
                        self.database = name.to_vec();
                    }
                }
                Some(Change::Any) => is_changed = true,
                Some(Change::Other) => {}
                None => self.lease.pin("a change that cannot be read"),
            }
        }
        if !is_client {
            return;
        }
        let is_owed = std::mem::take(&mut self.lease.owes_change);
        let is_told = has_variables || has_database || is_changed;
        // Servers tell of no statements that are prepared or closed by commands of their own.
        let is_explained = has_database || (has_variables && self.sets_variables());
        if (is_changed || (is_owed && !is_told)) && !is_explained {
            self.lease.pin("what the server says has changed");
        }
    }

    /// Whether the client's command may be all that has set variables which follow it: what else it does by functions
    /// and triggers the server tells in the same words.
    fn sets_variables(&self) -> bool {
        let Some(UnderWay {
            whose: Whose::Client(text),
            ..
        }) = self.lease.under_way.front()
        else {
            return false;
        };
        // What cannot be seen is reset anyway; what functions leave need not be lost to their client.
        text.sets || (text.is_unsure && !text.calls) || self.lease.has_prepared_set
    }

    /// The server has answered what we have asked ourselves.
    fn own_answered(&mut self, own: Own, end: End<'_>) {
        if let End::Done { done, .. } = end {
            // Also what it had not told yet of the client's.
            self.follows(&done, own != Own::Restore);
        }
        let (status, warnings) = match end {
            End::Done { done, .. } => (done.status, done.warnings),
            End::Eof(warnings, status) => (status, warnings),
            End::Failed | End::Told | End::Prepared(..) => return,
        };
        self.has_status(status, warnings);
        if own == Own::Forget {
            self.lease.has_diagnostics = false;
        }
    }

    /// A row of an answer to ourselves: the collation, between the definition of its column and the end.
    fn learns(&mut self, head: Head, payload: &[u8]) {
        let Some(at) = self.shared.tracked.find(settings::COLLATION.as_bytes()) else {
            return;
        };
        // Number of columns, definition, perhaps EOF, row.
        let row = match self.is_modern() {
            true => 3,
            false => 4,
        };
        if head.number != row {
            return;
        }
        let row = values(payload).unwrap_or_default();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        match &row[..] {
            [name] if !name.is_empty() && name.iter().all(is_name) && name.len() < 100 => {
                self.settings.insert(at, name);
                self.lease.backend.changed.insert(at, name);
            }
            _ => self.lease.pin("a collation"),
        }
    }

    /// Nothing is under way. Gives the connection back, unless it is the client's yet; or asks what has to be
    /// known before.
    pub(super) fn settle(&mut self, steps: Steps) -> Steps {
        if self.keeps_connection() || self.lease.goes_on {
            return steps;
        }
        let is_reset = self.needs_reset() || self.lease.closes;
        if self.lease.is_unknown && (self.lease.is_manual || self.lease.is_held() || is_reset) {
            return self.asks(Own::Status, PING, b"", steps);
        }
        if self.lease.is_held() {
            return steps;
        }
        // It follows the client, whatever becomes of the connection.
        if std::mem::take(&mut self.lease.asks_collation) {
            return self.asks(Own::Collation, QUERY, COLLATION, steps);
        }
        let is_unsaid = self.lease.is_unknown || self.lease.owes_change;
        if !is_reset && (self.lease.has_diagnostics || is_unsaid) {
            return self.asks(Own::Forget, QUERY, FORGET, steps);
        }
        self.release(steps)
    }

    /// Gives the connection back, with what others have to know of it.
    fn release(&mut self, mut steps: Steps) -> Steps {
        let closes = self.must_close();
        let needs_reset = self.needs_reset();
        self.follows_database();
        let Lease {
            backend, before, ..
        } = std::mem::take(&mut self.lease);
        let disposition = if closes {
            Disposition::Close
        } else if needs_reset {
            Disposition::Reset
        } else {
            let normal = backend.changed.unlike(&backend.original);
            let backend = crate::backend::Backend {
                changed: normal,
                ..backend
            };
            let tag = backend.tag();
            if tag.len() > MAX_TAG {
                return steps.release(Disposition::Close);
            }
            if backend != before {
                steps.push(Step::Retag(tag));
            }
            Disposition::Keep
        };
        steps.release(disposition)
    }
}

/// The server refuses what we have asked of it ahead of the client's command, which has not been sent.
fn refused(steps: Steps, payload: &[u8]) -> Steps {
    let failure = Failure::read(payload).unwrap_or_else(|| Failure::new(1105, "HY000", "refused"));
    let why = format!(
        "the session could not be restored: {} {} {}",
        failure.code, failure.sqlstate, failure.text
    );
    steps
        .send(Side::Client, write::error(1, &failure))
        .close(why)
}
