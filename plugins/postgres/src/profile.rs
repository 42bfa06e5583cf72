//! Clients that are the same to a server: what they lease, and how they are greeted, worked out once for
//! all of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use leaseway_sdk::Target;
use sha2::{Digest as _, Sha256};

use crate::identity::Identity;
use crate::settings::{Digest, Values};
use crate::statements::Who;

/// How many are kept. Clients past that have one of their own.
const MAX_PROFILES: usize = 256;

/// What is the same for all clients of an identity that came by the same listener.
#[derive(Debug)]
pub(crate) struct Profile {
    /// The identity, and where it is served, as a digest.
    pub(crate) who: Who,
    pub(crate) target: Target,
    /// For transactions that only read, if these go elsewhere.
    pub(crate) read_only_target: Option<Target>,
    /// How one of them has been greeted last without a connection.
    pub(crate) greeted: RefCell<Option<Rc<Greeted>>>,
}

/// What a client with these wishes is told as it begins, by what is known of the server.
#[derive(Debug)]
pub(crate) struct Greeted {
    /// What is known of the server, as the store has it.
    pub(crate) entry: Vec<u8>,
    pub(crate) wishes: Vec<(usize, Vec<u8>)>,
    /// What comes of them.
    pub(crate) settings: Values,
    pub(crate) digest: Digest,
    /// The messages up to the key.
    pub(crate) words: Vec<u8>,
}

impl Profile {
    fn of(listener: &str, identity: &Identity) -> Self {
        let target = identity.target();
        // A listener may be called as a group is that it does not go to.
        let (kind, place) = match target.group.as_deref() {
            Some(group) => (b"g", group),
            None => (b"l", listener),
        };
        let digest = Sha256::new()
            .chain_update(kind)
            .chain_update(place)
            .chain_update([0])
            .chain_update(&target.identity);
        let mut who = Who::default();
        who.copy_from_slice(&digest.finalize()[..size_of::<Who>()]);
        let read_only_group = identity.read_only_group.as_ref();
        Self {
            who,
            read_only_target: read_only_group.map(|group| target.clone().group(group.clone())),
            target,
            greeted: RefCell::default(),
        }
    }
}

/// The profiles of an instance.
#[derive(Debug, Default)]
pub(crate) struct Profiles(RefCell<HashMap<Key, Rc<Profile>>>);

/// A listener, and what its client is.
type Key = (Box<str>, Identity);

impl Profiles {
    /// That of a client of this listener.
    pub(crate) fn get(&self, listener: &str, identity: Identity) -> Rc<Profile> {
        let mut known = self.0.borrow_mut();
        let key: Key = (listener.into(), identity);
        if let Some(profile) = known.get(&key) {
            return Rc::clone(profile);
        }
        let profile = Rc::new(Profile::of(listener, &key.1));
        if known.len() >= MAX_PROFILES {
            known.retain(|_, one| Rc::strong_count(one) > 1);
        }
        if known.len() < MAX_PROFILES {
            known.insert(key, Rc::clone(&profile));
        }
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str, group: Option<&str>) -> Identity {
        Identity {
            group: group.map(str::to_owned),
            read_only_group: Some("replicas".to_owned()),
            password: None,
            keys: None,
            parameters: [("user".to_owned(), user.to_owned())].into(),
        }
    }

    #[test]
    fn the_same_clients_share_one_and_others_do_not() {
        let profiles = Profiles::default();
        let one = profiles.get("a", identity("app", None));
        assert!(Rc::ptr_eq(&one, &profiles.get("a", identity("app", None))));
        let others = [
            profiles.get("b", identity("app", None)),
            profiles.get("a", identity("other", None)),
            profiles.get("a", identity("app", Some("g"))),
        ];
        for (at, other) in others.iter().enumerate() {
            assert_ne!(one.who, other.who);
            for third in &others[at + 1..] {
                assert_ne!(third.who, other.who);
            }
        }
        let replicas = one
            .read_only_target
            .as_ref()
            .and_then(|target| target.group.as_deref());
        assert_eq!(replicas, Some("replicas"));
    }

    #[test]
    fn only_so_many_are_kept() {
        let profiles = Profiles::default();
        let held = profiles.get("a", identity("app", None));
        for user in 0..10 * MAX_PROFILES {
            profiles.get("a", identity(&user.to_string(), None));
            assert!(profiles.0.borrow().len() <= MAX_PROFILES);
        }
        assert!(Rc::ptr_eq(&held, &profiles.get("a", identity("app", None))));
    }
}
