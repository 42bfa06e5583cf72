//! Cancel requests: how one that comes on a connection of its own, perhaps to another worker, finds the
//! server's backend that runs its session's query, and no other.
//!
//! A session that holds a connection says so in the store that all workers share, under the key that its
//! client has been given. Whoever cancels marks the entry before it says anything to the server; and the
//! session, when it is done, takes the entry back, and closes the connection if there is a mark: the
//! cancel may reach the server late, and must not meet the query of somebody else. Both are single steps of
//! the store, so there is no moment between them.

use std::time::Duration;

use leaseway_sdk::store;

use crate::backend::CancelKey;

/// How long an entry outlives a session that could not take it back, as after a fault.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// No one has asked to cancel.
const QUIET: u8 = 0;

/// Somebody has.
const MARKED: u8 = 1;

/// Where a query runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running<Text = String> {
    /// The upstream group, if it is not the listener's first.
    pub(crate) group: Option<Text>,
    /// The server's address.
    pub(crate) endpoint: Text,
    /// What the server knows the backend by.
    pub(crate) backend: CancelKey,
}

/// Says where the queries of a client run from now on. Returns what [`withdraw`] has to be given, or None if the store is
/// full: then they cannot be cancelled.
pub(crate) fn publish(client: CancelKey, running: &Running<&str>) -> Option<Vec<u8>> {
    let entry = running.encode();
    store::put(&key(client), &entry, LIFETIME).ok()?;
    Some(entry)
}

/// They do not run there any more. Returns whether nobody has asked to cancel.
pub(crate) fn withdraw(client: CancelKey, entry: &[u8]) -> bool {
    store::take(&key(client)).is_some_and(|found| found == entry)
}

/// Somebody wants to cancel the query of this client. Returns where it runs; that connection will not be
/// used for anybody else.
pub(crate) fn mark(client: CancelKey) -> Option<Running> {
    let key = key(client);
    let entry = store::get(&key)?;
    let (state, rest) = entry.split_first()?;
    let running = Running::decode(rest)?;
    match *state {
        MARKED => Some(running),
        _ => {
            let mut marked = entry.clone();
            marked[0] = MARKED;
            // Its query has ended just now, or somebody else was quicker.
            store::replace(&key, &entry, &marked).then_some(running)
        }
    }
}

fn key(client: CancelKey) -> [u8; 15] {
    let mut key = *b"cancel.--------";
    key[7..].copy_from_slice(&client);
    key
}

impl Running<&str> {
    fn encode(&self) -> Vec<u8> {
        let group = self.group.unwrap_or_default();
        let mut entry = Vec::with_capacity(14 + group.len() + self.endpoint.len());
        entry.push(QUIET);
        entry.extend_from_slice(&self.backend);
        entry.push(u8::from(self.group.is_some()));
        entry.extend((group.len() as u32).to_le_bytes());
        entry.extend_from_slice(group.as_bytes());
        entry.extend_from_slice(self.endpoint.as_bytes());
        entry
    }
}

impl Running {
    fn decode(entry: &[u8]) -> Option<Self> {
        let (backend, rest) = entry.split_first_chunk()?;
        let (has_group, rest) = rest.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (group, endpoint) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(Self {
            group: match has_group {
                0 => None,
                _ => Some(text(group)?),
            },
            endpoint: text(endpoint)?,
            backend: *backend,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(group: Option<&str>) -> Running<&str> {
        Running {
            group,
            endpoint: "127.0.0.1:5432",
            backend: *b"pid+key.",
        }
    }

    fn found(group: Option<&str>) -> Running {
        Running {
            group: group.map(str::to_owned),
            endpoint: "127.0.0.1:5432".to_owned(),
            backend: *b"pid+key.",
        }
    }

    #[test]
    fn a_query_that_has_ended_is_not_cancelled() {
        for group in [None, Some(""), Some("replicas")] {
            let client = *b"client-1";
            assert_eq!(mark(client), None);
            let entry = publish(client, &running(group)).unwrap_or_default();
            assert_eq!(mark(*b"client-2"), None);
            assert!(withdraw(client, &entry));
            assert_eq!(mark(client), None);
            assert!(!withdraw(client, &entry));
        }
    }

    #[test]
    fn who_is_cancelled_learns_of_it() {
        let client = *b"client-3";
        let entry = publish(client, &running(Some("g"))).unwrap_or_default();
        for _ in 0..2 {
            assert_eq!(mark(client), Some(found(Some("g"))));
        }
        assert!(!withdraw(client, &entry));
        // The next query is another matter.
        let entry = publish(client, &running(None)).unwrap_or_default();
        assert!(withdraw(client, &entry));
    }
}
