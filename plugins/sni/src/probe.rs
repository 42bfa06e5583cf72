//! Finding out whether a TLS server is at work behind an endpoint, without any cryptography.
//!
//! The probe is a ClientHello of TLS 1.3 that sends no key share, which asks the server to choose a
//! group first: it answers with a HelloRetryRequest (RFC 8446, sections 4.1.4 and 4.2.8), signs
//! nothing, and waits. One that knows TLS 1.2 alone answers with its part of the handshake. Either shows
//! what a bare connect does not: that something reads behind the kernel's backlog.
//!
//! All of the answer is read, and no more: a server that follows RFC 8446, appendix D.4, puts one more
//! record behind a HelloRetryRequest, in the compatibility mode that a session id asks for. One in
//! which that is turned off is waited for in vain.

use leaseway_sdk::Connection;

use crate::tls::alert::FATAL;
use crate::tls::{ALERT, CLIENT_HELLO, HANDSHAKE, SERVER_NAME, TLS_1_0, TLS_1_2};

/// The type of the record that compatibility mode puts behind the server's first message.
const CHANGE_CIPHER_SPEC: u8 = 20;

/// The message that a server answers with.
const SERVER_HELLO: u8 = 2;

/// The message that ends a server's part in TLS 1.2 (RFC 5246, section 7.4.5).
const SERVER_HELLO_DONE: u8 = 14;

/// What stands where a ServerHello has bytes of chance, if it is a HelloRetryRequest (RFC 8446, section
/// 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Where that stands in the message: behind its header and the version.
const RANDOM: std::ops::Range<usize> = 6..38;

/// How much an answer may be: certificates are the most of it.
const MAX_ANSWER: usize = 64 * 1024;

/// The longest record (RFC 5246, section 6.2.3).
const MAX_RECORD: usize = (1 << 14) + 2048;

/// Ciphers of TLS 1.3 and 1.2 of which every server that is kept up has one.
const CIPHERS: [u16; 9] = [
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
];

/// Extensions that are the same for every server: the versions 1.3 and 1.2, three groups and no key
/// share, signatures, the one format of points, and what servers of TLS 1.2 like to see.
const EXTENSIONS: [(u16, &[u8]); 7] = [
    (43, &[4, 3, 4, 3, 3]),
    (10, &[0, 6, 0, 0x1d, 0, 0x17, 0, 0x18]),
    (51, &[0, 0]),
    (
        13,
        &[0, 18, 4, 3, 5, 3, 6, 3, 8, 4, 8, 5, 8, 6, 4, 1, 5, 1, 6, 1],
    ),
    (11, &[1, 0]),
    (23, &[]),
    (0xff01, &[0]),
];

/// Says hello, and takes an answer that goes on with the handshake for a sign of life.
///
/// # Errors
///
/// If something else comes, such as an alert.
pub(crate) fn hello(c: &mut Connection<'_>, name: Option<&str>) -> Result<(), String> {
    c.write(&client_hello(name))?;
    let mut messages = Vec::new();
    loop {
        let header = c.read_exact(5)?;
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[1] != 3 || length == 0 || length > MAX_RECORD {
            let said = header.escape_ascii();
            return Err(format!("unexpected answer to a ClientHello: \"{said}\""));
        }
        // It is below 2^16.
        let fragment = c.read_exact(length as u32)?;
        match header[0] {
            HANDSHAKE if messages.len() + length <= MAX_ANSWER => messages.extend(fragment),
            HANDSHAKE => return Err(format!("an answer of more than {MAX_ANSWER} bytes")),
            ALERT if fragment.first() != Some(&FATAL) => continue,
            ALERT => {
                let alert = fragment.get(1).copied().unwrap_or_default();
                return Err(format!(
                    "the server refuses a ClientHello with alert {alert}"
                ));
            }
            CHANGE_CIPHER_SPEC if is_retry(&messages) => return Ok(()),
            other => {
                return Err(format!(
                    "unexpected record of type {other} in the handshake"
                ));
            }
        }
        if !is_retry(&messages) && ends_with_done(&messages) {
            return Ok(());
        }
    }
}

/// Whether the server's first message, all of it, is a HelloRetryRequest.
fn is_retry(messages: &[u8]) -> bool {
    messages.first() == Some(&SERVER_HELLO) && messages.get(RANDOM) == Some(&RETRY)
}

/// Whether these are whole messages, and the last one ends a server's part in TLS 1.2.
fn ends_with_done(mut messages: &[u8]) -> bool {
    while let [kind, high, middle, low, rest @ ..] = messages {
        let length = u32::from_be_bytes([0, *high, *middle, *low]);
        let Some(rest) = usize::try_from(length).ok().and_then(|len| rest.get(len..)) else {
            return false;
        };
        if *kind == SERVER_HELLO_DONE {
            return rest.is_empty();
        }
        messages = rest;
    }
    false
}

/// The ClientHello, in its record.
fn client_hello(name: Option<&str>) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut extend = |kind: u16, data: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(vector16(data));
    };
    if let Some(name) = name {
        // The type of the one name in the list is 0.
        let list = [&[0][..], &vector16(name.as_bytes())].concat();
        extend(SERVER_NAME, &vector16(&list));
    }
    for (kind, data) in EXTENSIONS {
        extend(kind, data);
    }
    let ciphers: Vec<u8> = CIPHERS.iter().flat_map(|one| one.to_be_bytes()).collect();

    let mut body = TLS_1_2.to_be_bytes().to_vec();
    // Neither needs to be random where nothing will come of it.
    body.extend(*b"leaseway asks whether you live  ");
    body.push(32);
    body.extend(*b"and for compatibility mode      ");
    body.extend(vector16(&ciphers));
    body.extend([1, 0]); // no compression
    body.extend(vector16(&extensions));

    // A name has 253 bytes at most, so all of it is far below 64 KiB.
    let mut message = vec![CLIENT_HELLO, 0];
    message.extend(vector16(&body));
    let mut record = vec![HANDSHAKE];
    record.extend(TLS_1_0.to_be_bytes());
    record.extend(vector16(&message));
    record
}

/// Bytes behind their length.
fn vector16(bytes: &[u8]) -> Vec<u8> {
    // Only the low 16 bits: callers stay below 64 KiB.
    let [.., high, low] = bytes.len().to_be_bytes();
    [&[high, low], bytes].concat()
}

#[cfg(test)]
mod tests {
    use leaseway_sdk::testing::{ScriptedConnection, probe};
    use leaseway_sdk::{Plugin, Target};

    use super::*;
    use crate::tls::ClientHello;
    use crate::tls::record::Assembler;
    use crate::{CHECK, Sni};

    const CONFIG: &str = r#"{"routes": [
        {"name": "db.example.org", "alpn": "postgresql", "upstream": "db"},
        {"name": "*.apps.example.org", "upstream": "apps"}
    ]}"#;

    /// Probes a server of a group that answers a hello with this name so, and then closes.
    fn answered(group: &str, name: Option<&str>, reply: &[u8]) -> Result<(), String> {
        let plugin: Sni = leaseway_sdk::testing::configure(CONFIG).unwrap();
        let server = ScriptedConnection::new()
            .expect(&client_hello(name))
            .reply(reply);
        let target = Target::new(CHECK).group(group);
        assert_eq!(plugin.default_target().identity, target.identity);
        probe(&plugin, server.close(), &target, 1000)
    }

    fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
        [&[kind, 3, 3][..], &vector16(fragment)].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 0][..], &vector16(body)].concat()
    }

    fn server_hello(random: [u8; 32]) -> Vec<u8> {
        message(
            SERVER_HELLO,
            &[&[3, 3][..], &random, &[0, 0x13, 1, 0]].concat(),
        )
    }

    #[test]
    fn the_hello_is_one_with_the_name_in_it() {
        for name in [None, Some("db.example.org")] {
            let sent = client_hello(name);
            let mut assembler = Assembler::default();
            let before = &sent[..sent.len() - 1];
            assert_eq!(assembler.take(before, 1024), Ok(None));
            let whole = assembler.take(&sent, 1024).unwrap().unwrap();
            let hello = ClientHello::parse(&whole).unwrap();
            assert_eq!(hello.server_name, name.map(str::as_bytes));
        }
    }

    #[test]
    fn a_server_that_goes_on_with_the_handshake_is_alive() {
        let retry = record(HANDSHAKE, &server_hello(RETRY));
        let retry = [retry, record(CHANGE_CIPHER_SPEC, &[1])].concat();
        assert_eq!(answered("any", None, &retry), Ok(()));
        assert_eq!(answered("db", Some("db.example.org"), &retry), Ok(()));
        let below = Some("leaseway-probe.apps.example.org");
        assert_eq!(answered("apps", below, &retry), Ok(()));
        // As TLS 1.2 does it, in one record, in one for each message, and in any.
        let certificate = message(11, &[0; 3000]);
        let done = message(SERVER_HELLO_DONE, b"");
        let flight = [server_hello([7; 32]), certificate, done].concat();
        for pieces in [1, 100, 1000, 16_000] {
            let flight: Vec<u8> = flight
                .chunks(pieces)
                .flat_map(|piece| record(HANDSHAKE, piece))
                .collect();
            assert_eq!(answered("any", None, &flight), Ok(()), "{pieces}");
        }
        let warned = [record(ALERT, &[1, 112]), retry].concat();
        assert_eq!(answered("any", None, &warned), Ok(()));
    }

    #[test]
    fn anything_else_is_no_sign_of_life() {
        let hello = record(HANDSHAKE, &server_hello([7; 32]));
        let endless = record(HANDSHAKE, &[11; 16_000]).repeat(5);
        let retry = record(HANDSHAKE, &server_hello(RETRY));
        let more = [retry.clone(), record(CHANGE_CIPHER_SPEC, &[1]), vec![1]].concat();
        for (reply, why) in [
            (&b""[..], "closed"),
            (b"HTTP/1.1 400 Bad Request\r\n", "unexpected answer"),
            (&record(ALERT, &[2, 80]), "with alert 80"),
            (&hello, "closed"),
            (&retry, "closed"),
            (&[hello.clone(), record(23, b"x")].concat(), "type 23"),
            (
                &[hello.clone(), record(CHANGE_CIPHER_SPEC, &[1])].concat(),
                "type 20",
            ),
            (&endless, "more than 65536 bytes"),
            (&more, "left unread"),
        ] {
            let said = answered("any", None, reply).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
