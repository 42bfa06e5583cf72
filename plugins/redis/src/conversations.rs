//! Exchanges with a connection that no session holds: authenticating a fresh one, making a used
//! one as good as new, and finding out whether an idle one is alive.
//!
//! Whatever is not exactly the expected reply is an error, and the host closes the connection.

use leaseway_sdk::Connection;
use leaseway_sdk::frame::Parsed;

use crate::identity::{Credentials, Identity, Protocol};
use crate::resp::reply::Replies;
use crate::resp::write;

/// How large a reply to one of these commands may be. That to `HELLO` lists the modules.
const MAX_REPLY: usize = 64 * 1024;

/// The words of a request, or the replies that are good.
type Lines = &'static [&'static [u8]];

/// What a server without `RESET`, that is before 6.2, understands instead, and what it may say
/// to it. Tracking and read-only mode cannot have been turned on where turning them off fails.
const EQUIVALENT: [(Lines, Lines); 5] = [
    (&[b"DISCARD"], &[b"+OK", b"-ERR DISCARD without MULTI"]),
    (&[b"UNWATCH"], &[b"+OK"]),
    (&[b"CLIENT", b"SETNAME", b""], &[b"+OK"]),
    (&[b"CLIENT", b"TRACKING", b"OFF"], &[b"+OK", b"-ERR "]),
    (&[b"READWRITE"], &[b"+OK", b"-ERR "]),
];

/// Makes a fresh connection what the identity says.
///
/// # Errors
///
/// The server's own error, without its `-`, if it refuses; else what went wrong, in words that
/// begin with a small letter.
pub(crate) fn handshake(c: &mut Connection<'_>, identity: &Identity) -> Result<(), String> {
    let credentials = identity.credentials.as_ref();
    match (identity.protocol, credentials.and_then(Credentials::user)) {
        (Protocol::Resp3, Some(user)) => {
            let password = credentials.map_or(&b""[..], Credentials::password);
            hello(c, &[b"HELLO", b"3", b"AUTH", user, password])?;
        }
        (protocol, _) => {
            // `HELLO` knows no user without a name, and `default` by name is another matter.
            if let Some(who) = credentials {
                authenticate(c, who)?;
            }
            if protocol == Protocol::Resp3 {
                hello(c, &[b"HELLO", b"3"])?;
            }
        }
    }
    if identity.database != 0 {
        select(c, identity.database)?;
    }
    Ok(())
}

/// Makes a used connection what the identity says.
///
/// # Errors
///
/// If the server says anything that it would not say on a connection as it should be.
pub(crate) fn reset(c: &mut Connection<'_>, identity: &Identity) -> Result<(), String> {
    let said = ask(c, &[b"RESET"])?;
    match said.as_slice() {
        b"+RESET" => handshake(c, identity),
        line if line.starts_with(b"-ERR unknown command") => reset_without_command(c, identity),
        line => Err(unexpected("RESET", line)),
    }
}

fn reset_without_command(c: &mut Connection<'_>, identity: &Identity) -> Result<(), String> {
    for (request, replies) in EQUIVALENT {
        let said = ask(c, request)?;
        // An error is known by how it begins; all else must be the whole line.
        let fits = |reply: &&[u8]| match reply {
            [b'-', ..] => said.starts_with(reply),
            _ => said == *reply,
        };
        if !replies.iter().any(fits) {
            let request = request.join(&b' ');
            return Err(unexpected(&String::from_utf8_lossy(&request), &said));
        }
    }
    if let Some(who) = &identity.credentials {
        authenticate(c, who)?;
    }
    select(c, identity.database)
}

/// Finds out whether the connection and the server behind it are alive. A server that knows its
/// users well enough to refuse this one a `PING` is; one that loads its data, or has lost its master,
/// is of no use yet.
///
/// # Errors
///
/// If the reply is not `+PONG`, nor one that only a server at work gives.
pub(crate) fn probe(c: &mut Connection<'_>) -> Result<(), String> {
    let said = ask(c, &[b"PING"])?;
    let refused = said.starts_with(b"-NOPERM ") || said.starts_with(b"-NOAUTH ");
    if said == b"+PONG" || refused {
        return Ok(());
    }
    Err(unexpected("PING", &said))
}

fn hello(c: &mut Connection<'_>, request: &[&[u8]]) -> Result<(), String> {
    let said = ask(c, request)?;
    match said.split_first() {
        Some((b'%', _)) => Ok(()),
        Some((b'-', error)) => Err(String::from_utf8_lossy(error).into_owned()),
        _ => Err(unexpected("HELLO", &said)),
    }
}

fn authenticate(c: &mut Connection<'_>, who: &Credentials) -> Result<(), String> {
    match who.user() {
        Some(user) => ok(c, "AUTH", &[b"AUTH", user, who.password()]),
        None => ok(c, "AUTH", &[b"AUTH", who.password()]),
    }
}

fn select(c: &mut Connection<'_>, database: u32) -> Result<(), String> {
    ok(c, "SELECT", &[b"SELECT", database.to_string().as_bytes()])
}

/// Asks for something to which `+OK` is the only good reply.
fn ok(c: &mut Connection<'_>, name: &str, request: &[&[u8]]) -> Result<(), String> {
    let said = ask(c, request)?;
    match said.split_first() {
        _ if said == b"+OK" => Ok(()),
        Some((b'-', error)) => Err(String::from_utf8_lossy(error).into_owned()),
        _ => Err(unexpected(name, &said)),
    }
}

/// Sends a request and reads the whole reply; returns its first line.
fn ask(c: &mut Connection<'_>, request: &[&[u8]]) -> Result<Vec<u8>, String> {
    c.write(&write::request(request))?;
    c.read_frame(|data| {
        if data.len() > MAX_REPLY {
            return Parsed::Invalid("the reply is over 64 KiB");
        }
        let line = data.windows(2).position(|pair| pair == b"\r\n");
        match (Replies::default().cover(data, 1), line) {
            (Err(_), _) => Parsed::Invalid("the reply is not RESP"),
            (Ok(covered), Some(end)) if covered.replies == 1 => {
                match usize::try_from(covered.bytes) {
                    Ok(len) => Parsed::Complete {
                        value: data[..end].to_vec(),
                        len,
                    },
                    Err(_) => Parsed::Invalid("the reply is over 64 KiB"),
                }
            }
            _ => Parsed::Incomplete {
                at_least: data.len() + 1,
            },
        }
    })
}

fn unexpected(request: &str, said: &[u8]) -> String {
    format!("unexpected reply to {request}: {}", said.escape_ascii())
}
