//! What each command does to a connection: whether it leaves it as it was, ties it to its client,
//! or is none of the server's business.
//!
//! Owns the list of commands and what is said of them; never looks at a session. A command that
//! is not listed is [`Class::Unknown`]: nothing is known of what it leaves behind, nor of how many
//! replies it has. Called by the session for every command of a client.

mod names;

use leaseway_sdk::frame::Parsed;

use crate::resp::request::Command;

/// What a command does to the connection that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Leaves nothing behind, has one reply, and does no harm when it is carried out twice.
    Read,
    /// Leaves nothing behind and has one reply.
    Write,
    /// The same, but the reply may wait until somebody else does something.
    Block,
    /// `MULTI`: begins a transaction.
    Multi,
    /// `EXEC`: ends a transaction, and what was watched.
    Exec,
    /// `DISCARD`: does the same.
    Discard,
    /// `WATCH`: the server remembers keys.
    Watch,
    /// `UNWATCH`: and forgets them.
    Unwatch,
    /// `ASKING`: concerns the next command.
    Asking,
    /// Leaves state behind that `RESET` clears; one reply.
    Pin,
    /// Leaves state behind that no older server's `RESET` clears; one reply.
    Taint,
    /// Leaves state behind, and nobody knows how many replies follow.
    Stream,
    /// Perhaps no command at all, and perhaps one that does anything: the server's answer tells.
    Unknown,
    /// `CLIENT ID`: with it, others can have the server say something on this connection.
    Id,
    /// `AUTH`.
    Auth,
    /// `HELLO`.
    Hello,
    /// `SELECT`.
    Select,
    /// `CLIENT SETINFO`: says what the client is, which is nobody's state.
    SetInfo,
    /// `CLIENT MAINT_NOTIFICATIONS`: asks for pushes about the one server behind a connection.
    Maintenance,
    /// `RESET`.
    Reset,
    /// `QUIT`.
    Quit,
    /// What a browser says. Redis closes such connections, and so must the relay: it is how
    /// web pages would talk to a server behind a firewall.
    Web,
}

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Is(Class),
    /// The first argument decides; names of subcommands and what they are, and what all others
    /// are.
    Container(&'static [(&'static str, Class)], Class),
}

/// Finds out what this command is. Waits for its first argument where that decides.
#[inline]
#[must_use]
pub fn classify(command: &Command<'_>) -> Parsed<Class> {
    let known = |value| Parsed::Complete { value, len: 0 };
    match named(command.name()) {
        Named::Is(class) => known(class),
        // An error whatever it is.
        Named::Container(..) if command.argc == 1 => known(Class::Write),
        Named::Container(subcommands, others) => command.arguments(1).map(|arguments| {
            let name = Lowered::new(arguments.first().copied().unwrap_or_default());
            subcommands
                .iter()
                .find(|(subcommand, _)| subcommand.as_bytes() == name.bytes())
                .map_or(others, |(_, class)| *class)
        }),
    }
}

/// Commands that act on what others are doing: behind those on a connection they would come too
/// late.
const INTERRUPTING: [&str; 5] = ["client", "failover", "function", "script", "shutdown"];

/// Whether a command may travel on a connection among those of others, as far as its class lets it.
#[inline]
#[must_use]
pub fn may_stand_behind_others(command: &Command<'_>) -> bool {
    let name = Lowered::new(command.name());
    // All of them have six to eight letters, and most commands fewer.
    !(6..=8).contains(&name.len)
        || !INTERRUPTING
            .iter()
            .any(|one| one.as_bytes() == name.bytes())
}

#[inline]
fn named(name: &[u8]) -> Named {
    let name = Lowered::new(name);
    let name = name.bytes();
    let is_in = |names: &[&str]| {
        names
            .binary_search_by(|probe| probe.as_bytes().cmp(name))
            .is_ok()
    };
    if is_in(names::READ) {
        return Named::Is(Class::Read);
    }
    if is_in(names::WRITE) {
        return Named::Is(Class::Write);
    }
    if is_in(names::BLOCK) {
        return Named::Is(Class::Block);
    }
    let special = names::SPECIAL
        .iter()
        .find(|(special, _)| special.as_bytes() == name);
    if let Some((_, class)) = special {
        return Named::Is(*class);
    }
    if is_in(names::READ_OF_MODULES) {
        return Named::Is(Class::Read);
    }
    if is_in(names::WRITE_OF_MODULES) {
        return Named::Is(Class::Write);
    }
    match name {
        b"client" => Named::Container(names::CLIENT, Class::Unknown),
        b"script" => Named::Container(names::SCRIPT, Class::Unknown),
        b"cluster" => Named::Container(names::CLUSTER, Class::Write),
        _ => Named::Is(Class::Unknown),
    }
}

/// The longest name in the lists, and room to spare.
const LONGEST: usize = 32;

/// A name in lower case, without an allocation. Names that are too long to be known are empty.
struct Lowered {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Lowered {
    #[inline]
    fn new(name: &[u8]) -> Self {
        let mut lowered = Self {
            bytes: [0; LONGEST],
            len: 0,
        };
        if let Some(room) = lowered.bytes.get_mut(..name.len()) {
            room.copy_from_slice(name);
            room.make_ascii_lowercase();
            lowered.len = name.len();
        }
        lowered
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests;
