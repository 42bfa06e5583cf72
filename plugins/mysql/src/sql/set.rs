//! `SET`: which variables it changes, and whether these follow their client.

use super::tokens::Token;
use super::{Text, is};
use crate::settings::Tracked;

/// Where in a `SET` one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A variable has to follow.
    Target(Scope),
    /// In what it is set to, this deep in parentheses.
    Value(u32),
    /// What follows does not change the session, or is known already.
    Rest,
}

/// What `SET TRANSACTION` sets, as variables.
const ONCE: &[&str] = &[
    "tx_isolation",
    "tx_read_only",
    "transaction_isolation",
    "transaction_read_only",
];

/// What stands in front of a variable's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Nothing: the session's, unless a word in front of another one has said `GLOBAL`.
    None,
    Session,
    Global,
}

impl Place {
    pub(super) const START: Self = Self::Target(Scope::None);

    /// Takes note of the next token, and says where one is behind it.
    pub(super) fn next(self, token: Token<'_>, tracked: &Tracked, text: &mut Text) -> Self {
        match (self, token) {
            (Self::Rest, _) => Self::Rest,
            (Self::Value(0), Token::Sign(b',')) => Self::START,
            (Self::Value(depth), Token::Sign(b'(')) => Self::Value(depth + 1),
            (Self::Value(depth), Token::Sign(b')')) => Self::Value(depth.saturating_sub(1)),
            (Self::Value(depth), _) => Self::Value(depth),
            (Self::Target(scope), Token::Word(word)) => target(scope, word, tracked, text),
            (Self::Target(_), Token::System(name)) => {
                match split(name) {
                    (Scope::Global, _) => {}
                    // Without a scope they are those of the next transaction alone.
                    (Scope::None, name) if ONCE.iter().any(|known| is(name, known)) => {
                        text.once = true;
                    }
                    (_, name) => variable(name, tracked, text),
                }
                Self::Value(0)
            }
            (Self::Target(scope), Token::Quoted(name)) => {
                if scope != Scope::Global {
                    variable(name, tracked, text);
                }
                Self::Value(0)
            }
            // A variable of the user's has been noted already.
            (Self::Target(_), _) => {
                text.pin("SET");
                Self::Value(0)
            }
        }
    }
}

fn target(scope: Scope, word: &[u8], tracked: &Tracked, text: &mut Text) -> Place {
    let any = |words: &[&str]| words.iter().any(|known| is(word, known));
    if any(&["SESSION", "LOCAL"]) {
        return Place::Target(Scope::Session);
    }
    if any(&["GLOBAL", "PERSIST", "PERSIST_ONLY"]) {
        return Place::Target(Scope::Global);
    }
    if any(&["ROLE", "RESOURCE", "AUTHORIZATION"]) {
        text.pin("SET ROLE");
        text.closes = true;
        return Place::Rest;
    }
    if any(&["TRANSACTION"]) {
        // Of the next transaction alone, which must be on the same connection.
        text.once |= scope == Scope::None;
        text.sets |= scope == Scope::Session;
        return Place::Rest;
    }
    if any(&["STATEMENT"]) {
        // Servers tell of variables that have their old values again behind it; and any statement may follow.
        text.pin("SET STATEMENT");
        return Place::Rest;
    }
    if any(&["PASSWORD", "DEFAULT"]) {
        return Place::Value(0);
    }
    if any(&["NAMES", "CHARACTER", "CHARSET"]) {
        text.sets = true;
        return Place::Value(0);
    }
    if scope != Scope::Global {
        variable(word, tracked, text);
    }
    Place::Value(0)
}

fn variable(name: &[u8], tracked: &Tracked, text: &mut Text) {
    match tracked.find(name) {
        Some(_) => text.sets = true,
        None => text.pin("SET"),
    }
}

/// The scope in the name of `@@global.x`.
fn split(name: &[u8]) -> (Scope, &[u8]) {
    let Some(dot) = name.iter().position(|byte| *byte == b'.') else {
        return (Scope::None, name);
    };
    let (scope, rest) = (&name[..dot], &name[dot + 1..]);
    match ["GLOBAL", "PERSIST", "PERSIST_ONLY"]
        .iter()
        .any(|known| is(scope, known))
    {
        true => (Scope::Global, rest),
        false if is(scope, "SESSION") || is(scope, "LOCAL") => (Scope::Session, rest),
        false => (Scope::None, name),
    }
}
