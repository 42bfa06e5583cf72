//! Who somebody is: what the config knows of a user, and how that is proved, to us and by us.

pub mod scram;

use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

use scram::Verifier;

/// A password, or what is kept in the place of one. As PgBouncer's `userlist.txt` writes it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Plain(String),
    /// `md5` and the hash of password and user, in hexadecimal.
    Md5(String),
    /// What a server keeps for SCRAM. Proves others to us, and not us to others.
    Scram(Verifier),
}

impl Secret {
    /// Reads it by its form: what looks like neither hash is a password.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let is_md5 = text.len() == 35
            && text.starts_with("md5")
            && text[3..].bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_md5 {
            return Self::Md5(text.to_ascii_lowercase());
        }
        match Verifier::parse(text) {
            Some(verifier) => Self::Scram(verifier),
            None => Self::Plain(text.to_owned()),
        }
    }

    /// The answer to `AuthenticationMD5Password`, if there is one.
    #[must_use]
    pub fn md5_answer(&self, user: &str, salt: [u8; 4]) -> Option<String> {
        let inner = match self {
            Self::Plain(password) => md5(&[password.as_bytes(), user.as_bytes()]),
            Self::Md5(hash) => hash.get(3..)?.to_owned(),
            Self::Scram(_) => return None,
        };
        Some(format!("md5{}", md5(&[inner.as_bytes(), &salt])))
    }

    /// Whether this is the password.
    #[must_use]
    pub fn is_password(&self, user: &str, password: &[u8]) -> bool {
        match self {
            Self::Plain(own) => bool::from(own.as_bytes().ct_eq(password)),
            Self::Md5(hash) => {
                let theirs = format!("md5{}", md5(&[password, user.as_bytes()]));
                bool::from(hash.as_bytes().ct_eq(theirs.as_bytes()))
            }
            // That would take as long as its iterations say; `configure` does not let it come to this.
            Self::Scram(_) => false,
        }
    }
}

/// It stays out of logs.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<hidden>")
    }
}

fn md5(parts: &[&[u8]]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// In hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As `SELECT 'md5' || md5('secretapp')` says.
    const HASH: &str = "md56a422f785c9e20873908ce25d1736ae2";

    #[test]
    fn secrets_are_told_apart_by_their_form() {
        assert!(matches!(Secret::parse(HASH), Secret::Md5(_)));
        assert!(matches!(Secret::parse("md5"), Secret::Plain(_)));
        assert!(matches!(Secret::parse("hunter2"), Secret::Plain(_)));
        assert_eq!(format!("{:?}", Secret::parse("hunter2")), "<hidden>");
    }

    #[test]
    fn a_hash_and_its_password_answer_alike() {
        let plain = Secret::parse("secret");
        let hash = Secret::parse(HASH);
        assert!(matches!(hash, Secret::Md5(_)));
        let salt = [1, 2, 3, 4];
        assert_eq!(plain.md5_answer("app", salt), hash.md5_answer("app", salt));
        assert_ne!(
            plain.md5_answer("app", salt),
            plain.md5_answer("app", [0; 4])
        );
        let verifier = Secret::Scram(Verifier::new(b"secret", b"salt", 1));
        assert_eq!(verifier.md5_answer("app", salt), None);
        for secret in [plain, hash] {
            assert!(secret.is_password("app", b"secret"));
            assert!(!secret.is_password("app", b"Secret"));
        }
    }
}
