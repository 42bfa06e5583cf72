//! What is known of the connection that a session holds, and of what it has left on it.

use std::collections::{BTreeSet, VecDeque};

use crate::backend::Backend;
use crate::reply::Reply;
use crate::sql::Text;

/// The state of a lease.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// There is one.
    pub(super) is_leased: bool,
    /// What the connection's tag said, and what has become of it.
    pub(super) backend: Backend,
    /// How it was when it was leased.
    pub(super) before: Backend,
    /// What has been sent and not been answered.
    pub(super) under_way: VecDeque<UnderWay>,
    /// The client's command goes on in its next packet.
    pub(super) goes_on: bool,
    /// How many commands of the client's have been sent.
    pub(super) commands: u64,
    /// A transaction is open.
    pub(super) in_transaction: bool,
    /// Each statement is a transaction of its own.
    pub(super) is_manual: bool,
    /// An error has left it open whether a transaction is.
    pub(super) is_unknown: bool,
    /// What the client has left on the connection that is for nobody else.
    pub(super) pin: Option<&'static str>,
    /// It has locked tables.
    pub(super) locks: bool,
    /// It has said how its next transaction is to be.
    pub(super) once: bool,
    /// The next command asks for something that belongs to the last one.
    pub(super) holds: bool,
    /// The statements that it has prepared.
    pub(super) statements: BTreeSet<u32>,
    /// One of them sets variables that follow the client.
    pub(super) has_prepared_set: bool,
    /// The server says that the state has changed, and not how: the next OK tells that, or nobody does.
    pub(super) owes_change: bool,
    /// The value of a parameter has been sent, and no answer since then shows that the server has taken it.
    pub(super) is_unanswered: bool,
    /// It may have left something that a reset removes.
    pub(super) is_unsure: bool,
    /// What it has left no reset removes for sure.
    pub(super) closes: bool,
    /// It has left warnings or errors, which others could ask for.
    pub(super) has_diagnostics: bool,
    /// The character set has changed, and with it the collation, which nobody has told.
    pub(super) asks_collation: bool,
    /// `LAST_INSERT_ID()` is the client's own.
    pub(super) has_insert_id: bool,
    /// The server has said why it closes the connection.
    pub(super) has_ended: bool,
}

/// A command that has been sent.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) reply: Reply,
    pub(super) whose: Whose,
}

/// Whose it is, and what it may do.
#[derive(Debug)]
pub(super) enum Whose {
    /// The client's.
    Client(Box<Text>),
    /// Ours.
    Own(Own),
}

/// What we have asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// To make the connection as the client wants it.
    Restore,
    /// Whether a transaction is open.
    Status,
    /// What the collation is.
    Collation,
    /// To forget warnings and errors.
    Forget,
}

impl Lease {
    /// Whether nothing is under way, either way.
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.is_empty() && !self.goes_on
    }

    /// Whether the client has left something on the connection, or is in the middle of something.
    pub(super) fn is_held(&self) -> bool {
        self.in_transaction
            || self.pin.is_some()
            || self.locks
            || self.once
            || self.holds
            || !self.statements.is_empty()
    }

    /// The client leaves something on the connection.
    pub(super) fn pin(&mut self, what: &'static str) {
        self.pin.get_or_insert(what);
    }

    /// Takes note of what the text of a command says that it does.
    pub(super) fn take_note(&mut self, text: &Text) {
        if let Some(what) = text.pin {
            self.pin(what);
        }
        self.locks |= text.locks;
        self.once |= text.once;
        self.is_unsure |= text.is_unsure;
        self.closes |= text.closes;
        self.holds = text.counts_rows;
    }
}
