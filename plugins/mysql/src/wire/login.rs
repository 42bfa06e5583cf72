//! The packet with which a client says who it is (MySQL Source Code Documentation,
//! "Protocol::HandshakeResponse41" and "COM_CHANGE_USER").

use super::{Reader, capability as has, write};

/// How long a packet is that asks for TLS: no more than what stands in front of the user's name.
const FIXED: usize = 32;

/// The longest packet that a client may say that it takes.
const MAX_PACKET: u32 = 1 << 30;

/// Who a client says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// What it can do.
    pub capabilities: u32,
    /// The number of its collation.
    pub collation: u16,
    /// Its name.
    pub user: Vec<u8>,
    /// How it proves that.
    pub proof: Vec<u8>,
    /// The database that it wants; empty if none.
    pub database: Vec<u8>,
    /// In which way it proves it.
    pub plugin: Vec<u8>,
}

/// Why a client cannot be let in, whoever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It speaks the protocol from before 4.1.
    Old,
    /// It wants TLS, which it was not offered.
    Tls,
    /// What it says cannot be read.
    Malformed,
}

impl Login {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is none that can be answered.
    pub fn read(payload: &[u8]) -> Result<Self, Unfit> {
        let mut rest = Reader(payload);
        let lower = rest.u16().ok_or(Unfit::Malformed)?;
        if u32::from(lower) & has::PROTOCOL_41 == 0 {
            return Err(Unfit::Old);
        }
        let fixed = Reader(payload).bytes(FIXED).ok_or(Unfit::Malformed)?;
        let capabilities = Reader(fixed).u32().ok_or(Unfit::Malformed)?;
        if capabilities & has::SSL != 0 {
            return Err(Unfit::Tls);
        }
        let collation = fixed[8].into();
        let rest = Reader(&payload[FIXED..]);
        Self::named(rest, capabilities, collation).ok_or(Unfit::Malformed)
    }

    fn named(mut rest: Reader<'_>, capabilities: u32, collation: u16) -> Option<Self> {
        let user = rest.text()?.to_vec();
        let proof = if capabilities & has::PLUGIN_AUTH_LENENC != 0 {
            rest.counted()?
        } else if capabilities & has::SECURE_CONNECTION != 0 {
            let length = rest.u8()?;
            rest.bytes(length.into())?
        } else {
            rest.text()?
        };
        let database = match capabilities & has::CONNECT_WITH_DB != 0 {
            true => rest.text()?,
            false => &[],
        };
        let plugin = match capabilities & has::PLUGIN_AUTH != 0 {
            true => rest.text().unwrap_or(rest.0),
            false => b"mysql_native_password",
        };
        Some(Self {
            capabilities,
            collation,
            user,
            proof: proof.to_vec(),
            database: database.to_vec(),
            plugin: plugin.to_vec(),
        })
    }

    /// Reads what follows the code of a `COM_CHANGE_USER`, of a client that has these capabilities.
    #[must_use]
    pub fn change(payload: &[u8], capabilities: u32) -> Option<Self> {
        let mut rest = Reader(payload);
        let user = rest.text()?.to_vec();
        let length = rest.u8()?;
        let proof = rest.bytes(length.into())?.to_vec();
        let database = rest.text()?.to_vec();
        let collation = rest.u16().unwrap_or_default();
        let plugin = rest.text().unwrap_or(b"mysql_native_password").to_vec();
        Some(Self {
            capabilities,
            collation,
            user,
            proof,
            database,
            plugin,
        })
    }

    /// The packet, as the answer to a server's greeting. Proof and database are written if they are not
    /// empty, whatever the capabilities are.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        let mut capabilities =
            self.capabilities & !(has::CONNECT_WITH_DB | has::PLUGIN_AUTH_LENENC);
        if !self.database.is_empty() {
            capabilities |= has::CONNECT_WITH_DB;
        }
        let mut payload = capabilities.to_le_bytes().to_vec();
        payload.extend(MAX_PACKET.to_le_bytes());
        payload.push(self.collation.to_le_bytes()[0]);
        payload.extend([0; 23]);
        payload.extend(&self.user);
        payload.push(0);
        // Proofs of ours have 32 bytes at most.
        payload.push(self.proof.len() as u8);
        payload.extend(&self.proof);
        if !self.database.is_empty() {
            payload.extend(&self.database);
            payload.push(0);
        }
        payload.extend(&self.plugin);
        payload.push(0);
        write::packet(1, &payload)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            capabilities: has::PROTOCOL_41
                | has::SECURE_CONNECTION
                | has::PLUGIN_AUTH
                | has::CONNECT_WITH_DB,
            collation: 45,
            user: b"app".to_vec(),
            proof: vec![7; 20],
            database: b"shop".to_vec(),
            plugin: b"mysql_native_password".to_vec(),
        }
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let packet = login().packet();
        assert_eq!(Login::read(&packet[4..]), Ok(login()));
    }

    #[test]
    fn what_cannot_be_answered_is_known() {
        let packet = login().packet();
        let mut old = packet[4..].to_vec();
        old[1] = 0;
        assert_eq!(Login::read(&old), Err(Unfit::Old));
        let mut tls = packet[4..36].to_vec();
        tls[1] |= 0x08;
        assert_eq!(Login::read(&tls), Err(Unfit::Tls));
        for cut in 0..packet.len() - 26 {
            assert!(Login::read(&packet[4..][..cut]).is_err(), "cut at {cut}");
        }
    }
}
