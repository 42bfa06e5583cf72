//! How servers greet, kept for those who come later: a client that has logged in can be greeted without a
//! connection, which may all be busy with whom it waits for.

use std::time::Duration;

use leaseway_sdk::store;

use crate::backend::Backend;
use crate::settings::Values;

/// How long a greeting is kept that no new connection has confirmed.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How a server greets the clients of one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// Its `ParameterStatus` messages.
    pub(crate) parameters: Vec<u8>,
    /// What the settings are that follow clients, as long as nobody changes them.
    pub(crate) settings: Values,
}

impl Greeting {
    /// That of a connection's server.
    pub(crate) fn of(backend: &Backend) -> Self {
        Self {
            parameters: backend.greeting().to_vec(),
            settings: backend.original(),
        }
    }

    /// Keeps it for this identity. If there is no room, later clients wait for a connection.
    pub(crate) fn keep(&self, identity: &str) {
        let mut entry = (self.parameters.len() as u32).to_le_bytes().to_vec();
        entry.extend_from_slice(&self.parameters);
        entry.extend_from_slice(self.settings.as_bytes());
        let _ = store::put(&key(identity), &entry, LIFETIME);
    }

    /// What has been kept for this identity.
    pub(crate) fn kept(identity: &str) -> Option<Self> {
        let entry = store::get(&key(identity))?;
        let (length, rest) = entry.split_first_chunk()?;
        let (parameters, settings) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some(Self {
            parameters: parameters.to_vec(),
            settings: Values::of_bytes(settings),
        })
    }
}

/// An identity may be longer than a key, and its digest stands at its end.
fn key(identity: &str) -> Vec<u8> {
    let digest = &identity.as_bytes()[identity.len().saturating_sub(64)..];
    [b"greeting.", digest].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_kept_for_its_identity() {
        let greeting = Greeting {
            parameters: b"S...".to_vec(),
            settings: ["UTF8", "UTC"].iter().collect(),
        };
        let identity = format!(
            "user={} start=0123456789abcdef0123456789abcdef",
            "u".repeat(300)
        );
        assert_eq!(Greeting::kept(&identity), None);
        greeting.keep(&identity);
        assert_eq!(Greeting::kept(&identity).unwrap(), greeting);
        assert_eq!(Greeting::kept("another"), None);
    }
}
