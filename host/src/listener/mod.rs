//! Bound addresses: where clients come in, and which worker gets them.

mod accept;
mod bind;

pub use accept::{Loads, accept};
pub use bind::{BindError, bind};
