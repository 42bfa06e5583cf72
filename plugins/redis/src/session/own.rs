//! Commands that are not simply forwarded: those that the relay answers itself, and those that
//! say who the client is.
//!
//! `AUTH`, `HELLO` and `SELECT` choose among connections, and never change one: a connection
//! that was opened as the client wants to be proves that it may.

use std::rc::Rc;

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Disposition, Side, Steps, Target};

use super::client::{Go, protocol_error};
use super::{Claim, Lease, Session};
use crate::commands::Class;
use crate::identity::{Credentials, Identity, Protocol};
use crate::resp::request::{Command, ProtocolError};
use crate::resp::{integer, write};

/// How many bytes such a command may have: it is kept until it is all there.
pub(super) const MAX_SHOWN: usize = 16 * 1024;

const RESET: &[u8] = b"+RESET\r\n";

/// How many arguments it may have. None has a use for more.
const MAX_ARGUMENTS: usize = 16;

/// What there is of such a command.
enum Shown<'a> {
    /// All of it: its arguments, and how long it is.
    Whole(Vec<&'a [u8]>, u64),
    /// Not enough yet.
    Part,
    /// More than anybody needs; the error for that.
    TooMuch(Vec<u8>),
    /// No request after all.
    Invalid(ProtocolError),
}

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
    pub(super) fn own_without_lease(
        &mut self,
        class: Class,
        command: &Command<'_>,
        shown: &[u8],
    ) -> Choice {
        let (arguments, len) = match whole(class, command) {
            Shown::Whole(arguments, len) => (arguments, len),
            Shown::Part => return Choice::NeedMore,
            Shown::Invalid(why) => {
                return Choice::answer(protocol_error(Steps::new(), why));
            }
            Shown::TooMuch(error) => {
                let (start, mut frame) = command.rest();
                return Choice::answer(match frame.cover(&shown[start..]) {
                    Ok(covered) => {
                        // What is still to come of it is swallowed then.
                        self.frame = frame;
                        Steps::new()
                            .send(Side::Client, error)
                            .discard(start as u64 + covered)
                    }
                    Err(why) => protocol_error(Steps::new(), why),
                });
            }
        };
        let answered =
            |reply: Vec<u8>| Choice::answer(Steps::new().discard(len).send(Side::Client, reply));
        match class {
            Class::Select => match database(&arguments) {
                Ok(database) if database != self.identity.database => {
                    let identity = Identity {
                        database,
                        ..Identity::clone(&self.identity)
                    };
                    self.claim(identity, len)
                }
                Ok(_) if self.proved => answered(write::OK.to_vec()),
                Ok(database) => {
                    let database = database.to_string();
                    let request = write::request(&[b"SELECT", database.as_bytes()]);
                    self.ask(Identity::clone(&self.identity), request, len)
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
                Ok(hello) => {
                    let choice = self.ask(hello.identity, hello.request, len);
                    if hello.named {
                        self.lease.pin.see(Class::Pin, false);
                    }
                    choice
                }
                Err(error) => answered(error),
            },
            Class::Reset if arguments.is_empty() => {
                self.become_anew();
                answered(RESET.to_vec())
            }
            _ => Choice::answer(answer(Steps::new(), class, &arguments, len)),
        }
    }

    /// Such a command stands in front, a connection is pinned, and all replies are in.
    pub(super) fn own_in_lease(
        &mut self,
        class: Class,
        command: &Command<'_>,
        shown: &[u8],
        steps: Steps,
    ) -> (Steps, Go) {
        let (arguments, len) = match whole(class, command) {
            Shown::Whole(arguments, len) => (arguments, len),
            Shown::Part => return (steps, Go::Wait),
            Shown::Invalid(why) => return (protocol_error(steps, why), Go::End),
            Shown::TooMuch(error) => {
                let (start, mut frame) = command.rest();
                let covered = frame.cover(&shown[start..]).unwrap_or_default();
                let len = start as u64 + covered;
                let steps = steps.send(Side::Client, error);
                // What is still to come of a request goes to the connection.
                return match frame.is_done() {
                    true => (steps.discard(len), Go::On(len)),
                    false => (
                        steps.close("a command of this kind that is too long"),
                        Go::End,
                    ),
                };
            }
        };
        match class {
            Class::Reset if arguments.is_empty() => {
                let disposition = self.lease.disposition_at_least_reset();
                self.lease = Lease::default();
                self.become_anew();
                let steps = steps.discard(len).release(disposition);
                (steps.send(Side::Client, RESET), Go::End)
            }
            Class::Quit | Class::Web => (answer(steps, class, &arguments, len), Go::End),
            _ => (answer(steps, class, &arguments, len), Go::On(len)),
        }
    }

    /// After `RESET`, the client is who the config says.
    fn become_anew(&mut self) {
        self.identity = Rc::clone(&self.shared.identity);
        self.proved = false;
    }

    /// Leases a connection of this identity: that there is one is the proof.
    fn claim(&mut self, identity: Identity, len: u64) -> Choice {
        self.lease.first = len;
        let target = self.claims(identity);
        Choice::lease(target).then(
            Steps::new()
                .discard(len)
                .send(Side::Client, write::OK)
                .release(Disposition::Keep),
        )
    }

    /// Whose connection is to be the proof.
    fn claims(&mut self, identity: Identity) -> Target {
        let target = identity.target();
        let identity = Rc::new(identity);
        self.named = Some(Rc::clone(&identity));
        self.claim = Some(Claim { identity });
        target
    }

    /// The same, and lets the server answer this.
    fn ask(&mut self, identity: Identity, request: Vec<u8>, len: u64) -> Choice {
        self.lease.first = len;
        self.lease.owed = 1;
        self.lease.taken = 1;
        let target = self.claims(identity);
        Choice::lease(target).then(Steps::new().discard(len).send(Side::Upstream, request))
    }
}

/// What needs nobody but the relay.
fn answer(steps: Steps, class: Class, arguments: &[&[u8]], len: u64) -> Steps {
    let steps = steps.discard(len);
    match class {
        Class::Quit => steps.send(Side::Client, write::OK).close("QUIT"),
        Class::Reset => steps.send(Side::Client, wrong_number("reset")),
        Class::SetInfo => steps.send(Side::Client, set_info(arguments)),
        // No server can warn a client that holds no connection of it, so nobody promises to.
        Class::Maintenance => {
            let name = arguments.first().copied().unwrap_or_default();
            let name = String::from_utf8_lossy(name);
            let why = format!("ERR unknown subcommand '{name}'. Try CLIENT HELP.");
            steps.send(Side::Client, write::error(&why))
        }
        _ => steps.close("not a Redis client, but something like a browser"),
    }
}

/// The command with all of its arguments, if they are there.
fn whole<'a>(class: Class, command: &'a Command<'_>) -> Shown<'a> {
    if command.argc > MAX_ARGUMENTS as u64 {
        return Shown::TooMuch(match class {
            Class::Select => wrong_number("select"),
            Class::Reset => wrong_number("reset"),
            Class::SetInfo => wrong_number("client|setinfo"),
            Class::Auth => write::error("ERR syntax error"),
            _ => write::own_error("too many arguments for a command of this kind"),
        });
    }
    match command.arguments(MAX_ARGUMENTS) {
        Parsed::Complete { value, len } => Shown::Whole(value, len as u64),
        Parsed::Incomplete { at_least } if at_least > MAX_SHOWN => {
            Shown::TooMuch(write::own_error("over 16 KiB for a command of this kind"))
        }
        Parsed::Incomplete { .. } => Shown::Part,
        Parsed::Invalid(why) => Shown::Invalid(why),
    }
}

/// The reply to `CLIENT SETINFO`, whose arguments begin with the subcommand.
fn set_info(arguments: &[&[u8]]) -> Vec<u8> {
    let [_, option, _] = arguments else {
        return wrong_number("client|setinfo");
    };
    if option.eq_ignore_ascii_case(b"LIB-NAME") || option.eq_ignore_ascii_case(b"LIB-VER") {
        return write::OK.to_vec();
    }
    let option = String::from_utf8_lossy(option);
    write::error(&format!("ERR Unrecognized option '{option}'"))
}

fn database(arguments: &[&[u8]]) -> Result<u32, Vec<u8>> {
    let [index] = arguments else {
        return Err(wrong_number("select"));
    };
    let index = integer(index)
        .ok_or_else(|| write::error("ERR value is not an integer or out of range"))?;
    let index = i32::try_from(index).map_err(|_| {
        let (least, most) = (i32::MIN, i32::MAX);
        write::error(&format!(
            "ERR value is out of range, value must between {least} and {most}"
        ))
    })?;
    u32::try_from(index).map_err(|_| write::error("ERR DB index is out of range"))
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
    hello.identity.protocol = match integer(version) {
        Some(2) => Protocol::Resp2,
        Some(3) => Protocol::Resp3,
        Some(_) => return Err(write::error("NOPROTO unsupported protocol version")),
        None => {
            let why = "ERR Protocol version is not an integer or out of range";
            return Err(write::error(why));
        }
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
