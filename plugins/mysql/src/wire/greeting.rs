//! The packet with which a server begins (MySQL Source Code Documentation, "Protocol::HandshakeV10").

use super::{Reader, write};

/// How long a challenge is.
pub const CHALLENGE: usize = 20;

/// utf8mb4_general_ci
const COLLATION: u8 = 45;

/// What a server says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Its version.
    pub version: Vec<u8>,
    /// The number of the connection.
    pub connection: u32,
    /// What a client's proof has to be made with.
    pub challenge: [u8; CHALLENGE],
    /// What the server can do.
    pub capabilities: u32,
    /// Status flags.
    pub status: u16,
    /// How it wants a client to prove who it is, most of all.
    pub plugin: Vec<u8>,
}

impl Greeting {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is of another protocol, or malformed.
    pub fn read(payload: &[u8]) -> Result<Self, String> {
        match payload.first() {
            Some(10) => {}
            Some(version) => {
                return Err(format!("the server speaks protocol {version}, and not 10"));
            }
            None => return Err("the server's greeting is empty".to_owned()),
        }
        Self::fields(&payload[1..]).ok_or_else(|| "the server's greeting is malformed".to_owned())
    }

    fn fields(payload: &[u8]) -> Option<Self> {
        let mut rest = Reader(payload);
        let version = rest.text()?.to_vec();
        let connection = rest.u32()?;
        let begin = rest.bytes(8)?;
        rest.u8()?;
        let lower = rest.u16()?;
        rest.u8()?;
        let status = rest.u16()?;
        let upper = rest.u16()?;
        // How long the challenge is, and ten bytes that are reserved.
        rest.bytes(11)?;
        let end = rest.bytes(CHALLENGE - 8)?;
        rest.u8()?;
        // Some leave out the zero behind the name.
        let plugin = rest.text().unwrap_or(rest.0).to_vec();
        let mut challenge = [0; CHALLENGE];
        challenge[..8].copy_from_slice(begin);
        challenge[8..].copy_from_slice(end);
        Some(Self {
            version,
            connection,
            challenge,
            capabilities: u32::from(lower) | u32::from(upper) << 16,
            status,
            plugin,
        })
    }

    /// The packet.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        let [a, b, c, d] = self.capabilities.to_le_bytes();
        let mut payload = vec![10];
        payload.extend(&self.version);
        payload.push(0);
        payload.extend(self.connection.to_le_bytes());
        payload.extend(&self.challenge[..8]);
        payload.extend([0, a, b, COLLATION]);
        payload.extend(self.status.to_le_bytes());
        payload.extend([c, d, CHALLENGE as u8 + 1]);
        payload.extend([0; 10]);
        payload.extend(&self.challenge[8..]);
        payload.push(0);
        payload.extend(&self.plugin);
        payload.push(0);
        write::packet(0, &payload)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As MariaDB 10.11 has sent it.
    const MARIADB: &[u8] = b"\n5.5.5-10.11.19-MariaDB-0+deb12u1\x00\x04\x00\x00\x00\\*YbcGxK\x00\xfe\xf7\x08\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00Kv4;m5]VvnH]\x00mysql_native_password\x00";

    #[test]
    fn a_real_one_is_read() {
        let greeting = Greeting::read(MARIADB).unwrap();
        assert_eq!(greeting.version, b"5.5.5-10.11.19-MariaDB-0+deb12u1");
        assert_eq!(greeting.connection, 4);
        assert_eq!(&greeting.challenge, b"\\*YbcGxKKv4;m5]VvnH]");
        assert_eq!(greeting.capabilities, 0x81ff_f7fe);
        assert_eq!(greeting.plugin, b"mysql_native_password");
        for cut in 0..MARIADB.len() - 22 {
            assert!(Greeting::read(&MARIADB[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn ours_is_read_as_it_is_written() {
        let greeting = Greeting {
            version: b"8.0".to_vec(),
            connection: 0x8000_0001,
            challenge: *b"abcdefghijklmnopqrst",
            capabilities: 0x0180_8201,
            status: 2,
            plugin: b"caching_sha2_password".to_vec(),
        };
        assert_eq!(Greeting::read(&greeting.packet()[4..]), Ok(greeting));
    }
}
