//! What makes connections interchangeable: user, pooling, database, character set, and what client and server have
//! agreed on.
//!
//! Owns how these become a target's `identity`, which anybody may see, and its `secret`, which nobody may.

use leaseway_sdk::Target;
use sha2::{Digest as _, Sha256};

use crate::config::Pooling;
use crate::wire::{Reader, write};

/// How much of a digest is shown: 128 bits.
const DIGEST: usize = 16;

/// The longest name that an identity shows as it is.
const MAX_SHOWN: usize = 128;

/// Everything that a connection is opened for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The upstream group.
    pub group: Option<String>,
    /// When it goes back: whoever has one for a whole session finds nothing of what transactions have left.
    pub pooling: Pooling,
    /// The user's name for the server.
    pub user: String,
    /// The password for it.
    pub password: String,
    /// The database; empty if there is none.
    pub database: Vec<u8>,
    /// The number of the client's collation.
    pub collation: u16,
    /// Capabilities that change what the server says or does.
    pub dialect: u32,
}

impl Identity {
    /// The target that leases such connections.
    #[must_use]
    pub fn target(&self) -> Target {
        let secret = self.encode();
        let identity = format!(
            "user={} db={} start={}",
            shown(self.user.as_bytes()),
            shown(&self.database),
            digest(&secret),
        );
        let target = Target::new(identity).secret(secret);
        match &self.group {
            Some(group) => target.group(group.clone()),
            None => target,
        }
    }

    /// What a target made by [`target`](Self::target) was made of, without its group.
    ///
    /// # Errors
    /// The secret was made by something else, or there is none.
    pub fn of(target: &Target) -> Result<Self, String> {
        if target.secret.is_empty() {
            return Err("no check-user is configured to log in as".to_owned());
        }
        Self::decode(&target.secret)
            .ok_or_else(|| "the target's secret was not made by this plugin".to_owned())
    }

    fn encode(&self) -> Vec<u8> {
        let mut secret = self.dialect.to_le_bytes().to_vec();
        secret.push((self.pooling == Pooling::Transaction).into());
        secret.extend(self.collation.to_le_bytes());
        for text in [
            self.user.as_bytes(),
            self.password.as_bytes(),
            &self.database,
        ] {
            write::counted(&mut secret, text);
        }
        secret
    }

    fn decode(secret: &[u8]) -> Option<Self> {
        let mut rest = Reader(secret);
        let dialect = rest.u32()?;
        let pooling = match rest.u8()? {
            0 => Pooling::Session,
            _ => Pooling::Transaction,
        };
        let collation = rest.u16()?;
        let user = String::from_utf8(rest.counted()?.to_vec()).ok()?;
        let password = String::from_utf8(rest.counted()?.to_vec()).ok()?;
        let database = rest.counted()?.to_vec();
        rest.0.is_empty().then_some(Self {
            group: None,
            pooling,
            user,
            password,
            database,
            collation,
            dialect,
        })
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let shown = digest.iter().take(DIGEST);
    shown.map(|byte| format!("{byte:02x}")).collect()
}

/// A name, such that it holds no space and nothing else that an identity is made of.
fn shown(name: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(byte);
    match std::str::from_utf8(name) {
        Ok(name) if name.len() <= MAX_SHOWN && name.as_bytes().iter().all(is_plain) => {
            name.to_owned()
        }
        _ => format!("sha256:{}", digest(name)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            group: None,
            pooling: Pooling::Session,
            user: "app".to_owned(),
            password: "hunter2".to_owned(),
            database: b"shop".to_vec(),
            collation: 45,
            dialect: 2,
        }
    }

    #[test]
    fn what_differs_anywhere_differs_in_identity() {
        let one = identity();
        let others = [
            Identity {
                user: "ap".to_owned(),
                ..one.clone()
            },
            Identity {
                password: "hunter3".to_owned(),
                ..one.clone()
            },
            Identity {
                database: Vec::new(),
                ..one.clone()
            },
            Identity {
                collation: 33,
                ..one.clone()
            },
            Identity {
                pooling: Pooling::Transaction,
                ..one.clone()
            },
            Identity {
                dialect: 0,
                ..one.clone()
            },
            Identity {
                user: "app db=shop".to_owned(),
                ..one.clone()
            },
        ];
        let target = one.target();
        assert_eq!(Identity::of(&target).as_ref(), Ok(&one));
        for other in others {
            assert_ne!(other.target().identity, target.identity);
            assert_eq!(Identity::of(&other.target()), Ok(other));
        }
    }

    #[test]
    fn no_password_shows() {
        let target = identity().target();
        assert!(target.identity.starts_with("user=app db=shop start="));
        assert!(!target.identity.contains("hunter2"));
    }

    #[test]
    fn a_foreign_secret_is_refused() {
        assert!(Identity::of(&Target::default()).is_err());
        for secret in [&b"\x01"[..], b"\0\0\0\0\0\0\x09", &[0; 40]] {
            assert!(Identity::of(&Target::new("x").secret(secret)).is_err());
        }
    }
}
