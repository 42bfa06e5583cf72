//! Idle connections by endpoint and identity, their limits, and the line of those who wait.

mod caretaker;

pub use caretaker::{Caretaker, Conversation};
