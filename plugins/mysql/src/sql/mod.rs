//! What a statement leaves on a connection, as far as its text tells. In doubt it leaves something.
//!
//! No grammar: words are looked for that are nothing else in SQL, wherever they stand. What only
//! looks like one of them costs a connection that is held longer than it need be.

mod set;
mod tokens;

use crate::settings::Tracked;
use set::Place;
use tokens::{Token, Tokens};

/// How much of a text is looked at. What is longer is given back only with a reset.
pub const MAX_LOOKED_AT: usize = 16 << 10;

/// What a text does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// It leaves this on the connection, for good.
    pub pin: Option<&'static str>,
    /// What it leaves no reset removes for sure.
    pub closes: bool,
    /// It may leave something that cannot be seen.
    pub is_unsure: bool,
    /// It changes variables that follow the client.
    pub sets: bool,
    /// It holds for the next transaction.
    pub once: bool,
    /// It locks tables, until they are unlocked.
    pub locks: bool,
    /// It unlocks them, and does nothing else.
    pub unlocks: bool,
    /// It may ask for `LAST_INSERT_ID()`.
    pub wants_insert_id: bool,
    /// It gives `LAST_INSERT_ID()` a value, which an OK packet tells; a result does not.
    pub gives_insert_id: bool,
    /// It asks how many rows the statement before it has found or changed.
    pub wants_rows: bool,
    /// Another one will.
    pub counts_rows: bool,
    /// It can be carried out twice without harm.
    pub is_repeatable: bool,
}

impl Text {
    fn pin(&mut self, what: &'static str) {
        self.pin.get_or_insert(what);
    }

    /// The same of a statement that is only prepared: it is carried out later, any number of times, by commands that
    /// do not tell its text.
    #[must_use]
    pub(crate) fn prepared(mut self) -> Self {
        if self.locks || self.once {
            self.pin("a prepared statement");
        }
        self.unlocks = false;
        self
    }
}

/// Reads a text. Of one longer than [`MAX_LOOKED_AT`] the beginning is enough. `escapes`: whether a backslash
/// in a text escapes what follows it, if that is known (`sql_mode=NO_BACKSLASH_ESCAPES`).
#[must_use]
pub fn read(sql: &[u8], is_whole: bool, escapes: Option<bool>, tracked: &Tracked) -> Text {
    let mut text = Text::default();
    let mut reads = look(sql, escapes.unwrap_or(true), tracked, &mut text);
    if escapes.is_none() && sql.contains(&b'\\') {
        reads &= look(sql, false, tracked, &mut text);
    }
    if !is_whole {
        text.is_unsure = true;
    }
    let leaves = text.pin.is_some() || text.sets || text.is_unsure || text.locks || text.once;
    text.is_repeatable = reads && !(leaves || text.counts_rows || text.gives_insert_id);
    text
}

/// What a statement begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    None,
    Set(Place),
    Create,
    Flush,
    Lock,
    Unlock,
    Start,
    /// `SELECT` or `SHOW`.
    Read,
    Other,
}

/// Whether it is one statement that only reads, or begins a transaction.
fn look(sql: &[u8], escapes: bool, tracked: &Tracked, text: &mut Text) -> bool {
    let mut tokens = Tokens::new(sql, escapes);
    let mut verb = Verb::None;
    let mut statements = 0;
    let mut only_reads = true;
    let mut called: Option<bool> = None;
    for token in tokens.by_ref() {
        // `LAST_INSERT_ID(` and something in the parentheses gives it a value.
        called = match (called, token) {
            (Some(false), Token::Sign(b'(')) => Some(true),
            (Some(true), Token::Sign(b')')) => None,
            (Some(true), _) => {
                text.gives_insert_id = true;
                None
            }
            _ => None,
        };
        if token == Token::Sign(b';') {
            verb = Verb::None;
            continue;
        }
        match token {
            Token::At => text.pin("a user variable"),
            Token::Sign(b'(') => only_reads = false,
            Token::System(name) => system(name, text),
            Token::Word(word) | Token::Quoted(word) => {
                if anywhere(word, text) {
                    called = Some(false);
                }
            }
            Token::Text | Token::Sign(_) => {}
        }
        verb = match (verb, token) {
            (Verb::None, Token::Word(word)) => {
                statements += 1;
                begins(word, text)
            }
            (Verb::None, _) => Verb::None,
            (Verb::Set(place), token) => Verb::Set(place.next(token, tracked, text)),
            (Verb::Create, Token::Word(word)) if is(word, "TEMPORARY") => {
                text.pin("a temporary table");
                verb
            }
            (Verb::Flush, Token::Word(word)) if is(word, "LOCK") || is(word, "EXPORT") => {
                text.locks = true;
                verb
            }
            (Verb::Lock, Token::Word(word)) if is(word, "TABLES") || is(word, "TABLE") => {
                text.locks = true;
                Verb::Other
            }
            (Verb::Lock, _) => {
                text.pin("a lock");
                Verb::Other
            }
            (Verb::Unlock, Token::Word(word)) if is(word, "TABLES") || is(word, "TABLE") => {
                text.unlocks = true;
                verb
            }
            (Verb::Read, Token::Word(word))
                if ["FOR", "INTO", "LOCK", "PROCEDURE", "NEXT", "VALUE"]
                    .iter()
                    .any(|known| is(word, known)) =>
            {
                only_reads = false;
                verb
            }
            (verb, _) => verb,
        };
    }
    text.is_unsure |= tokens.is_unsure;
    text.unlocks &= statements == 1;
    statements == 1 && only_reads && matches!(verb, Verb::Read | Verb::Start)
}

/// The first word of a statement.
fn begins(word: &[u8], text: &mut Text) -> Verb {
    let any = |words: &[&str]| words.iter().any(|known| is(word, known));
    if any(&["SELECT", "SHOW"]) {
        return Verb::Read;
    }
    if any(&["BEGIN", "START"]) {
        return Verb::Start;
    }
    if is(word, "SET") {
        return Verb::Set(Place::START);
    }
    if any(&["PREPARE", "EXECUTE", "DEALLOCATE"]) {
        text.pin("PREPARE");
    }
    if any(&["HANDLER", "XA", "BACKUP", "BINLOG"]) {
        text.pin("a lock");
    }
    if is(word, "CALL") {
        // Nobody sees what is done there.
        text.is_unsure = true;
        text.wants_insert_id = true;
    }
    if any(&["CREATE", "ALTER"]) {
        return Verb::Create;
    }
    match () {
        () if is(word, "FLUSH") => Verb::Flush,
        () if is(word, "LOCK") => Verb::Lock,
        () if is(word, "UNLOCK") => Verb::Unlock,
        () => Verb::Other,
    }
}

/// A word that matters wherever it stands. True if it is `LAST_INSERT_ID`.
fn anywhere(word: &[u8], text: &mut Text) -> bool {
    // Most words are too short, or begin with another letter.
    if word.len() < 8 {
        return false;
    }
    match word[0].to_ascii_uppercase() {
        b'G' if is(word, "GET_LOCK") => text.pin("GET_LOCK"),
        b'L' if is(word, "LAST_INSERT_ID") => {
            text.wants_insert_id = true;
            return true;
        }
        b'F' if is(word, "FOUND_ROWS") => text.wants_rows = true,
        b'R' if is(word, "ROW_COUNT") => text.wants_rows = true,
        b'S' if is(word, "SQL_CALC_FOUND_ROWS") => text.counts_rows = true,
        b'S' if is(word, "SERVICE_GET_READ_LOCKS") || is(word, "SERVICE_GET_WRITE_LOCKS") => {
            text.pin("GET_LOCK");
        }
        b'V' if is(word, "VERSION_TOKENS_LOCK_SHARED")
            || is(word, "VERSION_TOKENS_LOCK_EXCLUSIVE") =>
        {
            text.pin("GET_LOCK");
        }
        _ => {}
    }
    false
}

/// A system variable that is read or set.
fn system(name: &[u8], text: &mut Text) {
    let name = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name);
    if is(name, "LAST_INSERT_ID") || is(name, "IDENTITY") {
        text.wants_insert_id = true;
    }
}

fn is(word: &[u8], keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword.as_bytes())
}

#[cfg(test)]
mod tests;
