//! Salts for names that nobody keeps a verifier of. They are the same whichever instance of the plugin is asked, as
//! those of verifiers are: a name whose salt changes would be known for what it is.

use std::cell::Cell;
use std::time::Duration;

use leaseway_sdk::store;
use sha2::{Digest as _, Sha256};

/// Where all instances find what they make salts with.
const KEY: &[u8] = b"salter";

/// How long it is kept that nobody has needed.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Makes salts of names.
pub(super) struct Salter(Cell<[u8; 32]>);

impl Salter {
    /// With what to begin if no other instance has begun.
    pub(super) fn new(random: [u8; 32]) -> Self {
        Self(Cell::new(random))
    }

    /// The salt of this name.
    pub(super) fn salt_of(&self, name: &str) -> [u8; 16] {
        let others = store::get(KEY).and_then(|others| others.try_into().ok());
        let key = others.unwrap_or(self.0.get());
        self.0.set(key);
        // If there is no room, instances that come later make salts of their own.
        let _ = store::put(KEY, &key, LIFETIME);
        let hash = Sha256::new().chain_update(key).chain_update(name);
        let mut salt = [0; 16];
        salt.copy_from_slice(&hash.finalize()[..16]);
        salt
    }
}

#[cfg(test)]
mod tests {
    use leaseway_sdk::testing::clear_store;

    use super::*;

    #[test]
    fn all_instances_make_the_same() {
        clear_store();
        let (first, second) = (Salter::new([1; 32]), Salter::new([2; 32]));
        let salt = first.salt_of("app");
        assert_eq!(second.salt_of("app"), salt);
        assert_ne!(second.salt_of("other"), salt);
        // Also once it has been forgotten.
        clear_store();
        assert_eq!(second.salt_of("app"), salt);
        assert_eq!(Salter::new([3; 32]).salt_of("app"), salt);
    }
}
