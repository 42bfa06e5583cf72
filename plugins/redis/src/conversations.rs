//! Handshake, reset and probe.

use leaseway_sdk::frame::{Parsed, line};
use leaseway_sdk::{Connect, Connection, Probe, Reset, Target};

use crate::Redis;
use crate::identity::{Credentials, Identity};
use crate::resp::reply::Replies;

/// The longest reply to a handshake. That of HELLO names the modules of the server.
const MAX_REPLY: usize = 64 * 1024;

impl Connect for Redis {
    fn connect(&self, c: &mut Connection<'_>, target: &Target) -> Result<Vec<u8>, String> {
        become_identity(c, &identity_of(target)?)?;
        Ok(Vec::new())
    }
}

impl Reset for Redis {
    fn reset(&self, c: &mut Connection<'_>, target: &Target) -> Result<(), String> {
        let identity = identity_of(target)?;
        match ask(c, &[b"RESET"])?.as_slice() {
            b"+RESET" => become_identity(c, &identity),
            reply if reply.starts_with(b"-ERR unknown command") => reset_by_hand(c, &identity),
            other => Err(unexpected("RESET", other)),
        }
    }
}

impl Probe for Redis {
    fn probe(&self, c: &mut Connection<'_>, _idle_ms: u64) -> Result<(), String> {
        match ask(c, &[b"PING"])?.as_slice() {
            b"+PONG" => Ok(()),
            other => Err(unexpected("PING", other)),
        }
    }
}

fn identity_of(target: &Target) -> Result<Identity, String> {
    Identity::of(target).ok_or_else(|| "the target was not made by this plugin".to_owned())
}

/// Makes a connection that is as the server opened it into one of this identity.
fn become_identity(c: &mut Connection<'_>, identity: &Identity) -> Result<(), String> {
    if let Some(Credentials { user, password }) = &identity.credentials {
        let words: Vec<&[u8]> = if user.is_empty() {
            vec![b"AUTH", password]
        } else {
            vec![b"AUTH", user, password]
        };
        ok(c, &words)?;
    }
    if identity.protocol == 3 {
        let reply = ask(c, &[b"HELLO", b"3"])?;
        if reply.starts_with(b"-") {
            return Err(error_text(&reply));
        }
    }
    if identity.database > 0 {
        ok(c, &[b"SELECT", identity.database.to_string().as_bytes()])?;
    }
    Ok(())
}

/// What RESET does, for servers before 6.2.
fn reset_by_hand(c: &mut Connection<'_>, identity: &Identity) -> Result<(), String> {
    let discarded = ask(c, &[b"DISCARD"])?;
    if discarded != b"+OK" && discarded != b"-ERR DISCARD without MULTI" {
        return Err(unexpected("DISCARD", &discarded));
    }
    ok(c, &[b"UNWATCH"])?;
    ok(c, &[b"CLIENT", b"SETNAME", b""])?;
    ok(c, &[b"SELECT", identity.database.to_string().as_bytes()])
}

/// Sends a command to which `+OK` is the only good reply.
fn ok(c: &mut Connection<'_>, words: &[&[u8]]) -> Result<(), String> {
    match ask(c, words)?.as_slice() {
        b"+OK" => Ok(()),
        reply if reply.starts_with(b"-") => Err(error_text(reply)),
        other => Err(unexpected(&String::from_utf8_lossy(words[0]), other)),
    }
}

/// Sends a command; returns its reply, of a simple one the line without its end.
fn ask(c: &mut Connection<'_>, words: &[&[u8]]) -> Result<Vec<u8>, String> {
    c.write(&encode(words))?;
    let mut reply = c.read_frame(whole_reply)?;
    if matches!(reply.first(), Some(b'+' | b'-')) && reply.ends_with(b"\r\n") {
        reply.truncate(reply.len() - 2);
    }
    Ok(reply)
}

fn whole_reply(data: &[u8]) -> Parsed<Vec<u8>> {
    // A simple reply is by far the most frequent, and the shortest to tell.
    if let Some(b'+' | b'-') = data.first() {
        return match line(data, MAX_REPLY) {
            Parsed::Complete { len, .. } => Parsed::Complete {
                value: data[..len].to_vec(),
                len,
            },
            Parsed::Incomplete { at_least } => Parsed::Incomplete { at_least },
            Parsed::Invalid(why) => Parsed::Invalid(why),
        };
    }
    match Replies::default().cover(data, 1) {
        Err(_) => Parsed::Invalid("a reply that is not RESP"),
        Ok(covered) => match usize::try_from(covered.bytes) {
            Ok(len) if len > MAX_REPLY => Parsed::Invalid("a reply of over 64 KiB to a handshake"),
            Ok(len) if covered.replies == 1 && len <= data.len() => Parsed::Complete {
                value: data[..len].to_vec(),
                len,
            },
            _ => Parsed::Incomplete {
                at_least: data.len() + 1,
            },
        },
    }
}

/// A command as clients send it.
pub(crate) fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend(*word);
        bytes.extend(b"\r\n");
    }
    bytes
}

fn error_text(reply: &[u8]) -> String {
    String::from_utf8_lossy(&reply[1..]).into_owned()
}

fn unexpected(command: &str, reply: &[u8]) -> String {
    let shown: Vec<u8> = reply.iter().take(200).copied().collect();
    format!(
        "{command} was answered {:?}",
        String::from_utf8_lossy(&shown)
    )
}
