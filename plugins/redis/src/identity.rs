//! What makes connections interchangeable: user, password, database and protocol version.
//!
//! Owns how these become a target's `identity`, which anybody may see, and its `secret`, which
//! nobody may. Sessions make identities; conversations read them back.

use std::fmt::{self, Write as _};

use leaseway_sdk::Target;
use sha2::{Digest, Sha256};

/// A user's name longer than this, as it is written in an identity, is shown as a digest.
const MAX_SHOWN_USER: usize = 256;

/// How much of a digest is shown: 128 bits, so that nobody finds two of the same.
const DIGEST: usize = 16;

/// Who a connection is authenticated as.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `None` if only a password was given: the user is `default` then, which servers before 6.0
    /// know by no name. Not the same as `default` by name: a server without a password refuses
    /// the one and takes anything for the other.
    user: Option<Vec<u8>>,
    password: Vec<u8>,
}

impl Credentials {
    /// Of this user, or of `default` by no name.
    #[must_use]
    pub fn new(user: Option<&[u8]>, password: &[u8]) -> Self {
        Self {
            user: user.map(<[u8]>::to_vec),
            password: password.to_vec(),
        }
    }

    /// The user, if it was named.
    #[must_use]
    pub fn user(&self) -> Option<&[u8]> {
        self.user.as_deref()
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &[u8] {
        &self.password
    }
}

/// Which version of the protocol a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What a connection speaks at first.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// Everything that a connection was opened for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Who it is authenticated as, if at all.
    pub credentials: Option<Credentials>,
    /// The database that is selected.
    pub database: u32,
    /// The protocol that is spoken.
    pub protocol: Protocol,
}

impl Identity {
    /// The target that leases such connections.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::new(self.to_string()).secret(self.encode())
    }

    /// The identity of a target made by [`target`](Self::target); of a target that says nothing,
    /// the one without user, in database 0.
    ///
    /// # Errors
    ///
    /// If the secret was made by something else.
    pub fn of(target: &Target) -> Result<Self, String> {
        if target.secret.is_empty() {
            return Ok(Self::default());
        }
        Self::decode(&target.secret)
            .ok_or_else(|| "the target's secret was not made by this plugin".to_owned())
    }

    /// Protocol, database, and credentials if there are any: the user's length, user, password.
    /// The length of no user is that of the longest, which none has.
    fn encode(&self) -> Vec<u8> {
        let mut secret = vec![match self.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }];
        secret.extend(self.database.to_le_bytes());
        if let Some(credentials) = &self.credentials {
            let user = credentials.user();
            // Requests that say a user are shorter than this by far.
            let len = user.map_or(u32::MAX, |user| user.len() as u32);
            secret.extend(len.to_le_bytes());
            secret.extend(user.unwrap_or_default());
            secret.extend(credentials.password());
        }
        secret
    }

    fn decode(secret: &[u8]) -> Option<Self> {
        let (protocol, rest) = secret.split_first()?;
        let (database, rest) = rest.split_first_chunk()?;
        let credentials = match rest {
            [] => None,
            rest => {
                let (len, rest) = rest.split_first_chunk()?;
                let (user, password) = match u32::from_le_bytes(*len) {
                    u32::MAX => (None, rest),
                    len => {
                        let (user, password) = rest.split_at_checked(len as usize)?;
                        (Some(user), password)
                    }
                };
                Some(Credentials::new(user, password))
            }
        };
        Some(Self {
            credentials,
            database: u32::from_le_bytes(*database),
            protocol: match protocol {
                2 => Protocol::Resp2,
                3 => Protocol::Resp3,
                _ => return None,
            },
        })
    }
}

/// What operators see of it: no password, but a digest that tells one from another.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("user=")?;
        let user = self.credentials.as_ref().and_then(Credentials::user);
        f.write_str(&shown(user.unwrap_or(b"default")))?;
        let protocol = match self.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        write!(f, " db={} proto={protocol} auth=", self.database)?;
        match &self.credentials {
            None => f.write_str("none"),
            Some(credentials) => f.write_str(&digest(credentials)),
        }
    }
}

/// The password stays out of logs here as well.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

/// A user's name, such that it holds no space and nothing else that an identity is made of.
fn shown(user: &[u8]) -> String {
    let mut text = String::new();
    for byte in user {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'@' => {
                text.push(char::from(*byte));
            }
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(text, "%{byte:02x}");
            }
        }
    }
    if text.len() > MAX_SHOWN_USER {
        return format!("sha256:{}", hex(&Sha256::digest(user)));
    }
    text
}

/// Of user and password, so that the same password of two users does not show, and of whether the
/// user was named.
fn digest(credentials: &Credentials) -> String {
    let user = credentials.user().unwrap_or(b"default");
    let mut hash = Sha256::new();
    hash.update(b"leaseway redis identity\0");
    hash.update([u8::from(credentials.user().is_some())]);
    hash.update((user.len() as u64).to_le_bytes());
    hash.update(user);
    hash.update(credentials.password());
    hex(&hash.finalize())
}

fn hex(hash: &[u8]) -> String {
    hash.iter()
        .take(DIGEST)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn identity(user: Option<&[u8]>, password: &[u8]) -> Identity {
        Identity {
            credentials: Some(Credentials::new(user, password)),
            ..Identity::default()
        }
    }

    #[test]
    fn an_identity_shows_everything_but_the_password() {
        assert_eq!(
            Identity::default().to_string(),
            "user=default db=0 proto=2 auth=none"
        );
        let app = Identity {
            database: 7,
            protocol: Protocol::Resp3,
            ..identity(Some(b"app"), b"hunter2")
        };
        let text = app.to_string();
        let digest = text.strip_prefix("user=app db=7 proto=3 auth=").unwrap();
        assert_eq!(digest.len(), 32);
        assert!(!format!("{app:?}{:?}", app.target()).contains("hunter2"));
    }

    #[test]
    fn what_differs_anywhere_differs_in_identity() {
        let all = [
            Identity::default(),
            identity(None, b""),
            identity(None, b"a"),
            identity(Some(b"default"), b"a"),
            identity(Some(b"a"), b""),
            identity(Some(b"ab"), b"c"),
            identity(Some(b"a"), b"bc"),
            identity(Some(b"a db=1"), b""),
            identity(Some(b"a%20db%3d1"), b""),
            identity(Some(&[0xff; 300]), b""),
            identity(Some(&[0xfe; 300]), b""),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(one.to_string().len() <= 1024);
            assert_eq!(Identity::of(&one.target()).as_ref(), Ok(one));
            for other in &all[at + 1..] {
                assert_ne!(one.target().identity, other.target().identity);
                assert_ne!(one.target().secret, other.target().secret);
            }
        }
    }

    #[test]
    fn the_default_user_by_name_is_shown_by_the_same_name() {
        let text = identity(Some(b"default"), b"a").to_string();
        assert!(text.starts_with("user=default db=0 proto=2 auth="));
    }

    #[test]
    fn a_foreign_secret_is_refused() {
        assert_eq!(Identity::of(&Target::default()), Ok(Identity::default()));
        for secret in [
            &[9u8][..],
            &[2, 0],
            &[9, 0, 0, 0, 0],
            &[2, 0, 0, 0, 0, 9, 0, 0, 0],
        ] {
            assert!(Identity::of(&Target::new("x").secret(secret)).is_err());
        }
    }
}
