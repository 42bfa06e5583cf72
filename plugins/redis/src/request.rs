//! What the requests at the front of the client's bytes ask for, one at a time.

use leaseway_sdk::frame::Parsed;

use crate::commands::{Class, Subcommand, class, subcommand};
use crate::identity::{Credentials, Identity, number};
use crate::resp::request::{Command, Front, Rest, front};

/// Arguments that a command answered here may have; HELLO has the most.
const MOST: usize = 8;

/// What stands at the front.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Not enough to tell.
    Unknown,
    /// No RESP: in Redis' words.
    Invalid(&'static str),
    /// Nothing, so many bytes of it.
    Empty(u64),
    /// A command to forward: how far it is covered already, and what is to come.
    Forward {
        /// What it does to its connection.
        class: Class,
        /// Whether it has no arguments; some commands only count then.
        alone: bool,
        /// Bytes covered; may exceed what is shown.
        covered: u64,
        /// What is left.
        rest: Rest,
    },
    /// A command that is answered here or chooses the identity, all of it shown.
    Local {
        /// What it says.
        what: Local,
        /// Its length.
        len: u64,
    },
}

/// Commands that are not forwarded as they are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Local {
    /// QUIT.
    Quit,
    /// RESET.
    Reset,
    /// Answered `+OK`.
    Swallow,
    /// AUTH and SELECT: answered `+OK` under the new identity.
    Become(Identity),
    /// HELLO: answered by the server, under the new identity; a name is the client's own, and pins.
    Hello {
        /// Who it becomes.
        identity: Identity,
        /// What SETNAME says.
        name: Option<Vec<u8>>,
    },
    /// What Redis would refuse, and how.
    Refuse(&'static str),
}

/// Reads the request at the front. `own`: the connection is the client's own already, so that what
/// chooses identities elsewhere is sent along as it is.
pub(crate) fn read(data: &[u8], identity: &Identity, own: bool) -> Request {
    let command = match front(data) {
        Parsed::Incomplete { .. } => return Request::Unknown,
        Parsed::Invalid(why) => return Request::Invalid(why),
        Parsed::Complete {
            value: Front::Empty(len),
            ..
        } => return Request::Empty(len as u64),
        Parsed::Complete {
            value: Front::Command(command),
            ..
        } => command,
    };
    let class = match class(command.name()) {
        Class::Container if command.argc == 1 => Class::Plain { read: false },
        Class::Container => match command.arguments(1) {
            Parsed::Complete { value, .. } => match subcommand(command.name(), value[0]) {
                Subcommand::Class(class) => class,
                Subcommand::Swallow => return local(&command, |_| Some(Local::Swallow), data),
            },
            Parsed::Incomplete { .. } => return Request::Unknown,
            Parsed::Invalid(why) => return Request::Invalid(why),
        },
        other => other,
    };
    match class {
        Class::Quit => local(&command, |_| Some(Local::Quit), data),
        Class::Reset if command.argc == 1 => local(&command, |_| Some(Local::Reset), data),
        // With a wrong number of arguments they are refused by the server and change nothing.
        Class::Reset => forward(&command, Class::Plain { read: false }, data),
        // Sent on a connection of the client's own they pin it: it is not what it was opened for.
        Class::Auth | Class::Select | Class::Hello if own => forward(&command, Class::Pin, data),
        Class::Auth => local(&command, |words| auth(words, identity), data),
        Class::Select => local(&command, |words| select(words, identity), data),
        Class::Hello => local(&command, |words| hello(words, identity), data),
        class => forward(&command, class, data),
    }
}

fn forward(command: &Command<'_>, class: Class, data: &[u8]) -> Request {
    let (start, mut rest) = command.rest();
    match rest.cover(data.get(start..).unwrap_or_default()) {
        Ok(covered) => Request::Forward {
            class,
            alone: command.argc == 1,
            covered: start as u64 + covered,
            rest,
        },
        Err(why) => Request::Invalid(why),
    }
}

/// A command that is taken here once it is all there. One that makes no sense here goes to the
/// server, which says so.
fn local(
    command: &Command<'_>,
    take: impl FnOnce(&[&[u8]]) -> Option<Local>,
    data: &[u8],
) -> Request {
    if command.argc > MOST as u64 {
        return forward(command, Class::Stream, data);
    }
    match command.arguments(MOST) {
        Parsed::Incomplete { .. } => Request::Unknown,
        Parsed::Invalid(why) => Request::Invalid(why),
        Parsed::Complete { value, len } => match take(&value) {
            Some(what) => Request::Local {
                what,
                len: len as u64,
            },
            None => forward(command, Class::Plain { read: false }, data),
        },
    }
}

fn auth(words: &[&[u8]], identity: &Identity) -> Option<Local> {
    let (user, password) = match words {
        [password] => (&b""[..], *password),
        [user, password] => (*user, *password),
        _ => return None,
    };
    let credentials = Some(Credentials {
        user: user.to_vec(),
        password: password.to_vec(),
    });
    Some(Local::Become(Identity {
        credentials,
        ..identity.clone()
    }))
}

fn select(words: &[&[u8]], identity: &Identity) -> Option<Local> {
    let [index] = words else { return None };
    Some(match number(index) {
        Some(database) => Local::Become(Identity {
            database,
            ..identity.clone()
        }),
        None => Local::Refuse("ERR DB index is out of range"),
    })
}

fn hello(words: &[&[u8]], identity: &Identity) -> Option<Local> {
    let (mut identity, mut name) = (identity.clone(), None);
    let Some((version, mut options)) = words.split_first() else {
        return Some(Local::Hello { identity, name });
    };
    identity.protocol = match number(version) {
        Some(protocol @ (2 | 3)) => protocol,
        Some(_) => return Some(Local::Refuse("NOPROTO unsupported protocol version")),
        None => {
            return Some(Local::Refuse(
                "ERR Protocol version is not an integer or out of range",
            ));
        }
    };
    loop {
        options = match options {
            [] => return Some(Local::Hello { identity, name }),
            [word, user, password, rest @ ..] if word.eq_ignore_ascii_case(b"AUTH") => {
                identity.credentials = Some(Credentials {
                    user: user.to_vec(),
                    password: password.to_vec(),
                });
                rest
            }
            [word, wanted, rest @ ..] if word.eq_ignore_ascii_case(b"SETNAME") => {
                name = Some(wanted.to_vec());
                rest
            }
            _ => return Some(Local::Refuse("ERR Syntax error in HELLO option")),
        };
    }
}
