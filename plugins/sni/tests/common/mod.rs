//! Writing ClientHellos, good ones and bad ones.
#![allow(dead_code)]

use leaseway_plugin_sni::Sni;
use leaseway_sdk::testing::ScriptedSession;

/// A ClientHello to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hello {
    /// Extensions, each with its type.
    pub(crate) extensions: Vec<(u16, Vec<u8>)>,
    /// What TLS 1.0 might do.
    pub(crate) without_extensions: bool,
    pub(crate) version: Option<u16>,
}

/// As clients with TLS 1.3 do: values of GREASE at the front and at the end.
pub(crate) fn hello(name: &str, protocols: &[&str]) -> Hello {
    let mut hello = Hello::default().extension(0x1a1a, b"");
    if !name.is_empty() {
        hello = hello.extension(0, &name_list(&[(0, name)]));
    }
    hello = hello.extension(43, &[4, 0x0a, 0x0a, 3, 4]);
    if !protocols.is_empty() {
        hello = hello.extension(16, &protocol_list(protocols));
    }
    hello.extension(0x2a2a, &[0])
}

/// The data of a `server_name` extension.
pub(crate) fn name_list(names: &[(u8, &str)]) -> Vec<u8> {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|(kind, name)| [vec![*kind], vector16(name.as_bytes())].concat())
        .collect();
    vector16(&list)
}

/// The data of an ALPN extension.
pub(crate) fn protocol_list(protocols: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = protocols
        .iter()
        .flat_map(|one| vector8(one.as_bytes()))
        .collect();
    vector16(&list)
}

impl Hello {
    pub(crate) fn extension(mut self, kind: u16, data: &[u8]) -> Self {
        self.extensions.push((kind, data.to_vec()));
        self
    }

    /// The handshake message.
    pub(crate) fn message(&self) -> Vec<u8> {
        let mut body = self.version.unwrap_or(0x0303).to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.extend(vector8(&[9; 32]));
        body.extend(vector16(&[0x3a, 0x3a, 0x13, 0x01, 0xc0, 0x2f]));
        body.extend([1, 0]);
        if !self.without_extensions {
            let extensions: Vec<u8> = self
                .extensions
                .iter()
                .flat_map(|(kind, data)| [kind.to_be_bytes().to_vec(), vector16(data)].concat())
                .collect();
            body.extend(vector16(&extensions));
        }
        message(1, &body)
    }

    /// All of it in one record.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        record(22, &self.message())
    }

    /// In records of so many bytes.
    pub(crate) fn in_records_of(&self, bytes: usize) -> Vec<u8> {
        let pieces = self.message();
        pieces
            .chunks(bytes)
            .flat_map(|piece| record(22, piece))
            .collect()
    }
}

/// A handshake message.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// A record.
pub(crate) fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &vector16(fragment)].concat()
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

pub(crate) fn vector16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length, bytes].concat()
}

/// Routes to `web`, `h2` and `db`.
pub(crate) const CONFIG: &str = r#"{"routes": [
    {"name": "www.example.org", "upstream": "web"},
    {"name": "www.example.org", "alpn": "h2", "upstream": "h2"},
    {"name": "*.db.example.org", "alpn": "postgresql", "upstream": "db"}
]}"#;

pub(crate) fn session() -> ScriptedSession<Sni> {
    ScriptedSession::new(CONFIG)
}

/// The record of a fatal alert.
pub(crate) fn alert(description: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description]
}
