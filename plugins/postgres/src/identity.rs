//! What makes connections interchangeable: user, database, and all that a client sets as it starts.
//!
//! Owns how these become a target's `identity`, which anybody may see, and its `secret`, which
//! nobody may.

use std::collections::BTreeMap;

use leaseway_sdk::Target;
use sha2::{Digest as _, Sha256};

use crate::auth::scram::Keys;
use crate::auth::{Secret, hex};

/// How much of a digest is shown: 128 bits.
const DIGEST: usize = 16;

/// The longest name that an identity shows as it is.
const MAX_SHOWN: usize = 128;

/// What the secret of a target is that is to carry a cancel request, and no login.
pub const CANCEL: u8 = 2;

/// Everything that a connection is opened for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The upstream group.
    pub group: Option<String>,
    /// The one for transactions that only read, if it is another.
    pub read_only_group: Option<String>,
    /// How we prove to the server that we are the user.
    pub password: Option<String>,
    /// How we prove it by SCRAM where only a verifier is known: as the client has.
    pub keys: Option<Keys>,
    /// The start-up parameters, user and database among them.
    pub parameters: BTreeMap<String, String>,
}

impl Identity {
    /// The user's name.
    #[must_use]
    pub fn user(&self) -> &str {
        self.parameters.get("user").map_or("", String::as_str)
    }

    /// The password, by its form.
    #[must_use]
    pub fn secret(&self) -> Option<Secret> {
        self.password.as_deref().map(Secret::parse)
    }

    /// The target that leases such connections.
    #[must_use]
    pub fn target(&self) -> Target {
        let secret = self.encode();
        let digest: String = hex(&Sha256::digest(&secret)[..DIGEST]);
        let database = self.parameters.get("database").map_or("", String::as_str);
        let identity = format!(
            "user={} db={} start={digest}",
            shown(self.user()),
            shown(database)
        );
        let target = Target::new(identity).secret(secret);
        match &self.group {
            Some(group) => target.group(group.clone()),
            None => target,
        }
    }

    /// What a target made by [`target`](Self::target) was made of, without its groups.
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

    /// Whether there is a password, that, keys if there are any, and names and values; each text with its
    /// length.
    fn encode(&self) -> Vec<u8> {
        let mut secret = vec![u8::from(self.password.is_some())];
        let password = self.password.as_deref().unwrap_or_default();
        let keys = self.keys.as_ref().map(Keys::to_text).unwrap_or_default();
        let parameters = self
            .parameters
            .iter()
            .flat_map(|(name, value)| [name, value]);
        let parameters = parameters.map(String::as_str);
        for text in [password, &keys].into_iter().chain(parameters) {
            secret.extend((text.len() as u32).to_le_bytes());
            secret.extend(text.as_bytes());
        }
        secret
    }

    fn decode(secret: &[u8]) -> Option<Self> {
        let (has_password, mut rest) = secret.split_first()?;
        let mut texts = Vec::new();
        while !rest.is_empty() {
            let (length, tail) = rest.split_first_chunk()?;
            let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            texts.push(String::from_utf8(text.to_vec()).ok()?);
            rest = tail;
        }
        let mut texts = texts.into_iter();
        let password = texts.next()?;
        let keys = texts.next()?;
        let keys = match keys.is_empty() {
            true => None,
            false => Some(Keys::parse(&keys)?),
        };
        let mut parameters = BTreeMap::new();
        while let Some(name) = texts.next() {
            parameters.insert(name, texts.next()?);
        }
        Some(Self {
            group: None,
            read_only_group: None,
            password: (*has_password == 1).then_some(password),
            keys,
            parameters,
        })
    }
}

/// A name, such that it holds no space and nothing else that an identity is made of.
fn shown(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if name.len() <= MAX_SHOWN && name.bytes().all(is_plain) {
        return name.to_owned();
    }
    format!("sha256:{}", hex(&Sha256::digest(name)[..DIGEST]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn identity(password: Option<&str>, parameters: &[(&str, &str)]) -> Identity {
        let parameters = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Identity {
            group: None,
            read_only_group: None,
            password: password.map(str::to_owned),
            keys: None,
            parameters: parameters.collect(),
        }
    }

    #[test]
    fn what_differs_anywhere_differs_in_identity() {
        let all = [
            identity(None, &[("user", "a")]),
            identity(Some(""), &[("user", "a")]),
            identity(Some("x"), &[("user", "a")]),
            identity(Some("x"), &[("user", "a"), ("database", "b")]),
            identity(Some("x"), &[("user", "a db=b")]),
            identity(
                Some("x"),
                &[("user", "a"), ("database", "b"), ("TimeZone", "UTC")],
            ),
        ];
        for (at, one) in all.iter().enumerate() {
            let target = one.target();
            assert_eq!(Identity::of(&target).as_ref(), Ok(one));
            for other in &all[at + 1..] {
                assert_ne!(target.identity, other.target().identity);
            }
        }
    }

    #[test]
    fn no_password_shows() {
        let target = identity(Some("hunter2"), &[("user", "app"), ("database", "shop")]).target();
        assert!(target.identity.starts_with("user=app db=shop start="));
        assert!(!target.identity.contains("hunter2"));
    }

    #[test]
    fn a_foreign_secret_is_refused() {
        assert!(Identity::of(&Target::default()).is_err());
        for secret in [
            &[1u8][..],
            &[0, 9, 0, 0, 0],
            &[0, 0, 0, 0, 0, 1, 0, 0, 0, b'x'],
        ] {
            assert!(Identity::of(&Target::new("x").secret(secret)).is_err());
        }
    }
}
