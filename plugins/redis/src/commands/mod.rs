//! What each command means for the connection that it is sent on.

mod table;

use table::{READS, WRITES};

/// What a command does to its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// One reply, and nothing stays. `read`: it may be sent twice.
    Plain {
        /// It changes nothing.
        read: bool,
    },
    /// MULTI: what follows is queued until EXEC or DISCARD.
    Multi,
    /// EXEC or DISCARD: the end of a transaction.
    EndOfMulti,
    /// WATCH: the connection watches keys.
    Watch,
    /// UNWATCH: it does not any more.
    Unwatch,
    /// ASKING: speaks of the next command.
    Asking,
    /// One reply, and the connection is the client's own from then on; RESET would mend it.
    Pin,
    /// Replies cannot be counted any more: what comes is copied until the session ends.
    Stream,
    /// AUTH: becomes identity.
    Auth,
    /// HELLO: becomes identity.
    Hello,
    /// SELECT: becomes identity.
    Select,
    /// QUIT: answered here.
    Quit,
    /// RESET: answered here.
    Reset,
    /// CLIENT and SCRIPT, whose first argument decides: see [`subcommand`].
    Container,
}

/// The longest name in the tables, and then some.
const LONGEST: usize = 32;

/// Looks a command up, in any case. One that is not known is taken to change its connection in
/// ways that nobody can count on.
pub(crate) fn class(name: &[u8]) -> Class {
    let mut buffer = [0; LONGEST];
    let Some(name) = upper(name, &mut buffer) else {
        return Class::Stream;
    };
    if READS.binary_search(&name).is_ok() {
        return Class::Plain { read: true };
    }
    if WRITES.binary_search(&name).is_ok() {
        return Class::Plain { read: false };
    }
    match name {
        "MULTI" => Class::Multi,
        "EXEC" | "DISCARD" => Class::EndOfMulti,
        "WATCH" => Class::Watch,
        "UNWATCH" => Class::Unwatch,
        "ASKING" => Class::Asking,
        "READONLY" | "READWRITE" => Class::Pin,
        "AUTH" => Class::Auth,
        "HELLO" => Class::Hello,
        "SELECT" => Class::Select,
        "QUIT" => Class::Quit,
        "RESET" => Class::Reset,
        "CLIENT" | "SCRIPT" => Class::Container,
        // SUBSCRIBE and its family, MONITOR, SYNC, PSYNC and REPLCONF turn the connection into
        // a stream; DEBUG, SHUTDOWN, FAILOVER, PFDEBUG, PFSELFTEST and RESTORE-ASKING are for
        // servers' own use; and nobody knows what an unknown command does.
        _ => Class::Stream,
    }
}

/// What a subcommand of CLIENT or SCRIPT does.
pub(crate) fn subcommand(name: &[u8], first: &[u8]) -> Subcommand {
    let (mut outer, mut inner) = ([0; LONGEST], [0; LONGEST]);
    match (upper(name, &mut outer), upper(first, &mut inner)) {
        (Some("CLIENT"), Some("SETINFO")) => Subcommand::Swallow,
        (
            Some("CLIENT"),
            Some(
                "ID" | "INFO" | "LIST" | "KILL" | "GETNAME" | "GETREDIR" | "TRACKINGINFO" | "PAUSE"
                | "UNPAUSE" | "UNBLOCK" | "HELP",
            ),
        )
        | (Some("SCRIPT"), Some("EXISTS" | "FLUSH" | "HELP" | "KILL" | "LOAD" | "SHOW")) => {
            Subcommand::Class(Class::Plain { read: false })
        }
        (
            Some("CLIENT"),
            Some("SETNAME" | "TRACKING" | "CACHING" | "NO-EVICT" | "NO-TOUCH" | "CAPA"),
        ) => Subcommand::Class(Class::Pin),
        _ => Subcommand::Class(Class::Stream),
    }
}

/// See [`subcommand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subcommand {
    /// As a command of this class.
    Class(Class),
    /// Answered `+OK` here: it describes a connection that is nobody's own.
    Swallow,
}

fn upper<'a>(name: &[u8], buffer: &'a mut [u8; LONGEST]) -> Option<&'a str> {
    let buffer = buffer.get_mut(..name.len())?;
    buffer.copy_from_slice(name);
    buffer.make_ascii_uppercase();
    std::str::from_utf8(buffer).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod real_server;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_share_nothing() {
        assert!(READS.is_sorted() && WRITES.is_sorted());
        assert!(READS.iter().all(|name| WRITES.binary_search(name).is_err()));
    }

    #[test]
    fn names_are_found_in_any_case_and_strangers_are_not_guessed_at() {
        assert_eq!(class(b"get"), Class::Plain { read: true });
        assert_eq!(class(b"InCr"), Class::Plain { read: false });
        assert_eq!(class(b"BLPOP"), Class::Plain { read: false });
        assert_eq!(class(b"exec"), Class::EndOfMulti);
        assert_eq!(class(b"psubscribe"), Class::Stream);
        assert_eq!(class(b"FT.SEARCH"), Class::Stream);
        assert_eq!(class(b""), Class::Stream);
        assert_eq!(class(&[b'x'; 64]), Class::Stream);
        let client = |first: &[u8]| subcommand(b"client", first);
        assert_eq!(client(b"setinfo"), Subcommand::Swallow);
        assert_eq!(client(b"SetName"), Subcommand::Class(Class::Pin));
        assert_eq!(client(b"reply"), Subcommand::Class(Class::Stream));
        assert_eq!(
            client(b"id"),
            Subcommand::Class(Class::Plain { read: false })
        );
        assert_eq!(
            subcommand(b"script", b"debug"),
            Subcommand::Class(Class::Stream)
        );
    }
}
