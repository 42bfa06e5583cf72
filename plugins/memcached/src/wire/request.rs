//! Measuring requests: which command stands at the front, where it ends, and what its reply will be.
//!
//! A server that finds a mistake in a line with a data block may take the block for commands, and
//! answer each of them. On a connection that others use nothing of the kind may happen, so a line is
//! passed on only if every server takes it as it is meant. All others are answered here, in the
//! words that memcached has for them.

use leaseway_sdk::frame::Parsed;

use super::{MAX_KEY, MAX_VALUE, binary, is_time, meta, number, words};

/// How long a line may be, with its end. As in memcached.
pub const MAX_LINE: usize = 2048;

/// How long one may be that names many keys.
pub const MAX_KEYS_LINE: usize = 24 * 1024;

/// Errors in memcached's own words.
pub(crate) const ERROR: &str = "ERROR";
/// What it says of a line with `noreply`, whatever the mistake.
const SILENCE: &str = "";
const BAD_LINE: &str = "CLIENT_ERROR bad command line format";
const BAD_DATA: &str = "CLIENT_ERROR bad data chunk";
const TOO_LONG: &str = "CLIENT_ERROR line too long";
const BAD_DELETE: &str = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]";
const BAD_TIME: &str = "CLIENT_ERROR invalid exptime argument";
const BAD_FLAG: &str = "CLIENT_ERROR invalid flag";

/// What stands at the front of a client's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Front<'a> {
    /// A command for a server.
    Command(Command<'a>),
    /// `mn`, which asks for nothing but a reply, so many bytes of it.
    Noop(u64),
    /// `quit`.
    Quit,
    /// Something that no server is to see.
    Refused {
        /// The error, without its line end; empty: the client has asked for no reply (`noreply`).
        error: String,
        /// How many bytes of the client it takes; none: nobody knows where the next one begins.
        length: Option<u64>,
    },
    /// A request of the binary protocol.
    Binary([u8; binary::HEADER]),
}

/// A command for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// The line, without its end.
    pub line: &'a [u8],
    /// How many bytes it takes, with its data block: also of those that have not come yet.
    pub length: u64,
    /// What it is.
    pub class: Class,
    /// Bytes that clients have chosen may come back as they are, with ends of lines among them: who
    /// reads what comes back takes them for replies.
    pub echoes: bool,
}

/// What a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Keys from the word with this number on; one reply. The words before it are for all keys.
    Retrieve {
        /// The number of the first key.
        keys: usize,
        /// Done twice it does no harm.
        idempotent: bool,
    },
    /// One key; one reply.
    Keyed {
        /// Done twice it does no harm.
        idempotent: bool,
    },
    /// One key; a reply that may not come.
    Quiet {
        /// Bad news are to be told (`q`), and not even those (`noreply`).
        errors: bool,
    },
    /// `version`: for any server.
    Version,
    /// For one server as a whole; one reply, which may be a list.
    Admin {
        /// The reply may not come.
        quiet: bool,
    },
}

impl<'a> Command<'a> {
    fn new(line: &'a [u8], length: u64, class: Class) -> Self {
        Self {
            line,
            length,
            class,
            echoes: false,
        }
    }

    /// Whether it is one of the meta commands.
    pub fn is_meta(&self) -> bool {
        matches!(self.line, [b'm', _, b' ', ..])
    }

    /// Whether a data block stands behind its line.
    pub fn has_block(&self) -> bool {
        self.length > self.line.len() as u64 + 2
    }

    /// The keys: none, one or many.
    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        let (first, most) = match self.class {
            Class::Retrieve { keys, .. } => (keys, usize::MAX),
            Class::Keyed { .. } | Class::Quiet { .. } => (1, 1),
            Class::Version | Class::Admin { .. } => (0, 0),
        };
        words(self.line).skip(first).take(most)
    }

    /// The words in front of the keys.
    pub fn head(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        let count = match self.class {
            Class::Retrieve { keys, .. } => keys,
            _ => 1,
        };
        words(self.line).take(count)
    }
}

/// Reads the request at the front. A data block is looked at where its end is shown, and otherwise
/// only measured.
#[must_use]
pub fn front(shown: &[u8]) -> Parsed<Front<'_>> {
    let complete = |value| Parsed::Complete { value, len: 0 };
    if shown.first() == Some(&binary::REQUEST) {
        return match shown.first_chunk() {
            Some(header) => complete(Front::Binary(*header)),
            None => Parsed::Incomplete {
                at_least: binary::HEADER,
            },
        };
    }
    // Servers take no other line that is longer.
    let many = shown.starts_with(b"get ") || shown.starts_with(b"gets ");
    let most = if many { MAX_KEYS_LINE } else { MAX_LINE };
    let window = &shown[..shown.len().min(most)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        if shown.len() >= most {
            return complete(refused(TOO_LONG, None));
        }
        return Parsed::Incomplete {
            at_least: shown.len() + 1,
        };
    };
    let line = &window[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let after = end as u64 + 1;
    let mut front = read(line, after);
    if let Front::Command(command) = &front
        && command.length > after
        && let Some(block) = usize::try_from(command.length)
            .ok()
            .and_then(|length| shown.get(..length))
        && !block.ends_with(b"\r\n")
    {
        front = refused(BAD_DATA, None);
    }
    complete(front)
}

fn refused(error: impl Into<String>, length: Option<u64>) -> Front<'static> {
    Front::Refused {
        error: error.into(),
        length,
    }
}

/// Reads a line that has so many bytes with its end.
fn read(line: &[u8], after: u64) -> Front<'_> {
    let mut all = words(line);
    let name = all.next().unwrap_or_default();
    let refuse = |error: &str| refused(error, Some(after));
    let command = |class| Front::Command(Command::new(line, after, class));
    if line.first() == Some(&b' ') {
        // Servers of different versions see different things in it.
        return refuse(ERROR);
    }
    match name {
        b"get" | b"gets" => retrieve(all, command, refuse, 1, true),
        b"gat" | b"gats" => match all.next() {
            None => refuse(ERROR),
            Some(time) if !is_time(time) => refuse(BAD_TIME),
            Some(_) => retrieve(all, command, refuse, 2, false),
        },
        b"set" | b"add" | b"replace" | b"append" | b"prepend" => store(line, after, false),
        b"cas" => store(line, after, true),
        b"delete" | b"incr" | b"decr" | b"touch" => keyed(name, all, command, refuse),
        b"mg" | b"md" | b"ma" | b"me" => meta(line, after),
        b"ms" => meta_set(line, after),
        b"mn" => Front::Noop(after),
        b"version" => command(Class::Version),
        b"quit" => Front::Quit,
        b"stats" => {
            // From 1.6.40 on the beginning of a word is enough.
            let what = all.next().unwrap_or(b"-");
            if b"detail".starts_with(what) {
                return refuse(&not_relayed("stats detail"));
            }
            Front::Command(Command {
                // It names the keys of items, also those that are not text.
                echoes: b"cachedump".starts_with(what),
                ..Command::new(line, after, Class::Admin { quiet: false })
            })
        }
        b"flush_all" | b"verbosity" | b"cache_memlimit" => {
            let quiet = all.last() == Some(b"noreply");
            command(Class::Admin { quiet })
        }
        b"watch" | b"lru_crawler" | b"lru" | b"slabs" | b"shutdown" | b"extstore" => {
            refuse(&not_relayed(&String::from_utf8_lossy(name)))
        }
        _ => refuse(ERROR),
    }
}

/// The commands that concern a server, or its connection, as such.
fn not_relayed(name: &str) -> String {
    format!("CLIENT_ERROR leaseway: `{name}` is not relayed; ask the server itself")
}

fn is_key(word: &[u8]) -> bool {
    word.len() <= MAX_KEY && word.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

fn retrieve<'a>(
    mut keys: impl Iterator<Item = &'a [u8]> + Clone,
    command: impl Fn(Class) -> Front<'a>,
    refuse: impl Fn(&str) -> Front<'a>,
    first: usize,
    idempotent: bool,
) -> Front<'a> {
    if keys.clone().next().is_none() {
        return refuse(ERROR);
    }
    if !keys.all(is_key) {
        return refuse(BAD_LINE);
    }
    let keys = first;
    command(Class::Retrieve { keys, idempotent })
}

/// `delete`, `incr`, `decr` and `touch`.
fn keyed<'a>(
    name: &[u8],
    words: impl Iterator<Item = &'a [u8]>,
    command: impl Fn(Class) -> Front<'a>,
    refuse: impl Fn(&str) -> Front<'a>,
) -> Front<'a> {
    // One more than any of them may have.
    let words: Vec<&[u8]> = words.take(4).collect();
    let (quiet, words) = match words.as_slice() {
        [words @ .., b"noreply"] if !words.is_empty() => (true, words),
        words => (false, words),
    };
    let refuse = |error: &str| refuse(if quiet { SILENCE } else { error });
    let fits = match words {
        [] => return refuse(ERROR),
        [key, rest @ ..] if is_key(key) => match (name, rest) {
            (b"delete", [] | [b"0"]) => true,
            (b"delete", _) => return refuse(BAD_DELETE),
            (b"incr" | b"decr", [delta]) if number(delta, u64::MAX).is_none() => {
                return refuse("CLIENT_ERROR invalid numeric delta argument");
            }
            (b"incr" | b"decr", [_]) => true,
            (b"touch", [time]) if !is_time(time) => return refuse(BAD_TIME),
            (b"touch", [_]) => true,
            (b"incr" | b"decr" | b"touch", []) => return refuse(ERROR),
            _ => false,
        },
        _ => false,
    };
    match (fits, quiet) {
        (false, _) => refuse(BAD_LINE),
        (true, true) => command(Class::Quiet { errors: false }),
        // A key to most servers; from 1.6.40 on they take it for the word, and say nothing.
        (true, false) if words == [b"noreply"] => command(Class::Quiet { errors: true }),
        (true, false) => command(Class::Keyed { idempotent: false }),
    }
}

/// The commands with a data block whose length stands in their fifth word. With a number too many, or
/// one that is none, where the block ends is nobody's guess.
fn store(line: &[u8], after: u64, cas: bool) -> Front<'_> {
    let words: Vec<&[u8]> = words(line).skip(1).take(7).collect();
    let (quiet, words) = match words.as_slice() {
        [words @ .., b"noreply"] if words.len() >= 4 => (true, words),
        words => (false, words),
    };
    let (key, flags, time, size, unique) = match words {
        [key, flags, time, size] if !cas => (key, flags, time, size, None),
        [key, flags, time, size, unique] if cas => (key, flags, time, size, Some(unique)),
        [_, _, _, _, ..] => return refused(BAD_LINE, None),
        _ => return refused(ERROR, Some(after)),
    };
    let Some(size) = number(size, MAX_VALUE) else {
        return refused(BAD_DATA, None);
    };
    let length = after + size + 2;
    let fits = is_key(key)
        && number(flags, u64::from(u32::MAX)).is_some()
        && is_time(time)
        && unique.is_none_or(|unique| number(unique, u64::MAX).is_some());
    if !fits {
        return refused(if quiet { SILENCE } else { BAD_LINE }, Some(length));
    }
    let class = match quiet {
        true => Class::Quiet { errors: false },
        false => Class::Keyed { idempotent: false },
    };
    Front::Command(Command::new(line, length, class))
}

/// `mg`, `md`, `ma` and `me`.
fn meta(line: &[u8], after: u64) -> Front<'_> {
    let mut words = words(line);
    let name = words.next().unwrap_or_default();
    let Some(key) = words.next() else {
        return refused(ERROR, Some(after));
    };
    if !is_key(key) {
        return refused(BAD_LINE, Some(after));
    }
    let Some(flags) = meta::flags(key, words) else {
        return refused(BAD_FLAG, Some(after));
    };
    let reads = matches!(name, b"mg" | b"me");
    let class = match flags.quiet {
        true => Class::Quiet { errors: true },
        false => Class::Keyed {
            idempotent: reads && !flags.changes,
        },
    };
    Front::Command(Command {
        echoes: flags.has_line_end && (flags.returns_key || name == b"me"),
        ..Command::new(line, after, class)
    })
}

fn meta_set(line: &[u8], after: u64) -> Front<'_> {
    let mut words = words(line).skip(1);
    let (Some(key), Some(size)) = (words.next(), words.next()) else {
        return refused(BAD_LINE, Some(after));
    };
    let Some(size) = number(size, MAX_VALUE) else {
        return refused(BAD_DATA, None);
    };
    let length = after + size + 2;
    let Some(flags) = meta::flags(key, words).filter(|_| is_key(key)) else {
        return refused(BAD_FLAG, Some(length));
    };
    let class = match flags.quiet {
        true => Class::Quiet { errors: true },
        false => Class::Keyed { idempotent: false },
    };
    Front::Command(Command {
        echoes: flags.has_line_end && flags.returns_key,
        ..Command::new(line, length, class)
    })
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
