//! Idle connections by endpoint and identity, their limits, and the line of those who wait.
//!
//! Each worker has its own [`Pools`]; limits hold for the process. Knows how to open, probe and
//! reset connections only through a [`Caretaker`].

mod caretaker;
mod connection;
mod dial;
mod health;
mod line;
mod message;
mod plain;
mod pools;
mod seat;
mod shelf;
mod upkeep;

pub use caretaker::{Caretaker, Conversation, Greeting, Trouble};
pub use connection::{Connection, Parcel, Unfit};
pub(crate) use dial::{Blame, DialError};
pub(crate) use line::{InLine, waited_in_vain};
pub use message::PoolsParts;
pub use plain::Plain;
pub use pools::Pools;
pub(crate) use seat::Grant;
pub(crate) use shelf::{Key, OwnedKey};
