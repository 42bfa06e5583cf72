//! The command line: its arguments, its log, and a file for each command.
//!
//! The only place that prints, reads arguments and chooses exit codes. Called by the binary.

pub mod args;
pub mod check;
pub mod inspect;
mod log_writer;
pub mod logging;
pub mod probe;
pub mod run;
