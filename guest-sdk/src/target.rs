//! What a session wants to lease: the contract's `target`, written by hand for the sake of its
//! `Debug`, which must not show the secret, and of its setters.

use std::fmt;

/// What a session wants to lease.
///
/// `Target::default()` is the listener's first upstream group, any endpoint, the empty identity.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// An upstream group of the listener, by name. `None`: the listener's first.
    pub group: Option<String>,
    /// Pin one endpoint of the group, by its address. `None`: the group's balance decides.
    pub endpoint: Option<String>,
    /// Connections are interchangeable only within one identity. Operators may see it in
    /// logs and status, so never put a secret here; put a digest of it. At most 1,024 bytes.
    pub identity: String,
    /// What `connect` and `reset` need to know but nobody may see, such as a password. Two
    /// targets that differ here must differ in `identity` too. At most 64 KiB.
    pub secret: Vec<u8>,
    /// With `balance = "hash"`, sessions with the same affinity go to the same endpoint while
    /// it is healthy.
    pub affinity: Option<u64>,
    /// A connection opened for this lease alone, outside of the pool and of its `max-connections`.
    pub unpooled: bool,
}

impl Target {
    /// The listener's first group, under this identity.
    #[must_use]
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            ..Self::default()
        }
    }

    /// In this upstream group.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// Nowhere but at this endpoint.
    #[must_use]
    pub fn endpoint(mut self, address: impl Into<String>) -> Self {
        self.endpoint = Some(address.into());
        self
    }

    /// With this secret for `connect` and `reset`.
    #[must_use]
    pub fn secret(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.secret = bytes.into();
        self
    }

    /// With this affinity.
    #[must_use]
    pub fn affinity(mut self, hash: u64) -> Self {
        self.affinity = Some(hash);
        self
    }

    /// On a connection opened for this lease alone, and closed behind it. It can be had while the
    /// pool is full; there are `max-unpooled` of them for each endpoint. Not to be shared.
    #[must_use]
    pub fn unpooled(mut self) -> Self {
        self.unpooled = true;
        self
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("group", &self.group)
            .field("endpoint", &self.endpoint)
            .field("identity", &self.identity)
            .field("secret", &format_args!("<{} bytes>", self.secret.len()))
            .field("affinity", &self.affinity)
            .field("unpooled", &self.unpooled)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_secret() {
        let shown = format!("{:?}", Target::new("user=app").secret(*b"hunter2"));
        assert!(shown.contains("user=app"), "{shown}");
        assert!(shown.contains("<7 bytes>"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("104"), "{shown}");
    }
}
