//! What a statement leaves on a connection, as far as its text tells. In doubt it leaves something.
//!
//! No grammar: words are looked for that are nothing else in SQL, wherever they stand. What only
//! looks like one of them costs a connection that is held longer than it need be.

mod builtins;
mod calls;
mod set;
mod tokens;

use crate::settings::Tracked;
use calls::Calls;
use set::Place;
use tokens::{Escapes, Token, Tokens};

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
    /// It may call a stored function.
    pub calls: bool,
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

    /// What it does cannot be seen: it may leave something, and ask for whatever a connection remembers.
    pub(crate) fn hides(&mut self) {
        self.is_unsure = true;
        self.asks();
    }

    /// It may ask for what the statement before it has left.
    fn asks(&mut self) {
        self.wants_insert_id = true;
        self.wants_rows = true;
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

/// How a server reads what stands in quotes. None: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotes {
    /// A backslash in a text escapes what follows it (no `sql_mode=NO_BACKSLASH_ESCAPES`).
    pub escapes: Option<bool>,
    /// Double quotes are those of names, in which nothing escapes (`sql_mode=ANSI_QUOTES`).
    pub are_names: Option<bool>,
}

impl Quotes {
    /// Whether a text that was read by these means the same by those.
    #[must_use]
    pub fn hold_for(self, others: Self) -> bool {
        let holds = |one: Option<bool>, other| one.is_none() || one == other;
        holds(self.escapes, others.escapes) && holds(self.are_names, others.are_names)
    }
}

/// Reads a text. Of one longer than [`MAX_LOOKED_AT`] the beginning is enough. Where a backslash may mean one thing
/// or the other, it is read both ways.
#[must_use]
pub fn read(sql: &[u8], is_whole: bool, quotes: Quotes, tracked: &Tracked) -> Text {
    let mut text = Text::default();
    let escapes = Escapes {
        texts: quotes.escapes != Some(false),
        names: quotes.escapes != Some(false) && quotes.are_names != Some(true),
    };
    let mut reads = look(sql, escapes, tracked, &mut text);
    if sql.contains(&b'\\') {
        let names = Escapes {
            names: false,
            ..escapes
        };
        if quotes.are_names.is_none() && names != escapes {
            reads &= look(sql, names, tracked, &mut text);
        }
        if quotes.escapes.is_none() {
            reads &= look(sql, Escapes::default(), tracked, &mut text);
        }
    }
    if !is_whole {
        text.hides();
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
    Begin,
    Start,
    /// `SELECT` or `SHOW`.
    Read,
    Other,
}

/// Whether it is one statement that only reads, or begins a transaction.
fn look(sql: &[u8], escapes: Escapes, tracked: &Tracked, text: &mut Text) -> bool {
    let mut tokens = Tokens::new(sql, escapes);
    let mut verb = Verb::None;
    let mut statements = 0;
    let mut only_reads = true;
    let mut called: Option<bool> = None;
    let mut is_next = false;
    let mut calls = Calls::default();
    while let Some(token) = tokens.next() {
        if !text.calls && calls.next(token, &tokens) {
            text.calls = true;
            text.hides();
        }
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
        // `NEXT VALUE FOR`, for which there is `NEXTVAL` as well.
        text.is_unsure |= is_next && matches!(token, Token::Word(word) if is(word, "VALUE"));
        is_next = matches!(token, Token::Word(word) if is(word, "NEXT"));
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
            (Verb::Begin, Token::Word(word)) if is(word, "WORK") => verb,
            // A block of statements, of which only the first words of some are looked at.
            (Verb::Begin, _) => {
                text.hides();
                Verb::Other
            }
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
    // The server reads what stands behind a `SET` by what has been set.
    if tokens.is_unsure || (text.sets && statements > 1) {
        text.hides();
    }
    text.unlocks &= statements == 1;
    statements == 1 && only_reads && matches!(verb, Verb::Read | Verb::Begin | Verb::Start)
}

/// Statements that leave nothing but what is found wherever it stands.
const PLAIN: &str = "INSERT UPDATE DELETE REPLACE WITH VALUES TABLE COMMIT ROLLBACK SAVEPOINT RELEASE USE DROP \
    TRUNCATE RENAME GRANT REVOKE EXPLAIN DESCRIBE DESC ANALYZE OPTIMIZE CHECK CHECKSUM REPAIR LOAD DO KILL PURGE RESET \
    CHANGE STOP CACHE INSTALL UNINSTALL HELP SIGNAL RESIGNAL GET SHUTDOWN";

/// The first word of a statement.
fn begins(word: &[u8], text: &mut Text) -> Verb {
    let any = |words: &[&str]| words.iter().any(|known| is(word, known));
    if any(&["SELECT", "SHOW"]) {
        return Verb::Read;
    }
    if is(word, "SET") {
        return Verb::Set(Place::START);
    }
    if any(&["PREPARE", "EXECUTE", "DEALLOCATE"]) {
        text.pin("PREPARE");
        text.asks();
        return Verb::Other;
    }
    if any(&["HANDLER", "XA", "BACKUP", "BINLOG"]) {
        text.pin("a lock");
        return Verb::Other;
    }
    if any(&["CREATE", "ALTER"]) {
        return Verb::Create;
    }
    match () {
        () if is(word, "BEGIN") => Verb::Begin,
        () if is(word, "START") => Verb::Start,
        () if is(word, "FLUSH") => Verb::Flush,
        () if is(word, "LOCK") => Verb::Lock,
        () if is(word, "UNLOCK") => Verb::Unlock,
        () if PLAIN.split(' ').any(|known| is(word, known)) => Verb::Other,
        // `CALL`, `IF`, `WHILE`, a label: nobody sees what is done there.
        () => {
            text.hides();
            Verb::Other
        }
    }
}

/// A word that matters wherever it stands. True if it is `LAST_INSERT_ID`.
fn anywhere(word: &[u8], text: &mut Text) -> bool {
    // Most words are too short, or begin with another letter.
    if word.len() < 7 {
        return false;
    }
    match word[0].to_ascii_uppercase() {
        b'G' if is(word, "GET_LOCK") => text.pin("GET_LOCK"),
        b'L' if is(word, "LAST_INSERT_ID") => {
            text.wants_insert_id = true;
            return true;
        }
        // `LASTVAL` is the connection's own, whoever asks.
        b'N' if is(word, "NEXTVAL") => text.is_unsure = true,
        b'I' if is(word, "IDENTITY") => text.wants_insert_id = true,
        b'S' if is(word, "SESSION_VARIABLES") || is(word, "SYSTEM_VARIABLES") => {
            text.wants_insert_id = true;
        }
        b'V' if is(word, "VARIABLES") || is(word, "VARIABLES_BY_THREAD") => {
            text.wants_insert_id = true;
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
