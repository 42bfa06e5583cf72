//! Who a connection is to the server: user, database and protocol version.
//!
//! What AUTH, SELECT and HELLO set is never sent along with a client's commands; it chooses the
//! connections that the client may borrow. The identity that the host shows has a digest of the
//! credentials; they themselves travel as the target's secret, from which `connect` takes them.

use leaseway_sdk::Target;
use sha2::{Digest, Sha256};

/// Hexadecimal digits of the digest in an identity: 128 bits.
const DIGITS: usize = 32;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// As for AUTH: none is not authenticated; the name is empty for the default user.
    pub(crate) credentials: Option<Credentials>,
    /// As for SELECT.
    pub(crate) database: u32,
    /// As for HELLO: 2 or 3.
    pub(crate) protocol: u8,
}

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Empty: AUTH with a password only.
    pub(crate) user: Vec<u8>,
    /// The password.
    pub(crate) password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Credentials({:?}, ...)",
            String::from_utf8_lossy(&self.user)
        )
    }
}

impl Identity {
    /// The target to lease under this identity.
    pub(crate) fn target(&self) -> Target {
        let Self {
            credentials,
            database,
            protocol,
        } = self;
        let mut name = format!("db={database} proto={protocol}");
        let mut secret = format!("{protocol} {database} ").into_bytes();
        if let Some(Credentials { user, password }) = credentials {
            let shown = String::from_utf8_lossy(user);
            let shown: String = shown
                .chars()
                .filter(|c| c.is_alphanumeric())
                .take(64)
                .collect();
            name = format!("user={shown} {name} auth={}", digest(user, password));
            secret.extend(format!("{} ", user.len()).into_bytes());
            secret.extend(user);
            secret.extend(password);
        }
        Target::new(name).secret(secret)
    }

    /// The identity behind a target that [`Identity::target`] made.
    pub(crate) fn of(target: &Target) -> Option<Self> {
        let mut parts = target.secret.splitn(3, |byte| *byte == b' ');
        let protocol = number(parts.next()?)?;
        let database = number(parts.next()?)?;
        let rest = parts.next()?;
        let credentials = if rest.is_empty() {
            None
        } else {
            let mut parts = rest.splitn(2, |byte| *byte == b' ');
            let len: usize = number(parts.next()?)?;
            let (user, password) = parts.next()?.split_at_checked(len)?;
            Some(Credentials {
                user: user.to_vec(),
                password: password.to_vec(),
            })
        };
        Some(Self {
            credentials,
            database,
            protocol,
        })
    }
}

/// A number in decimal digits.
pub(crate) fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn digest(user: &[u8], password: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update((user.len() as u64).to_be_bytes());
    hash.update(user);
    hash.update(password);
    let mut digits: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digits.truncate(DIGITS);
    digits
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn identity(user: &[u8], password: &[u8]) -> Identity {
        let credentials = Some(Credentials {
            user: user.to_vec(),
            password: password.to_vec(),
        });
        Identity {
            credentials,
            database: 3,
            protocol: 3,
        }
    }

    #[test]
    fn a_target_tells_its_identity_and_shows_no_password() {
        for identity in [
            identity(b"app", b"s3cret word"),
            identity(b"", b"x"),
            Identity {
                credentials: None,
                database: 0,
                protocol: 2,
            },
        ] {
            let target = identity.target();
            assert_eq!(Identity::of(&target).unwrap(), identity);
            assert!(!target.identity.contains("s3cret"), "{}", target.identity);
        }
    }

    #[test]
    fn identities_differ_where_credentials_do() {
        let shift = identity(b"ab", b"c").target();
        assert_ne!(shift.identity, identity(b"a", b"bc").target().identity);
        assert_ne!(shift.identity, identity(b"ab", b"d").target().identity);
    }
}
