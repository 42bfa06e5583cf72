//! A client that logs in to PostgreSQL and then does nothing.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, bail};

use super::idle::connected;

/// Version 3.0 of the protocol.
const VERSION: i32 = 3 << 16;

/// No message of a login is longer.
const MAX_MESSAGE: u32 = 64 * 1024;

/// Logs in to `database` as a user who is trusted; the session lasts as long as the socket.
pub(in crate::bench) fn logged_in(
    address: SocketAddr,
    user: &str,
    database: &str,
) -> anyhow::Result<TcpStream> {
    let mut stream = connected(address)?;
    stream
        .write_all(&startup(user, database)?)
        .context("a client cannot say who it is")?;
    until_ready(&mut BufReader::new(&stream)).context("a client cannot log in")?;
    Ok(stream)
}

/// `StartupMessage`: its length, itself included, the version, and what is set.
fn startup(user: &str, database: &str) -> anyhow::Result<Vec<u8>> {
    let mut body = VERSION.to_be_bytes().to_vec();
    for word in ["user", user, "database", database, ""] {
        body.extend_from_slice(word.as_bytes());
        body.push(0);
    }
    let length = u32::try_from(body.len() + 4)?;
    Ok([&length.to_be_bytes()[..], &body].concat())
}

/// Reads messages up to `ReadyForQuery`.
fn until_ready(from: &mut impl Read) -> anyhow::Result<()> {
    loop {
        let mut header = [0; 5];
        from.read_exact(&mut header)?;
        let [kind, length @ ..] = header;
        // It counts itself.
        let Some(length) = u32::from_be_bytes(length).checked_sub(4) else {
            bail!("a message that is shorter than its length");
        };
        if length > MAX_MESSAGE {
            bail!("a message of {length} bytes");
        }
        let mut body = vec![0; length as usize];
        from.read_exact(&mut body)?;
        match kind {
            b'Z' => return Ok(()),
            b'E' => bail!("the server says \"{}\"", body.escape_ascii()),
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_startup_message_counts_itself() {
        let message = startup("me", "db").unwrap();
        assert_eq!(message, b"\0\0\0\x1d\0\x03\0\0user\0me\0database\0db\0\0");
    }

    #[test]
    fn a_login_ends_with_ready_for_query_and_fails_with_an_error() {
        let mut ready = &b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05Irest"[..];
        until_ready(&mut ready).unwrap();
        assert_eq!(ready, b"rest");
        let why = until_ready(&mut &b"E\0\0\0\x07no\0"[..]).unwrap_err();
        assert!(why.to_string().contains("no"), "{why}");
        assert!(until_ready(&mut &b"R\0\0\0\x03"[..]).is_err());
        assert!(until_ready(&mut &b"R\0\0\0\x08\0"[..]).is_err());
    }
}
