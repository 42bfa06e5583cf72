//! Reading a ClientHello (RFC 8446, section 4.1.2): the server name that the client wants (RFC
//! 6066, section 3), and the protocols that it offers (RFC 7301).
//!
//! All lengths must fit, to the last byte: what two readers could take in two ways is refused.
//! Ciphers and versions, and extensions that mean nothing here, are the server's affair. So values
//! of GREASE (RFC 8701) pass by themselves, and of an encrypted ClientHello (RFC 9849) the outer
//! one is read, with the public name.

use super::reader::Reader;
use super::{ALPN, Alert, Refusal, SERVER_NAME, TLS_1_0};

/// How many bytes of chance stand in a ClientHello.
const RANDOM: usize = 32;

/// The longest session id.
const MAX_SESSION_ID: usize = 32;

/// How many protocols a client may offer. Browsers offer three; looking for thousands on every route
/// would take too long.
pub const MAX_OFFERED: usize = 256;

/// The name type of a DNS host name.
const HOST_NAME: u8 = 0;

/// What is read of a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// What the client says its version is: TLS 1.2 from there on.
    pub version: u16,
    /// The host name that the client wants, as it has sent it.
    pub server_name: Option<&'a [u8]>,
    /// The list of protocols, in the order in which the client likes them, behind a length each.
    protocols: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// If it is none, is older than TLS 1.0, says a thing twice, or offers too many protocols.
    pub fn parse(body: &'a [u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(body);
        let version = reader.u16().ok_or_else(truncated)?;
        if version < TLS_1_0 {
            let why = format!("a ClientHello of version {version:#06x}, older than TLS 1.0");
            return Err(Refusal::new(Alert::ProtocolVersion, why));
        }
        let mut hello = Self {
            version,
            server_name: None,
            protocols: &[],
        };
        reader.take(RANDOM).ok_or_else(truncated)?;
        let session = reader.vector8().ok_or_else(truncated)?;
        let ciphers = reader.vector16().ok_or_else(truncated)?;
        let compressions = reader.vector8().ok_or_else(truncated)?;
        if session.len() > MAX_SESSION_ID {
            return Err(malformed("its session id is too long"));
        }
        if ciphers.is_empty() || ciphers.len() % 2 != 0 {
            return Err(malformed("its list of ciphers has no such length"));
        }
        if compressions.is_empty() {
            return Err(malformed("its list of compressions is empty"));
        }
        // Before TLS 1.3 there may be none.
        if !reader.is_empty() {
            let extensions = reader.vector16().ok_or_else(truncated)?;
            if !reader.is_empty() {
                return Err(malformed("there are bytes behind its end"));
            }
            hello.extensions(Reader::new(extensions))?;
        }
        Ok(hello)
    }

    /// The protocols that the client offers, the best first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut reader = Reader::new(self.protocols);
        std::iter::from_fn(move || reader.vector8())
    }

    fn extensions(&mut self, mut extensions: Reader<'a>) -> Result<(), Refusal> {
        let (mut named, mut negotiates) = (false, false);
        while !extensions.is_empty() {
            let kind = extensions.u16().ok_or_else(truncated)?;
            let data = extensions.vector16().ok_or_else(truncated)?;
            let (seen, name) = match kind {
                SERVER_NAME => (&mut named, "server_name"),
                ALPN => (&mut negotiates, "application_layer_protocol_negotiation"),
                _ => continue,
            };
            if std::mem::replace(seen, true) {
                let why = format!("a ClientHello with two extensions {name}");
                return Err(Refusal::new(Alert::IllegalParameter, why));
            }
            if kind == SERVER_NAME {
                self.server_name = server_name(data)?;
            } else {
                self.protocols = protocols(data)?;
            }
        }
        Ok(())
    }
}

/// The host name in a `ServerNameList`. Other types of names, of which there are none yet, are
/// passed over: all must begin with a length.
fn server_name(data: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let mut reader = Reader::new(data);
    let list = reader.vector16().ok_or_else(truncated)?;
    if list.is_empty() || !reader.is_empty() {
        return Err(malformed("its list of server names has no such length"));
    }
    let mut names = Reader::new(list);
    let mut found = None;
    while !names.is_empty() {
        let kind = names.u8().ok_or_else(truncated)?;
        let name = names.vector16().ok_or_else(truncated)?;
        if kind != HOST_NAME {
            continue;
        }
        if name.is_empty() {
            return Err(malformed("its server name is empty"));
        }
        if found.replace(name).is_some() {
            let why = "a ClientHello with two host names";
            return Err(Refusal::new(Alert::IllegalParameter, why));
        }
    }
    Ok(found)
}

/// The inner list of a `ProtocolNameList`, checked.
fn protocols(data: &[u8]) -> Result<&[u8], Refusal> {
    let mut reader = Reader::new(data);
    let list = reader.vector16().ok_or_else(truncated)?;
    if list.is_empty() || !reader.is_empty() {
        return Err(malformed("its list of protocols has no such length"));
    }
    let mut names = Reader::new(list);
    let mut count = 0;
    while !names.is_empty() {
        if names.vector8().ok_or_else(truncated)?.is_empty() {
            return Err(malformed("a protocol that it offers has no name"));
        }
        count += 1;
    }
    if count > MAX_OFFERED {
        let why = format!("a ClientHello with {count} protocols, at most {MAX_OFFERED}");
        return Err(Refusal::new(Alert::DecodeError, why));
    }
    Ok(list)
}

fn truncated() -> Refusal {
    malformed("a length goes past its end")
}

fn malformed(why: &str) -> Refusal {
    Refusal::new(
        Alert::DecodeError,
        format!("a malformed ClientHello: {why}"),
    )
}
