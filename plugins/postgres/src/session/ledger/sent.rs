//! The things that are sent and earn an answer.

use std::rc::Rc;

use crate::statements::{Key, Statement};

/// What a statement counts besides its text: an error may have a thousand of them undone in one call, and no
/// more.
const OVERHEAD: usize = 256;

/// One thing that was sent.
#[derive(Debug)]
pub(in crate::session) enum Sent {
    /// `Query`, or `FunctionCall`.
    Query,
    /// A `Query` of our own.
    OwnQuery,
    /// `Parse` of the statement without a name.
    ParseUnnamed,
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
pub(in crate::session) struct Parsing {
    /// What it is.
    pub(in crate::session) key: Key,
    /// The segment that it belongs to.
    pub(in crate::session) segment: u64,
    /// Who sees the answer.
    pub(in crate::session) by: By,
    /// The statement itself.
    pub(in crate::session) statement: Rc<Statement>,
    /// What the client calls it, if it does so from now on.
    pub(in crate::session) name: Option<Box<[u8]>>,
}

impl Parsing {
    /// Of the settings under which it is parsed.
    pub(in crate::session) fn settings(&self) -> [u8; 8] {
        let mut settings = [0; 8];
        settings.copy_from_slice(&self.key[self.key.len() - 8..]);
        settings
    }
}

/// `Close` of a statement that connections share.
#[derive(Debug)]
pub(in crate::session) enum Closing {
    /// Ours, of one too many, or of one that may not be there.
    Own(Option<Key>),
    /// Answered for the client, which has called it so.
    Answered(Option<(Box<[u8]>, Rc<Statement>)>),
}

/// Whose a `Parse` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum By {
    /// The client's, and it gets the server's answer.
    Client,
    /// Ours.
    Own,
    /// The client's; the statement is there already, and the server is not asked.
    Answered,
}

impl Sent {
    /// What we answer ourselves: the type of the answer, once its turn has come.
    pub(super) fn answered(&self) -> Option<u8> {
        match self {
            Self::Parse(Some(parsing)) if parsing.by == By::Answered => Some(b'1'),
            Self::Close(Some(closing)) if matches!(**closing, Closing::Answered(_)) => Some(b'3'),
            _ => None,
        }
    }

    /// The name that it gives to a statement, or takes away.
    pub(super) fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Parse(Some(parsing)) => parsing.name.as_deref(),
            Self::Close(Some(closing)) => match &**closing {
                Closing::Answered(named) => named.as_ref().map(|(name, _)| &**name),
                Closing::Own(_) => None,
            },
            _ => None,
        }
    }

    /// Whether a transaction may end with it, or begin.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Self::Query | Self::Sync)
    }

    /// The bytes of a statement that it keeps.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Parse(Some(parsing)) => parsing.statement.body.len() + OVERHEAD,
            Self::Close(Some(closing)) => match &**closing {
                Closing::Answered(Some((_, statement))) => statement.body.len() + OVERHEAD,
                _ => 0,
            },
            _ => 0,
        }
    }

    /// Whether the client knows nothing of it.
    pub(in crate::session) fn is_own(&self) -> bool {
        match self {
            Self::OwnQuery => true,
            Self::Parse(Some(parsing)) => parsing.by == By::Own,
            Self::Close(Some(closing)) => matches!(**closing, Closing::Own(_)),
            _ => false,
        }
    }
}
