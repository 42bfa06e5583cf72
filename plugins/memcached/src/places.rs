//! Where keys are: on which endpoint of the group, as far as that is the plugin's to say.

use std::num::NonZeroU32;

use leaseway_sdk::Target;

use crate::ketama::Ring;

/// How keys find their server.
#[derive(Clone, Debug)]
pub enum Places {
    /// It does not matter.
    Single,
    /// By the hash of their slot, of so many.
    Slots(NonZeroU32),
    /// On a ring of servers with these addresses.
    Ring(Ring, Vec<String>),
}

/// Where a key is. Requests for one place may share a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Wherever the group's balance says.
    #[default]
    Any,
    /// Wherever this slot is.
    Slot(u32),
    /// On the server with this number.
    Server(usize),
}

impl Places {
    /// Where this key is.
    #[must_use]
    pub fn of(&self, key: &[u8]) -> Place {
        match self {
            Self::Single => Place::Any,
            // The remainder fits.
            Self::Slots(count) => Place::Slot((hash(key) % u64::from(count.get())) as u32),
            Self::Ring(ring, _) => ring.server(key).map_or(Place::Any, Place::Server),
        }
    }

    /// Whether all keys are in one place.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Single)
    }

    /// What to lease for it.
    #[must_use]
    pub fn target(&self, place: Place) -> Target {
        match (self, place) {
            (_, Place::Slot(slot)) => Target::default().affinity(u64::from(slot)),
            (Self::Ring(_, addresses), Place::Server(number)) => match addresses.get(number) {
                Some(address) => Target::default().endpoint(address.as_str()),
                None => Target::default(),
            },
            _ => Target::default(),
        }
    }
}

/// FNV-1a, 64 bits: the same in every process.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
