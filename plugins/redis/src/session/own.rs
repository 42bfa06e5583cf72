//! Commands that are not simply forwarded: those that the relay answers itself, and those that
//! say who the client is.
//!
//! `AUTH`, `HELLO` and `SELECT` choose among connections, and never change one: a connection
//! that was opened as the client wants to be proves that it may.

use std::rc::Rc;

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Disposition, Side, Steps};

use super::{Claim, Lease, Session};
use crate::commands::Class;
use crate::identity::{Credentials, Identity, Protocol};
use crate::resp::request::Command;
use crate::resp::write;

/// How many bytes such a command may have: it is kept until it is all there.
pub(super) const MAX_SHOWN: usize = 16 * 1024;

/// How many arguments it may have. None has a use for more.
const MAX_ARGUMENTS: usize = 16;

/// A command that is all there: its arguments, and how long it is.
type Whole<'a> = (Vec<&'a [u8]>, u64);

/// What `HELLO` asks for.
struct Hello {
    identity: Identity,
    /// What the server is asked once the connection is there.
    request: Vec<u8>,
    /// A name was set, which stays on the connection.
    named: bool,
}

impl Session {
    /// Such a command stands in front, and no connection is leased.
    pub(super) fn own_without_lease(&mut self, class: Class, command: &Command<'_>) -> Choice {
        let (arguments, len) = match whole(command) {
            Ok(Some(whole)) => whole,
            Ok(None) => return Choice::NeedMore,
            Err(steps) => return Choice::answer(steps),
        };
        let answered =
            |reply: Vec<u8>| Choice::answer(Steps::new().discard(len).send(Side::Client, reply));
        match class {
            Class::Select => match database(&arguments) {
                Ok(database) if database == self.identity.database => answered(write::OK.to_vec()),
                Ok(database) => {
                    let identity = Identity {
                        database,
                        ..Identity::clone(&self.identity)
                    };
                    self.claim(identity, len)
                }
                Err(error) => answered(error),
            },
            Class::Auth => match credentials(&arguments) {
                Ok(credentials) => {
                    let identity = Identity {
                        credentials: Some(credentials),
                        ..Identity::clone(&self.identity)
                    };
                    self.claim(identity, len)
                }
                Err(error) => answered(error),
            },
            Class::Hello => match hello(&self.identity, &arguments) {
                Ok(hello) => self.greet(hello, len),
                Err(error) => answered(error),
            },
            Class::Reset => {
                self.identity = Rc::clone(&self.shared.identity);
                answered(b"+RESET\r\n".to_vec())
            }
            _ => Choice::answer(answer(class, &arguments, len)),
        }
    }

    /// Such a command stands in front, a connection is pinned, and all replies are in.
    pub(super) fn own_in_lease(&mut self, class: Class, command: &Command<'_>) -> Steps {
        let (arguments, len) = match whole(command) {
            Ok(Some(whole)) => whole,
            Ok(None) => return Steps::new(),
            Err(steps) => return steps,
        };
        if class == Class::Reset {
            let disposition = match self.lease.disposition() {
                Disposition::Keep => Disposition::Reset,
                worse => worse,
            };
            self.lease = Lease::default();
            self.identity = Rc::clone(&self.shared.identity);
            return Steps::new()
                .discard(len)
                .release(disposition)
                .send(Side::Client, *b"+RESET\r\n");
        }
        answer(class, &arguments, len)
    }

    /// Leases a connection of this identity: that there is one is the proof.
    fn claim(&mut self, identity: Identity, len: u64) -> Choice {
        let target = identity.target();
        self.lease.first = len;
        self.claim = Some(Claim {
            identity: Rc::new(identity),
        });
        Choice::lease(target).then(
            Steps::new()
                .discard(len)
                .send(Side::Client, write::OK)
                .release(Disposition::Keep),
        )
    }

    /// The same, and lets the server answer.
    fn greet(&mut self, hello: Hello, len: u64) -> Choice {
        let target = hello.identity.target();
        self.lease.first = len;
        self.lease.owed = 1;
        self.lease.taken = 1;
        if hello.named {
            self.lease.pin.see(Class::Pin, false);
        }
        self.claim = Some(Claim {
            identity: Rc::new(hello.identity),
        });
        Choice::lease(target).then(
            Steps::new()
                .discard(len)
                .send(Side::Upstream, hello.request),
        )
    }
}

/// What needs nobody but the relay.
fn answer(class: Class, arguments: &[&[u8]], len: u64) -> Steps {
    let steps = Steps::new().discard(len);
    match class {
        Class::Quit => steps.send(Side::Client, write::OK).close("QUIT"),
        // Name and value behind the subcommand.
        Class::SetInfo if arguments.len() == 3 => steps.send(Side::Client, write::OK),
        Class::SetInfo => steps.send(Side::Client, wrong_number("client|setinfo")),
        _ => steps.close("not a Redis client, but something like a browser"),
    }
}

/// The command with all of its arguments, if they are there.
fn whole<'a>(command: &'a Command<'_>) -> Result<Option<Whole<'a>>, Steps> {
    let refuse = |why: &str| {
        Steps::new()
            .send(Side::Client, write::own_error(why))
            .close(why)
    };
    if command.argc > MAX_ARGUMENTS as u64 {
        return Err(refuse("too many arguments for a command of this kind"));
    }
    match command.arguments(MAX_ARGUMENTS) {
        Parsed::Complete { value, len } => Ok(Some((value, len as u64))),
        Parsed::Incomplete { at_least } if at_least > MAX_SHOWN => {
            Err(refuse("over 16 KiB for a command of this kind"))
        }
        Parsed::Incomplete { .. } => Ok(None),
        Parsed::Invalid(why) => Err(Steps::new()
            .send(
                Side::Client,
                write::error(&format!("ERR Protocol error: {why}")),
            )
            .close(why)),
    }
}

fn database(arguments: &[&[u8]]) -> Result<u32, Vec<u8>> {
    let [index] = arguments else {
        return Err(wrong_number("select"));
    };
    match std::str::from_utf8(index)
        .ok()
        .and_then(|index| index.parse::<i64>().ok())
    {
        None => Err(write::error("ERR value is not an integer or out of range")),
        Some(index) => {
            u32::try_from(index).map_err(|_| write::error("ERR DB index is out of range"))
        }
    }
}

fn credentials(arguments: &[&[u8]]) -> Result<Credentials, Vec<u8>> {
    match arguments {
        [password] => Ok(Credentials::new(None, password)),
        [user, password] => Ok(Credentials::new(Some(user), password)),
        [] => Err(wrong_number("auth")),
        _ => Err(write::error("ERR syntax error")),
    }
}

fn hello(now: &Identity, arguments: &[&[u8]]) -> Result<Hello, Vec<u8>> {
    let mut hello = Hello {
        identity: now.clone(),
        request: Vec::new(),
        named: false,
    };
    let Some((version, mut options)) = arguments.split_first() else {
        hello.request = write::request(&[b"HELLO"]);
        return Ok(hello);
    };
    hello.identity.protocol = match *version {
        b"2" => Protocol::Resp2,
        b"3" => Protocol::Resp3,
        _ => return Err(write::error("NOPROTO unsupported protocol version")),
    };
    let mut request: Vec<&[u8]> = vec![b"HELLO", version];
    loop {
        options = match options {
            [] => break,
            [option, user, password, rest @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                hello.identity.credentials = Some(Credentials::new(Some(user), password));
                rest
            }
            [option, name, rest @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                request.truncate(2);
                request.extend([*option, *name]);
                hello.named = true;
                rest
            }
            [option, ..] => {
                let option = String::from_utf8_lossy(option);
                let why = format!("ERR Syntax error in HELLO option '{option}'");
                return Err(write::error(&why));
            }
        };
    }
    hello.request = write::request(&request);
    Ok(hello)
}

fn wrong_number(name: &str) -> Vec<u8> {
    write::error(&format!(
        "ERR wrong number of arguments for '{name}' command"
    ))
}
