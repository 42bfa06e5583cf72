//! How servers greet, kept for those who come later: a client that has logged in can be greeted without a
//! connection, which may all be busy with whom it waits for.

use std::time::Duration;

use leaseway_sdk::store;

use crate::backend::Backend;
use crate::settings::Values;
use crate::statements::Who;

/// How long a greeting is kept that no new connection has confirmed.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How a server greets the clients of one identity, in one group.
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
    pub(crate) fn keep(&self, who: Who) {
        let mut entry = (self.parameters.len() as u32).to_le_bytes().to_vec();
        entry.extend_from_slice(&self.parameters);
        entry.extend_from_slice(self.settings.as_bytes());
        let _ = store::put(&key(who), &entry, LIFETIME);
    }

    /// Reads what [`kept`] has found.
    pub(crate) fn read(entry: &[u8]) -> Option<Self> {
        let (length, rest) = entry.split_first_chunk()?;
        let (parameters, settings) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some(Self {
            parameters: parameters.to_vec(),
            settings: Values::of_bytes(settings),
        })
    }
}

/// What has been kept for this identity.
pub(crate) fn kept(who: Who) -> Option<Vec<u8>> {
    store::get(&key(who))
}

fn key(who: Who) -> Vec<u8> {
    [&b"greeting."[..], &who].concat()
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
        assert_eq!(kept([1; 16]), None);
        greeting.keep([1; 16]);
        assert_eq!(Greeting::read(&kept([1; 16]).unwrap()), Some(greeting));
        assert_eq!(kept([2; 16]), None);
    }
}
