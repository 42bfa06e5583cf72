//! The config file: read, checked as a whole, and handed on as plain types.

mod model;
pub mod values;

pub use model::*;
