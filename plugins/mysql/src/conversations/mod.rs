//! Exchanges with a connection that no session holds: logging in on a fresh one, making a used one
//! as good as new, and finding out whether an idle one is alive.

mod renewal;

use std::fmt;

use leaseway_sdk::{Connection, IoError};

use crate::auth::Method;
use crate::backend::Backend;
use crate::identity::Identity;
use crate::reply::{End, Kind, Part, Reply};
use crate::server_key::ServerKeys;
use crate::settings::{Tracked, Values};
use crate::wire::capability::{CONNECT_WITH_DB, DEPRECATE_EOF, NEEDED};
use crate::wire::greeting::Greeting;
use crate::wire::login::Login;
use crate::wire::ok::Failure;
use crate::wire::{self, Reader, write};
pub(crate) use renewal::{Found, Look, reset};

/// How large a packet may be that comes in such an exchange.
const MAX_PACKET: usize = 32 << 10;

/// Asks for the public key, in the slow part of `caching_sha2_password`.
const REQUEST_PUBLIC_KEY: u8 = 2;

/// Commands by their codes.
pub(crate) mod command {
    pub(crate) const QUIT: u8 = 0x01;
    pub(crate) const INIT_DB: u8 = 0x02;
    pub(crate) const QUERY: u8 = 0x03;
    pub(crate) const PING: u8 = 0x0e;
    pub(crate) const RESET_CONNECTION: u8 = 0x1f;
}

/// What keeps a conversation from going on.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server refuses: its error's number, and all of it as `CODE SQLSTATE message`.
    Refused(u16, String),
    /// Anything else. What has been asked may have no answer.
    Broken(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_, why) | Self::Broken(why) => f.write_str(why),
        }
    }
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Broken(why)
    }
}

impl From<IoError> for Trouble {
    fn from(why: IoError) -> Self {
        Self::Broken(why.into())
    }
}

impl From<&str> for Trouble {
    fn from(why: &str) -> Self {
        Self::Broken(why.to_owned())
    }
}

/// What has been found in a login.
pub(crate) struct Opened {
    /// What the plugin knows of the connection.
    pub(crate) backend: Backend,
    /// How it is looked at when it is reset, and what is to be found then.
    pub(crate) look: Look,
    pub(crate) found: Found,
    /// The server's.
    pub(crate) version: Vec<u8>,
}

/// Logs in.
///
/// # Errors
/// The server's own, or what went wrong.
pub(crate) fn log_in(
    c: &mut Connection<'_>,
    identity: &Identity,
    tracked: &Tracked,
    keys: Option<&ServerKeys>,
) -> Result<Opened, Trouble> {
    let (_, payload) = next(c)?;
    let greeting = Greeting::read(&payload)?;
    let wanted = NEEDED | identity.dialect;
    let missing = wanted & !greeting.capabilities & !wire::capability::LONG_PASSWORD;
    if missing != 0 {
        return Err(format!(
            "the server lacks capabilities {missing:#x}: it takes MySQL 5.7.5 or MariaDB 10.2, or later"
        )
        .into());
    }
    // What the server wants most may be what nobody here can do; then it may settle for another.
    let method = Method::named(&greeting.plugin).unwrap_or_default();
    let password = identity.password.as_bytes();
    let login = Login {
        capabilities: wanted | CONNECT_WITH_DB,
        collation: renewal::collation(identity),
        user: identity.user.clone().into_bytes(),
        proof: method.prove(password, &greeting.challenge),
        database: identity.database.clone(),
        plugin: method.name().as_bytes().to_vec(),
    };
    c.write(&login.packet())?;
    authenticate(c, identity, method, greeting.challenge.to_vec(), keys)?;
    let (look, original, found) = renewal::look(c, identity, tracked)?;
    let backend = Backend {
        original,
        changed: Values::default(),
        database: identity.database.clone(),
    };
    Ok(Opened {
        backend,
        look,
        found,
        version: greeting.version,
    })
}

/// Answers what the server wants to know of us.
fn authenticate(
    c: &mut Connection<'_>,
    identity: &Identity,
    mut method: Method,
    mut challenge: Vec<u8>,
    keys: Option<&ServerKeys>,
) -> Result<(), Trouble> {
    let user = &identity.user;
    let password = identity.password.as_bytes();
    loop {
        let (number, payload) = next(c)?;
        match payload.split_first() {
            Some((0, _)) => return Ok(()),
            // Another way, with another challenge.
            Some((0xfe, rest)) => {
                let mut rest = Reader(rest);
                let Some(plugin) = rest.text() else {
                    return Err("the server asks for passwords of before MySQL 4.1".into());
                };
                method = Method::named(plugin).ok_or_else(|| {
                    format!(
                        "the server wants user {user} to log in by {}, which is not supported: \
                         give that user mysql_native_password or caching_sha2_password",
                        String::from_utf8_lossy(plugin)
                    )
                })?;
                challenge = rest.0.strip_suffix(b"\0").unwrap_or(rest.0).to_vec();
                let proof = method.prove(password, &challenge);
                c.write(&write::packet(number.wrapping_add(1), &proof))?;
            }
            // Of caching_sha2_password: the server has the hash at hand, and OK follows.
            Some((1, [3])) if method == Method::Sha2 => {}
            // It has not, and wants the password itself.
            Some((1, [4])) if method == Method::Sha2 => {
                let Some(keys) = keys else {
                    let why = format!(
                        "the server does not have the hash of user {user}'s password at hand, and wants the \
                         password itself, hidden by its public key: name a file of its key in \
                         `server-public-key-path`, or set `get-server-public-key` if nobody can pose as the server"
                    );
                    return Err(why.into());
                };
                c.write(&write::packet(
                    number.wrapping_add(1),
                    &[REQUEST_PUBLIC_KEY],
                ))?;
                let (number, said) = next(c)?;
                let Some((1, said)) = said.split_first() else {
                    return Err(unexpected(
                        "the login, where the server's public key should be",
                        &said,
                    ));
                };
                let hidden = keys.check(said)?.hide(password, &challenge)?;
                c.write(&write::packet(number.wrapping_add(1), &hidden))?;
            }
            _ => return Err(unexpected("the login", &payload)),
        }
    }
}

/// Finds out whether the server answers.
///
/// # Errors
/// It does not, or as it should not.
pub(crate) fn probe(c: &mut Connection<'_>, identity: &Identity) -> Result<(), Trouble> {
    c.write(&write::command(command::PING, b""))?;
    done(c, is_modern(identity))
}

/// Whether results end with OK packets, as client and server have agreed on.
fn is_modern(identity: &Identity) -> bool {
    identity.dialect & DEPRECATE_EOF != 0
}

/// A statement, as a command.
fn query(sql: &str) -> Vec<u8> {
    write::command(command::QUERY, sql.as_bytes())
}

/// Reads an answer that is nothing but OK.
fn done(c: &mut Connection<'_>, is_modern: bool) -> Result<(), Trouble> {
    let (end, rows) = answer(c, Reply::new(Kind::One, is_modern))?;
    match end {
        true if rows.is_empty() => Ok(()),
        _ => Err("the server sends a result that nobody has asked for".into()),
    }
}

/// Reads the rows of one result.
fn rows(c: &mut Connection<'_>, is_modern: bool) -> Result<Vec<Vec<Vec<u8>>>, Trouble> {
    let (_, payloads) = answer(c, Reply::new(Kind::Results, is_modern))?;
    // The first is the number of columns, whose definitions come next, and then EOF if it is used.
    let mut payloads = payloads.into_iter();
    let count = payloads.next().and_then(|first| Reader(&first).number());
    let skip = usize::try_from(count.unwrap_or_default()).unwrap_or_default();
    let rows = payloads.skip(skip + usize::from(!is_modern));
    rows.map(|payload| values(&payload).ok_or_else(|| unexpected("a result", &payload)))
        .collect()
}

/// The values of a row; NULL is empty.
pub(crate) fn values(row: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = Reader(row);
    let mut values = Vec::new();
    while !rest.0.is_empty() {
        values.push(match rest.0 {
            [0xfb, more @ ..] => {
                rest.0 = more;
                Vec::new()
            }
            _ => rest.counted()?.to_vec(),
        });
    }
    Some(values)
}

/// Reads an answer: the packets in front of the last one, and whether that was read to its end.
fn answer(c: &mut Connection<'_>, mut reply: Reply) -> Result<(bool, Vec<Vec<u8>>), Trouble> {
    let mut payloads = Vec::new();
    let mut total = 0;
    loop {
        let (number, payload) = next(c)?;
        let head = wire::Head {
            length: (payload.len() + wire::HEAD) as u64,
            number,
            goes_on: false,
            first: payload.first().copied(),
        };
        match reply.see(head, &payload) {
            Part::Middle => {}
            Part::Last(End::Done { .. } | End::Eof(..)) => return Ok((true, payloads)),
            _ => return Err(unexpected("an answer", &payload)),
        }
        total += payload.len();
        if total > MAX_PACKET {
            return Err("the server answers over 32 KiB".into());
        }
        payloads.push(payload);
    }
}

/// Reads a packet. That the server refuses is an error in its own words.
fn next(c: &mut Connection<'_>) -> Result<(u8, Vec<u8>), Trouble> {
    let (number, payload) = c.read_frame(|data| {
        wire::packet(data, MAX_PACKET).map(|(number, payload)| (number, payload.to_vec()))
    })?;
    match Failure::read(&payload) {
        Some(failure) => {
            let Failure {
                code,
                sqlstate,
                text,
            } = failure;
            Err(Trouble::Refused(code, format!("{code} {sqlstate} {text}")))
        }
        None => Ok((number, payload)),
    }
}

fn unexpected(what: &str, payload: &[u8]) -> Trouble {
    let shown = &payload[..payload.len().min(40)];
    format!("unexpected packet in {what}: \"{}\"", shown.escape_ascii()).into()
}
